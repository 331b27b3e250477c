"""Activation functions in standard operators (golden/DIALECTS.md §2)."""

from collections.abc import Callable

import onnx_ir as ir

from darkconv.backends.onnx.scope import LayerScope

Formula = Callable[[LayerScope, ir.Value], ir.Value]
CHANNEL_EPSILON = 0.0001  # added to the sums of the normalize_channels family


def activate(scope: LayerScope, x: ir.Value, name: str) -> ir.Value:
    """Append an activation by Darknet's name."""
    return x if name == "linear" else FORMULAS[name](scope, x)


def where_positive(
    scope: LayerScope, x: ir.Value, limit: float, above: ir.Value, below: ir.Value
) -> ir.Value:
    """`above` where x > limit, else `below`."""
    return scope.op("Where", scope.op("Greater", x, scope.floats(limit)), above, below)


def loggy(scope: LayerScope, x: ir.Value) -> ir.Value:
    """2 / (1 + e^-x) - 1."""
    return scope.add(scope.multiply(scope.op("Sigmoid", x), 2), -1)


def ramp(scope: LayerScope, x: ir.Value) -> ir.Value:
    """max(x, 0) + 0.1 x."""
    return scope.op("Add", scope.op("Relu", x), scope.multiply(x, 0.1))


def plse(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Piecewise linear sigmoid with slopes 0.01 beyond +-4."""
    middle = scope.add(scope.multiply(x, 0.125), 0.5)
    above = scope.add(scope.multiply(scope.add(x, -4), 0.01), 1)
    below = scope.multiply(scope.add(x, 4), 0.01)
    is_below = scope.op("Less", x, scope.floats(-4))
    return scope.op("Where", is_below, below, where_positive(scope, x, 4, above, middle))


def stair(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Flat on even steps, sloped on odd ones."""
    floor = scope.op("Floor", x)
    half = scope.op("Floor", scope.multiply(x, 0.5))
    parity = scope.op(
        "Sub", floor, scope.multiply(scope.op("Floor", scope.multiply(floor, 0.5)), 2)
    )
    sloped = scope.op("Add", scope.op("Sub", x, floor), half)
    return where_positive(scope, parity, 0.5, sloped, half)


def lhtan(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Identity on 0..1, slope 0.001 outside."""
    above = scope.add(scope.multiply(scope.add(x, -1), 0.001), 1)
    below = scope.op("Less", x, scope.floats(0))
    inside = where_positive(scope, x, 1, above, x)
    return scope.op("Where", below, scope.multiply(x, 0.001), inside)


def gelu(scope: LayerScope, x: ir.Value) -> ir.Value:
    """Tanh form with Darknet's constants."""
    cubed = scope.op("Mul", scope.op("Mul", x, x), x)
    inner = scope.op("Add", scope.multiply(x, 0.797885), scope.multiply(cubed, 0.035677))
    return scope.op("Mul", scope.multiply(x, 0.5), scope.add(scope.op("Tanh", inner), 1))


def swish(scope: LayerScope, x: ir.Value) -> ir.Value:
    """X times its sigmoid."""
    return scope.op("Mul", x, scope.op("Sigmoid", x))


def mish(scope: LayerScope, x: ir.Value) -> ir.Value:
    """X tanh(ln(1 + e^x)) = x (2 / (1 + s^2) - 1) with s = sigmoid(-x).

    This form cannot overflow and runs faster than Softplus and Tanh.
    """
    s = scope.op("Sigmoid", scope.op("Neg", x))
    share = scope.op("Div", scope.floats(2), scope.add(scope.op("Mul", s, s), 1))
    return scope.op("Mul", x, scope.add(share, -1))


def hard_mish(scope: LayerScope, x: ir.Value) -> ir.Value:
    """X above 0, x^2 / 2 + x down to -2, then 0."""
    curve = scope.op("Add", scope.multiply(scope.op("Mul", x, x), 0.5), x)
    below = where_positive(scope, x, -2, curve, scope.floats(0))
    return where_positive(scope, x, 0, x, below)


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
    "loggy": loggy,
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
    "hardtan": lambda scope, x: scope.op("Clip", x, scope.floats(-1), scope.floats(1)),
    "lhtan": lhtan,
    "gelu": gelu,
    "relu6": lambda scope, x: scope.op("Clip", x, scope.floats(0), scope.floats(6)),
    "swish": swish,
    "mish": mish,
    "hard_mish": hard_mish,
    "normalize_channels": normalize_channels,
    "normalize_channels_softmax": normalize_channels_softmax,
    "normalize_channels_softmax_maxval": normalize_channels_softmax_maxval,
}
