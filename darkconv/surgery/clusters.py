"""The division of numbers into two clusters."""

import math

import numpy as np
import numpy.typing as npt

EVEN = math.sqrt(12)
"""Ashman's D of the two halves of an even distribution.

Their means lie half the length of the distribution apart, and each half has a standard deviation of
length / (4 sqrt(3)). The halves of a normal distribution have a smaller D: 2.7.
"""
SAMPLING = 6.0
"""95 % of samples of n evenly distributed numbers have D below EVEN (1 + SAMPLING / n^0.75)."""
LEAST = 4


def split_in_two(values: npt.NDArray[np.float64]) -> float | None:
    """Return a limit between two clusters of numbers; None if there are not two clusters.

    The split minimizes the variance within the clusters (Otsu 1979). It counts if Ashman's D, the
    distance of the means divided by the common standard deviation (Ashman, Bird, Zepf 1994),
    exceeds that of numbers without clusters. Minus infinity forms a cluster of its own.

    Args:
        values: float64 (n,) finite numbers, or minus infinity.
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
