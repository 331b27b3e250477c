"""Activation functions in standard operators (golden/DIALECTS.md §2).

Of the forms that are exact to a rounding, each has the one that onnxruntime computes fastest.
"""

from collections.abc import Callable

import onnx_ir as ir

from darkconv.backends.onnx.scope import LayerScope
from darkconv.layers.activation import CHANNEL_EPSILON
from darkconv.layers.precision import SINGLE_ACTIVATIONS

Formula = Callable[[LayerScope, ir.Value], ir.Value]


def activate(scope: LayerScope, x: ir.Value, name: str) -> ir.Value:
    """Append an activation by Darknet's name."""
    if name == "linear":
        return x
    if scope.is_half and name in SINGLE_ACTIVATIONS:
        return scope.in_float32(FORMULAS[name], x)
    return FORMULAS[name](scope, x)


def ramp(scope: LayerScope, x: ir.Value) -> ir.Value:
    """max(x, 0) + 0.1 x, as 1.1 times a leaky function."""
    return scope.multiply(scope.op("LeakyRelu", x, alpha=0.1 / 1.1), 1.1)


def clip(scope: LayerScope, x: ir.Value, low: float, high: float) -> ir.Value:
    """X, but within low and high."""
    return scope.op("Clip", x, scope.floats(low), scope.floats(high))


def plse(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Piecewise linear sigmoid: slope 0.125 within +-4, 0.01 beyond."""
    steep = scope.multiply(clip(scope, x, -4, 4), 0.125 - 0.01)
    return scope.add(scope.op("Add", scope.multiply(x, 0.01), steep), 0.5)


def stair(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Flat on even steps, sloped on odd ones: floor(x / 2), and what x has above the next odd."""
    half = scope.op("Floor", scope.multiply(x, 0.5))
    above = scope.add(scope.op("Sub", x, scope.multiply(half, 2)), -1)
    return scope.op("Add", half, scope.op("Relu", above))


def lhtan(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Identity on 0..1, slope 0.001 outside."""
    inside = scope.multiply(clip(scope, x, 0, 1), 1 - 0.001)
    return scope.op("Add", scope.multiply(x, 0.001), inside)


def gelu(scope: LayerScope, x: ir.Value) -> ir.Value:
    """0.5 x (1 + tanh y) = x sigmoid(2 y), y of Darknet's constants."""
    slope = scope.add(scope.multiply(scope.op("Mul", x, x), 2 * 0.035677), 2 * 0.797885)
    return scope.op("Mul", x, scope.op("Sigmoid", scope.op("Mul", x, slope)))


def swish(scope: LayerScope, x: ir.Value) -> ir.Value:
    """X times its sigmoid."""
    return scope.op("Mul", x, scope.op("Sigmoid", x))


def mish(scope: LayerScope, x: ir.Value) -> ir.Value:
    """X tanh(ln(1 + e^x)) = x p / (2 - p) with p = s (2 - s), s = sigmoid(x).

    This form cannot overflow, loses nothing where x is far below zero, and takes a ninth of the
    time of Softplus and Tanh in onnxruntime.
    """
    s = scope.op("Sigmoid", x)
    p = scope.op("Mul", s, scope.op("Sub", scope.floats(2), s))
    return scope.op("Mul", x, scope.op("Div", p, scope.op("Sub", scope.floats(2), p)))


def hard_mish(scope: LayerScope, x: ir.Value) -> ir.Value:
    """X above 0, x^2 / 2 + x down to -2, then 0: x times x / 2 + 1 within 0..1."""
    return scope.op("Mul", x, scope.op("HardSigmoid", x, alpha=0.5, beta=1.0))


def share_of_channels(scope: LayerScope, positive: ir.Value) -> ir.Value:
    """Divided by the sum over channels."""
    total = scope.add(scope.reduce("ReduceSum", positive, 1), CHANNEL_EPSILON)
    return scope.op("Div", positive, total)


def normalize_channels(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Share of the channel in the sum of positive values of its pixel."""
    return share_of_channels(scope, scope.op("Relu", x))


def normalize_channels_softmax(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Softmax over channels without subtracting the maximum, as in C."""
    return share_of_channels(scope, scope.op("Exp", x))


def normalize_channels_softmax_maxval(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Softmax over channels, with C's epsilon in the sum."""
    return normalize_channels_softmax(scope, scope.op("Sub", x, scope.reduce("ReduceMax", x, 1)))


FORMULAS: dict[str, Formula] = {
    "logistic": lambda scope, x: scope.op("Sigmoid", x),
    "loggy": lambda scope, x: scope.op("Tanh", scope.multiply(x, 0.5)),
    "relu": lambda scope, x: scope.op("Relu", x),
    "elu": lambda scope, x: scope.op("Elu", x, alpha=1.0),
    "selu": lambda scope, x: scope.op("Selu", x, alpha=1.6732, gamma=1.0507),
    "relie": lambda scope, x: scope.op("LeakyRelu", x, alpha=0.01),
    "ramp": ramp,
    "leaky": lambda scope, x: scope.op("LeakyRelu", x, alpha=0.1),
    "revleaky": lambda scope, x: scope.op("LeakyRelu", x, alpha=0.1),
    "tanh": lambda scope, x: scope.op("Tanh", x),
    "plse": plse,
    "stair": stair,
    "hardtan": lambda scope, x: clip(scope, x, -1, 1),
    "lhtan": lhtan,
    "gelu": gelu,
    "relu6": lambda scope, x: clip(scope, x, 0, 6),
    "swish": swish,
    "mish": mish,
    "hard_mish": hard_mish,
    "normalize_channels": normalize_channels,
    "normalize_channels_softmax": normalize_channels_softmax,
    "normalize_channels_softmax_maxval": normalize_channels_softmax_maxval,
}
