"""Activation functions in standard operators (golden/DIALECTS.md §2).

Where several forms are exact up to rounding, the one that onnxruntime computes fastest is used.
"""

from collections.abc import Callable

import onnx_ir as ir

from darkconv.backends.onnx.scope import LayerScope
from darkconv.layers.activation import CHANNEL_EPSILON
from darkconv.layers.precision import SINGLE_ACTIVATIONS

Formula = Callable[[LayerScope, ir.Value], ir.Value]


def activate(scope: LayerScope, x: ir.Value, name: str) -> ir.Value:
    """Apply an activation function to a value, and return the result.

    Args:
        scope: scope of the layer.
        x: input of the function, (batch, channels, ...).
        name: Darknet's name of the function, such as "leaky".
    """
    if name == "linear":
        return x
    if scope.is_half and name in SINGLE_ACTIVATIONS:
        return scope.in_float32(FORMULAS[name], x)
    return FORMULAS[name](scope, x)


def ramp(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Return max(x, 0) + 0.1 x, computed as 1.1 times a leaky ReLU.

    Args:
        scope: scope of the layer.
        x: input of the function.
    """
    return scope.multiply(scope.op("LeakyRelu", x, alpha=0.1 / 1.1), 1.1)


def clip(scope: LayerScope, x: ir.Value, low: float, high: float) -> ir.Value:
    """Return x limited to the range from low to high.

    Args:
        scope: scope of the layer.
        x: input of the function.
        low: least result.
        high: largest result.
    """
    return scope.op("Clip", x, scope.floats(low), scope.floats(high))


def plse(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Return the piecewise linear sigmoid: slope 0.125 within +-4, and 0.01 outside.

    Args:
        scope: scope of the layer.
        x: input of the function.
    """
    steep = scope.multiply(clip(scope, x, -4, 4), 0.125 - 0.01)
    return scope.add(scope.op("Add", scope.multiply(x, 0.01), steep), 0.5)


def stair(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Return floor(x / 2), plus the excess of x over the odd number above that step.

    The function is constant between an even number and the next odd one, and has slope 1 from
    there.

    Args:
        scope: scope of the layer.
        x: input of the function.
    """
    half = scope.op("Floor", scope.multiply(x, 0.5))
    above = scope.add(scope.op("Sub", x, scope.multiply(half, 2)), -1)
    return scope.op("Add", half, scope.op("Relu", above))


def lhtan(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Return x within 0..1, and a line of slope 0.001 outside.

    Args:
        scope: scope of the layer.
        x: input of the function.
    """
    inside = scope.multiply(clip(scope, x, 0, 1), 1 - 0.001)
    return scope.op("Add", scope.multiply(x, 0.001), inside)


def gelu(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Return 0.5 x (1 + tanh y) = x sigmoid(2 y), where y has Darknet's constants.

    Args:
        scope: scope of the layer.
        x: input of the function.
    """
    slope = scope.add(scope.multiply(scope.op("Mul", x, x), 2 * 0.035677), 2 * 0.797885)
    return scope.op("Mul", x, scope.op("Sigmoid", scope.op("Mul", x, slope)))


def swish(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Return x times its sigmoid.

    Args:
        scope: scope of the layer.
        x: input of the function.
    """
    return scope.op("Mul", x, scope.op("Sigmoid", x))


def mish(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Return x tanh(ln(1 + e^x)) = x p / (2 - p), where p = s (2 - s) and s = sigmoid(x).

    This form cannot overflow, keeps its precision where x is far below zero, and takes a ninth of
    the time of Softplus and Tanh in onnxruntime.

    Args:
        scope: scope of the layer.
        x: input of the function.
    """
    s = scope.op("Sigmoid", x)
    p = scope.op("Mul", s, scope.op("Sub", scope.floats(2), s))
    return scope.op("Mul", x, scope.op("Div", p, scope.op("Sub", scope.floats(2), p)))


def hard_mish(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Return x above 0, x^2 / 2 + x from -2 to 0, and 0 below: x times x / 2 + 1 limited to 0..1.

    Args:
        scope: scope of the layer.
        x: input of the function.
    """
    return scope.op("Mul", x, scope.op("HardSigmoid", x, alpha=0.5, beta=1.0))


def share_of_channels(scope: LayerScope, positive: ir.Value) -> ir.Value:
    """Return values divided by their sum over the channels, with the C program's epsilon added.

    Args:
        scope: scope of the layer.
        positive: values of 0 or more, (batch, channels, ...).
    """
    total = scope.add(scope.reduce("ReduceSum", positive, 1), CHANNEL_EPSILON)
    return scope.op("Div", positive, total)


def normalize_channels(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Return the share of each channel in the sum of the positive values of its pixel.

    Args:
        scope: scope of the layer.
        x: input of the function, (batch, channels, ...).
    """
    return share_of_channels(scope, scope.op("Relu", x))


def normalize_channels_softmax(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Return the softmax over channels without subtraction of the maximum, as in the C program.

    Args:
        scope: scope of the layer.
        x: input of the function, (batch, channels, ...).
    """
    return share_of_channels(scope, scope.op("Exp", x))


def normalize_channels_softmax_maxval(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Return the softmax over channels, with the C program's epsilon in the sum.

    Args:
        scope: scope of the layer.
        x: input of the function, (batch, channels, ...).
    """
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
