"""Whether numbers fall into two clusters, and where they part."""

import math

import numpy as np
import numpy.typing as npt

EVEN = math.sqrt(12)
"""Ashman's D of the halves of an even spread: their means lie half its length apart, and each
has a deviation of its length / 4 sqrt(3). Bell shapes have less: 2.7."""
SAMPLING = 6.0
"""Some 95 % of samples of n evenly spread numbers have a D below EVEN (1 + SAMPLING / n^0.75)."""
LEAST = 4


def split_in_two(values: npt.NDArray[np.float64]) -> float | None:
    """A limit between two clusters, or None where there are no two.

    The split is the one of least variance within (Otsu 1979). It counts if Ashman's D, the gap
    between the means over the clusters' common deviation (Ashman, Bird, Zepf 1994), is more
    than that of numbers without clusters. Minus infinity is a cluster of its own.
    """
    finite = np.sort(values[np.isfinite(values)])
    if len(finite) < len(values):
        return float(finite[0]) if len(finite) else None
    if len(finite) < LEAST or finite[0] == finite[-1]:
        return None
    count = np.arange(1, len(finite))
    total = np.cumsum(finite)[:-1]
    low, high = total / count, (finite.sum() - total) / (len(finite) - count)
    between = count * (len(finite) - count) * (high - low) ** 2
    split = int(between.argmax()) + 1
    parts = finite[:split], finite[split:]
    spread = np.sqrt((parts[0].var() + parts[1].var()) / 2)
    gap = parts[1].mean() - parts[0].mean()
    if gap <= EVEN * (1 + SAMPLING / len(finite) ** 0.75) * spread:
        return None
    return float((parts[0][-1] + parts[1][0]) / 2)
