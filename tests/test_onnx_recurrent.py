"""Recurrent layers in ONNX: state is an input and an output of the graph."""

import numpy as np
import pytest

import darkconv as dc
from networks import network, random_model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

DENSE = ("[rnn]\noutput=3\nhidden=4\nshortcut=1\n", "[gru]\noutput=3\n", "[lstm]\noutput=3\n")
MAPS = (
    "[crnn]\noutput=4\nhidden=6\npad=1\nbatch_normalize=1\n",
    "[conv_lstm]\noutput=4\npad=1\npeephole=1\nstate_constrain=1\n",
    "[conv_lstm]\noutput=4\npad=1\nbottleneck=1\nshortcut=1\nlstm_activation=relu\n",
    "[conv_lstm]\noutput=3\npad=1\nbottleneck=1\nshortcut=1\n",
)
CONV = "[convolutional]\nfilters={n}\nactivation=leaky\n"
LAYERS = [*DENSE, *(CONV.format(n=3 if "output=3" in body else 4) + body for body in MAPS)]
STATES = {"rnn": "h", "gru": "h", "lstm": "hc", "crnn": "h", "conv_lstm": "hc"}


@pytest.fixture(params=LAYERS, ids=lambda body: body.split("[")[-1].replace("\n", " "))
def model(request):
    return random_model(network(request.param, (2, 4, 6)))


def steps(count, batch):
    stream = np.random.default_rng(0)
    return [stream.normal(size=(batch, 2, 4, 6)).astype(np.float32) for _ in range(count)]


@pytest.mark.parametrize("batch", [1, 3])
def test_state_is_kept_as_in_torch(model, batch):
    inputs = steps(4, batch)
    pairs = zip(dc.trace(model, inputs, backend="onnx"), dc.trace(model, inputs), strict=True)
    for found, expected in pairs:
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fold", [True, False])
def test_state_goes_in_and_comes_out_under_the_layers_name(model, fold):
    proto = dc.to_onnx(model, fold=fold)
    onnx.checker.check_model(proto, full_check=True)
    layer = model.network.layers[-1]
    names = [f"{layer.index:03d}_{layer.type}.{n}" for n in STATES[layer.type]]
    assert [v.name for v in proto.graph.input] == ["input", *(f"{n}_in" for n in names)]
    assert [v.name for v in proto.graph.output][1:] == [f"{n}_out" for n in names]
    states = [*proto.graph.input[1:], *proto.graph.output[1:]]
    for value in states:
        dims = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        assert dims[0] == "batch"
        assert all(isinstance(n, int) and n > 0 for n in dims[1:])


def test_operators_are_standard_and_never_loop(model):
    proto = dc.to_onnx(model)
    assert {node.domain for node in proto.graph.node} == {""}
    assert not {node.op_type for node in proto.graph.node} & {"Loop", "If", "Scan"}
    assert [entry.domain for entry in proto.opset_import] == [""]


def test_a_runner_starts_anew_with_another_batch(model):
    from darkconv.backends.onnx import make_runner

    run = make_runner(model)
    (x,) = steps(1, 2)
    first, second = run(x)[0], run(x)[0]
    run(x[:1])
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(run(x)[0], first)
