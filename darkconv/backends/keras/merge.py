"""Builders of route, shortcut, sam, scale_channels, shift_channels and control_channels layers."""

import numpy as np
from keras import layers

from darkconv.backends.keras.activation import activate
from darkconv.backends.keras.places import ArrayPlace, PlaceTable
from darkconv.backends.keras.registry import BUILDERS, PLACES
from darkconv.backends.keras.scope import LayerScope, Tensor
from darkconv.core.network import Layer, Network
from darkconv.layers import merge


@BUILDERS.register(merge.Route)
def build_route(scope: LayerScope) -> Tensor:
    """Build a concatenation of layers.

    Each may be a slice of the channels; inputs of different height or width are flattened first.

    Args:
        scope: of the [route] layer, in whose graph it is built.
    """
    spec = scope.layer.spec
    assert isinstance(spec, merge.Route)
    get = scope.map if scope.layer.out_shape.is_map else scope.flat
    parts = [get(place) for place in range(len(scope.inputs))]
    if spec.groups > 1:
        parts = [sliced(scope, part, spec) for part in parts]
    if len(parts) == 1:
        return scope.finish(parts[0])
    return scope.add(layers.Concatenate, "", parts, axis=-1)


def sliced(scope: LayerScope, x: Tensor, spec: merge.Route) -> Tensor:
    """Select one of `groups` equal parts of the channels; the first ones take the remainder.

    Args:
        scope: of the [route] layer.
        x: feature map (N, H, W, C) or vectors (N, C).
        spec: options of the layer.
    """
    pieces = np.array_split(np.arange(x.shape[-1]), spec.groups)[spec.group_id]
    return scope.channels(x, int(pieces[0]), int(pieces[-1]) + 1)


@BUILDERS.register(merge.Shortcut)
def build_shortcut(scope: LayerScope) -> Tensor:
    """Build a plain, weighted or sampled sum and its activation.

    Args:
        scope: of the [shortcut] layer, in whose graph it is built.
    """
    spec = scope.layer.spec
    assert isinstance(spec, merge.Shortcut)
    if merge.needs_sampling(spec, scope.layer.in_shapes):
        out = scope.finish(sampled_sum(scope, spec))
    elif scope.layer.slots:
        out = scope.finish(weighted_sum(scope, spec))
    else:
        maps = [scope.map(place) for place in range(len(scope.inputs))]
        channels = maps[0].shape[-1]
        fitted = [maps[0], *(fit_channels(scope, x, channels) for x in maps[1:])]
        out = scope.add(layers.Add, "", fitted)
    return activate(scope, out, spec.activation)


def fit_channels(scope: LayerScope, x: Tensor, channels: int) -> Tensor:
    """Return x with channels cut off, or with zero channels added.

    Args:
        scope: of the [shortcut] layer.
        x: feature map (N, H, W, C).
        channels: number of channels of the result.
    """
    if x.shape[-1] >= channels:
        return scope.channels(x, 0, channels) if x.shape[-1] > channels else x
    return scope.op("pad", x, ((0, 0),) * 3 + ((0, channels - x.shape[-1]),))


def weighted_sum(scope: LayerScope, spec: merge.Shortcut) -> Tensor:
    """Sum the inputs with learned weights that are normalised at every call.

    Args:
        scope: of the [shortcut] layer.
        spec: options of the layer.
    """
    first = scope.map()
    channels = first.shape[-1]
    rows, width = scope.arrays["weights"].shape
    weights = scope.constant("weights", rows, width)
    if spec.normalization == "relu":
        positive = scope.op("relu", weights)
    else:
        highest = scope.op("max", weights, axis=0, keepdims=True)
        positive = scope.op("exp", scope.op("subtract", weights, highest))
    total = scope.op("add", scope.op("sum", positive, axis=0), merge.WEIGHT_EPSILON)
    shares = scope.op("divide", positive, total)
    out = scope.op("multiply", first, scope.take(shares, 0))
    for place in range(1, len(scope.inputs)):
        source = scope.map(place)
        common, share = min(channels, source.shape[-1]), scope.take(shares, place)
        source = fit_channels(scope, source, common)
        share = scope.channels(share, 0, common) if width > common else share
        product = scope.op("multiply", source, share)
        out = scope.op("add", out, fit_channels(scope, product, channels))
    return out


def sampled_sum(scope: LayerScope, spec: merge.Shortcut) -> Tensor:
    """Compute alpha * x + beta * source where the source reaches, and x elsewhere.

    Args:
        scope: of the [shortcut] layer, whose inputs are x and the source.
        spec: options of the layer.
    """
    shape, source = scope.layer.in_shapes
    stride, sample = max(1, source.w // shape.w), max(1, shape.w // source.w)
    channels, rows, columns = (min(lengths) for lengths in zip(shape, source, strict=True))
    x, taken = scope.map(0), scope.map(1)
    taken = scope.take(
        taken,
        slice(None),
        slice(0, rows * stride, stride),
        slice(0, columns * stride, stride),
        slice(0, channels),
    )
    spread = spaced(scope, taken, sample)
    height, width = min(rows * sample, shape.h), min(columns * sample, shape.w)
    spread = scope.take(spread, slice(None), slice(0, height), slice(0, width))
    missing = (shape.h - height, shape.w - width, shape.c - channels)
    placed = scope.op("pad", spread, ((0, 0), *((0, count) for count in missing)))
    if spec.alpha != 1:
        reached = np.zeros((shape.h, shape.w, shape.c), np.float32)
        reached[: rows * sample : sample, : columns * sample : sample, :channels] = 1
        x = scope.op("multiply", x, (1 + (spec.alpha - 1) * reached).astype(np.float32))
    return scope.op("add", x, scope.op("multiply", placed, spec.beta))


def spaced(scope: LayerScope, x: Tensor, step: int) -> Tensor:
    """Return a feature map whose pixels are `step` apart, with zeros between them.

    Args:
        scope: of the [shortcut] layer.
        x: feature map (N, H, W, C).
        step: distance of neighbouring pixels; 1 changes nothing.
    """
    if step == 1:
        return x
    _, rows, columns, channels = x.shape
    apart = scope.reshape(x, rows, 1, columns, 1, channels)
    gap = (0, step - 1)
    apart = scope.op("pad", apart, ((0, 0), (0, 0), gap, (0, 0), gap, (0, 0)))
    return scope.reshape(apart, rows * step, columns * step, channels)


@PLACES.register(merge.Shortcut)
def shortcut_places(layer: Layer, _: Network) -> PlaceTable:
    """Return where the weights of a sum lie, if it has any: in the only row of an Embedding.

    Args:
        layer: [shortcut] layer.
        _: its network, which is not needed.
    """
    return {slot.name: ArrayPlace(slot.name, "embeddings") for slot in layer.slots}


@BUILDERS.register(merge.Sam, merge.ScaleChannels)
def build_gate(scope: LayerScope) -> Tensor:
    """Build a product of two layers and its activation.

    One of them is broadcast if it has one pixel or one channel.

    Args:
        scope: of the [sam] or [scale_channels] layer, in whose graph it is built.
    """
    spec = scope.layer.spec
    assert isinstance(spec, merge.Gate)
    product = scope.add(layers.Multiply, "", [scope.map(0), scope.map(1)])
    return activate(scope, product, spec.activation)


@BUILDERS.register(merge.ShiftChannels)
def build_shift(scope: LayerScope) -> Tensor:
    """Build a sum of a layer and a value for each channel.

    Args:
        scope: of the [shift_channels] layer, in whose graph it is built.
    """
    return scope.add(layers.Add, "", [scope.map(0), scope.map(1)])


@BUILDERS.register(merge.ControlChannels)
def build_control(scope: LayerScope) -> Tensor:
    """Build a product of a layer and a value for each channel.

    Args:
        scope: of the [control_channels] layer, in whose graph it is built.
    """
    return scope.add(layers.Multiply, "", [scope.map(0), scope.map(1)])
