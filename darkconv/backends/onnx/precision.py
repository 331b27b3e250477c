"""Conversion to half precision, and a check of the numbers that it cannot hold."""

import logging

import numpy as np
import numpy.typing as npt

from darkconv.errors import UnsupportedError, Where

logger = logging.getLogger("darkconv")

Half = npt.NDArray[np.float16]

LARGEST = float(np.finfo(np.float16).max)
TOLERATED_LOSS = 0.01  # relative L2 error of an array; rounding alone costs 0.0003


def as_half(values: npt.ArrayLike, name: str, where: Where) -> Half:
    """Return values rounded to float16, and log a warning if many are too small for it.

    Args:
        values: numbers; NaN and infinity are allowed.
        name: name of the array, for messages.
        where: place of the layer, for messages.

    Raises:
        UnsupportedError: a finite value is too large for float16.
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
