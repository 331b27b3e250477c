"""Builders of maxpool, avgpool and local_avgpool layers."""

import onnx_ir as ir

from darkconv.backends.onnx.conv import blur
from darkconv.backends.onnx.registry import BUILDERS
from darkconv.backends.onnx.scope import LayerScope
from darkconv.layers import pool


@BUILDERS.register(pool.Maxpool)
def build_maxpool(scope: LayerScope) -> ir.Value:
    """Build a max pooling, in space or over channels, with its blur.

    Args:
        scope: scope of the layer.
    """
    spec = scope.layer.spec
    assert isinstance(spec, pool.Maxpool)
    if spec.maxpool_depth:
        return depth_maxpool(scope, spec.out_channels)
    x, before, after = scope.x, spec.leading, spec.padding - spec.leading
    if max(before, after) >= spec.size:  # operators refuse padding as large as the window
        x = scope.pad(x, [0, 0, before, before], [0, 0, after, after], scope.lowest)
        before = after = 0
    out = scope.op(
        "MaxPool",
        x,
        kernel_shape=[spec.size] * 2,
        strides=[1, 1] if spec.antialiasing else list(spec.strides),
        pads=[before, before, after, after],
    )
    return blur(scope, out, spec.antialiasing, spec.strides) if spec.antialiasing else out


def depth_maxpool(scope: LayerScope, groups: int) -> ir.Value:
    """Return the maximum over channels: result i is the largest of channels i, i + groups, ...

    Args:
        scope: scope of the layer.
        groups: number of channels of the result.
    """
    channels = scope.layer.in_shapes[0].c
    missing = -channels % groups
    padded = scope.pad(scope.x, [0] * 4, [0, missing, 0, 0], scope.lowest)
    rounds = scope.reshape(padded, 0, (channels + missing) // groups, groups, scope.cells)
    largest = scope.reduce("ReduceMax", rounds, 1, keepdims=False)
    return scope.reshape(largest, 0, groups, *scope.size)


@BUILDERS.register(pool.LocalAvgpool)
def build_local_avgpool(scope: LayerScope) -> ir.Value:
    """Build an average pooling, in which padding does not count.

    Args:
        scope: scope of the layer.
    """
    spec = scope.layer.spec
    assert isinstance(spec, pool.LocalAvgpool)
    before, after = spec.leading, spec.padding - spec.leading
    return scope.op(
        "AveragePool",
        scope.x,
        kernel_shape=[spec.size] * 2,
        strides=list(spec.strides),
        pads=[before, before, after, after],
        count_include_pad=0,
    )


@BUILDERS.register(pool.Avgpool)
def build_avgpool(scope: LayerScope) -> ir.Value:
    """Build a global average pooling.

    Args:
        scope: scope of the layer.
    """
    return scope.op("GlobalAveragePool", scope.x)
