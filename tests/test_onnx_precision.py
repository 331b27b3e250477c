"""ONNX files in half precision: where it is used, what it costs, what it cannot hold."""

import logging
from pathlib import Path

import numpy as np
import pytest

import darkconv as dc
from darkconv.errors import UnsupportedError
from networks import network, random_model
from reference.collection import Case, relative_error

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

FOLDERS = sorted((Path(__file__).parent / "data" / "micro").iterdir())
FORMS = {"folded": {}, "opset 11": {"opset": 11, "fold": False}, "opset 23": {"opset": 23}}
ERROR = 1e-2  # relative L2 of a layer: float16 keeps 11 bits, an error of 5e-4 per rounding
FLOAT, FLOAT16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16
CONV = "[convolutional]\nfilters={n}\nsize=3\npad=1\nbatch_normalize=1\nactivation={act}\n"
HEAD = "[convolutional]\nfilters=16\nactivation=linear\n[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\n"
BODY = CONV.format(n=4, act="leaky") + CONV.format(n=4, act="mish") + "[shortcut]\nfrom=0\n" + HEAD
SHAPE = (3, 8, 12)


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def case(request):
    return Case(request.param, request.param / "net.weights")


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "darkconv")


def raw_steps(case):
    """Inputs of the network for successive calls."""
    shape = case.model.network.input_shape
    each = tuple(shape) if shape.is_map else (shape.size,)
    return [
        case.expected[f"input_step{k}" if k else "input"].reshape(-1, *each)
        for k in range(case.layout.get("steps", 1))
    ]


def outputs_of(proto, inputs):
    """Outputs of successive calls with kept state."""
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    names = [value.name for value in session.get_outputs()]
    state = {
        value.name: np.zeros([len(inputs[0]), *value.shape[1:]], np.float32)
        for value in session.get_inputs()
        if value.name.endswith("_in")
    }
    for x in inputs:
        values = dict(zip(names, session.run(names, {"input": x, **state}), strict=True))
        state = {name: values.pop(name.removesuffix("in") + "out") for name in state}
        yield list(values.values())


def kinds(values):
    return {value.type.tensor_type.elem_type for value in values}


@pytest.mark.parametrize("form", FORMS)
def test_every_layer_is_valid_and_near_in_half_precision(case, form):
    """Layers that decide by a sign, as xnor does, may decide otherwise: they only have to run."""
    proto = dc.to_onnx(case.model, fp16=True, **FORMS[form])
    onnx.checker.check_model(proto, full_check=True)
    onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    assert kinds([*proto.graph.input, *proto.graph.output]) == {FLOAT}
    inputs = raw_steps(case)
    pairs = zip(outputs_of(dc.to_onnx(case.model), inputs), outputs_of(proto, inputs), strict=True)
    has_signs = any(getattr(layer.spec, "xnor", 0) for layer in case.model.network.layers)
    for expected, found in pairs:
        for one, other in zip(expected, found, strict=True):
            assert one.shape == other.shape
            assert has_signs or relative_error(other, one) <= ERROR


def test_weights_are_half_and_heads_are_not():
    model = random_model(network(BODY, SHAPE))
    proto = dc.to_onnx(model, head="nms", fp16=True)
    found = {i.name: i.data_type for i in proto.graph.initializer}
    assert all(found[f"{i:03d}_convolutional/weights"] == FLOAT16 for i in (0, 1, 3))
    behind = ("004_yolo", "heads", "nms")
    assert {kind for name, kind in found.items() if name.startswith(behind)} <= {FLOAT, 7, 6}
    casts = [node.name for node in proto.graph.node if node.op_type == "Cast"]
    assert casts[:2] == ["input/Cast", "003_convolutional/Cast"]


def test_the_first_convolutions_of_a_large_network_stay_float32():
    """They subtract large values from each other."""
    from darkconv.layers.precision import float_layers

    for count, first in ((18, 0), (19, 1), (40, 2), (200, 3)):
        net = network(CONV.format(n=2, act="leaky") * count + HEAD, SHAPE)
        assert float_layers(net) == {*range(first), count + 1}
    proto = dc.to_onnx(random_model(net), fp16=True)
    found = {i.name: i.data_type for i in proto.graph.initializer}
    names = [f"{i:03d}_convolutional/weights" for i in range(5)]
    assert [found[name] for name in names] == [FLOAT] * 3 + [FLOAT16] * 2


def test_the_file_is_half_as_large():
    model = random_model(network(CONV.format(n=256, act="leaky") * 2 + HEAD, SHAPE))
    whole, half = (dc.to_onnx(model, fp16=fp16).ByteSize() for fp16 in (False, True))
    assert half < 0.52 * whole


def test_true_half_arithmetic_gives_the_same():
    """onnx's own evaluator rounds after every operator, where a CPU's runtime may not."""
    from onnx.reference import ReferenceEvaluator

    model = random_model(network(BODY, SHAPE))
    x = np.random.default_rng(1).random((1, *SHAPE), np.float32)
    expected = ReferenceEvaluator(dc.to_onnx(model)).run(None, {"input": x})
    found = ReferenceEvaluator(dc.to_onnx(model, fp16=True)).run(None, {"input": x})
    for one, other in zip(expected, found, strict=True):
        assert other.dtype == np.float32
        assert 1e-5 < relative_error(other, one) <= ERROR


@pytest.mark.parametrize("kind", ["uint8-nhwc", "uint8-nhwc-bgr"])
@pytest.mark.parametrize("dynamic", ["batch", "batch,size"])
@pytest.mark.parametrize("head", ["raw", "boxes", "nms"])
def test_every_kind_of_head_and_input_goes_with_it(kind, dynamic, head):
    model = random_model(network(BODY, SHAPE))
    options = {"head": head, "input": kind, "dynamic": dynamic}
    x = np.random.default_rng(1).integers(0, 256, (2, *SHAPE[1:], 3), np.uint8)
    results = []
    for fp16 in (False, True):
        proto = dc.to_onnx(model, fp16=fp16, **options)
        onnx.checker.check_model(proto, full_check=True)
        session = onnxruntime.InferenceSession(proto.SerializeToString())
        results.append(session.run(None, {"input": x}))
    for one, other in zip(*results, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        if head != "nms":
            assert relative_error(other, one) <= ERROR


def test_a_layer_that_ends_the_network_leaves_in_float32():
    model = random_model(network(CONV.format(n=4, act="relu") * 2, SHAPE))
    proto = dc.to_onnx(model, fp16=True)
    (output,) = proto.graph.output
    assert (output.name, output.type.tensor_type.elem_type) == ("001_convolutional", FLOAT)
    names = [name for node in proto.graph.node for name in node.output]
    assert len(names) == len(set(names))


def test_a_value_that_float16_cannot_hold_is_named():
    model = random_model(network(BODY, SHAPE))
    large = model.arrays["1.scales"] * np.float32(1e6)
    with pytest.raises(UnsupportedError) as caught:
        dc.to_onnx(dc.replace_arrays(model, {"1.scales": large}), fp16=True)
    assert caught.value.where.layer == 1
    assert "layer 1 [convolutional]: weights cannot be in half precision" in str(caught.value)
    assert "expected values within +-65504, found" in str(caught.value)


def test_values_that_vanish_are_told(caplog):
    model = random_model(network(BODY, SHAPE))
    tiny = model.arrays["3.weights"] * np.float32(1e-8)
    with caplog.at_level(logging.WARNING, "darkconv"):
        dc.to_onnx(dc.replace_arrays(model, {"3.weights": tiny}), fp16=True)
    (record,) = caplog.records
    assert "layer 3 [convolutional]: weights are too small for half precision" in record.message


def test_an_unfolded_norm_keeps_its_variance():
    """The original's divisor puts 1e-12 in place of a variance of zero."""
    model = random_model(network(BODY, SHAPE, "pjreddie"))
    variance = model.arrays["1.rolling_variance"].copy()
    variance[0] = 1e-9
    model = dc.replace_arrays(model, {"1.rolling_variance": variance})
    x = np.random.default_rng(1).random((1, *SHAPE), np.float32)
    with_norm = dc.to_onnx(model, fp16=True, fold=False)
    found = onnxruntime.InferenceSession(with_norm.SerializeToString()).run(None, {"input": x})
    assert all(np.isfinite(value).all() for value in found)
