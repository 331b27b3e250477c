"""Builders of convolutional, deconvolutional and local layers."""

from typing import Any

import numpy as np
from keras import layers

from darkconv.backends.keras.activation import activate
from darkconv.backends.keras.norm import norm_places, normalize
from darkconv.backends.keras.places import ArrayPlace, PlaceTable
from darkconv.backends.keras.registry import BUILDERS, PLACES
from darkconv.backends.keras.scope import LayerScope, Tensor, initialised
from darkconv.core.network import Layer, Network
from darkconv.layers import conv
from darkconv.layers.window import BLUR_BORDERS, BLUR_KERNELS

KERNEL_AXES = (
    2,
    3,
    1,
    0,
)  # (filters, channels, rows, columns) -> (rows, columns, channels, filters)
DEPTHWISE_AXES = (2, 3, 0, 1)  # the same -> (rows, columns, channels, filters per channel)


@BUILDERS.register(conv.Convolutional)
def build_convolutional(scope: LayerScope) -> Tensor:
    """Build a convolution, its batch norm or bias, its activation and its blur.

    Args:
        scope: of the [convolutional] layer, in whose graph it is built.
    """
    spec = scope.layer.spec
    assert isinstance(spec, conv.Convolutional)
    if spec.xnor and spec.dialect.xnor_uses_folded_weights:
        out = folded_xnor(scope, spec)
    else:
        out = xnor(scope, spec) if spec.xnor else convolved(scope, spec)
        out = normalize(scope, out) if spec.is_normalized else out
    out = activate(scope, out, conv.inference_activation(scope.layer, scope.network))
    return blurred(scope, out, spec.antialiasing, spec.strides)


def convolved(scope: LayerScope, spec: conv.Convolutional) -> Tensor:
    """Build the convolution, with its bias unless batch norm follows.

    Args:
        scope: of the [convolutional] layer, in whose graph it is built.
        spec: options of the layer.
    """
    distance, strides = spec.tap_distance, sharp_strides(spec)
    # Keras refuses dilated convolutions with strides, TensorFlow depthwise ones with unequal ones
    is_thinned = max(strides) > 1 and (distance > 1 or unequal_depthwise(scope.layer, strides))
    x, padding = read_part(scope, spec), "valid"
    if 2 * spec.border == spec.size - 1 and (is_thinned or strides == (1, 1)):
        padding = "same"
    else:
        x = padded(scope, x, spec.border * distance)
    settings: dict[str, Any] = {
        "strides": 1 if is_thinned else strides,
        "padding": padding,
        "data_format": "channels_last",
        "dilation_rate": distance,
    }
    if has_loose_kernel(scope.layer, scope.network):
        out = grouped(scope, spec, x, kernel(scope, spec), settings)
        out = out if spec.is_normalized else scope.op("add", out, biases(scope))
    else:
        out = stock_convolution(scope, spec, x, settings)
    return thinned(scope, out, strides) if is_thinned else out


def read_part(scope: LayerScope, spec: conv.Convolutional) -> Tensor:
    """Return the input channels that are read: all of them if the groups divide them.

    Args:
        scope: of the [convolutional] layer.
        spec: options of the layer.
    """
    x = scope.map()
    channels = scope.layer.in_shapes[0].c
    if channels % spec.group_count == 0:
        return x
    return scope.concat([scope.channels(x, *span) for span in spec.read_spans(channels)])


def stock_convolution(
    scope: LayerScope, spec: conv.Convolutional, x: Tensor, settings: dict[str, Any]
) -> Tensor:
    """Build a Conv2D, or a DepthwiseConv2D if every channel has filters of its own.

    Args:
        scope: of the [convolutional] layer, in whose graph it is built.
        spec: options of the layer.
        x: padded input, (N, H, W, C).
        settings: strides, padding and dilation, as Keras names them.
    """
    settings = {**settings, "kernel_size": spec.size, "use_bias": not spec.is_normalized}
    if is_depthwise(scope.layer):
        multiplier = spec.filters // spec.group_count
        return scope.learn(layers.DepthwiseConv2D, x, depth_multiplier=multiplier, **settings)
    settings |= {"filters": spec.filters, "groups": spec.group_count}
    return scope.learn(layers.Conv2D, x, **settings)


def sharp_strides(spec: conv.Convolutional) -> tuple[int, int]:
    """Return the strides along rows and columns before a blur, which has those of the layer.

    Args:
        spec: options of a [convolutional] layer.
    """
    return (1, 1) if spec.antialiasing else spec.strides


def is_depthwise(layer: Layer) -> bool:
    """Return True if every channel has filters of its own.

    Args:
        layer: [convolutional] layer with its input shape.
    """
    assert isinstance(layer.spec, conv.Convolutional)
    return layer.spec.group_count == layer.in_shapes[0].c > 1


def unequal_depthwise(layer: Layer, strides: tuple[int, int]) -> bool:
    """Return True if the convolution is depthwise and has unequal strides.

    Args:
        layer: [convolutional] layer with its input shape.
        strides: strides along rows and columns.
    """
    return is_depthwise(layer) and strides[0] != strides[1]


def thinned(scope: LayerScope, x: Tensor, strides: tuple[int, int]) -> Tensor:
    """Select every n-th row and column of a feature map, from the first on.

    Args:
        scope: of the layer.
        x: feature map (N, H, W, C).
        strides: distances of the rows and of the columns that stay.
    """
    rows, columns = (slice(None, None, stride) for stride in strides)
    return scope.take(x, slice(None), rows, columns)


def padded(scope: LayerScope, x: Tensor, border: int, part: str = "pad") -> Tensor:
    """Build a padding with zeros on all four sides.

    Args:
        scope: of the layer.
        x: feature map (N, H, W, C).
        border: rows and columns on each side; with 0, x itself is returned.
        part: last part of the Keras layer's name.
    """
    if not border:
        return x
    settings = {"padding": border, "data_format": "channels_last"}
    return scope.add(layers.ZeroPadding2D, part, x, **settings)


def has_loose_kernel(layer: Layer, network: Network) -> bool:
    """Return True if the kernel is a tensor of its own, not the variable of a Keras convolution.

    It is one with xnor, which computes with the signs of the weights, and in layers that share
    their arrays but differ in strides or dilation, which cannot share a Keras layer.

    Args:
        layer: [convolutional] layer.
        network: its network, with the layers that share arrays.
    """
    spec = layer.spec
    assert isinstance(spec, conv.Convolutional)
    if spec.xnor:
        return True
    owner = layer.index if layer.shared is None else layer.shared
    users = [other.spec for other in network.layers if owner in (other.index, other.shared)]
    movements = {
        (sharp_strides(user), user.tap_distance, user.is_normalized)
        for user in users
        if isinstance(user, conv.Convolutional)
    }
    return len(movements) > 1


def grouped(
    scope: LayerScope,
    spec: conv.Convolutional,
    x: Tensor,
    weights: Tensor,
    settings: dict[str, Any],
) -> Tensor:
    """Build the convolution with a kernel that is a tensor, which Keras takes for one group only.

    Args:
        scope: of the [convolutional] layer.
        spec: options of the layer.
        x: padded input, (N, H, W, C).
        weights: kernel (rows, columns, channels per group, filters).
        settings: strides, padding and dilation, as `keras.ops.conv` names them.
    """
    count = spec.group_count
    if count == 1:
        return scope.op("conv", x, weights, **settings)
    channels, filters = x.shape[-1] // count, spec.filters // count
    return scope.concat(
        [
            scope.op(
                "conv",
                scope.channels(x, group * channels, (group + 1) * channels),
                scope.channels(weights, group * filters, (group + 1) * filters),
                **settings,
            )
            for group in range(count)
        ]
    )


def kernel(scope: LayerScope, spec: conv.Convolutional) -> Tensor:
    """Return the weights as a tensor (rows, columns, channels per group, filters).

    Args:
        scope: of the [convolutional] layer.
        spec: options of the layer.
    """
    each = scope.layer.in_shapes[0].c // spec.group_count
    return scope.constant("weights", spec.size, spec.size, each, spec.filters)


def biases(scope: LayerScope) -> Tensor:
    """Return the biases as a tensor (1, 1, 1, filters).

    Args:
        scope: of the [convolutional] layer.
    """
    return vector(scope, "biases")


def vector(scope: LayerScope, part: str) -> Tensor:
    """Return an array with a value for each filter as a tensor (1, 1, 1, filters).

    Args:
        scope: of the [convolutional] layer.
        part: name of the array's Keras layer in the scope, such as "biases".
    """
    return scope.constant(part, 1, 1, 1, scope.layer.out_shape.c)


def signs(scope: LayerScope, x: Tensor) -> Tensor:
    """Return 1 for each value above zero, otherwise -1.

    Args:
        scope: of the [convolutional] layer.
        x: tensor of any shape.
    """
    return scope.op("where", scope.op("greater", x, 0.0), 1.0, -1.0)


def signed_product(scope: LayerScope, spec: conv.Convolutional, x: Tensor) -> Tensor:
    """Build the convolution of x with the signs of the kernel, times each filter's mean magnitude.

    Args:
        scope: of the [convolutional] layer.
        spec: options of the layer.
        x: padded signs of the input, (N, H, W, C).
    """
    weights = kernel(scope, spec)
    strides, distance = sharp_strides(spec), spec.tap_distance
    is_thinned = max(strides) > 1 and distance > 1
    settings = {
        "strides": 1 if is_thinned else strides,
        "padding": "valid",
        "data_format": "channels_last",
        "dilation_rate": distance,
    }
    product = grouped(scope, spec, x, signs(scope, weights), settings)
    product = thinned(scope, product, strides) if is_thinned else product
    magnitude = scope.op("mean", scope.op("abs", weights), axis=(0, 1, 2))
    return scope.op("multiply", product, magnitude)


def xnor(scope: LayerScope, spec: conv.Convolutional) -> Tensor:
    """Build pjreddie's xnor: inputs become signs, each filter its signs times its mean magnitude.

    Args:
        scope: of the [convolutional] layer.
        spec: options of the layer.
    """
    x = padded(scope, signs(scope, read_part(scope, spec)), spec.border * spec.tap_distance)
    out = signed_product(scope, spec, x)
    return out if spec.is_normalized else scope.op("add", out, biases(scope))


def folded_xnor(scope: LayerScope, spec: conv.Convolutional) -> Tensor:
    """Build alexeyab's xnor: signs of the weights with folded batch norm; padding counts as -1.

    Args:
        scope: of the [convolutional] layer.
        spec: options of the layer.
    """
    border = spec.border * spec.tap_distance
    sides = ((0, 0), (border, border), (border, border), (0, 0))
    x = scope.op("pad", signs(scope, scope.map()), sides, constant_values=-1.0)
    out = signed_product(scope, spec, x)
    if not spec.is_normalized:
        return scope.op("add", out, biases(scope))
    # the sign and the magnitude of weight * factor are the products of their signs and magnitudes
    epsilon = scope.layer.spec.dialect.batch_epsilon
    variance = scope.op("add", vector(scope, "rolling_variance"), epsilon)
    factor = scope.op("divide", vector(scope, "scales"), scope.op("sqrt", variance))
    shift = scope.op("multiply", vector(scope, "rolling_mean"), factor)
    scaled = scope.op("multiply", out, factor)
    return scope.op("add", scaled, scope.op("subtract", biases(scope), shift))


def blurred(scope: LayerScope, x: Tensor, kind: int, strides: tuple[int, int]) -> Tensor:
    """Build the depthwise low-pass filter of `antialiasing`, with the layer's strides.

    Args:
        scope: of the layer.
        x: feature map (N, H, W, C).
        kind: value of `antialiasing`, which selects the filter; with 0, x itself is returned.
        strides: strides along rows and columns.
    """
    if not kind:
        return x
    numbers = np.array(BLUR_KERNELS[kind], np.float32)
    numbers = np.repeat((numbers / numbers.sum())[:, :, None, None], x.shape[-1], axis=2)
    is_thinned = strides[0] != strides[1]
    layer = layers.DepthwiseConv2D(
        len(BLUR_KERNELS[kind]),
        1 if is_thinned else strides,
        use_bias=False,
        data_format="channels_last",
        name=scope.part("blur"),
        trainable=False,
    )
    x = padded(scope, x, BLUR_BORDERS[kind], "blur_pad")
    with initialised(layer, {"kernel": numbers}):
        out = layer(x)
    return thinned(scope, out, strides) if is_thinned else out


@PLACES.register(conv.Convolutional)
def convolutional_places(layer: Layer, network: Network) -> PlaceTable:
    """Return where the arrays of a convolution lie; batch norm, if any, has the biases.

    Args:
        layer: [convolutional] layer.
        network: its network, with the layers that share arrays.
    """
    spec = layer.spec
    assert isinstance(spec, conv.Convolutional)
    is_loose = has_loose_kernel(layer, network)
    weights = ArrayPlace(
        "weights" if is_loose else "", "embeddings" if is_loose else "kernel", KERNEL_AXES
    )
    if not is_loose and is_depthwise(layer):
        weights = weights._replace(axes=DEPTHWISE_AXES)
    if spec.xnor and spec.dialect.xnor_uses_folded_weights:
        vectors = {slot.name: ArrayPlace(slot.name, "embeddings") for slot in layer.slots}
        return {**vectors, "weights": weights}
    if spec.is_normalized:
        return {"weights": weights, **norm_places("bn")}
    lone = ArrayPlace("biases", "embeddings") if is_loose else ArrayPlace("", "bias")
    return {"weights": weights, "biases": lone}


@BUILDERS.register(conv.Deconvolutional)
def build_deconvolutional(scope: LayerScope) -> Tensor:
    """Build a transposed convolution, its batch norm or bias, and its activation.

    Args:
        scope: of the [deconvolutional] layer, in whose graph it is built.
    """
    spec, out_shape = scope.layer.spec, scope.layer.out_shape
    assert isinstance(spec, conv.Deconvolutional)
    full = scope.learn(
        layers.Conv2DTranspose,
        scope.map(),
        filters=spec.filters,
        kernel_size=spec.size,
        strides=spec.stride,
        padding="valid",
        use_bias=not spec.batch_normalize,
        data_format="channels_last",
    )
    rows, columns = (slice(spec.border, spec.border + length) for length in out_shape[1:])
    is_whole = tuple(full.shape[1:3]) == tuple(out_shape[1:])
    out = full if is_whole else scope.take(full, slice(None), rows, columns)
    out = normalize(scope, out) if spec.batch_normalize else out
    return activate(scope, out, spec.activation)


@PLACES.register(conv.Deconvolutional)
def deconvolutional_places(layer: Layer, _: Network) -> PlaceTable:
    """Return where the arrays of a transposed convolution lie; batch norm, if any, has the biases.

    The weights (channels, filters, rows, columns) become (rows, columns, filters, channels).

    Args:
        layer: [deconvolutional] layer.
        _: its network, which is not needed.
    """
    assert isinstance(layer.spec, conv.Deconvolutional)
    weights = ArrayPlace("", "kernel", KERNEL_AXES)
    if layer.spec.batch_normalize:
        return {"weights": weights, **norm_places("bn")}
    return {"weights": weights, "biases": ArrayPlace("", "bias")}


@BUILDERS.register(conv.Local)
def build_local(scope: LayerScope) -> Tensor:
    """Build a locally connected layer and its activation.

    It is one matrix product per output position, with the window at that position.

    Args:
        scope: of the [local] layer, in whose graph it is built.
    """
    spec, out = scope.layer.spec, scope.layer.out_shape
    assert isinstance(spec, conv.Local)
    x = padded(scope, scope.map(), spec.pad)
    ends = ((out.h - 1) * spec.stride + 1, (out.w - 1) * spec.stride + 1)
    taps = [
        scope.take(
            x,
            slice(None),
            slice(row, row + ends[0], spec.stride),
            slice(column, column + ends[1], spec.stride),
        )
        for row in range(spec.size)
        for column in range(spec.size)
    ]
    values = scope.concat(taps)
    windows = scope.reshape(values, out.h * out.w, values.shape[-1])
    product = scope.learn(
        layers.EinsumDense,
        windows,
        equation="bli,lio->blo",
        output_shape=(out.h * out.w, out.c),
        bias_axes="lo",
    )
    return activate(scope, scope.reshape(product, out.h, out.w, out.c), spec.activation)


@PLACES.register(conv.Local)
def local_places(layer: Layer, _: Network) -> PlaceTable:
    """Return where the arrays of a locally connected layer lie.

    The kernel is (positions, rows * columns * channels, filters), the bias (positions, filters).

    Args:
        layer: [local] layer.
        _: its network, which is not needed.
    """
    positions = layer.out_shape.h * layer.out_shape.w
    return {
        "biases": ArrayPlace("", "bias", (1, 0), (layer.out_shape.c, positions)),
        "weights": ArrayPlace("", "kernel", (0, 3, 4, 2, 1)),
    }
