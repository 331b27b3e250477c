"""Checks that numbers given by a caller lie within their bounds."""

import math
from numbers import Real
from typing import cast

from darkconv.errors import DarkconvError

MOST_SEEDS = 1 << 63
"""PyTorch's random generators accept seeds below this number."""


def require_share(name: str, value: object) -> None:
    """Raise an error unless a number is a share from 0 to 1, such as a score or overlap threshold.

    Args:
        name: the name of the number, used in the message.
        value: the number to check; NaN is refused.

    Raises:
        DarkconvError: the value is no real number, or does not lie within 0 to 1.
    """
    if not isinstance(value, Real) or not 0 <= cast(float, value) <= 1:
        raise DarkconvError(name, expected="0 to 1", found=value)


def require_seed(seed: int) -> None:
    """Raise an error unless a number can seed every random generator in use.

    Args:
        seed: must be at least 0 and less than `MOST_SEEDS`.

    Raises:
        DarkconvError: the seed lies outside these bounds.
    """
    if not 0 <= seed < MOST_SEEDS:
        raise DarkconvError("seed", expected=f"0 or more, and below {MOST_SEEDS}", found=seed)


def require_finite(name: str, value: object) -> None:
    """Raise an error if a value is NaN, infinite or no real number.

    Args:
        name: the name of the value, used in the message.
        value: the value to check.

    Raises:
        DarkconvError: the value is not a finite real number.
    """
    if not isinstance(value, Real) or not math.isfinite(cast(float, value)):
        raise DarkconvError(name, expected="a finite number", found=value)
