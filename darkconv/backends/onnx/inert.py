"""dropout, cost, empty, contrastive, history."""

import onnx_ir as ir

from darkconv.backends.onnx.registry import BUILDERS
from darkconv.backends.onnx.scope import LayerScope
from darkconv.layers import inert


@BUILDERS.register(inert.Dropout, inert.Empty)
def build_identity(scope: LayerScope) -> ir.Value:
    """The input itself."""
    return scope.x


@BUILDERS.register(inert.Cost, inert.Contrastive)
def build_zeros(scope: LayerScope) -> ir.Value:
    """As many zeros as the input has values: a loss without a truth, as in C."""
    return scope.multiply(scope.flatten(scope.x), 0)


@BUILDERS.register(inert.History)
def build_history(scope: LayerScope) -> ir.Value:
    """The input, and zeros for the steps that one call does not have."""
    missing = scope.layer.out_shape.c - scope.layer.in_shapes[0].c
    return scope.pad(scope.x, [0] * 4, [0, missing, 0, 0])
