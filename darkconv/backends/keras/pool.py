"""Builders of maxpool, avgpool and local_avgpool layers."""

import numpy as np
from keras import layers

from darkconv.backends.keras.conv import blurred
from darkconv.backends.keras.registry import BUILDERS
from darkconv.backends.keras.scope import LayerScope, Tensor
from darkconv.core.model import Array
from darkconv.layers import pool

LOWEST = -3.402823466e38  # -FLT_MAX, the start value of a maximum in C


@BUILDERS.register(pool.Maxpool)
def build_maxpool(scope: LayerScope) -> Tensor:
    """Build a max pooling, over windows or over channels, and its blur.

    Args:
        scope: of the [maxpool] layer, in whose graph it is built.
    """
    spec = scope.layer.spec
    assert isinstance(spec, pool.Maxpool)
    if spec.maxpool_depth:
        return depth_maximum(scope, spec.out_channels)
    strides = (1, 1) if spec.antialiasing else spec.strides
    x, padding = scope.map(), keras_padding(scope, spec, strides)
    if not padding:
        sides = (spec.leading, spec.padding - spec.leading)
        x = scope.op("pad", x, ((0, 0), sides, sides, (0, 0)), constant_values=LOWEST)
    out = scope.add(
        layers.MaxPooling2D,
        "",
        x,
        pool_size=spec.size,
        strides=strides,
        padding=padding or "valid",
        data_format="channels_last",
    )
    return blurred(scope, out, spec.antialiasing, spec.strides)


def keras_padding(scope: LayerScope, spec: pool.Maxpool, strides: tuple[int, int]) -> str:
    """Return the padding of Keras that gives the same windows; "" if there is none.

    "same" gives ceil(length / stride) windows, and puts the smaller half of the needed padding
    before the feature map.

    Args:
        scope: of the [maxpool] layer.
        spec: options of the layer.
        strides: strides along rows and columns, before a blur.
    """
    _, *lengths = scope.layer.in_shapes[0]
    _, *counts = spec.pooled_shape(scope.layer.in_shapes, strides)
    axes = list(zip(lengths, counts, strides, strict=True))
    needed = [(count - 1) * stride + spec.size - length for length, count, stride in axes]
    if not spec.leading and max(needed) <= 0:
        is_plain = all((length - spec.size) // s + 1 == count for length, count, s in axes)
        return "valid" if is_plain else ""
    is_same = all(count == -(-length // stride) for length, count, stride in axes)
    starts_alike = all(max(total, 0) // 2 == spec.leading for total in needed)
    return "same" if is_same and starts_alike else ""


def depth_maximum(scope: LayerScope, groups: int) -> Tensor:
    """Compute for output channel i the largest of the channels i, i + groups, i + 2 groups, ...

    Args:
        scope: of the [maxpool] layer.
        groups: number of output channels.
    """
    x = scope.map()
    _, rows, columns, channels = x.shape
    missing = -channels % groups
    if missing:
        x = scope.op("pad", x, ((0, 0),) * 3 + ((0, missing),), constant_values=LOWEST)
    rounds = scope.reshape(x, rows, columns, (channels + missing) // groups, groups)
    return scope.finish(scope.op("max", rounds, axis=3))


@BUILDERS.register(pool.LocalAvgpool)
def build_local_avgpool(scope: LayerScope) -> Tensor:
    """Build an average pooling over the cells of each window that are inside the feature map.

    Args:
        scope: of the [local_avgpool] layer, in whose graph it is built.
    """
    spec = scope.layer.spec
    assert isinstance(spec, pool.LocalAvgpool)
    sides = (spec.leading, spec.padding - spec.leading)
    x = scope.map()
    if spec.padding:
        x = scope.add(
            layers.ZeroPadding2D, "pad", x, padding=(sides, sides), data_format="channels_last"
        )
    means = scope.add(
        layers.AveragePooling2D,
        "mean",
        x,
        pool_size=spec.size,
        strides=spec.strides,
        padding="valid",
        data_format="channels_last",
    )
    return scope.finish(scope.op("multiply", means, cell_shares(scope, spec)))


def cell_shares(scope: LayerScope, spec: pool.LocalAvgpool) -> Array:
    """Return the window's number of cells divided by those inside the map: (rows, columns, 1).

    Args:
        scope: of the [local_avgpool] layer.
        spec: options of the layer.
    """
    shape, out = scope.layer.in_shapes[0], scope.layer.out_shape
    counts = [
        inside(length, count, spec.size, stride, spec.leading)
        for length, count, stride in zip(shape[1:], out[1:], spec.strides, strict=True)
    ]
    shares: Array = (spec.size**2 / np.outer(*counts)).astype(np.float32)
    return shares[:, :, None]


def inside(length: int, count: int, size: int, stride: int, leading: int) -> Array:
    """Return how many cells of each window along one axis are inside the feature map.

    Args:
        length: number of cells of the feature map along the axis.
        count: number of windows.
        size: number of cells of a window.
        stride: distance of two windows, in cells.
        leading: padding before the feature map, in cells.
    """
    starts = np.arange(count) * stride - leading
    cells: Array = np.minimum(starts + size, length) - np.maximum(starts, 0)
    return cells


@BUILDERS.register(pool.Avgpool)
def build_avgpool(scope: LayerScope) -> Tensor:
    """Build a global average pooling.

    The value is (N, 1, 1, C).

    Args:
        scope: of the [avgpool] layer, in whose graph it is built.
    """
    settings = {"keepdims": True, "data_format": "channels_last"}
    return scope.add(layers.GlobalAveragePooling2D, "", scope.map(), **settings)
