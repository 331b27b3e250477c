"""What a value was for some pictures, and which range of it 8 bits should have."""

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array

Range = tuple[float, float]
"""The least and the largest value that 8 bits can hold."""
HALF = 1024
"""Bins of a histogram on either side of zero."""
SAMPLED = 1 << 16
"""Values of one picture's map that enter the histogram, about: all enter least and largest."""
SMALLEST_LIMIT = 2.0**-20
LEVELS = 255
SHARES = np.linspace(0.1, 1.0, 46)
"""Candidates for the ends of a range, as shares of the least and the largest value."""
METHODS = ("mse", "percentile", "minmax", "entropy")
TRIED = ("mse", "percentile", "minmax")
"""Methods that are tried where the user names none."""
PERCENTILE = 99.99

Doubles = npt.NDArray[np.float64]


def mean_error(pairs: Iterable[tuple[Sequence[Array], Sequence[Array]]]) -> float:
    """Return the relative absolute error of outputs over all inputs, the mean over the outputs.

    Squares would be those of the few large values: a drift of the many scores near zero, which
    are the false positives to come, would cost nothing.

    Args:
        pairs: of each input what each output should be, and what it is.
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
    """What a value was for the pictures seen so far.

    Attributes:
        low: the least.
        high: the largest.
        counts: (2 * HALF,) how many values lay in each bin.
        limit: the bins reach from -limit to limit.
        largest: (channels,) largest absolute value of each channel.
        pictures: how many.
    """

    def __init__(self) -> None:
        self.low = self.high = 0.0
        self.limit = SMALLEST_LIMIT
        self.counts = np.zeros(2 * HALF, np.int64)
        self.largest: Doubles = np.zeros(0)
        self.pictures = 0

    def add(self, values: Array) -> None:
        """Take in the values of one picture, (1, channels, ...)."""
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
        """Make bins twice as wide until they reach far enough."""
        while self.limit < needed:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.pad(merged, HALF // 2)
            self.limit *= 2

    @property
    def middles(self) -> Doubles:
        """(2 * HALF,) the middle of each bin."""
        middles: Doubles = (np.arange(2 * HALF, dtype=np.float64) + 0.5 - HALF) * (
            self.limit / HALF
        )
        return middles

    def percentile(self, share: float = PERCENTILE) -> Range:
        """Return the range of all values but the outermost 100 - `share` per cent."""
        outside = (1 - share / 100) / 2 * self.counts.sum()
        below = np.cumsum(self.counts)
        above = np.cumsum(self.counts[::-1])
        width = self.limit / HALF
        low = (int(np.argmax(below > outside)) - HALF) * width
        high = (HALF - int(np.argmax(above > outside))) * width
        return max(low, self.low), min(high, self.high)

    def mse(self, *, below: float = 1.0) -> Range:
        """Return the range whose rounding and cutting costs least in the mean square.

        Args:
            below: what an error of a value below zero counts, beside one above.
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
        """Return the range about zero in which rounding changes the distribution least.

        The distribution of absolute values is compared with that of 128 levels (Kullback and
        Leibler's divergence).
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
