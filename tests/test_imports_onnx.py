"""ONNX files of other exporters become Darknet models, and are run to prove it."""

import numpy as np
import pytest

import darkconv as dc
from darkconv.imports.importing import read_checkpoint
from import_files import YOLO, assert_same, layer_arrays, write_cfg
from networks import network, random_model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

BODY = (
    """
[convolutional]
filters=8
size=3
stride=2
pad=1
batch_normalize=1
activation=leaky

[convolutional]
filters=8
size=3
pad=1
groups=8
batch_normalize=1
activation=leaky

[convolutional]
filters=8
size=3
pad=1
groups=8
batch_normalize=1
activation=leaky
"""
    + YOLO
)


@pytest.fixture
def model():
    return random_model(network(BODY, shape=(3, 16, 16)))


@pytest.fixture
def cfg(model, tmp_path):
    return write_cfg(model, tmp_path / "net.cfg")


def foreign(model, path, **options):
    """A file as another exporter would have it: without darkconv's own metadata."""
    proto = dc.to_onnx(model, **options)
    del proto.metadata_props[:]
    onnx.save(proto, path)
    return path


def demos(model, path):
    """A graph in the names of tensorrt_demos' yolo_to_onnx."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    nodes, arrays, last = [], {}, "000_net"
    for layer, own in layer_arrays(model):
        name, spec = f"{layer.index + 1:03d}_convolutional", layer.spec
        arrays[f"{name}_conv_weights"] = own["weights"]
        inputs = [last, f"{name}_conv_weights"]
        if "scales" not in own:
            arrays[f"{name}_conv_bias"] = own["biases"]
            inputs.append(f"{name}_conv_bias")
        edge = spec.size // 2
        nodes.append(
            helper.make_node("Conv", inputs, [name], name, kernel_shape=[spec.size] * 2,
                             strides=list(spec.strides), pads=[edge] * 4, group=spec.groups)
        )  # fmt: skip
        last = name
        if "scales" in own:
            words = dict(
                zip(
                    ("scale", "bias", "mean", "var"),
                    ("scales", "biases", "rolling_mean", "rolling_variance"),
                    strict=True,
                )
            )
            arrays |= {f"{name}_bn_{word}": own[key] for word, key in words.items()}
            norm = [last, *(f"{name}_bn_{word}" for word in words)]
            nodes.append(helper.make_node("BatchNormalization", norm, [f"{name}_bn"],
                                          f"{name}_bn", epsilon=1e-5))  # fmt: skip
            nodes.append(
                helper.make_node("LeakyRelu", [f"{name}_bn"], [f"{name}_lrelu"], alpha=0.1)
            )
            last = f"{name}_lrelu"
    shapes = (model.network.input_shape, layer.out_shape)
    values = [
        helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1, *shape])
        for n, shape in zip(("000_net", last), shapes, strict=True)
    ]
    tensors = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "net", values[:1], values[1:], tensors)
    opsets = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def test_names_of_tensorrt_demos_come_back_bit_for_bit_and_the_file_is_run(model, cfg, tmp_path):
    done = read_checkpoint(cfg, demos(model, tmp_path / "net.onnx"), dialect="alexeyab")
    assert_same(done.model, model)
    assert done.rule == "names (tensorrt_demos' yolo_to_onnx)"
    assert "the file was run" in done.proof[0]
    assert not done.doubts


def test_a_graph_with_batch_norm_comes_back(model, cfg, tmp_path):
    done = read_checkpoint(cfg, foreign(model, tmp_path / "net.onnx", fold=False))
    assert_same(done.model, model)
    assert not done.doubts


def test_folded_batch_norm_is_taken_and_its_lines_leave_the_cfg(model, cfg, tmp_path):
    done = read_checkpoint(cfg, foreign(model, tmp_path / "net.onnx"))
    text = "".join(line.raw for s in done.model.network.config.sections for line in s.lines)
    assert "batch_normalize" not in text
    assert any("batch norm of 3 layers in their weights already" in note for note in done.notes)
    x = np.random.default_rng(0).random((3, 16, 16), np.float32)
    for found, expected in zip(dc.trace(done.model, x), dc.trace(model, x), strict=True):
        assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)
    dc.save(done.model, tmp_path / "out.cfg", tmp_path / "out.weights")
    again = dc.load(tmp_path / "out.cfg", tmp_path / "out.weights")
    assert_same(again, done.model)


def test_names_that_say_nothing_are_taken_by_order(model, cfg, tmp_path):
    path = foreign(model, tmp_path / "net.onnx", fold=False)
    proto = onnx.load(path)
    new = {tensor.name: f"w{i * 7 % 13}.{i}" for i, tensor in enumerate(proto.graph.initializer)}
    for tensor in proto.graph.initializer:
        tensor.name = new[tensor.name]
    for i, node in enumerate(proto.graph.node):
        node.name = f"node{i}"
        node.input[:] = [new.get(name, name) for name in node.input]
    onnx.save(proto, path)
    done = read_checkpoint(cfg, path)
    assert_same(done.model, model)
    assert done.rule == "order"
    assert any("2 layers have the shapes of others" in note for note in done.notes)


def test_a_file_that_computes_something_else_is_told(model, cfg, tmp_path):
    other = cfg.read_text().replace("activation=leaky", "activation=relu")
    cfg.write_text(other)
    done = read_checkpoint(cfg, foreign(model, tmp_path / "net.onnx", fold=False))
    assert "the file does not compute what the model computes" in done.doubts[0]


@pytest.mark.parametrize("transposed", [0, 1])
def test_matrices_come_back(transposed, tmp_path):
    dense = "[connected]\noutput={}\nactivation=linear\n\n"
    model = random_model(network(dense.format(5) + dense.format(3), shape=(3, 2, 2)))
    helper, arrays, last, nodes = onnx.helper, {}, "flat", []
    nodes.append(helper.make_node("Flatten", ["x"], ["flat"]))
    for layer, own in layer_arrays(model):
        i = layer.index
        arrays |= {
            f"w{i}": own["weights"] if transposed else own["weights"].T,
            f"b{i}": own["biases"],
        }
        made = [last, f"w{i}", f"b{i}"]
        nodes.append(helper.make_node("Gemm", made, [f"y{i}"], transB=transposed))
        last = f"y{i}"
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "net", [info("x", 1, [1, 3, 2, 2])], [info(last, 1, [1, 3])],
        [onnx.numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in arrays.items()],
    )  # fmt: skip
    path = tmp_path / "n.onnx"
    opsets = [helper.make_opsetid("", 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    assert_same(dc.import_weights(write_cfg(model, tmp_path / "n.cfg"), path), model)


# --- What is refused


def test_weights_in_8_bits_are_refused(model, cfg, tmp_path):
    path = foreign(model, tmp_path / "net.onnx", fold=False)
    proto = onnx.load(path)
    proto.graph.node.insert(0, onnx.helper.make_node("DequantizeLinear", ["a", "b"], ["c"]))
    onnx.save(proto, path)
    with pytest.raises(dc.DarkconvError, match="8 bits"):
        dc.import_weights(cfg, path)


def test_arrays_in_files_elsewhere_are_refused(model, cfg, tmp_path):
    path = foreign(model, tmp_path / "net.onnx", fold=False)
    proto = onnx.load(path)
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(dc.DarkconvError):
        dc.import_weights(cfg, path)


@pytest.mark.parametrize("share", [0, 0.2, 0.7, 0.95])
def test_a_file_that_is_cut_short_is_refused(model, cfg, share, tmp_path):
    path = foreign(model, tmp_path / "net.onnx", fold=False)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(dc.DarkconvError):
        dc.import_weights(cfg, path)


def test_another_network_is_refused(model, tmp_path):
    other = random_model(network(BODY.replace("filters=8", "filters=16"), shape=(3, 16, 16)))
    path = foreign(model, tmp_path / "net.onnx", fold=False)
    with pytest.raises(dc.DarkconvError, match=r"layer 0 \[convolutional\]"):
        dc.import_weights(write_cfg(other, tmp_path / "o.cfg"), path)
