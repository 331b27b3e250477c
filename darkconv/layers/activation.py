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


SYNONYMS = {
    "silu": "swish",
    "sigmoid": "logistic",
    "none": "linear",
    "identity": "linear",
    "id": "linear",
    "lrelu": "leaky",
    "leakyrelu": "leaky",
    "leaky_relu": "leaky",
    "hardtanh": "hardtan",
    "hard_tanh": "hardtan",
    "hardmish": "hard_mish",
    "sigm": "logistic",
}
"""What other programs call Darknet's functions, in lower case."""
UNKNOWN_TO_DARKNET = (
    "celu",
    "glu",
    "hard_sigmoid",
    "hard_swish",
    "hardsigmoid",
    "hardswish",
    "hsigmoid",
    "hswish",
    "prelu",
    "softplus",
    "softsign",
)
"""Functions that are none of Darknet's, though their names look like one of them."""


def darknet_name(name: str) -> str:
    """Return Darknet's name of an activation, which other programs may call otherwise."""
    return SYNONYMS.get(_plain(name), name)


def _plain(name: str) -> str:
    """Return a name as the tables spell it."""
    return name.lower().replace("-", "_")


def resolve_activation(name: str, dialect: Dialect) -> tuple[str, str]:
    """The function that acts under `name`, and a note where it is not the one named.

    Names of other programs are read as Darknet's. Both C programs fall back to relu for names that
    they do not know (`get_activation`).
    """
    known = darknet_name(name)
    if known != name:
        acting, note = resolve_activation(known, dialect)
        return acting, f"{name} is read as {known}" + (f"; {note}" if note else "")
    if name in SHARED_ACTIVATIONS or (name in ACTIVATIONS and dialect.follows(ALEXEYAB)):
        return name, ""
    if name in ACTIVATIONS:
        return "relu", f"{name} is relu in the {dialect} dialect"
    is_foreign = _plain(name) in UNKNOWN_TO_DARKNET
    hint = "; no Darknet has it" if is_foreign else suggestion(name, ACTIVATIONS)
    return "relu", f"unknown name {shortened(name)!r} is relu, as in C{hint}"


def activation_option(default: str) -> str:
    """The `activation=` option of a layer."""
    declared: str = option(default, resolve=resolve_activation)
    return declared
