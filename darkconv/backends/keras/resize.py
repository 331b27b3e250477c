"""Builders of upsample, reorg, reorg3d and crop layers."""

from keras import layers

from darkconv.backends.keras.registry import BUILDERS
from darkconv.backends.keras.scope import KERAS, LayerScope, Tensor
from darkconv.layers import resize


@BUILDERS.register(resize.Upsample)
def build_upsample(scope: LayerScope) -> Tensor:
    """Build a nearest-neighbour enlargement, or sums of blocks, times a scale.

    Args:
        scope: of the [upsample] layer, in whose graph it is built.
    """
    spec = scope.layer.spec
    assert isinstance(spec, resize.Upsample)
    settings = {"data_format": "channels_last"}
    if spec.stride > 0:
        out, factor = enlarged(scope, spec.stride), spec.scale
    else:
        size = -spec.stride
        out = scope.add(layers.AveragePooling2D, "", scope.map(), pool_size=size, **settings)
        factor = size**2 * spec.scale
    return out if factor == 1 else scope.add(layers.Rescaling, "scale", out, scale=factor)


def enlarged(scope: LayerScope, stride: int) -> Tensor:
    """Build a nearest-neighbour enlargement.

    Args:
        scope: of the [upsample] layer, in whose graph it is built.
        stride: factor of the numbers of rows and columns.
    """
    settings = {"data_format": "channels_last"}
    if scope.graph.target == KERAS:
        return scope.add(layers.UpSampling2D, "", scope.map(), size=stride, **settings)
    shape = scope.layer.out_shape
    nearest = {"interpolation": "nearest", **settings}
    return scope.finish(scope.op("image.resize", scope.map(), (shape.h, shape.w), **nearest))


@BUILDERS.register(resize.Reorg, resize.Reorg3d)
def build_reorg(scope: LayerScope) -> Tensor:
    """Build the reordering that the options ask for: in blocks, transposed, or with zeros appended.

    Args:
        scope: of the [reorg] or [reorg3d] layer, in whose graph it is built.
    """
    spec = scope.layer.spec
    assert isinstance(spec, resize.Reordering)
    if isinstance(spec, resize.Reorg) and spec.extra:
        return scope.finish(scope.op("pad", scope.flat(), ((0, 0), (0, spec.extra))))
    if isinstance(spec, resize.Reorg) and spec.flatten:
        return transposed(scope, spec)
    return reordered(scope, spec)


def reordered(scope: LayerScope, spec: resize.Reordering) -> Tensor:
    """Build a permutation of six axes in memory order, NCHW.

    The flat values have the axes (q, h, s, w, s), which become (s, s, q, h, w), or the other way
    round: see `darkconv.layers.resize.Reordering.source_index`.

    Args:
        scope: of the [reorg] or [reorg3d] layer.
        spec: options of the layer.
    """
    shape, out, s = scope.layer.in_shapes[0], scope.layer.out_shape, spec.stride
    channels, rows, columns = spec.base_shape(shape, out)
    values, count = scope.flat(), channels * rows * columns
    values = values if count == shape.size else scope.channels(values, 0, count)
    q = channels // s**2
    if spec.reverse:
        blocks = scope.reshape(values, s, s, q, rows, columns)
    else:
        blocks = scope.reshape(values, q, rows, s, columns, s)
    ordered = scope.op("transpose", blocks, spec.axes)
    return scope.finish(scope.as_map(scope.reshape(ordered, out.size), out))


def transposed(scope: LayerScope, spec: resize.Reorg) -> Tensor:
    """Build pjreddie's reorg with flatten: channels and pixels change places.

    Args:
        scope: of the [reorg] layer.
        spec: options of the layer.
    """
    shape = scope.layer.in_shapes[0]
    cells = shape.h * shape.w
    sides = (cells, shape.c) if spec.reverse else (shape.c, cells)
    turned = scope.op("transpose", scope.reshape(scope.flat(), *sides), (0, 2, 1))
    flat = scope.reshape(turned, shape.size)
    return scope.finish(scope.as_map(flat, scope.layer.out_shape))


@BUILDERS.register(resize.Crop)
def build_crop(scope: LayerScope) -> Tensor:
    """Build a centre crop, scaled from 0..1 to -1..1 unless noadjust is set.

    Args:
        scope: of the [crop] layer, in whose graph it is built.
    """
    spec, shape = scope.layer.spec, scope.layer.in_shapes[0]
    assert isinstance(spec, resize.Crop)
    top, left = (shape.h - spec.crop_height) // 2, (shape.w - spec.crop_width) // 2
    rows, columns = slice(top, top + spec.crop_height), slice(left, left + spec.crop_width)
    middle = scope.take(scope.map(), slice(None), rows, columns)
    if spec.noadjust:
        return scope.finish(middle)
    return scope.add(layers.Rescaling, "", middle, scale=2.0, offset=-1.0)
