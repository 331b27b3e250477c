"""What strict readers of ONNX ask of a graph, in every small network, head and form."""

import contextlib
import itertools
import logging

import numpy as np
import pytest

import darkconv as dc
from darkconv.backends.choices import BGR
from darkconv.backends.layouts import LAYOUTS, SPLIT
from darkconv.boxes import as_corners
from darkconv.core.dialect import ALEXEYAB
from darkconv.core.network import build_network
from darkconv.darknet.cfg import parse_cfg
from darkconv.detection.decode import decode
from darkconv.errors import DarkconvError
from networks import MICRO, network, random_model
from reference.collection import Case

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

SCALARS = {"Range": (0, 1, 2), "Pad": (2,), "Clip": (1, 2), "OneHot": (1,), "CumSum": (1,)}
"""Inputs that have no axis, by operator: onnx.checker does not look at them."""
HEADS = [
    {"head": "raw"},
    {"head": "logits"},
    *({"head": layout.head, "layout": layout.name} for layout in LAYOUTS),
]
QUICK = onnxruntime.SessionOptions()
QUICK.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
QUICK.intra_op_num_threads = 1
AXES = ("none", "batch", "size", "batch,size")
FORMS = [{"dynamic": axes} for axes in AXES] + [{"opset": 11}, {"fp16": True}]
FORMS_OF_LAYOUTS = [{"dynamic": "none"}, {"dynamic": "batch,size", "opset": 11}, {"fp16": True}]


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "darkconv")


@pytest.fixture(scope="module", params=MICRO, ids=lambda folder: folder.name)
def model(request):
    return Case(request.param, request.param / "net.weights").model


def protos(model):
    """Every graph that the model has."""
    for head in HEADS:
        for form in FORMS if head.get("layout", SPLIT) == SPLIT else FORMS_OF_LAYOUTS:
            proto = None
            with contextlib.suppress(DarkconvError):  # of a head or an axis that it has not
                proto = dc.to_onnx(model, **head, **form)
            if proto:
                yield proto


def shapes(graph):
    """Lengths of the axes of everything that is known, by name."""
    values = (*graph.value_info, *graph.input, *graph.output)
    known = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in values
        if value.type.tensor_type.HasField("shape")
    }
    return known | {array.name: list(array.dims) for array in graph.initializer}


def test_scalars_are_scalars_and_inference_is_strict(model):
    count = 0
    for proto in protos(model):
        onnx.checker.check_model(proto, full_check=True)
        found = onnx.shape_inference.infer_shapes(
            proto, check_type=True, strict_mode=True, data_prop=True
        )
        known = shapes(found.graph)
        for node in found.graph.node:
            for place in SCALARS.get(node.op_type, ()):
                if place < len(node.input) and node.input[place]:
                    assert known[node.input[place]] == [], (node.name, place)
        count += 1
    assert count


def test_no_inner_value_is_held_to_a_symbol(model):
    """A tool that fixes the input's shape would find `batch` inside to contradict it."""
    count = 0
    for proto in protos(model):
        assert not proto.graph.value_info
        assert all(value.type.tensor_type.HasField("shape") for value in proto.graph.output)
        count += 1
    assert count


CONV = "[convolutional]\nfilters={n}\nsize=3\npad=1\nactivation=leaky\n"
BODIES = {
    "yolo": CONV.format(n=16) + "[yolo]\nclasses=3\nnum=2\nanchors=2,3,4,1\n",
    "region": CONV.format(n=16) + "[region]\nclasses=3\nnum=2\nanchors=2,3,4,1\nsoftmax=1\n",
    "detection": "[connected]\noutput=117\nactivation=logistic\n"
    "[detection]\nclasses=3\nnum=2\ncoords=4\nside=3\n",
    "softmax": CONV.format(n=5) + "[avgpool]\n[softmax]\n",
    "none": CONV.format(n=5),
}
INPUTS = {
    "float32-nchw": (1, 3, 4),
    "float32-nhwc": (1, 3, 4),
    "uint8-nhwc": (1, 3, 4),
    "uint8-nhwc-bgr": (3, 4),
}
"""Kinds of input, and the channels of networks that they have a meaning for."""


def fed(kind, channels):
    """What goes in, and what the network makes of it: two pictures."""
    generator = np.random.default_rng(3)
    if kind.startswith("float32"):
        x = generator.random((2, channels, 6, 10), np.float32)
        return x.transpose(0, 2, 3, 1) if kind.endswith("nhwc") else x, x
    levels = generator.integers(0, 256, (2, 6, 10, channels), np.uint8)
    rgb = levels[..., BGR.get(channels, [0])] if kind.endswith("bgr") else levels
    return levels, rgb.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)


def expected_outputs(model, head, x):
    """What a graph has to give for one picture, but for suppression."""
    layers = dc.trace(model, x)
    if head == "logits":
        return [layers[layer.sources[0]] for layer in model.network.heads]
    if head == "raw" or model.network.layers[-1].type == "softmax":
        return [layers[index] for index in model.network.outputs]
    heads = [layers[layer.index][0] for layer in model.network.heads]
    found = decode(model.network, heads, threshold=0)
    return [as_corners(found.boxes)[None], found.scores[None]]


def refusal(body, channels, kind, head, axes):
    """What is said of a combination that has no meaning, None if it has one."""
    if channels not in INPUTS[kind]:
        return f"input {kind}: expected a network"
    if "size" in axes and body == "detection":
        return "cannot be free: its weights fit one size"
    if head == "logits":
        return "has no head" if body == "none" else None
    if (body == "none" and head != "raw") or (body == "softmax" and head == "nms"):
        return "predicts no boxes"
    return None


def check_graph(model, head, proto, levels, x):
    """The graph runs, and gives for the last picture what the model gives."""
    free = shapes(proto.graph)["input"][0] == "batch"
    session = onnxruntime.InferenceSession(proto.SerializeToString(), QUICK)
    for count in (1, 2) if free else (1,):
        found = session.run(None, {"input": levels[-count:]})
        assert all(len(value) == count for value in found)
        expected = expected_outputs(model, head, x[-1:]) if head != "nms" else []
        for one, right in zip(found, expected, strict=False):
            last = one[-1:].reshape(right.shape)
            np.testing.assert_allclose(last, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("kind", INPUTS)
def test_every_input_head_and_axes_make_a_graph_that_runs_or_are_refused(body, channels, kind):
    model = random_model(network(BODIES[body], (channels, 6, 10)))
    levels, x = fed(kind, channels)
    for head, axes in itertools.product(("raw", "logits", "boxes", "nms"), AXES):
        options = {"head": head, "dynamic": axes, "input": kind}
        message = refusal(body, channels, kind, head, axes)
        if message is None:
            check_graph(model, head, dc.to_onnx(model, **options), levels, x)
        else:
            with pytest.raises(DarkconvError, match=message):
                dc.to_onnx(model, **options)


def test_levels_of_grey_networks_have_no_order():
    model = random_model(network(CONV.format(n=2), (1, 6, 10)))
    with pytest.raises(DarkconvError, match="4 channels.*found 1x6x10\n  hint: uint8-nhwc takes"):
        dc.to_onnx(model, input="uint8-nhwc-bgr")


def test_a_vector_has_no_size_to_be_free():
    config = parse_cfg("[net]\ninputs=5\n[connected]\noutput=2\n", file="v.cfg")
    vector = random_model(build_network(config, ALEXEYAB))
    dc.to_onnx(vector, dynamic="batch")
    with pytest.raises(DarkconvError, match="dynamic size: expected a network for pictures"):
        dc.to_onnx(vector, dynamic="batch,size")
    for kind in ("float32-nhwc", "uint8-nhwc"):
        with pytest.raises(DarkconvError, match=f"{kind}: expected a network for pictures"):
            dc.to_onnx(vector, input=kind)


@pytest.mark.parametrize(
    ("dynamic", "axes"),
    [
        ("none", [1, 3, 6, 10]),
        (("none",), [1, 3, 6, 10]),
        ((), [1, 3, 6, 10]),
        ("batch", ["batch", 3, 6, 10]),
        ("size", [1, 3, "height", "width"]),
        (("batch", "size"), ["batch", 3, "height", "width"]),
        (("batch,size",), ["batch", 3, "height", "width"]),
        (iter(["batch"]), ["batch", 3, 6, 10]),
    ],
)
def test_dynamic_takes_the_words_of_the_command_line(dynamic, axes):
    model = random_model(network(CONV.format(n=2), (3, 6, 10)))
    assert shapes(dc.to_onnx(model, dynamic=dynamic).graph)["input"] == axes


@pytest.mark.parametrize("dynamic", ["none,batch", ("none", "size"), "any", ("batch", 3)])
def test_other_words_of_dynamic_are_refused(dynamic):
    model = random_model(network(CONV.format(n=2), (3, 6, 10)))
    with pytest.raises(DarkconvError, match="dynamic: expected"):
        dc.to_onnx(model, dynamic=dynamic)
