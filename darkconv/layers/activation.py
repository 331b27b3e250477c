"""Names of activation functions; the backends contain the formulas."""

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
"""In these activations each output depends on all channels of its pixel."""
CHANNEL_EPSILON = 0.0001
"""The activations of the normalize_channels family add this number to their sums."""


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
"""Names that other programs use for Darknet's functions, in lower case, and Darknet's names."""
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
"""Functions that Darknet does not have, although their names resemble those of its functions."""


def darknet_name(name: str) -> str:
    """Return Darknet's name of an activation function.

    Args:
        name: a name used by Darknet or another program; an unknown one is returned as it is.
    """
    return SYNONYMS.get(_plain(name), name)


def _plain(name: str) -> str:
    """Return a name as it is spelled in the tables."""
    return name.lower().replace("-", "_")


def resolve_activation(name: str, dialect: Dialect) -> tuple[str, str]:
    """Return the function that acts for a name, and a note if it is not the one named.

    Names of other programs are read as Darknet's. Both C programs use relu for names that they do
    not know (`get_activation`).

    Args:
        name: the value of `activation=`.
        dialect: the dialect, which decides what functions exist.

    Returns:
        Darknet's name of the function, and the note or "".
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
    """Return the declaration of a layer's option `activation=`.

    Args:
        default: name of the function if the cfg does not state one.
    """
    declared: str = option(default, resolve=resolve_activation)
    return declared
