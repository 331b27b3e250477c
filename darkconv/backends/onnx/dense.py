"""Builders of connected, implicit, implicit_add and implicit_mul layers."""

import onnx_ir as ir

from darkconv.backends.onnx.activation import activate
from darkconv.backends.onnx.folding import folded_arrays, unfolded_norm
from darkconv.backends.onnx.registry import BUILDERS
from darkconv.backends.onnx.scope import LayerScope
from darkconv.layers import dense


@BUILDERS.register(dense.Connected)
def build_connected(scope: LayerScope) -> ir.Value:
    """Build a fully connected layer with its batch norm and activation.

    Args:
        scope: scope of the layer.
    """
    spec = scope.layer.spec
    assert isinstance(spec, dense.Connected)
    return scope.reshape(connected(scope, spec), 0, spec.output, 1, 1)


def connected(scope: LayerScope, spec: dense.Connected) -> ir.Value:
    """Return the output of a fully connected layer as a vector, (batch, outputs).

    Args:
        scope: scope of the layer.
        spec: spec of the layer.
    """
    kernel = folded_arrays(scope, axis=0)
    out = scope.op("Gemm", scope.flatten(scope.x), *kernel, transB=1)
    return activate(scope, unfolded_norm(scope, out), spec.activation)


@BUILDERS.register(dense.Implicit, dense.ImplicitAdd, dense.ImplicitMul)
def build_implicit(scope: LayerScope) -> ir.Value:
    """Build the learned constant of an implicit layer, repeated for every picture of the batch.

    Args:
        scope: scope of the layer.
    """
    values = scope.arrays["weights"][None, :, :, None]
    constant = scope.floats(values, "weights")
    batch = scope.lengths_of(scope.network_input, 0, 1)
    return scope.op("Expand", constant, scope.lengths(batch, *values.shape[1:]))
