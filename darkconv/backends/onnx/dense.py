"""connected, implicit."""

import onnx_ir as ir

from darkconv.backends.onnx.activation import activate
from darkconv.backends.onnx.graph import LayerScope
from darkconv.backends.onnx.registry import BUILDERS
from darkconv.layers import dense
from darkconv.layers.folding import fold_norm


@BUILDERS.register(dense.Connected)
def build_connected(scope: LayerScope) -> ir.Value:
    """Matrix product with folded batch norm, activation."""
    spec = scope.layer.spec
    assert isinstance(spec, dense.Connected)
    weights, biases = fold_norm(spec.dialect, scope.arrays, axis=0)
    out = scope.op(
        "Gemm",
        scope.flatten(scope.x),
        scope.floats(weights, "weights"),
        scope.floats(biases, "biases"),
        transB=1,
    )
    return scope.reshape(activate(scope, out, spec.activation), 0, spec.output, 1, 1)


@BUILDERS.register(dense.Implicit)
def build_implicit(scope: LayerScope) -> ir.Value:
    """The learned constant, once for every picture of the batch."""
    values = scope.arrays["weights"][None, :, :, None]
    constant = scope.floats(values, "weights")
    batch = scope.slice(scope.op("Shape", scope.network_input), {}, {0: 1})
    shape = scope.op("Concat", batch, scope.ints(*values.shape[1:]), axis=0)
    return scope.op("Expand", constant, shape)
