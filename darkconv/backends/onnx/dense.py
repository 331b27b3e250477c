"""connected, implicit, implicit_add, implicit_mul."""

import onnx_ir as ir

from darkconv.backends.onnx.activation import activate
from darkconv.backends.onnx.folding import folded_arrays, unfolded_norm
from darkconv.backends.onnx.registry import BUILDERS
from darkconv.backends.onnx.scope import LayerScope
from darkconv.layers import dense


@BUILDERS.register(dense.Connected)
def build_connected(scope: LayerScope) -> ir.Value:
    """Matrix product with folded batch norm, activation."""
    spec = scope.layer.spec
    assert isinstance(spec, dense.Connected)
    return scope.reshape(connected(scope, spec), 0, spec.output, 1, 1)


def connected(scope: LayerScope, spec: dense.Connected) -> ir.Value:
    """As a vector, (batch, outputs)."""
    kernel = folded_arrays(scope, axis=0)
    out = scope.op("Gemm", scope.flatten(scope.x), *kernel, transB=1)
    return activate(scope, unfolded_norm(scope, out), spec.activation)


@BUILDERS.register(dense.Implicit, dense.ImplicitAdd, dense.ImplicitMul)
def build_implicit(scope: LayerScope) -> ir.Value:
    """The learned constant, once for every picture of the batch."""
    values = scope.arrays["weights"][None, :, :, None]
    constant = scope.floats(values, "weights")
    batch = scope.lengths_of(scope.network_input, 0, 1)
    return scope.op("Expand", constant, scope.lengths(batch, *values.shape[1:]))
