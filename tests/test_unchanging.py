"""A Model never changes, whatever is done to what came from it or went into it."""

import copy
import io
import pickle
from dataclasses import replace

import numpy as np
import pytest

import darkconv as dc
from darkconv.core.model import Header, InitialArrays, Model
from darkconv.core.unchanging import FileMap, is_frozen, owner_of
from networks import network, random_model

BODY = """
[convolutional]
filters=6
size=3
stride=2
pad=1
batch_normalize=1
activation=leaky

[convolutional]
filters=8
size=3
pad=1
activation=mish

[local]
filters=2
size=1
activation=swish

[connected]
output=5
activation=linear

[softmax]
"""
SHAPE = (3, 96, 96)  # so large that the first weights are not copied for another reason


@pytest.fixture
def files(tmp_path):
    """A cfg and its weights."""
    cfg, weights = tmp_path / "net.cfg", tmp_path / "net.weights"
    dc.save(random_model(network(BODY, SHAPE)), cfg, weights)
    return cfg, weights


def mapped(files):
    return dc.load(*files)


def partly_mapped(files):
    return dc.replace_arrays(dc.load(*files), {"0.biases": np.ones(6)})


def pruned(files):
    model = dc.load(*files)
    return dc.prune(model, dc.plan(model, score="l1", keep=0.5, min_keep=0, multiple=1))


def in_memory(files):
    return dc.load(*files).in_memory()


def initial(files):
    return dc.load(files[0])


def cut_off(files):
    cfg, weights = files
    model = dc.load(cfg, weights)
    first = model.network.keyed_slots()
    count = sum(slot.size for _, layer, slot in first if layer.index < 1)
    weights.write_bytes(weights.read_bytes()[: 20 + 4 * count])
    return dc.load(cfg, weights, cutoff=1)


def made_of_arrays(files):
    model = dc.load(*files)
    return Model(model.network, {k: np.array(a) for k, a in model.arrays.items()}, model.header)


def folded(files):
    from darkconv.surgery.folding import fold_batchnorm

    return fold_batchnorm(dc.load(*files))


def copied(files):
    return copy.deepcopy(dc.load(*files))


def unpickled(files):
    return pickle.loads(pickle.dumps(dc.load(*files)))


def unpickled_initial(files):
    model = dc.load(files[0])
    assert model.arrays["0.weights"].size
    return pickle.loads(pickle.dumps(model))


def safetensors(files):
    torch = pytest.importorskip("darkconv.backends.torch")
    path = files[0].with_suffix(".safetensors")
    torch.write_safetensors(torch.to_torch(dc.load(*files)), path)
    return torch.read_safetensors(path)


def from_torch(files):
    pytest.importorskip("torch")
    return dc.from_torch(dc.to_torch(dc.load(*files)))


MODELS = [
    mapped, partly_mapped, pruned, in_memory, initial, cut_off, made_of_arrays, folded, copied,
    unpickled, unpickled_initial, safetensors, from_torch,
]  # fmt: skip


@pytest.fixture(params=MODELS, ids=lambda make: make.__name__)
def model(request, files):
    return request.param(files)


def contents(model):
    return {key: array.tobytes() for key, array in model.arrays.items()}


def test_arrays_can_be_neither_written_to_nor_exchanged(model):
    before = contents(model)
    for key, array in model.arrays.items():
        assert is_frozen(array), key
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 7
        with pytest.raises(ValueError, match="read-only"):
            array.ravel()[0] = 7
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.view().flags.writeable = True
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.setflags(write=True)
        with pytest.raises(TypeError):
            model.arrays[key] = array + 1
        with pytest.raises(TypeError):
            del model.arrays[key]
    assert contents(model) == before


def test_names_given_as_a_list_do_not_change_with_it():
    names = ["cat", "dog"]
    model = random_model(network(BODY, SHAPE))
    named = replace(model, names=names)
    names.append("fox")
    assert named.names == ("cat", "dog")


# ---- what is done to modules


def load_state(module, torch):
    module.load_state_dict({k: torch.full_like(v, 7) for k, v in module.state_dict().items()})


def add_in_place(module, torch):
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(7)


def write_data(module, torch):
    for parameter in module.parameters():
        parameter.data[...] = 7


def write_detached(module, torch):
    for parameter in module.parameters():
        parameter.detach().zero_()


def write_numpy(module, torch):
    for parameter in module.parameters():
        parameter.numpy()[...] = 7


def write_state(module, torch):
    for value in module.state_dict().values():
        value.fill_(7)


def write_storage(module, torch):
    for parameter in module.parameters():
        parameter.untyped_storage().fill_(7)


def write_buffers(module, torch):
    for buffer in module.buffers():
        buffer.fill_(7)


def write_by_dlpack(module, torch):
    for parameter in module.parameters():
        torch.from_dlpack(parameter.detach()).fill_(7)


def initialise(module, torch):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)


def write_vector(module, torch):
    count = sum(parameter.numel() for parameter in module.parameters())
    torch.nn.utils.vector_to_parameters(torch.ones(count), module.parameters())
    with torch.no_grad():
        next(module.parameters()).mul_(2)


def write_many(module, torch):
    with torch.no_grad():
        torch._foreach_mul_(list(module.parameters()), 3.0)


def convert_there_and_back(module, torch):
    module.half().float()
    add_in_place(module, torch)


def convert_to_itself(module, torch):
    module.float().cpu().to("cpu", torch.float32)
    add_in_place(module, torch)


def share_with_processes(module, torch):
    module.share_memory()
    add_in_place(module, torch)


def step_in_evaluation(module, torch):
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    step(module, torch)


def step_in_training(module, torch):
    step(module.train(), torch)


def train_and_write(module, torch):
    add_in_place(module.train().eval(), torch)


def step(module, torch):
    optimizer = torch.optim.SGD(module.parameters(), lr=10.0)
    shape = module.network.input_shape
    sum(value.sum() for value in module.trace(torch.ones(2, *shape))).backward()
    optimizer.step()


WAYS = [
    load_state, add_in_place, write_data, write_detached, write_numpy, write_state, write_storage,
    write_buffers, write_by_dlpack, initialise, write_vector, write_many, convert_there_and_back,
    convert_to_itself, share_with_processes, step_in_evaluation, step_in_training, train_and_write,
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_no_way_to_write_to_a_module_reaches_the_model(way, model, tmp_path):
    torch = pytest.importorskip("torch")
    before = contents(model)
    module, other = dc.to_torch(model), dc.to_torch(model)
    way(module, torch)
    is_changed = contents(dc.from_torch(module)) != before
    assert is_changed or (way is write_buffers and not list(module.buffers()))
    assert contents(model) == before
    assert contents(dc.from_torch(other)) == before
    assert contents(dc.from_torch(dc.to_torch(model))) == before
    dc.save(replace(model, initial_layers=()), tmp_path / "o.cfg", tmp_path / "o.weights")
    assert contents(dc.load(tmp_path / "o.cfg", tmp_path / "o.weights")) == before


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_no_way_to_write_to_a_module_reaches_the_model_that_was_made_of_it(way, model):
    torch = pytest.importorskip("torch")
    module = dc.to_torch(model)
    taken = dc.from_torch(module)
    before = contents(taken)
    way(module, torch)
    assert contents(taken) == before == contents(model)


def test_a_module_maps_the_file_and_copies_nothing(files):
    torch = pytest.importorskip("torch")
    model = dc.load(*files)
    large = "0.weights"
    assert isinstance(owner_of(model.arrays[large]), FileMap)
    first, second = (dc.to_torch(model).layers[0].conv.weight for _ in range(2))
    addresses = {first.data_ptr(), second.data_ptr(), model.arrays[large].ctypes.data}
    assert len(addresses) == 3
    for weight in (first, second):
        assert not weight.untyped_storage().resizable(), "torch has no memory of its own for it"
        assert torch.equal(weight, torch.from_numpy(model.arrays[large].copy()))


def test_a_module_outlives_its_model_and_its_file(files):
    pytest.importorskip("torch")
    model = dc.load(*files)
    before = contents(model)
    module = dc.to_torch(model)
    del model
    files[1].unlink()
    assert contents(dc.from_torch(module)) == before


def test_arrays_are_copied_where_a_file_cannot_be_mapped_again(files, monkeypatch):
    pytest.importorskip("torch")
    model = dc.load(*files)
    before = contents(model)

    def refuse(handle):
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(FileMap, "of", refuse)
    module = dc.to_torch(model)
    add_in_place(module, pytest.importorskip("torch"))
    assert contents(model) == before


# ---- what goes into a model


@pytest.mark.parametrize("kind", ["float32", "float64", "view", "read-only view", "tensor", "map"])
def test_a_replaced_array_does_not_change_with_the_user_s(kind, files, tmp_path):
    model = dc.load(*files)
    given = np.ones(6, np.float64 if kind == "float64" else np.float32)
    values = given
    if kind == "tensor":
        values = pytest.importorskip("torch").from_numpy(given)
    elif kind == "map":
        given.tofile(tmp_path / "values")
        given = np.memmap(tmp_path / "values", np.float32, "r+")
        values = np.memmap(tmp_path / "values", np.float32, "r")
    elif "view" in kind:
        values = given[:]
        values.flags.writeable = kind == "view"
    changed = dc.replace_arrays(model, {"0.biases": values})
    given[...] = 7
    assert (changed.arrays["0.biases"] == 1).all()


def test_a_replaced_array_leaves_the_user_s_writable(files):
    given = np.ones(6, np.float32)
    dc.replace_arrays(dc.load(*files), {"0.biases": given})
    given[0] = 2


def test_a_model_does_not_change_with_the_arrays_that_it_was_made_of(files):
    model = dc.load(*files)
    given = {key: np.array(array) for key, array in model.arrays.items()}
    made = Model(model.network, given, model.header)
    before = contents(made)
    given["0.weights"][...] = 7
    given["0.biases"] = np.zeros(6, np.float32)
    assert contents(made) == before


def test_initial_arrays_do_not_change_with_the_ones_that_they_were_given():
    net = network(BODY, SHAPE)
    given = np.ones(6, np.float32)
    model = Model(net, InitialArrays(net, {"0.biases": given}), Header.new(net.dialect))
    given[...] = 7
    assert (model.arrays["0.biases"] == 1).all()


def test_what_cannot_change_is_not_copied_again(files):
    model = dc.load(*files)
    again = dc.replace_arrays(model, {"0.biases": model.arrays["1.biases"][:6]})
    assert again.arrays["0.weights"] is model.arrays["0.weights"]
    assert np.shares_memory(again.arrays["0.biases"], model.arrays["1.biases"])
    assert copy.deepcopy(model).arrays["0.weights"] is model.arrays["0.weights"]


# ---- other frameworks


def test_no_way_to_write_to_a_keras_model_reaches_the_model(model):
    keras = pytest.importorskip("keras")
    if "local" in {layer.type for layer in model.network.layers} and not model.network.heads:
        before = contents(model)
        kmodel = dc.to_keras(model)
        taken = dc.from_keras(kmodel)
        kmodel.compile(keras.optimizers.SGD(10.0), "mse")
        x = np.ones((2, 96, 96, 3), np.float32)
        kmodel.train_on_batch(x, np.zeros(kmodel.output_shape[1:], np.float32)[None].repeat(2, 0))
        for weight in kmodel.weights:
            weight.assign(keras.ops.full(weight.shape, 7.0))
        assert contents(model) == before == contents(taken)
        assert contents(dc.from_keras(kmodel)) != before


def test_no_way_to_write_to_an_onnx_graph_reaches_the_model(model):
    onnx = pytest.importorskip("onnx")
    before = contents(model)
    proto = dc.to_onnx(model)
    assert proto.graph.initializer
    for initializer in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(initializer)
        if array.flags.writeable:
            array[...] = 0
        initializer.raw_data = bytes(len(initializer.raw_data))
    assert contents(model) == before


ALIASES = (
    "[dropout]\nprobability=0.5\n\n[route]\nlayers=-1\n\n"
    "[convolutional]\nfilters=4\nsize=3\npad=1\nactivation=leaky\n\n"
    "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n\n[dropout]\nprobability=0.5\n\n"
    "[upsample]\nstride=1\n\n[activation]\nactivation=linear\n\n[cost]\n"
)


@pytest.mark.parametrize("backend", ["torch", "onnx", "keras"])
def test_values_of_a_trace_lie_apart(backend):
    pytest.importorskip(backend)
    model = random_model(network(ALIASES, (4, 8, 8)))
    x = np.random.default_rng(0).random((4, 8, 8), np.float32)
    given = x.copy()
    values = [value for step in dc.trace(model, [x, x], backend=backend) for value in step]
    before = [value.copy() for value in values]
    for number, value in enumerate(values):
        value[...] = 100 + number
        assert (x == given).all()
        for other, kept in zip(values[number + 1 :], before[number + 1 :], strict=True):
            assert (other == kept).all()


# ---- modules on their way


def test_a_module_is_saved_whole_and_loaded_again(model):
    torch = pytest.importorskip("torch")
    module = dc.to_torch(model)
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    loaded = torch.load(file, weights_only=False)
    x = torch.ones(1, *model.network.input_shape)
    for ours, theirs in zip(loaded.trace(x), module.trace(x), strict=True):
        assert torch.equal(ours, theirs)
    assert contents(dc.from_torch(copy.deepcopy(loaded))) == contents(model)


@pytest.mark.parametrize("way", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_names_and_header_survive_with_the_module(way, files):
    pytest.importorskip("torch")
    files[0].with_suffix(".names").write_text("cat\ndont_show dog\nfox\n")
    model = dc.load(*files)
    other = dc.from_torch(way(dc.to_torch(model)))
    assert (other.names, other.names.hidden) == (("cat", "dog", "fox"), {1})
    assert (other.header, other.network.config) == (model.header, model.network.config)


def test_a_module_without_values_is_refused(files):
    torch = pytest.importorskip("torch")
    module = dc.to_torch(dc.load(*files)).to("meta")
    with pytest.raises(dc.DarkconvError, match="on the meta device, where tensors have no values"):
        dc.from_torch(module)
    with pytest.raises(dc.DarkconvError, match="on the meta device"):
        pytest.importorskip("darkconv.backends.torch").write_safetensors(module, files[0])
    with pytest.raises(dc.DarkconvError, match="on the meta device"):
        pytest.importorskip("darkconv.backends.torch").write_program(module, files[0])
    with torch.device("meta"):
        built = dc.to_torch(dc.load(*files))
    assert not any(value.is_meta for value in (*built.parameters(), *built.buffers()))


@pytest.mark.parametrize("change", ["prune", "parametrize"])
def test_a_module_whose_weights_are_computed_gives_what_it_computes_with(change, files):
    torch = pytest.importorskip("torch")
    module = dc.to_torch(dc.load(*files))
    conv = module.layers[0].conv
    if change == "prune":
        import torch.nn.utils.prune

        torch.nn.utils.prune.l1_unstructured(conv, "weight", amount=0.5)
    else:
        torch.nn.utils.parametrizations.weight_norm(conv)
        with torch.no_grad():
            conv.parametrizations.weight.original0.mul_(2)
    expected = conv.weight.detach().numpy()
    assert (dc.from_torch(module).arrays["0.weights"] == expected).all()
