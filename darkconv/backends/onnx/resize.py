"""Builders of upsample, reorg, reorg3d and crop layers."""

import onnx_ir as ir

from darkconv.backends.onnx.merge import enlarged
from darkconv.backends.onnx.registry import BUILDERS
from darkconv.backends.onnx.scope import LayerScope
from darkconv.layers import resize


@BUILDERS.register(resize.Upsample)
def build_upsample(scope: LayerScope) -> ir.Value:
    """Build an enlargement, or for a negative stride the sums of blocks, times a scale.

    Args:
        scope: scope of the layer.
    """
    spec = scope.layer.spec
    assert isinstance(spec, resize.Upsample)
    if spec.stride > 0:
        out, factor = enlarged(scope, scope.x, spec.stride), spec.scale
    else:
        window = [-spec.stride] * 2
        out = scope.op("AveragePool", scope.x, kernel_shape=window, strides=window)
        factor = spec.scale * spec.stride**2
    return out if factor == 1 else scope.multiply(out, factor)


@BUILDERS.register(resize.Reorg, resize.Reorg3d)
def build_reorg(scope: LayerScope) -> ir.Value:
    """Build the kind of reordering that the options name: see `darkconv.layers.resize`.

    Args:
        scope: scope of the layer.
    """
    spec = scope.layer.spec
    assert isinstance(spec, resize.Reordering)
    (x,), out = scope.layer.in_shapes, scope.layer.out_shape
    if isinstance(spec, resize.Reorg) and spec.extra:
        return scope.pad(scope.flatten(scope.x), [0, 0], [0, spec.extra])
    if isinstance(spec, resize.Reorg) and spec.flatten:
        rows = (x.h * x.w, x.c) if spec.reverse else (x.c, x.h * x.w)
        turned = scope.transpose(scope.reshape(scope.x, 0, *rows), 0, 2, 1)
        return scope.reshape(turned, 0, *out)
    return reordered(scope, spec)


def reordered(scope: LayerScope, spec: resize.Reordering) -> ir.Value:
    """Return the values in another order: a permutation of six axes.

    Args:
        scope: scope of the layer.
        spec: spec of the layer.
    """
    (x,), out, s = scope.layer.in_shapes, scope.layer.out_shape, spec.stride
    base = spec.base_shape(x, out)
    q = base.c // s**2
    size, resized = scope.size, scope.times if spec.reverse else scope.divided
    height, width = (resized(length, s) for length in size)
    rows, columns = (height, width) if spec.counts_output else size
    values = scope.x
    if base.size != x.size:
        values = scope.channels(scope.flatten(values), 0, base.size)
    if spec.reverse:
        blocks = scope.reshape(values, 0, s, s, q, rows, columns)
    else:
        blocks = scope.reshape(values, 0, q, rows, s, columns, s)
    return scope.reshape(scope.transpose(blocks, *spec.axes), 0, out.c, height, width)


@BUILDERS.register(resize.Crop)
def build_crop(scope: LayerScope) -> ir.Value:
    """Build a centre crop; values are scaled from 0..1 to -1..1 unless `noadjust` is set.

    Args:
        scope: scope of the layer.
    """
    spec = scope.layer.spec
    assert isinstance(spec, resize.Crop)
    (x,) = scope.layer.in_shapes
    top, left = (x.h - spec.crop_height) // 2, (x.w - spec.crop_width) // 2
    middle = scope.slice(
        scope.x,
        {2: top, 3: left},
        {2: top + spec.crop_height, 3: left + spec.crop_width},
    )
    return middle if spec.noadjust else scope.add(scope.multiply(middle, 2), -1)
