"""Builders of route, shortcut, sam, scale_channels, shift_channels and control_channels layers."""

import numpy as np
import onnx_ir as ir

from darkconv.backends.onnx.activation import activate
from darkconv.backends.onnx.registry import BUILDERS
from darkconv.backends.onnx.scope import LayerScope
from darkconv.core.model import Array
from darkconv.layers import merge

RESIZE_WITHOUT_REGION = 13  # earlier opsets require a region, though nothing reads it


@BUILDERS.register(merge.Route)
def build_route(scope: LayerScope) -> ir.Value:
    """Build a concatenation of the inputs, or of one group of channels of each.

    Args:
        scope: scope of the layer.
    """
    spec = scope.layer.spec
    assert isinstance(spec, merge.Route)
    is_map = scope.layer.out_shape.is_map
    parts = []
    for value, shape in zip(scope.inputs, scope.layer.in_shapes, strict=True):
        part = value if is_map else scope.flatten(value)
        if spec.groups > 1:
            each = (shape.c if is_map else shape.size) // spec.groups
            part = scope.channels(part, each * spec.group_id, each * (spec.group_id + 1))
        parts.append(part)
    return scope.concat(parts)


@BUILDERS.register(merge.Shortcut)
def build_shortcut(scope: LayerScope) -> ir.Value:
    """Build a plain, weighted or sampled sum with its activation.

    Args:
        scope: scope of the layer.
    """
    spec = scope.layer.spec
    assert isinstance(spec, merge.Shortcut)
    shapes = scope.layer.in_shapes
    if merge.needs_sampling(spec, shapes):
        return activate(scope, sampled_sum(scope, spec), spec.activation)
    weights = normalized_weights(spec, scope.arrays.get("weights"))
    out = scope.x if weights is None else scope.multiply(scope.x, weights[0])
    for place in range(1, len(shapes)):
        source = narrowed(scope, scope.inputs[place], shapes[place].c, shapes[0].c)
        if weights is not None:
            source = scope.multiply(source, weights[place][: shapes[place].c])
        out = scope.op("Add", out, widened(scope, source, shapes[place].c, shapes[0].c))
    return activate(scope, out, spec.activation)


def narrowed(scope: LayerScope, x: ir.Value, channels: int, limit: int) -> ir.Value:
    """Return the first channels of a value, at most `limit`.

    Args:
        scope: scope of the layer.
        x: (batch, channels, height, width).
        channels: number of channels of x.
        limit: most channels of the result.
    """
    return scope.channels(x, 0, limit) if channels > limit else x


def widened(scope: LayerScope, x: ir.Value, channels: int, needed: int) -> ir.Value:
    """Return a value with zero channels appended up to `needed`.

    Args:
        scope: scope of the layer.
        x: (batch, channels, height, width).
        channels: number of channels of x.
        needed: least number of channels of the result.
    """
    return scope.pad(x, [0] * 4, [0, max(0, needed - channels), 0, 0])


def normalized_weights(spec: merge.Shortcut, weights: Array | None) -> Array | None:
    """Return weights whose sum over the sources is nearly 1, (sources, channels or 1, 1, 1).

    Args:
        spec: spec of the layer.
        weights: (sources, channels or 1), float32; None where the sum is not weighted.

    Returns:
        float32 weights; None where there are none.
    """
    if weights is None:
        return None
    precise = weights.astype(np.float64)
    if spec.normalization == "relu":
        positive = np.maximum(precise, 0)
    else:
        positive = np.exp(precise - precise.max(axis=0))
    shares: Array = (positive / (merge.WEIGHT_EPSILON + positive.sum(axis=0))).astype(np.float32)
    return shares[:, :, None, None]


def sampled_sum(scope: LayerScope, spec: merge.Shortcut) -> ir.Value:
    """Return alpha * input + beta * source where the sampled source reaches, else the input.

    Args:
        scope: scope of the layer, with the two inputs.
        spec: spec of the layer.
    """
    x, source = scope.layer.in_shapes
    stride, sample = max(1, source.w // x.w), max(1, x.w // source.w)
    channels, rows, columns = (min(lengths) for lengths in zip(x, source, strict=True))
    ends = {2: (rows - 1) * stride + 1, 3: (columns - 1) * stride + 1}
    taken = narrowed(scope, scope.inputs[1], source.c, x.c)
    taken = scope.slice(taken, {}, ends, stride) if stride > 1 or source[1:] != x[1:] else taken
    reached = np.zeros(x, np.float32)
    reached[:channels, : rows * sample : sample, : columns * sample : sample] = 1
    if sample > 1:
        taken = enlarged(scope, taken, sample)
        height, width = min(rows * sample, x.h), min(columns * sample, x.w)
        taken = scope.slice(taken, {}, {2: height, 3: width})
    else:
        height, width = rows, columns
    placed = scope.pad(taken, [0] * 4, [0, x.c - channels, x.h - height, x.w - width])
    kept = scope.multiply(scope.x, 1 + (spec.alpha - 1) * reached) if spec.alpha != 1 else scope.x
    return scope.op("Add", kept, scope.multiply(placed, spec.beta * reached))


def enlarged(scope: LayerScope, x: ir.Value, factor: int) -> ir.Value:
    """Return a map enlarged by nearest-neighbour interpolation.

    Args:
        scope: scope of the layer.
        x: (batch, channels, height, width).
        factor: whole factor of height and width.
    """
    none = np.zeros(0, np.float32)
    opset = scope.graph.opset
    region = None if opset >= RESIZE_WITHOUT_REGION else scope.constant(none, "region")
    return scope.op(
        "Resize",
        x,
        region,
        scope.constant(np.array([1, 1, factor, factor], np.float32), "scales"),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


@BUILDERS.register(merge.Sam, merge.ScaleChannels)
def build_gate(scope: LayerScope) -> ir.Value:
    """Build a product of two layers; the one with a single pixel or channel is broadcast.

    Args:
        scope: scope of the layer.
    """
    spec = scope.layer.spec
    assert isinstance(spec, merge.Gate)
    return activate(scope, scope.op("Mul", *scope.inputs), spec.activation)


@BUILDERS.register(merge.ShiftChannels)
def build_shift(scope: LayerScope) -> ir.Value:
    """Build a sum of a layer and one value for each channel.

    Args:
        scope: scope of the layer.
    """
    return scope.op("Add", *scope.inputs)


@BUILDERS.register(merge.ControlChannels)
def build_control(scope: LayerScope) -> ir.Value:
    """Build a product of a layer and one value for each channel.

    Args:
        scope: scope of the layer.
    """
    return scope.op("Mul", *scope.inputs)
