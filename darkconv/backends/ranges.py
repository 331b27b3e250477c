"""Statistics of values over calibration pictures, and the choice of their 8-bit ranges."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array

Range = tuple[float, float]
"""The least and the largest value that 8 bits can represent."""
HALF = 1024
"""Number of histogram bins on either side of zero."""
SAMPLED = 1 << 16
"""Approximate number of values per picture that enter the histogram; all enter least and
largest."""
SMALLEST_LIMIT = 2.0**-20
LEVELS = 255
SHARES = np.linspace(0.1, 1.0, 46)
"""Candidates for the ends of a range, as fractions of the least and the largest value."""
METHODS = ("mse", "percentile", "minmax", "entropy")
TRIED = ("mse", "percentile", "minmax")
"""Methods that are tried where the user names none."""
PERCENTILE = 99.99

Doubles = npt.NDArray[np.float64]


def mean_error(pairs: Iterable[tuple[Sequence[Array], Sequence[Array]]]) -> float:
    """Return the relative absolute error of outputs over all inputs, averaged over the outputs.

    A squared error would depend on the few large values alone. A drift of the many scores near
    zero, from which false positives come, would hardly count.

    Args:
        pairs: for each input, the expected outputs and the outputs found.
    """
    sums = [
        [
            (np.abs(value - right, dtype=np.float64).sum(), np.abs(right, dtype=np.float64).sum())
            for right, value in zip(*pair, strict=True)
        ]
        for pair in pairs
    ]
    off, whole = np.sum(sums, axis=0).T
    return float((off / np.maximum(whole, 1e-30)).mean())


class Observed:
    """Statistics of a value over the pictures seen so far.

    Attributes:
        low: least value, or 0 if all are above it.
        high: largest value, or 0 if all are below it.
        counts: (2 * HALF,) number of values in each histogram bin.
        limit: the bins cover the range from -limit to limit.
        largest: (channels,) largest absolute value of each channel.
        pictures: number of pictures.
    """

    def __init__(self) -> None:
        self.low = self.high = 0.0
        self.limit = SMALLEST_LIMIT
        self.counts = np.zeros(2 * HALF, np.int64)
        self.largest: Doubles = np.zeros(0)
        self.pictures = 0

    def add(self, values: Array) -> None:
        """Add the values of one picture to the statistics.

        Args:
            values: float32, (1, channels, ...).
        """
        rows = values.reshape(values.shape[1] if values.ndim > 1 else 1, -1)
        least, most = rows.min(axis=1), rows.max(axis=1)
        own: Doubles = np.stack([-least, most]).max(axis=0).astype(np.float64)
        self.largest = np.stack([self.largest, own]).max(axis=0) if self.pictures else own
        self.pictures += 1
        self.low, self.high = min(self.low, float(least.min())), max(self.high, float(most.max()))
        self._widen(max(-self.low, self.high))
        stride = values.size // SAMPLED | 1
        sample = values.ravel()[self.pictures % stride :: stride]
        places = (sample * np.float32(HALF / self.limit) + np.float32(HALF)).astype(np.int64)
        self.counts += np.bincount(places.clip(0, 2 * HALF - 1), minlength=2 * HALF)

    def _widen(self, needed: float) -> None:
        """Double the width of the bins until they cover a value."""
        while self.limit < needed:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.pad(merged, HALF // 2)
            self.limit *= 2

    @property
    def middles(self) -> Doubles:
        """Return the middle of each bin, (2 * HALF,)."""
        middles: Doubles = (np.arange(2 * HALF, dtype=np.float64) + 0.5 - HALF) * (
            self.limit / HALF
        )
        return middles

    def percentile(self, share: float = PERCENTILE) -> Range:
        """Return the range that holds all values but the outermost.

        Args:
            share: percentage of the values that lie in the range, 0..100; equal parts lie outside
                on both sides.
        """
        outside = (1 - share / 100) / 2 * self.counts.sum()
        below = np.cumsum(self.counts)
        above = np.cumsum(self.counts[::-1])
        width = self.limit / HALF
        low = (int(np.argmax(below > outside)) - HALF) * width
        high = (HALF - int(np.argmax(above > outside))) * width
        return max(low, self.low), min(high, self.high)

    def mse(self, *, below: float = 1.0) -> Range:
        """Return the range with the least mean square error of rounding and clipping.

        Args:
            below: weight of an error of a value below zero, where one above has weight 1.
        """
        x, n = self.middles, self.counts.astype(np.float64)
        weights = np.where(x < 0, below, 1.0) * n
        lows, highs = np.unique(self.low * SHARES), np.unique(self.high * SHARES)
        cut_low = np.array([(weights * np.minimum(x - low, 0) ** 2).sum() for low in lows])
        cut_high = np.array([(weights * np.maximum(x - high, 0) ** 2).sum() for high in highs])
        steps = (highs[None] - lows[:, None]) / LEVELS
        cost = cut_low[:, None] + cut_high[None] + weights.sum() * steps**2 / 12
        place = np.unravel_index(int(cost.argmin()), cost.shape)
        return float(lows[place[0]]), float(highs[place[1]])

    def entropy(self) -> Range:
        """Return the range, symmetric about zero, in which rounding changes the distribution least.

        The distribution of the absolute values is compared with that of 128 levels, by the
        Kullback-Leibler divergence. The range is cut to the least and the largest value.
        """
        counts = (self.counts[HALF:] + self.counts[:HALF][::-1]).astype(np.float64)
        best, end = np.inf, HALF
        for stop in range(128, HALF + 1, 8):
            kept = counts[:stop].copy()
            kept[-1] += counts[stop:].sum()
            groups = np.arange(stop) * 128 // stop
            filled = counts[:stop] > 0
            total = np.bincount(groups, counts[:stop], 128)
            number = np.bincount(groups, filled, 128)
            level = np.where(filled, (total / np.maximum(number, 1))[groups], 0)
            loss = _divergence(kept, level)
            if loss < best:
                best, end = loss, stop
        reach = end * self.limit / HALF
        return max(self.low, -reach), min(self.high, reach)


def _divergence(p: Doubles, q: Doubles) -> float:
    p, q = p / max(p.sum(), 1), q / max(q.sum(), 1)
    seen = p > 0
    return float((p[seen] * np.log(p[seen] / np.maximum(q[seen], 1e-12))).sum())


RANGES: Mapping[str, Callable[[Observed], Range]] = {
    "percentile": Observed.percentile,
    "minmax": lambda seen: (seen.low, seen.high),
    "mse": Observed.mse,
    "entropy": Observed.entropy,
}
