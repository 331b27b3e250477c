"""The spokes: batches, sizes, memory, files, and arrays there and back."""

import copy
import io
import json
import re

import numpy as np
import pytest

import darkconv as dc
from cases.families import CASES
from darkconv.backends import spoke
from darkconv.errors import DarkconvError
from networks import MICRO, initial_model, micro_model, network, random_model

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

BODY = (
    "[convolutional]\nfilters=8\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    "[convolutional]\nfilters=8\nsize=3\npad=1\nbatch_normalize=1\nactivation=mish\n"
    "[shortcut]\nfrom=0\n"
    "[route]\nlayers=-1,0\n"
    "[maxpool]\nsize=2\nstride=1\n"
    "[convolutional]\nfilters=14\nactivation=linear\n"
    "[yolo]\nclasses=2\nnum=2\nanchors=3,4,6,7\nscale_x_y=1.1\n"
)
SHAPE = (3, 16, 24)


@pytest.fixture(scope="module")
def model():
    return random_model(network(BODY, SHAPE), names=("cat", "dog"))


def pictures(count, shape=SHAPE, seed=0):
    return np.random.default_rng(seed).random((count, *shape), np.float32)


@pytest.mark.parametrize("backend", ["torch", "onnx"])
@pytest.mark.parametrize("count", [2, 5])
def test_a_batch_is_its_pictures_one_by_one(model, backend, count):
    batch = pictures(count)
    together = dc.trace(model, batch, backend=backend)
    for i, picture in enumerate(batch):
        for whole, single in zip(together, dc.trace(model, picture, backend=backend), strict=True):
            np.testing.assert_allclose(whole[i], single, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_other_sizes_run_where_the_network_allows_them(model, backend):
    traced = dc.trace(model, pictures(1, (3, 32, 8))[0], backend=backend)
    assert traced[-1].shape == (14, 16, 4)


def test_module_takes_other_sizes_by_itself(model):
    (head,) = dc.to_torch(model)(torch.rand(2, 3, 48, 40))
    assert head.shape == (2, 14, 24, 20)


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_wrong_input_is_refused(model, backend):
    with pytest.raises(DarkconvError, match=r"expected \(3, H, W\) or \(N, 3, H, W\), found"):
        dc.trace(model, np.zeros((1, 16, 24), np.float32), backend=backend)


def test_unknown_backend_is_refused(model):
    with pytest.raises(DarkconvError, match="backend: expected .*, found the text 'caffe'"):
        dc.trace(model, pictures(1), backend="caffe")


def test_training_makes_parameters_trainable_and_moves_them_out_of_the_file(tmp_path):
    net = network("[convolutional]\nfilters=4\nsize=3\npad=1\n", (3, 128, 128))
    dc.save(random_model(net), tmp_path / "net.cfg", tmp_path / "net.weights")
    module = dc.to_torch(dc.load(tmp_path / "net.cfg", tmp_path / "net.weights"))
    weight = module.layers[0].conv.weight
    assert not weight.requires_grad
    assert not weight.untyped_storage().resizable()
    module.train()
    assert weight.requires_grad
    assert weight.untyped_storage().resizable()


def test_training_never_changes_the_model(model):
    before = {key: array.copy() for key, array in model.arrays.items()}
    module = dc.to_torch(model).train()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        sum(head.square().sum() for head in module(torch.rand(2, *SHAPE))).backward()
        optimizer.step()
    trained = dc.from_torch(module)
    for key, array in before.items():
        np.testing.assert_array_equal(model.arrays[key], array)
        assert (trained.arrays[key] != array).any()
    assert trained.names == model.names


def test_arrays_come_back_bit_for_bit_with_the_header(model):
    back = dc.from_torch(dc.to_torch(model))
    assert back.header == model.header
    for key, array in model.arrays.items():
        np.testing.assert_array_equal(back.arrays[key], array)


def test_only_our_modules_come_back():
    with pytest.raises(DarkconvError, match="expected what to_torch returned, found Linear"):
        dc.from_torch(torch.nn.Linear(1, 1))


def test_layers_that_share_arrays_share_parameters():
    conv = "[convolutional]\nfilters=3\nsize=3\npad=1\nbatch_normalize=1\n"
    net = network(conv + conv + "share_index=-1\n")
    module = dc.to_torch(random_model(net))
    assert module.layers[1].conv.weight is module.layers[0].conv.weight
    assert module.layers[1].bn.weight is module.layers[0].bn.weight
    assert len(dc.from_torch(module).arrays) == 5


def test_outputs_do_not_depend_on_their_place_in_memory(model):
    """torch.sigmoid's do, which would break the equality of sliced heads."""
    from darkconv.backends.torch.activation import logistic

    values = torch.randn(10007) * 6
    whole = logistic(values)
    for start, end in ((0, 7), (3, 100), (5, 2707), (11, 10001)):
        assert torch.equal(logistic(values[start:end].clone()), whole[start:end])
    expected = torch.sigmoid(values.double()).float()
    torch.testing.assert_close(whole, expected, rtol=1e-6, atol=1e-30)


def test_recurrent_state_is_kept_and_reset():
    model = random_model(network("[rnn]\noutput=3\nhidden=4\n", (1, 1, 5)))
    module = dc.to_torch(model)
    x = torch.rand(1, 1, 1, 5)
    with torch.no_grad():
        first, second = module(x)[0], module(x)[0]
        module.reset_state()
        again = module(x)[0]
    assert not torch.equal(first, second)
    assert torch.equal(first, again)
    steps = dc.trace(model, [x.numpy(), x.numpy()])
    np.testing.assert_array_equal(steps[1][0], second.numpy())


def test_bottleneck_conv_lstm_follows_the_gpu_code():
    """Worked out by hand for a 1x1 kernel: s = tanh(Wf [h, x]); gates read s alone."""
    body = "[conv_lstm]\noutput=2\nsize=1\nbottleneck=1\nshortcut=1\n"
    model = random_model(network(body, (2, 1, 1)))
    x = pictures(1, (2, 1, 1))
    arrays = {k: np.asarray(v, np.float64) for k, v in model.arrays.items()}

    def conv(name, v):
        return arrays[f"0.{name}.weights"][:, :, 0, 0] @ v + arrays[f"0.{name}.biases"]

    def sigmoid(v):
        return 1 / (1 + np.exp(-v))

    s = np.tanh(conv("wf", np.concatenate([np.zeros(2), x[0, :, 0, 0]])))
    cell = sigmoid(conv("ui", s)) * np.tanh(conv("ug", s))
    expected = sigmoid(conv("uo", s)) * np.tanh(cell)
    expected[:1] += s[:1]
    (out,) = dc.trace(model, x[0])
    np.testing.assert_allclose(out[:, 0, 0], expected, rtol=1e-5)


def test_safetensors_hold_the_whole_model(model, tmp_path):
    from darkconv.backends.torch import read_safetensors, write_safetensors

    path = tmp_path / "m.safetensors"
    write_safetensors(dc.to_torch(model), path)
    back = read_safetensors(path)
    for folder, saved in (("a", model), ("b", back)):
        (tmp_path / folder).mkdir()
        dc.save(saved, tmp_path / folder / "m.cfg", tmp_path / folder / "m.weights")
    for name in ("m.cfg", "m.weights"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert back.names == model.names
    assert back.dialect == model.dialect


@pytest.mark.parametrize("damage", [b"", b"\x10\0\0\0\0\0\0\0{broken", bytes(64)])
def test_damaged_safetensors_are_refused(tmp_path, damage):
    from darkconv.backends.torch import read_safetensors

    path = tmp_path / "m.safetensors"
    path.write_bytes(damage)
    with pytest.raises(DarkconvError, match="m.safetensors: cannot be read as safetensors"):
        read_safetensors(path)


def test_foreign_safetensors_are_refused(tmp_path):
    from safetensors.numpy import save_file

    from darkconv.backends.torch import read_safetensors

    save_file({"a": np.zeros(1, np.float32)}, tmp_path / "m.safetensors")
    with pytest.raises(DarkconvError, match="darkconv did not write it"):
        read_safetensors(tmp_path / "m.safetensors")


def test_exported_program_takes_any_batch(model, tmp_path):
    from darkconv.backends.torch import write_program

    module = dc.to_torch(model)
    write_program(module, tmp_path / "m.pt2")
    program = torch.export.load(tmp_path / "m.pt2").module()
    for count in (1, 3):
        x = torch.from_numpy(pictures(count))
        torch.testing.assert_close(program(x)[0], module(x)[0])


def test_exported_program_gives_what_enters_the_heads(model, tmp_path):
    from darkconv.backends.torch import write_program

    module = dc.to_torch(model)
    write_program(module, tmp_path / "m.pt2", head="logits")
    told = {"darkconv.json": ""}
    program = torch.export.load(tmp_path / "m.pt2", extra_files=told).module()
    assert json.loads(told["darkconv.json"])["head"] == "logits"
    entering = [layer.sources[0] for layer in model.network.heads]
    for count in (1, 3):
        x = torch.from_numpy(pictures(count))
        found, values = program(x), module.trace(x)
        assert len(found) == len(entering)
        for one, index in zip(found, entering, strict=True):
            torch.testing.assert_close(one, values[index])


def test_a_program_has_no_logits_without_a_head(tmp_path):
    body = "[convolutional]\nfilters=4\nactivation=leaky\n"
    with pytest.raises(DarkconvError, match="has no head, whose inputs head=logits is about"):
        dc.export(random_model(network(body)), tmp_path / "m.pt2", head="logits")
    with pytest.raises(DarkconvError, match="head of .pt2 files: expected raw, logits, found"):
        dc.export(random_model(network(body)), tmp_path / "m.pt2", head="boxes")


@pytest.mark.parametrize("opset", [11, 13, 18, 21])
def test_onnx_graphs_are_clean_and_alike_in_every_opset(model, opset):
    import onnxruntime

    proto = dc.to_onnx(model, opset=opset)
    onnx.checker.check_model(proto, full_check=True)
    assert [o.name for o in proto.graph.output] == ["006_yolo"]
    assert {n.name.split("/")[0] for n in proto.graph.node} >= {"000_convolutional", "006_yolo"}
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    x = pictures(3)
    (head,) = session.run(None, {"input": x})
    np.testing.assert_allclose(
        head, dc.to_torch(model)(torch.from_numpy(x))[0], rtol=1e-4, atol=1e-5
    )


def test_onnx_output_shapes_are_stated(model):
    (output,) = dc.to_onnx(model).graph.output
    dims = [d.dim_param or d.dim_value for d in output.type.tensor_type.shape.dim]
    assert dims == ["batch", 14, 8, 12]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "foam"}, "expected .*raw.*, found .*foam"),
        ({"opset": 9}, "expected 11 or later"),
    ],
)
def test_unknown_onnx_options_are_refused(model, options, message):
    with pytest.raises(DarkconvError, match=message):
        dc.to_onnx(model, **options)


def test_same_model_gives_the_same_onnx_file(model):
    first, second = (dc.to_onnx(model).SerializeToString() for _ in range(2))
    assert first == second


def test_replaced_arrays_make_a_new_model(model):
    changed = dc.replace_arrays(model, {"5.biases": np.zeros(14)})
    assert (changed.arrays["5.biases"] == 0).all()
    assert (model.arrays["5.biases"] != 0).any()
    assert changed.arrays["5.biases"].dtype == np.float32
    with pytest.raises(DarkconvError, match="no array '9.biases'"):
        dc.replace_arrays(model, {"9.biases": np.zeros(1)})
    with pytest.raises(DarkconvError, match=r"5.biases: expected float32 \(14,\), found"):
        dc.replace_arrays(model, {"5.biases": np.zeros(3)})


def test_model_of_a_cfg_alone_runs(model):
    traced = dc.trace(initial_model(model.network), pictures(1)[0])
    assert all(np.isfinite(values).all() for values in traced)


def section_types(folder):
    return frozenset(re.findall(r"^\[.*\]", (folder / "net.cfg").read_text(), re.MULTILINE))


FOLDERS = {section_types(folder): folder for folder in MICRO}.values()
"""A network for each choice of layer types."""


@pytest.fixture(params=[*CASES, *FOLDERS], ids=lambda case: case.name)
def any_layer(request):
    """A small model; among them every layer type is."""
    case = request.param
    if case in MICRO:
        return micro_model(case)[0]
    return random_model(network(case.body, case.shape, case.dialect))


def test_a_module_of_any_layer_is_saved_whole_and_copied(any_layer):
    module = dc.to_torch(any_layer)
    file = io.BytesIO()
    torch.save(copy.deepcopy(module), file)
    other = torch.load(io.BytesIO(file.getvalue()), weights_only=False)
    x = torch.rand(2, *any_layer.network.input_shape)
    for ours, theirs in zip(other.trace(x), module.trace(x), strict=True):
        assert torch.equal(ours, theirs)


def test_any_layer_is_computed_as_detection_does_it(any_layer):
    x = np.random.default_rng(0).random((2, *any_layer.network.input_shape), np.float32)
    every = range(len(any_layer.network.layers))
    run = spoke("torch").make_runner(any_layer, every)
    for ours, traced in zip(run(x), dc.trace(any_layer, x), strict=True):
        assert ours.reshape(traced.shape) == pytest.approx(traced, rel=1e-4, abs=1e-5)
