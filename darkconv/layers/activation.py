"""Names of activation functions; the backends hold the formulas."""

from darkconv.core.dialect import ALEXEYAB, Dialect
from darkconv.core.options import option, suggestion
from darkconv.errors import shortened

SHARED_ACTIVATIONS = (
    "linear",
    "logistic",
    "loggy",
    "relu",
    "elu",
    "selu",
    "relie",
    "ramp",
    "leaky",
    "tanh",
    "plse",
    "stair",
    "hardtan",
    "lhtan",
)
ALEXEYAB_ACTIVATIONS = (
    "gelu",
    "revleaky",
    "relu6",
    "swish",
    "mish",
    "hard_mish",
    "normalize_channels",
    "normalize_channels_softmax",
    "normalize_channels_softmax_maxval",
)
ACTIVATIONS = SHARED_ACTIVATIONS + ALEXEYAB_ACTIVATIONS
ACROSS_CHANNELS = tuple(name for name in ACTIVATIONS if name.startswith("normalize_channels"))
"""Activations in which every output depends on all channels of its pixel."""
CHANNEL_EPSILON = 0.0001
"""Added to the sums of the normalize_channels family."""


def resolve_activation(name: str, dialect: Dialect) -> tuple[str, str]:
    """The function that acts under `name`, and a note where it is not the one named.

    Both C programs fall back to relu for names that they do not know (`get_activation`).
    """
    if name in SHARED_ACTIVATIONS or (name in ACTIVATIONS and dialect == ALEXEYAB):
        return name, ""
    if name in ACTIVATIONS:
        return "relu", f"{name} is relu in the {dialect} dialect"
    return (
        "relu",
        f"unknown name {shortened(name)!r} is relu, as in C{suggestion(name, ACTIVATIONS)}",
    )


def activation_option(default: str) -> str:
    """The `activation=` option of a layer."""
    declared: str = option(default, resolve=resolve_activation)
    return declared
