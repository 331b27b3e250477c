"""ONNX graphs of every small network, in every form: clean, and with the same numbers."""

import logging
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import darkconv as dc
from darkconv.errors import DarkconvError, UnsupportedError
from networks import network, random_model
from reference.collection import Case, assert_close

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

FOLDERS = sorted((Path(__file__).parent / "data" / "micro").iterdir())
FORMS = {
    "unfolded": {"fold": False},
    "static": {"dynamic": ()},
    "opset 11": {"opset": 11, "fold": False},
    "free size": {"dynamic": "batch,size"},
    "opset 23": {"opset": 23},
}
CONV = "[convolutional]\nfilters={n}\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def case(request):
    return Case(request.param, request.param / "net.weights")


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "darkconv")


def every_output(model, **options):
    """The graph that gives every layer, and the file's bytes."""
    from darkconv.backends.onnx.network import NetworkGraph
    from darkconv.backends.onnx.options import OnnxOptions

    built = NetworkGraph(model, OnnxOptions(**options))
    indices = range(len(model.network.layers))
    built.build(indices)
    return ir.to_proto(built.finish([built.output(index) for index in indices], {}))


def run_steps(proto, inputs):
    """Outputs of successive calls with kept state."""
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    state = {
        value.name: np.zeros([1 if isinstance(n, str) else n for n in value.shape], np.float32)
        for value in session.get_inputs()
        if value.name.endswith("_in")
    }
    names = [value.name for value in session.get_outputs()]
    for x in inputs:
        values = dict(zip(names, session.run(names, {"input": x, **state}), strict=True))
        state = {name: values.pop(name.removesuffix("in") + "out") for name in state}
        yield list(values.values())


def dims(value):
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_has_the_numbers_of_c(case, form):
    model, layout = case.model, case.layout
    try:
        proto = every_output(model, **FORMS[form])
    except UnsupportedError:
        assert form == "free size"
        return
    if layout.get("batch", 1) > 1 and form == "static":
        return
    onnx.checker.check_model(proto, full_check=True)
    steps = range(layout.get("steps", 1))
    shape = model.network.input_shape
    each = tuple(shape) if shape.is_map else (shape.size,)
    inputs = [case.expected[f"input_step{k}" if k else "input"].reshape(-1, *each) for k in steps]
    for step, layers in enumerate(run_steps(proto, inputs)):
        for index, found in enumerate(layers):
            expected = case.expected[f"layer_{index:03d}" + (f"_step{step}" if step else "")]
            assert_close(found.reshape(expected.shape), expected, f"layer {index}")


@pytest.mark.parametrize("form", ["static", "folded", "free size"])
def test_inference_finds_the_shapes_that_are_stated(case, form):
    options = {"folded": {}, **FORMS}[form]
    try:
        proto = every_output(case.model, **options)
    except UnsupportedError:
        return
    stated = {value.name: dims(value) for value in proto.graph.output}
    assert all(stated.values())
    for value in proto.graph.output:
        value.type.tensor_type.ClearField("shape")
    for value in list(proto.graph.value_info):
        proto.graph.value_info.remove(value)
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    for value in inferred.graph.output:
        found = dims(value)
        if found:
            assert len(found) == len(stated[value.name])
            for a, b in zip(found, stated[value.name], strict=True):
                assert a == b or isinstance(a, str) or isinstance(b, str) or not a


def test_nodes_and_tensors_bear_the_names_of_layers():
    model = random_model(network(CONV.format(n=4) + CONV.format(n=2)))
    graph = dc.to_onnx(model, fold=False).graph
    assert [node.name for node in graph.node] == [
        f"{layer}/{kind}"
        for layer in ("000_convolutional", "001_convolutional")
        for kind in ("Conv", "BatchNormalization", "LeakyRelu")
    ]
    assert [node.output[0] for node in graph.node][2::3] == [
        "000_convolutional",
        "001_convolutional",
    ]
    assert {i.name for i in graph.initializer} >= {
        "000_convolutional/weights",
        "000_convolutional/rolling_mean",
        "001_convolutional/scales",
    }


def test_layers_that_no_output_needs_are_left_out():
    body = CONV.format(n=4) + CONV.format(n=2) + "[route]\nlayers=0\n[softmax]\n"
    names = [node.name for node in dc.to_onnx(random_model(network(body))).graph.node]
    assert not any(name.startswith("001") for name in names)


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
def test_unfolded_arrays_are_the_models_own(dialect):
    model = random_model(network(CONV.format(n=4), dialect=dialect))
    proto = dc.to_onnx(model, fold=False)
    found = {i.name.split("/")[1]: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    for name in ("weights", "scales", "biases", "rolling_mean"):
        np.testing.assert_array_equal(found[name], model.arrays[f"0.{name}"])


def test_folding_is_exact_to_a_rounding_of_float32():
    """Tiny variances are where pjreddie's divisor and a folding in float32 would show."""
    model = random_model(network(CONV.format(n=8), dialect="pjreddie"))
    arrays = {k: v.astype(np.float64) for k, v in model.arrays.items()}
    arrays["0.rolling_variance"] *= 1e-12
    model = dc.replace_arrays(model, {"0.rolling_variance": arrays["0.rolling_variance"]})
    variance = model.arrays["0.rolling_variance"].astype(np.float64)
    factor = arrays["0.scales"] / (np.sqrt(variance) + 1e-6)
    proto = dc.to_onnx(model)
    found = {i.name: onnx.numpy_helper.to_array(i) for i in proto.graph.initializer}
    exact = arrays["0.weights"] * factor[:, None, None, None]
    np.testing.assert_array_equal(found["000_convolutional/weights"], exact.astype(np.float32))


@pytest.mark.parametrize(
    ("dynamic", "expected"),
    [
        ((), [1, 3, 8, 8]),
        ("batch", ["batch", 3, 8, 8]),
        (["size"], [1, 3, "height", "width"]),
        ("batch, size", ["batch", 3, "height", "width"]),
    ],
)
def test_free_axes_are_those_asked_for(dynamic, expected):
    graph = dc.to_onnx(random_model(network(CONV.format(n=2))), dynamic=dynamic).graph
    assert dims(graph.input[0]) == expected
    out = dims(graph.output[0])
    assert out[:2] == [expected[0], 2]
    assert out[2:] == (
        expected[2:]
        if expected[2] == 8
        else ["000_convolutional.height", "000_convolutional.width"]
    )


REORG = CONV.format(n=4) + "[reorg]\nstride=2\n[reorg]\nstride=2\nreverse=1\n"
FREE = {
    "reorg": (REORG, "pjreddie"),
    "reorg3d": (CONV.format(n=16) + "[reorg3d]\nstride=2\n[reorg3d]\nstride=2\nreverse=1\n", None),
    "depth": (CONV.format(n=5) + "[maxpool]\nmaxpool_depth=1\nout_channels=2\n", None),
    "region": (CONV.format(n=18) + "[region]\nnum=2\nclasses=4\nsoftmax=1\n", "pjreddie"),
    "cells": (CONV.format(n=18) + "[region]\nnum=2\nclasses=4\nsoftmax=1\n", "alexeyab"),
    "yolo": (CONV.format(n=18) + "[yolo]\nnum=2\nclasses=4\nanchors=1,2,3,4\n", None),
    "gates": (
        CONV.format(n=4) + "[avgpool]\n" + CONV.format(n=4) + "[scale_channels]\nfrom=0\n",
        "alexeyab",
    ),
    "upsample": (CONV.format(n=4) + "[upsample]\n[upsample]\nstride=-2\n", None),
}


@pytest.mark.parametrize("name", FREE)
def test_a_free_size_gives_what_the_size_in_the_cfg_gives(name):
    body, dialect = FREE[name]
    model = random_model(network(body, (3, 8, 8), dialect or "alexeyab"))
    session = onnxruntime.InferenceSession(
        dc.to_onnx(model, dynamic="batch,size").SerializeToString()
    )
    x = np.random.default_rng(0).random((2, 3, 12, 16), np.float32)
    (found,) = session.run(None, {"input": x})
    expected = dc.trace(model, x)[-1]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("[connected]\noutput=4\n", "its weights fit one size"),
        ("[local]\nfilters=2\nsize=3\npad=1\n", "its weights belong to places"),
        ("[crop]\ncrop_height=4\ncrop_width=4\n", "what it cuts away"),
        ("[crnn]\noutput=2\nhidden=2\npad=1\n", "its state has the size"),
    ],
)
def test_layers_that_need_a_fixed_size_say_so(body, reason):
    model = random_model(network(CONV.format(n=3) + body))
    with pytest.raises(UnsupportedError, match=r"layer 1 .*cannot be free: " + reason):
        dc.to_onnx(model, dynamic="size")


def test_a_vector_behind_avgpool_has_no_size():
    body = CONV.format(n=4) + "[avgpool]\n[connected]\noutput=3\n[softmax]\n"
    model = random_model(network(body))
    session = onnxruntime.InferenceSession(dc.to_onnx(model, dynamic="size").SerializeToString())
    x = np.random.default_rng(0).random((1, 3, 20, 12), np.float32)
    expected = dc.trace(model, x)[-1]
    np.testing.assert_allclose(session.run(None, {"input": x})[0], expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["uint8-nhwc", "uint8-nhwc-bgr"])
@pytest.mark.parametrize("dynamic", ["batch", "batch,size"])
def test_levels_go_in_as_they_come(kind, dynamic):
    model = random_model(network(CONV.format(n=4)))
    levels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    proto = dc.to_onnx(model, input=kind, dynamic=dynamic)
    onnx.checker.check_model(proto, full_check=True)
    (found,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, {"input": levels})
    rgb = levels[..., ::-1] if kind.endswith("bgr") else levels
    x = rgb.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    np.testing.assert_allclose(found, dc.trace(model, x)[-1], rtol=1e-5, atol=1e-6)


def test_the_order_of_colours_needs_colours():
    model = random_model(network(CONV.format(n=2), (5, 8, 8)))
    dc.to_onnx(model, input="uint8-nhwc")
    with pytest.raises(DarkconvError, match="of 3 or 4 channels, .* found 5x8x8"):
        dc.to_onnx(model, input="uint8-nhwc-bgr")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"opset": 999}, "or earlier, which this onnx package knows, found 999"),
        ({"input": "rgb"}, "expected 'float32-nchw' or 'float32-nhwc' or .*, found the text 'rgb'"),
        ({"dynamic": "batch,depth"}, "expected batch, size, none, found depth"),
        ({"max_detections": 0}, "expected 1 or more, found 0"),
        ({"threshold": 45}, "threshold: expected 0 to 1, found 45"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(DarkconvError, match=message):
        dc.to_onnx(random_model(network(CONV.format(n=2))), **options)


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("section", ["softmax", "region"])
def test_values_behind_a_short_tree_stay(opset, section):
    from darkconv.core.tree import Tree

    tree = Tree(("a", "b", "c"), (-1, -1, 0))
    options = "num=1\nclasses=5\nsoftmax=1\n" if section == "region" else ""
    body = CONV.format(n=10) + ("[avgpool]\n" if section == "softmax" else "")
    net = network(body + f"[{section}]\ntree=t\n{options}", trees={"t": tree})
    model = random_model(net)
    x = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
    session = onnxruntime.InferenceSession(dc.to_onnx(model, opset=opset).SerializeToString())
    (found,) = session.run(None, {"input": x})
    np.testing.assert_allclose(found, dc.trace(model, x)[-1], rtol=1e-5, atol=1e-6)
