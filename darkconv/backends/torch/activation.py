"""Formulas of the activation functions (golden/DIALECTS.md §2)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkconv.layers.activation import CHANNEL_EPSILON

LEAST_EXPONENT = -87.0  # e^87 is still a float32
CACHED = 1 << 21
"""Number of values up to which several cheap passes are quicker than one expensive pass."""


def logistic(x: Tensor) -> Tensor:
    """Compute 1 / (1 + e^-x) so that equal inputs always give the same bits.

    torch.sigmoid computes some values in vectors and the rest one by one, and rounds them
    differently: a value would depend on its place in memory, and a head cut to fewer classes would
    not give exactly the same scores. torch.exp does not have that flaw.

    Args:
        x: tensor of any shape.
    """
    if x.requires_grad:
        return torch.sigmoid(x)
    return torch.reciprocal(torch.exp(-x.clamp(min=LEAST_EXPONENT)) + 1)


def mish(x: Tensor) -> Tensor:
    """Compute x tanh(ln(1 + e^x)).

    At inference on the CPU it is x (2 / (1 + s^2) - 1) with s = 1 / (1 + e^x): PyTorch's own
    function takes four times as long there, as long as the values fit in the processor's cache.

    Args:
        x: tensor of any shape.
    """
    if x.requires_grad or not _is_cached(x):
        return F.mish(x)
    share = (-x).sigmoid_()
    return share.mul_(share).add_(1).reciprocal_().mul_(2).sub_(1).mul_(x)


def mish_in_place(x: Tensor) -> Tensor:
    """Compute `mish`, at inference over its input if that is large: new memory costs page faults.

    Args:
        x: tensor of any shape, which may be overwritten.
    """
    return mish(x) if x.requires_grad or _is_cached(x) else F.mish(x, inplace=True)


def swish_in_place(x: Tensor) -> Tensor:
    """Compute x / (1 + e^-x), at inference over its input.

    Args:
        x: tensor of any shape, which may be overwritten.
    """
    return F.silu(x, inplace=not x.requires_grad)


def _is_cached(x: Tensor) -> bool:
    """Return True if several passes over the values are quicker than one."""
    return x.device.type == "cpu" and x.numel() <= CACHED and not torch.compiler.is_compiling()


def loggy(x: Tensor) -> Tensor:
    """Compute 2 / (1 + e^-x) - 1.

    Args:
        x: tensor of any shape.
    """
    return 2 * logistic(x) - 1


def selu(x: Tensor) -> Tensor:
    """Compute SELU with Darknet's four-digit constants.

    Args:
        x: tensor of any shape.
    """
    return torch.where(x >= 0, 1.0507 * x, 1.0507 * 1.6732 * torch.expm1(x))


def ramp(x: Tensor) -> Tensor:
    """Compute max(x, 0) + 0.1 x.

    Args:
        x: tensor of any shape.
    """
    return F.relu(x) + 0.1 * x


def plse(x: Tensor) -> Tensor:
    """Compute the piecewise linear sigmoid, with slope 0.01 beyond -4 and 4.

    Args:
        x: tensor of any shape.
    """
    middle = 0.125 * x + 0.5
    return torch.where(x < -4, 0.01 * (x + 4), torch.where(x > 4, 0.01 * (x - 4) + 1, middle))


def stair(x: Tensor) -> Tensor:
    """Compute floor(x / 2), plus the fraction of x where floor(x) is odd.

    Args:
        x: tensor of any shape.
    """
    floor = torch.floor(x)
    half = torch.floor(x / 2)
    return torch.where(torch.remainder(floor, 2) == 0, half, x - floor + half)


def lhtan(x: Tensor) -> Tensor:
    """Compute x within 0..1, and continue it with slope 0.001 outside.

    Args:
        x: tensor of any shape.
    """
    return torch.where(x < 0, 0.001 * x, torch.where(x > 1, 0.001 * (x - 1) + 1, x))


def gelu(x: Tensor) -> Tensor:
    """Compute the tanh form of GELU with Darknet's constants.

    Args:
        x: tensor of any shape.
    """
    return 0.5 * x * (1 + torch.tanh(0.797885 * x + 0.035677 * x**3))


def hard_mish(x: Tensor) -> Tensor:
    """Compute x above 0, x^2 / 2 + x from -2 to 0, and 0 below -2.

    Args:
        x: tensor of any shape.
    """
    curve = torch.where(x > -2, x * x / 2 + x, torch.zeros_like(x))
    return torch.where(x > 0, x, curve)


def normalize_channels(x: Tensor) -> Tensor:
    """Compute each positive value's share in the sum of its pixel's positive values.

    Args:
        x: feature map (N, C, H, W) or vectors (N, C).
    """
    positive = F.relu(x)
    return positive / (CHANNEL_EPSILON + positive.sum(1, keepdim=True))


def normalize_channels_softmax(x: Tensor) -> Tensor:
    """Compute a softmax over channels without subtracting the maximum first, as in C.

    Args:
        x: feature map (N, C, H, W) or vectors (N, C).
    """
    power = x.exp()
    return power / (CHANNEL_EPSILON + power.sum(1, keepdim=True))


def normalize_channels_softmax_maxval(x: Tensor) -> Tensor:
    """Compute a softmax over channels, with C's epsilon in the sum.

    Args:
        x: feature map (N, C, H, W) or vectors (N, C).
    """
    return normalize_channels_softmax(x - x.amax(1, keepdim=True))


FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "logistic": logistic,
    "loggy": loggy,
    "relu": F.relu,
    "elu": F.elu,
    "selu": selu,
    "relie": lambda x: F.leaky_relu(x, 0.01),
    "ramp": ramp,
    "leaky": lambda x: F.leaky_relu(x, 0.1),
    "revleaky": lambda x: F.leaky_relu(x, 0.1),
    "tanh": torch.tanh,
    "plse": plse,
    "stair": stair,
    "hardtan": F.hardtanh,
    "lhtan": lhtan,
    "gelu": gelu,
    "relu6": F.relu6,
    "swish": F.silu,
    "mish": mish,
    "hard_mish": hard_mish,
    "normalize_channels": normalize_channels,
    "normalize_channels_softmax": normalize_channels_softmax,
    "normalize_channels_softmax_maxval": normalize_channels_softmax_maxval,
}

IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu_,
    "leaky": lambda x: F.leaky_relu_(x, 0.1),
    "revleaky": lambda x: F.leaky_relu_(x, 0.1),
    "relie": lambda x: F.leaky_relu_(x, 0.01),
    "mish": mish_in_place,
    "swish": swish_in_place,
}
"""Functions that may overwrite their input.

In training they do so only if the derivative can be computed from the result.
"""


class ActivationFunction(nn.Module):
    """An activation function by Darknet's name.

    Args:
        name: one of `darkconv.layers.activation.ACTIVATIONS` except linear.
        own_input: nothing else holds the input, so it may be overwritten.
    """

    def __init__(self, name: str, *, own_input: bool = False) -> None:
        super().__init__()
        self.name = name
        self.own_input = own_input
        self.function = _function(name, own_input=own_input)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the function, which often cannot be pickled; its name can."""
        return {key: value for key, value in vars(self).items() if key != "function"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state of `__getstate__`, and look up the function by its name."""
        super().__setstate__(state)
        self.function = _function(self.name, own_input=self.own_input)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the function to each value, or over channels in the normalize_channels family."""
        return self.function(x)

    def extra_repr(self) -> str:
        """Return the name of the function."""
        return self.name


def _function(name: str, *, own_input: bool) -> Callable[[Tensor], Tensor]:
    return (IN_PLACE if own_input else {}).get(name, FUNCTIONS[name])


def build_activation(name: str, *, own_input: bool = False) -> nn.Module:
    """Build the module of an activation function; linear is the identity.

    Args:
        name: Darknet's name, one of `darkconv.layers.activation.ACTIVATIONS`.
        own_input: nothing else holds the input, so it may be overwritten.
    """
    return nn.Identity() if name == "linear" else ActivationFunction(name, own_input=own_input)
