"""Numbers that a caller gives, held to the bounds that they have."""

import math

from darkconv.errors import DarkconvError


def require_share(name: str, value: float) -> None:
    """Raise unless a number is a share: thresholds of scores and overlaps are.

    Args:
        name: what the number is, for the message.
        value: to look at; NaN is no share.

    Raises:
        DarkconvError: it is not within 0..1.
    """
    if not 0 <= value <= 1:
        raise DarkconvError(name, expected="a number from 0 to 1", found=value)


def require_finite(name: str, value: float) -> None:
    """Raise DarkconvError if a number is NaN or infinite."""
    if not math.isfinite(value):
        raise DarkconvError(name, expected="a finite number", found=value)
