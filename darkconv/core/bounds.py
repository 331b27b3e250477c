"""Numbers that a caller gives, held to the bounds that they have."""

import math
from numbers import Real
from typing import cast

from darkconv.errors import DarkconvError

MOST_SEEDS = 1 << 63
"""Of PyTorch's generators."""


def require_share(name: str, value: object) -> None:
    """Raise unless a number is a share: thresholds of scores and overlaps are.

    Args:
        name: what the number is, for the message.
        value: to look at; NaN is no share.

    Raises:
        DarkconvError: it is not within 0..1.
    """
    if not isinstance(value, Real) or not 0 <= cast(float, value) <= 1:
        raise DarkconvError(name, expected="0 to 1", found=value)


def require_seed(seed: int) -> None:
    """Raise DarkconvError unless a number can start all random generators in use."""
    if not 0 <= seed < MOST_SEEDS:
        raise DarkconvError("seed", expected=f"0 or more, and below {MOST_SEEDS}", found=seed)


def require_finite(name: str, value: object) -> None:
    """Raise DarkconvError if a number is NaN or infinite."""
    if not isinstance(value, Real) or not math.isfinite(cast(float, value)):
        raise DarkconvError(name, expected="a finite number", found=value)
