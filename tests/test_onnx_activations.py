"""Activation functions in onnxruntime, far out too, against their definitions."""

import numpy as np
import onnx_ir as ir
import pytest

import oracle
from darkconv.layers.activation import ACTIVATIONS

pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

KNOWN = {**oracle.ACTIVATIONS, **oracle.FORK_ACTIVATIONS}
FAR = 10.0 ** np.arange(1, 8)
VALUES = np.concatenate([np.linspace(-200, 200, 40001), np.linspace(-6, 6, 40001), FAR, -FAR])
OF_CHANNELS = [name for name in ACTIVATIONS if name.startswith("normalize_channels")]
ELEMENTWISE = [name for name in ACTIVATIONS if name not in OF_CHANNELS]


def activated(name, x, opset=13):
    """What onnxruntime makes of (1, C, H, W)."""
    from darkconv.backends.onnx.activation import activate
    from darkconv.backends.onnx.graph import GraphBuilder, describe
    from darkconv.backends.onnx.options import OnnxOptions
    from darkconv.backends.onnx.scope import Scope

    graph = GraphBuilder(OnnxOptions(opset=opset))
    source = graph.input("x", x.shape)
    scope = Scope(graph, "layer")
    out = describe(scope.op("Identity", activate(scope, source, name)), x.shape)
    constants = list(graph.initializers.values())
    main = ir.Graph(
        [source], [out], nodes=graph.nodes, initializers=constants, opset_imports={"": opset}
    )
    model = ir.to_proto(ir.Model(main, ir_version=graph.ir_version))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_value_is_right(name, opset):
    """Each by itself: within 1e-5 + 1e-4 of its own size, however far from zero."""
    x = VALUES.astype(np.float32)
    found = activated(name, x.reshape(1, 1, 1, -1), opset).ravel().astype(np.float64)
    with np.errstate(all="ignore"):
        expected = KNOWN[name](x.astype(np.float64))
    assert np.isfinite(found).all()
    error = np.abs(found - expected) / (1e-5 + 1e-4 * np.abs(expected))
    assert error.max() <= 1, f"worst at {x[error.argmax()]}"


@pytest.mark.parametrize("opset", [11, 13, 18])
@pytest.mark.parametrize("name", OF_CHANNELS)
def test_shares_of_channels_are_right(name, opset):
    x = np.random.default_rng(0).normal(scale=5, size=(1, 7, 9, 11)).astype(np.float32)
    expected = KNOWN[name](x[0].astype(np.float64))
    np.testing.assert_allclose(activated(name, x, opset)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["mish", "swish", "hard_mish", "gelu"])
@pytest.mark.parametrize("x", [-3e38, -1e20, 1e20, 3e38])
def test_the_end_of_the_range_gives_no_nonsense(name, x):
    found = activated(name, np.full((1, 1, 1, 16), x, np.float32))
    np.testing.assert_allclose(found, max(x, 0))
