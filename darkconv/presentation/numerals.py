"""Format numbers for readers."""

import math


def format_count(value: float) -> str:
    """Return a number with thousands separated: `62,001,757`.

    Args:
        value: the number.
    """
    return f"{value:,}"


def format_large(value: float) -> str:
    """Return a large number in short form: `65.9 G`.

    Args:
        value: the number, not negative.
    """
    for unit in ("", " k", " M"):
        if value < 1000:
            return f"{value:.3g}{unit}" if unit else f"{value:.0f}"
        value /= 1000
    return f"{value:.4g} G"


def per_cent(share: float | None) -> str:
    """Return a share in per cent, without the sign: `38.3`; a dash for None and NaN.

    Args:
        share: the share, 0..1; None where it was not measured.
    """
    return "-" if share is None or math.isnan(share) else f"{100 * share:.1f}"


def counted(number: int, one: str, several: str | None = None) -> str:
    """Return a number with its noun: `1 box`, `12 boxes`.

    Args:
        number: the number.
        one: the noun in the singular.
        several: the noun in the plural; None adds an s to the singular.
    """
    return f"{format_count(number)} {one if number == 1 else several or one + 's'}"
