"""Formulas of the activation functions (golden/DIALECTS.md §2)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from darkconv.layers.activation import CHANNEL_EPSILON

LEAST_EXPONENT = -87.0  # e^87 is still a float32
CACHED = 1 << 21
"""Values up to which several passes over them are quicker than one that computes more."""


def logistic(x: Tensor) -> Tensor:
    """1 / (1 + e^-x), of equal inputs always the same bits.

    torch.sigmoid is computed in vectors and a scalar rest that round differently, so a value
    would depend on its place in memory, and a head cut to fewer classes would not give the
    very same scores. torch.exp does not have that flaw.
    """
    if x.requires_grad:
        return torch.sigmoid(x)
    return torch.reciprocal(torch.exp(-x.clamp(min=LEAST_EXPONENT)) + 1)


def mish(x: Tensor) -> Tensor:
    """X tanh(ln(1 + e^x)), at inference on the CPU as x (2 / (1 + s^2) - 1), s = 1 / (1 + e^x).

    PyTorch's own takes four times as long there, as long as the processor's cache holds the values.
    """
    if x.requires_grad or not _is_cached(x):
        return F.mish(x)
    share = (-x).sigmoid_()
    return share.mul_(share).add_(1).reciprocal_().mul_(2).sub_(1).mul_(x)


def mish_in_place(x: Tensor) -> Tensor:
    """As `mish`; at inference large maps are overwritten, since new ones cost page faults."""
    return mish(x) if x.requires_grad or _is_cached(x) else F.mish(x, inplace=True)


def swish_in_place(x: Tensor) -> Tensor:
    """X / (1 + e^-x), over its input at inference."""
    return F.silu(x, inplace=not x.requires_grad)


def _is_cached(x: Tensor) -> bool:
    """Whether more than one pass over the values pays off."""
    return x.device.type == "cpu" and x.numel() <= CACHED and not torch.compiler.is_compiling()


def loggy(x: Tensor) -> Tensor:
    """2 / (1 + e^-x) - 1."""
    return 2 * logistic(x) - 1


def selu(x: Tensor) -> Tensor:
    """With Darknet's four-digit constants."""
    return torch.where(x >= 0, 1.0507 * x, 1.0507 * 1.6732 * torch.expm1(x))


def ramp(x: Tensor) -> Tensor:
    """max(x, 0) + 0.1 x."""
    return F.relu(x) + 0.1 * x


def plse(x: Tensor) -> Tensor:
    """Piecewise linear sigmoid with slopes 0.01 beyond +-4."""
    middle = 0.125 * x + 0.5
    return torch.where(x < -4, 0.01 * (x + 4), torch.where(x > 4, 0.01 * (x - 4) + 1, middle))


def stair(x: Tensor) -> Tensor:
    """Flat on even steps, sloped on odd ones."""
    floor = torch.floor(x)
    half = torch.floor(x / 2)
    return torch.where(torch.remainder(floor, 2) == 0, half, x - floor + half)


def lhtan(x: Tensor) -> Tensor:
    """Identity on 0..1, slope 0.001 outside."""
    return torch.where(x < 0, 0.001 * x, torch.where(x > 1, 0.001 * (x - 1) + 1, x))


def gelu(x: Tensor) -> Tensor:
    """Tanh form with Darknet's constants."""
    return 0.5 * x * (1 + torch.tanh(0.797885 * x + 0.035677 * x**3))


def hard_mish(x: Tensor) -> Tensor:
    """X above 0, x^2 / 2 + x down to -2, then 0."""
    curve = torch.where(x > -2, x * x / 2 + x, torch.zeros_like(x))
    return torch.where(x > 0, x, curve)


def normalize_channels(x: Tensor) -> Tensor:
    """Share of the channel in the sum of positive values of its pixel."""
    positive = F.relu(x)
    return positive / (CHANNEL_EPSILON + positive.sum(1, keepdim=True))


def normalize_channels_softmax(x: Tensor) -> Tensor:
    """Softmax over channels without subtracting the maximum, as in C."""
    power = x.exp()
    return power / (CHANNEL_EPSILON + power.sum(1, keepdim=True))


def normalize_channels_softmax_maxval(x: Tensor) -> Tensor:
    """Softmax over channels, with C's epsilon in the sum."""
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
"""What may overwrite its input: in training, only if the derivative can be told from the result."""


class Activation(nn.Module):
    """An activation function by Darknet's name.

    Args:
        name: one of `darkconv.layers.activation.ACTIVATIONS` but linear.
        own_input: nobody else holds the input, so it may be overwritten.
    """

    def __init__(self, name: str, *, own_input: bool = False) -> None:
        super().__init__()
        self.name = name
        self.own_input = own_input
        self.function = _function(name, own_input=own_input)

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or pickle holds: the name, and no function, which few can be."""
        return {key: value for key, value in vars(self).items() if key != "function"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """See `__getstate__`."""
        super().__setstate__(state)
        self.function = _function(self.name, own_input=self.own_input)

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise, or over channels for the normalize_channels family."""
        return self.function(x)

    def extra_repr(self) -> str:
        """The name."""
        return self.name


def _function(name: str, *, own_input: bool) -> Callable[[Tensor], Tensor]:
    return (IN_PLACE if own_input else {}).get(name, FUNCTIONS[name])


def build_activation(name: str, *, own_input: bool = False) -> nn.Module:
    """The module for an activation's name; linear is the identity."""
    return nn.Identity() if name == "linear" else Activation(name, own_input=own_input)
