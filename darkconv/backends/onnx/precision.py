"""Half precision and 8 bits: which layers keep float32, and numbers that float16 cannot hold.

Inputs and outputs of the graph are float32. Heads too compute in float32, so that boxes and
scores lose nothing more, and so do layers whose sums of squares or powers soon leave float16.
"""

import logging

import numpy as np
import numpy.typing as npt

from darkconv.core.network import Network
from darkconv.core.spec import HeadSpec
from darkconv.errors import UnsupportedError, Where
from darkconv.layers import conv, norm

logger = logging.getLogger("darkconv")

Half = npt.NDArray[np.float16]

LARGEST = float(np.finfo(np.float16).max)
TOLERATED_LOSS = 0.01  # relative L2 error of an array; rounding alone costs 0.0003
SINGLE_SPECS = (HeadSpec, norm.Logistic, norm.Normalization, norm.L2norm)
SINGLE_ACTIVATIONS = (
    "normalize_channels",
    "normalize_channels_softmax",
    "normalize_channels_softmax_maxval",
)
"""Sums over channels, of powers of e in two of them: e^12 leaves float16."""


FIRST, OUT_OF = 3, 20
"""Of the first convolutions one in so many stays in float32, and at most so many do: they often
subtract large values from each other, and what is lost there is lost to all that follow. In one of
the measured models three of 85 made half of the heads' errors in 16 bits as in 8."""


def float_layers(network: Network) -> set[int]:
    """Layers that compute in float32 where the others do not."""
    single = {layer.index for layer in network.layers if isinstance(layer.spec, SINGLE_SPECS)}
    weighted = [one.index for one in network.layers if isinstance(one.spec, conv.Convolutional)]
    return single | set(weighted[: min(FIRST, len(weighted) // OUT_OF)])


def as_half(values: npt.ArrayLike, name: str, where: Where) -> Half:
    """Values rounded to float16.

    Args:
        values: finite ones stay finite.
        name: of the array.
        where: it belongs.

    Raises:
        UnsupportedError: a value is too large.
    """
    exact = np.asarray(values, np.float32)
    with np.errstate(over="ignore"):
        half = exact.astype(np.float16)
    if not np.isfinite(half[np.isfinite(exact)]).all():
        raise UnsupportedError(
            f"{name} cannot be in half precision",
            where=where,
            expected=f"values within +-{LARGEST:.0f}",
            found=f"{np.abs(exact[np.isfinite(exact)]).max():.3g}",
            hint="convert without fp16",
        )
    precise = exact.astype(np.float64)
    length, lost = float(np.linalg.norm(precise)), float(np.linalg.norm(half - precise))
    if lost > TOLERATED_LOSS * length:
        logger.warning(
            "%s: %s are too small for half precision: of their length %.0f %% are lost",
            where,
            name,
            100 * lost / length,
        )
    return half
