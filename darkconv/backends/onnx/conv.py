"""Builders of convolutional, deconvolutional and local layers."""

import numpy as np
import onnx_ir as ir

from darkconv.backends.onnx.activation import activate
from darkconv.backends.onnx.folding import folded_arrays, per_channel, place_of, unfolded_norm
from darkconv.backends.onnx.registry import BUILDERS
from darkconv.backends.onnx.scope import LayerScope
from darkconv.core.model import Array
from darkconv.layers import conv
from darkconv.layers.folding import fold_norm, told_overflow
from darkconv.layers.window import BLUR_BORDERS, BLUR_KERNELS


@BUILDERS.register(conv.Convolutional)
def build_convolutional(scope: LayerScope) -> ir.Value:
    """Build a convolution with its batch norm, activation and blur.

    Args:
        scope: scope of the layer.
    """
    spec = scope.layer.spec
    assert isinstance(spec, conv.Convolutional)
    out = xnor_convolution(scope, spec) if spec.xnor else convolution(scope, spec)
    out = activate(scope, out, conv.inference_activation(scope.layer, scope.network))
    return blur(scope, out, spec.antialiasing, spec.strides) if spec.antialiasing else out


def convolution(scope: LayerScope, spec: conv.Convolutional) -> ir.Value:
    """Return the output of a plain convolution with batch norm, before the activation.

    Args:
        scope: scope of the layer.
        spec: spec of the layer.
    """
    attributes = geometry(spec, border=spec.border * spec.tap_distance)
    kernel = folded_arrays(scope, axis=0)
    out = scope.op("Conv", read_part(scope, spec), *kernel, group=spec.group_count, **attributes)
    return unfolded_norm(scope, out)


def read_part(scope: LayerScope, spec: conv.Convolutional) -> ir.Value:
    """Return the input channels that the layer reads: all, unless the groups do not divide them.

    Args:
        scope: scope of the layer.
        spec: spec of the layer.
    """
    channels = scope.layer.in_shapes[0].c
    if channels % spec.group_count == 0:
        return scope.x
    return scope.concat([scope.channels(scope.x, *span) for span in spec.read_spans(channels)])


def geometry(spec: conv.Convolutional, *, border: int) -> dict[str, list[int]]:
    """Return the attributes of a Conv with the same border on all sides.

    Args:
        spec: spec of the layer.
        border: padding on each side, in pixels.
    """
    return {
        "kernel_shape": [spec.size] * 2,
        "strides": [1, 1] if spec.antialiasing else list(spec.strides),
        "pads": [border] * 4,
        "dilations": [spec.tap_distance] * 2,
    }


def xnor_convolution(scope: LayerScope, spec: conv.Convolutional) -> ir.Value:
    """Return the convolution of the signs of inputs and weights, times each filter's mean |w|.

    Args:
        scope: scope of the layer.
        spec: spec of the layer.
    """
    border = spec.border * spec.tap_distance
    x = signs_of(scope, read_part(scope, spec))
    if spec.dialect.xnor_uses_folded_weights:
        with told_overflow(place_of(scope)):
            weights, biases = fold_norm(spec.dialect, scope.arrays, axis=0)
        mean = magnitudes(weights)
        sides = [0, 0, border, border]
        x, border = scope.pad(x, sides, sides, -1.0), 0
    else:
        weights = scope.arrays["weights"]
        arrays = {**scope.arrays, "weights": magnitudes(weights)}
        with told_overflow(place_of(scope)):
            mean, biases = fold_norm(spec.dialect, arrays, axis=0)
    signs = scope.floats(np.where(weights > 0, 1, -1), "signs")
    out = scope.op("Conv", x, signs, group=spec.group_count, **geometry(spec, border=border))
    out = scope.op("Mul", out, scope.floats(per_channel(mean), "magnitudes"))
    return scope.op("Add", out, scope.floats(per_channel(biases), "biases"))


def magnitudes(weights: Array) -> Array:
    """Return the mean of |w| of each filter, (filters,) float32.

    Args:
        weights: float32 OIHW.
    """
    means: Array = np.abs(weights).mean(axis=(1, 2, 3), dtype=np.float64).astype(np.float32)
    return means


def signs_of(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Return 1 where a value is above zero, and -1 elsewhere.

    Args:
        scope: scope of the layer.
        x: value of any shape.
    """
    is_positive = scope.op("Greater", x, scope.floats(0))
    return scope.op("Where", is_positive, scope.floats(1), scope.floats(-1))


def blur(scope: LayerScope, x: ir.Value, kind: int, strides: tuple[int, int]) -> ir.Value:
    """Apply the depthwise low-pass filter of antialiasing, and return the result.

    Args:
        scope: scope of the layer.
        x: feature maps, (batch, channels, height, width).
        kind: value of the option `antialiasing`, a key of `BLUR_KERNELS`.
        strides: strides of the layer, along height and width.
    """
    channels = scope.layer.out_shape.c
    kernel = np.array(BLUR_KERNELS[kind], np.float32)
    kernel = np.tile(kernel / kernel.sum(), (channels, 1, 1, 1))
    return scope.op(
        "Conv",
        x,
        scope.floats(kernel, "blur"),
        kernel_shape=list(kernel.shape[2:]),
        strides=list(strides),
        pads=[BLUR_BORDERS[kind]] * 4,
        group=channels,
    )


@BUILDERS.register(conv.Deconvolutional)
def build_deconvolutional(scope: LayerScope) -> ir.Value:
    """Build a transposed convolution with its batch norm and activation.

    Args:
        scope: scope of the layer.
    """
    spec = scope.layer.spec
    assert isinstance(spec, conv.Deconvolutional)
    out = scope.op(
        "ConvTranspose",
        scope.x,
        *folded_arrays(scope, axis=1),
        kernel_shape=[spec.size] * 2,
        strides=[spec.stride] * 2,
        pads=[spec.border] * 4,
    )
    return activate(scope, unfolded_norm(scope, out), spec.activation)


@BUILDERS.register(conv.Local)
def build_local(scope: LayerScope) -> ir.Value:
    """Build a locally connected layer: one matrix product for each output position.

    The patches are cut out tap by tap.

    Args:
        scope: scope of the layer.
    """
    spec = scope.layer.spec
    assert isinstance(spec, conv.Local)
    channels = scope.layer.in_shapes[0].c
    filters, rows, columns = scope.layer.out_shape
    sides = [0, 0, spec.pad, spec.pad]
    padded = scope.pad(scope.x, sides, sides)
    taps = [
        scope.reshape(
            scope.slice(
                padded,
                {2: top, 3: left},
                {2: top + (rows - 1) * spec.stride + 1, 3: left + (columns - 1) * spec.stride + 1},
                spec.stride,
            ),
            *(0, channels, 1, rows * columns),
        )
        for top in range(spec.size)
        for left in range(spec.size)
    ]
    patches = scope.transpose(scope.concat(taps, axis=2), 3, 0, 1, 2)
    patches = scope.reshape(patches, rows * columns, -1, channels * spec.size**2)
    banks = scope.arrays["weights"].reshape(rows * columns, filters, -1).transpose(0, 2, 1)
    out = scope.op("MatMul", patches, scope.floats(banks, "weights"))
    out = scope.reshape(scope.transpose(out, 1, 2, 0), -1, filters, rows, columns)
    biases = scope.arrays["biases"].reshape(filters, rows, columns)
    return activate(scope, scope.op("Add", out, scope.floats(biases, "biases")), spec.activation)
