"""Builders of dropout, cost, empty, contrastive and history layers."""

import onnx_ir as ir

from darkconv.backends.onnx.registry import BUILDERS
from darkconv.backends.onnx.scope import LayerScope
from darkconv.layers import inert


@BUILDERS.register(inert.Dropout, inert.Empty)
def build_identity(scope: LayerScope) -> ir.Value:
    """Build a layer that returns its input.

    Args:
        scope: scope of the layer.
    """
    return scope.x


@BUILDERS.register(inert.Cost, inert.Contrastive)
def build_zeros(scope: LayerScope) -> ir.Value:
    """Build a layer that returns zeros of its input's shape: a loss without ground truth, as in C.

    Args:
        scope: scope of the layer.
    """
    return scope.multiply(scope.flatten(scope.x), 0)


@BUILDERS.register(inert.History)
def build_history(scope: LayerScope) -> ir.Value:
    """Build a history layer: the input, and zeros for the earlier steps, unknown in one call.

    Args:
        scope: scope of the layer.
    """
    missing = scope.layer.out_shape.c - scope.layer.in_shapes[0].c
    return scope.pad(scope.x, [0] * 4, [0, missing, 0, 0])
