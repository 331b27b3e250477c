"""Numbers as people read them."""

import math


def format_count(value: float) -> str:
    """A number with thousands separated: `62,001,757`."""
    return f"{value:,}"


def format_large(value: float) -> str:
    """A large number in short: `65.9 G`."""
    for unit in ("", " k", " M"):
        if value < 1000:
            return f"{value:.3g}{unit}" if unit else f"{value:.0f}"
        value /= 1000
    return f"{value:.4g} G"


def per_cent(share: float | None) -> str:
    """Return a share of 0..1 as people are shown it, in per cent: `38.3`; a dash for none."""
    return "-" if share is None or math.isnan(share) else f"{100 * share:.1f}"


def counted(number: int, one: str, several: str | None = None) -> str:
    """Return a number with its noun: `1 box`, `12 boxes`."""
    return f"{format_count(number)} {one if number == 1 else several or one + 's'}"
