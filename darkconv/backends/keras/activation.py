"""Formulas of the activation functions (golden/DIALECTS.md §2)."""

from collections.abc import Callable, Mapping
from typing import Any

from keras import initializers, layers

from darkconv.backends.keras.scope import WHOLE_NUMBERS, Scope, Tensor
from darkconv.layers.activation import CHANNEL_EPSILON

STOCK: Mapping[str, tuple[Callable[..., Any], Mapping[str, Any]]] = {
    "logistic": (layers.Activation, {"activation": "sigmoid"}),
    "relu": (layers.ReLU, {}),
    "elu": (layers.ELU, {}),
    "relie": (layers.LeakyReLU, {"negative_slope": 0.01}),
    "leaky": (layers.LeakyReLU, {"negative_slope": 0.1}),
    "revleaky": (layers.LeakyReLU, {"negative_slope": 0.1}),
    "tanh": (layers.Activation, {"activation": "tanh"}),
    "relu6": (layers.ReLU, {"max_value": 6.0}),
    "swish": (layers.Activation, {"activation": "silu"}),
    "mish": (layers.Activation, {"activation": "mish"}),
}
"""Functions that Keras has as a layer: its class and its settings, by Darknet's name."""


def activate(scope: Scope, x: Tensor, name: str) -> Tensor:
    """Build an activation function, as a layer such as `000_convolutional_leaky`.

    Args:
        scope: of the layer whose activation it is.
        x: feature map (N, H, W, C) or vectors (N, C).
        name: Darknet's name, one of `darkconv.layers.activation.ACTIVATIONS`; linear gives x
            itself.
    """
    if name == "linear":
        return x
    if name in STOCK:
        kind, settings = STOCK[name]
        if kind is layers.LeakyReLU and scope.graph.target == WHOLE_NUMBERS:
            return sloped(scope, x, name, settings["negative_slope"])
        return scope.add(kind, name, x, **settings)
    return scope.finish(FORMULAS[name](scope, x), name)


def sloped(scope: Scope, x: Tensor, name: str, slope: float) -> Tensor:
    """Build a leaky function as a layer with a slope for each channel, which more devices have.

    Args:
        scope: of the layer whose activation it is.
        x: feature map (N, H, W, C) or vectors (N, C).
        name: last part of the layer's name.
        slope: slope below zero of all channels.
    """
    start = initializers.Constant(slope)
    shared = list(range(1, len(x.shape) - 1))
    return scope.add(layers.PReLU, name, x, alpha_initializer=start, shared_axes=shared)


def loggy(scope: Scope, x: Tensor) -> Tensor:
    """Compute 2 / (1 + e^-x) - 1.

    Args:
        scope: of the layer whose activation it is.
        x: tensor of any shape.
    """
    doubled = scope.op("multiply", scope.op("sigmoid", x), 2.0)
    return scope.op("subtract", doubled, 1.0)


def selu(scope: Scope, x: Tensor) -> Tensor:
    """Compute SELU with Darknet's four-digit constants.

    Args:
        scope: of the layer whose activation it is.
        x: tensor of any shape.
    """
    curve = scope.op("multiply", scope.op("elu", x), 1.0507 * 1.6732)
    return where_positive(scope, x, scope.op("multiply", x, 1.0507), curve)


def ramp(scope: Scope, x: Tensor) -> Tensor:
    """Compute max(x, 0) + 0.1 x.

    Args:
        scope: of the layer whose activation it is.
        x: tensor of any shape.
    """
    return scope.op("add", scope.op("relu", x), scope.op("multiply", x, 0.1))


def plse(scope: Scope, x: Tensor) -> Tensor:
    """Compute the piecewise linear sigmoid, with slope 0.01 beyond -4 and 4.

    Args:
        scope: of the layer whose activation it is.
        x: tensor of any shape.
    """
    middle = scope.op("add", scope.op("multiply", x, 0.125), 0.5)
    low = scope.op("multiply", scope.op("add", x, 4.0), 0.01)
    high = scope.op("add", scope.op("multiply", scope.op("subtract", x, 4.0), 0.01), 1.0)
    inner = scope.op("where", scope.op("greater", x, 4.0), high, middle)
    return scope.op("where", scope.op("less", x, -4.0), low, inner)


def stair(scope: Scope, x: Tensor) -> Tensor:
    """Compute floor(x / 2), plus the fraction of x where floor(x) is odd.

    Args:
        scope: of the layer whose activation it is.
        x: tensor of any shape.
    """
    floor = scope.op("floor", x)
    half = scope.op("floor", scope.op("multiply", x, 0.5))
    is_odd = scope.op("greater", floor, scope.op("multiply", half, 2.0))
    sloped = scope.op("add", scope.op("subtract", x, floor), half)
    return scope.op("where", is_odd, sloped, half)


def hardtan(scope: Scope, x: Tensor) -> Tensor:
    """Compute x limited to -1..1.

    Args:
        scope: of the layer whose activation it is.
        x: tensor of any shape.
    """
    return scope.op("clip", x, -1.0, 1.0)


def lhtan(scope: Scope, x: Tensor) -> Tensor:
    """Compute x within 0..1, and continue it with slope 0.001 outside.

    Args:
        scope: of the layer whose activation it is.
        x: tensor of any shape.
    """
    low = scope.op("multiply", x, 0.001)
    high = scope.op("add", scope.op("multiply", scope.op("subtract", x, 1.0), 0.001), 1.0)
    inner = scope.op("where", scope.op("greater", x, 1.0), high, x)
    return scope.op("where", scope.op("less", x, 0.0), low, inner)


def gelu(scope: Scope, x: Tensor) -> Tensor:
    """Compute the tanh form of GELU with Darknet's constants.

    It is 0.5 x (1 + tanh(0.797885 x + 0.035677 x^3)).

    Args:
        scope: of the layer whose activation it is.
        x: tensor of any shape.
    """
    square = scope.op("multiply", scope.op("square", x), 0.035677)
    inner = scope.op("multiply", x, scope.op("add", square, 0.797885))
    share = scope.op("add", scope.op("tanh", inner), 1.0)
    return scope.op("multiply", scope.op("multiply", x, 0.5), share)


def hard_mish(scope: Scope, x: Tensor) -> Tensor:
    """Compute x above 0, x^2 / 2 + x from -2 to 0, and 0 below -2.

    Args:
        scope: of the layer whose activation it is.
        x: tensor of any shape.
    """
    lowest = scope.op("clip", x, -2.0, 0.0)
    curve = scope.op("add", scope.op("multiply", scope.op("square", lowest), 0.5), lowest)
    return where_positive(scope, x, x, curve)


def normalize_channels(scope: Scope, x: Tensor) -> Tensor:
    """Compute each positive value's share in the sum of its pixel's positive values.

    Args:
        scope: of the layer whose activation it is.
        x: feature map (N, H, W, C) or vectors (N, C).
    """
    return shares(scope, scope.op("relu", x))


def normalize_channels_softmax(scope: Scope, x: Tensor) -> Tensor:
    """Compute a softmax over channels without subtracting the maximum first, as in C.

    Args:
        scope: of the layer whose activation it is.
        x: feature map (N, H, W, C) or vectors (N, C).
    """
    return shares(scope, scope.op("exp", x))


def normalize_channels_softmax_maxval(scope: Scope, x: Tensor) -> Tensor:
    """Compute a softmax over channels, with C's epsilon in the sum.

    Args:
        scope: of the layer whose activation it is.
        x: feature map (N, H, W, C) or vectors (N, C).
    """
    highest = scope.op("max", x, axis=-1, keepdims=True)
    return normalize_channels_softmax(scope, scope.op("subtract", x, highest))


def shares(scope: Scope, x: Tensor) -> Tensor:
    """Compute each value's share in the sum of its pixel's channels, with C's epsilon in the sum.

    Args:
        scope: of the layer whose activation it is.
        x: feature map (N, H, W, C) or vectors (N, C).
    """
    total = scope.op("add", scope.op("sum", x, axis=-1, keepdims=True), CHANNEL_EPSILON)
    return scope.op("divide", x, total)


def where_positive(scope: Scope, x: Tensor, then: Tensor, otherwise: Tensor) -> Tensor:
    """Select from two tensors by the sign of x.

    Args:
        scope: of the layer whose activation it is.
        x: tensor of any shape.
        then: values where x is above 0, of the same shape.
        otherwise: values elsewhere, of the same shape.
    """
    return scope.op("where", scope.op("greater", x, 0.0), then, otherwise)


FORMULAS: Mapping[str, Callable[[Scope, Tensor], Tensor]] = {
    "loggy": loggy,
    "selu": selu,
    "ramp": ramp,
    "plse": plse,
    "stair": stair,
    "hardtan": hardtan,
    "lhtan": lhtan,
    "gelu": gelu,
    "hard_mish": hard_mish,
    "normalize_channels": normalize_channels,
    "normalize_channels_softmax": normalize_channels_softmax,
    "normalize_channels_softmax_maxval": normalize_channels_softmax_maxval,
}
