"""Blocks of JPEG files: libjpeg's levels -> coefficients -> stb_image's levels.

Both decoders round twice between the 64 coefficients of a block and its levels, each with
integers of its own, so that one level in a hundred or so differs by 1. Coefficients are multiples
of the file's divisors. With divisors of 2 and more they can be told from the rounded levels; where
some are 1, neighbouring coefficients are tried. Blocks whose coefficients do not give libjpeg's
levels again keep those.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.pictures.jpeg_transform import LIBJPEG, SIDE, STB, WAVES, Floats, Levels, multiplied

Integers = npt.NDArray[np.integer[Any]]
Flags = npt.NDArray[np.bool_]
Places = npt.NDArray[np.intp]

CHUNK = 512  # blocks at a time, for the processor's cache
SEARCHED = 2048  # the same where calls cost more than what they do
MISFIT = 0.05  # libjpeg's first rounding moves values by about this much
TRIED = 8  # coefficients of a block that may be a step off
OFF = 3  # of which so many at once
FOLLOWED = 3  # steps that are taken one after the other
GAIN_WEIGHT = 20  # of what a step takes off the misfit, beside how likely it is: by trying
FARTHEST = 1.15  # what rounding of levels does to a coefficient: four deviations
MOST_ONES = 16  # divisors of 1, with more there are too many neighbours
CLIPPED_ROUNDS = 8


def _choices() -> Iterator[Floats]:
    """For 1, 2 ... coefficients that are off: rows of 0 and 1, which of those tried they are."""
    for count in range(1, OFF + 1):
        chosen = combinations(range(TRIED), count)
        yield np.array([np.isin(range(TRIED), one) for one in chosen]).astype(np.float32)


CHOICES = list(_choices())


def restore(levels: Levels, divisors: Integers) -> Levels:
    """The levels that stb_image decodes where libjpeg decodes these.

    Args:
        levels: (H, W) of one component.
        divisors: (8, 8) the file's table for it.
    """
    height, width = levels.shape
    margins = ((0, -height % SIDE), (0, -width % SIDE))
    blocks = _to_blocks(np.pad(levels, margins, "edge"))
    known = _to_blocks(np.pad(np.ones(levels.shape, bool), margins))
    table = divisors.reshape(-1).astype(np.float32)
    restored, left = blocks.copy(), []
    for chunk in _chunks(len(blocks), CHUNK):
        coefficients = _multiples(multiplied(_centred(blocks[chunk]), WAVES.T), table)
        confirmed = _take_over(restored, chunk, coefficients, known[chunk])
        left.append(chunk.start + np.flatnonzero(~confirmed))
    rows = np.concatenate(left)
    for chunk in _chunks(len(rows), SEARCHED):
        some = rows[chunk]
        coefficients = _searched(blocks[some], known[some], table)
        _take_over(restored, some, coefficients, known[some])
    whole = _from_blocks(restored, (width - 1) // SIDE + 1)
    return whole[:height, :width]


def _chunks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))


def _to_blocks(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    height, width = plane.shape
    blocks = plane.reshape(height // SIDE, SIDE, width // SIDE, SIDE).swapaxes(1, 2)
    return blocks.reshape(-1, SIDE * SIDE)


def _from_blocks(blocks: Levels, across: int) -> Levels:
    rows = blocks.reshape(-1, across, SIDE, SIDE).swapaxes(1, 2)
    return rows.reshape(-1, across * SIDE)


def _centred(levels: Levels) -> Floats:
    return np.subtract(levels, np.float32(128), dtype=np.float32)


def _multiples(spectrum: Floats, table: Floats) -> Floats:
    """The multiples of the divisors that lie next to a transform."""
    coefficients = spectrum / table
    np.rint(coefficients, out=coefficients)
    coefficients *= table
    return coefficients


def _take_over(restored: Levels, rows: slice | Places, coefficients: Floats, known: Flags) -> Flags:
    """Replace levels of which these coefficients make libjpeg's; which blocks these are."""
    confirmed: Flags = ((LIBJPEG(coefficients) == restored[rows]) | ~known).all(axis=1)
    restored[rows] = np.where(confirmed[:, None], STB(coefficients), restored[rows])
    return confirmed


def _searched(levels: Levels, known: Flags, table: Floats) -> Floats:
    """Coefficients of blocks for which the nearest ones are wrong."""
    search = _Search.start(levels, known, table)
    search.fit_clipped()
    if np.count_nonzero(table == 1) <= MOST_ONES:
        search.follow_misfit()
        for choices in CHOICES:
            search.try_neighbours(choices)
    return search.coefficients


@dataclass(eq=False)
class _Search:
    """Coefficients of blocks while they are looked for; rows are blocks.

    Attributes:
        levels: (n, 64) less 128.
        low: (n, 64) least values that are rounded to the levels.
        high: (n, 64) greatest such values.
        table: (64,) divisors.
        spectrum: (n, 64) transform of the levels.
        coefficients: (n, 64) found so far.
        values: (n, 64) what they give before rounding.
        misfits: (n,) by how much these miss the bounds.
    """

    levels: Floats
    low: Floats
    high: Floats
    table: Floats
    spectrum: Floats
    coefficients: Floats
    values: Floats
    misfits: Floats

    @classmethod
    def start(cls, levels: Levels, known: Flags, table: Floats) -> "_Search":
        """The multiples next to the levels' transform."""
        centred = _centred(levels)
        low, high = centred - 0.5, centred + 0.5
        low[(levels == 0) | ~known] = -np.inf
        high[(levels == 255) | ~known] = np.inf
        spectrum = multiplied(centred, WAVES.T)
        coefficients = _multiples(spectrum, table)
        values = multiplied(coefficients, WAVES)
        misfits = _misfits(values, low, high)
        return cls(centred, low, high, table, spectrum, coefficients, values, misfits)

    def misfitting(self) -> npt.NDArray[np.intp]:
        """Indices of the blocks whose coefficients are not right."""
        return np.nonzero(self.misfits > MISFIT)[0]

    def fit_clipped(self) -> None:
        """Where levels are 0 or 255, let the values behind them be what the others imply."""
        is_open = ~np.isfinite(self.high - self.low)
        clipped = is_open.any(axis=1)
        for _ in range(CLIPPED_ROUNDS):
            rows = self.misfitting()
            rows = rows[clipped[rows]]
            if not len(rows):
                break
            bounded = self.values[rows].clip(self.low[rows], self.high[rows])
            implied = np.where(is_open[rows], bounded, self.levels[rows])
            self.spectrum[rows] = multiplied(implied, WAVES.T)
            coefficients = _multiples(self.spectrum[rows], self.table)
            self._take(rows, coefficients, multiplied(coefficients, WAVES))

    def follow_misfit(self) -> None:
        """Take, one after the other, the neighbours that lessen the misfit, if it ends in a fit.

        This finds nearly all that `try_neighbours` finds of a single coefficient, in a fifth of the
        time.
        """
        rows = self.misfitting()
        coefficients, values = self.coefficients[rows], self.values[rows]
        steps, distance = self._steps(rows)
        for _ in range(FOLLOWED):
            missing = values - values.clip(self.low[rows], self.high[rows])
            gains = steps * multiplied(missing, WAVES.T)
            gains *= -GAIN_WEIGHT
            gains -= distance
            best = np.arange(len(rows)), gains.argmax(axis=1)
            coefficients[best] += steps[best]
            steps[best] *= -1
            values = multiplied(coefficients, WAVES)
            self._take(rows, coefficients, values, only_better=True)
            left = self.misfits[rows] > MISFIT
            rows, coefficients, values = rows[left], coefficients[left], values[left]
            steps, distance = steps[left], distance[left]

    def try_neighbours(self, choices: Floats) -> None:
        """Take the other neighbouring multiple of a few coefficients, if that fits.

        Args:
            choices: (k, TRIED) 1 for those that are changed at once.
        """
        rows = self.misfitting()
        if not len(rows):
            return
        steps, distance = self._steps(rows)
        nearest = np.argpartition(distance, TRIED, axis=1)[:, :TRIED]
        steps = np.take_along_axis(steps, nearest, axis=1)
        changes = choices @ (steps[:, :, None] * WAVES[nearest])
        changes += self.values[rows][:, None]
        changes -= changes.clip(self.low[rows][:, None], self.high[rows][:, None])
        best = np.einsum("ijk,ijk->ij", changes, changes).argmin(axis=1)
        coefficients = self.coefficients[rows]
        found = np.take_along_axis(coefficients, nearest, axis=1) + steps * choices[best]
        np.put_along_axis(coefficients, nearest, found, axis=1)
        self._take(rows, coefficients, multiplied(coefficients, WAVES), only_better=True)

    def _steps(self, rows: Places) -> tuple[Floats, Floats]:
        """The way to each coefficient's other neighbour, 0 if it is far, and how far that is."""
        rest = self.spectrum[rows] - self.coefficients[rows]
        distance = self.table - np.abs(rest)
        steps = np.copysign(self.table, rest)
        steps[distance > FARTHEST] = 0
        return steps, distance

    def _take(
        self, rows: Places, coefficients: Floats, values: Floats, *, only_better: bool = False
    ) -> None:
        misfits = _misfits(values, self.low[rows], self.high[rows])
        if only_better:
            fits = misfits <= MISFIT
            rows, misfits = rows[fits], misfits[fits]
            coefficients, values = coefficients[fits], values[fits]
        self.coefficients[rows] = coefficients
        self.values[rows] = values
        self.misfits[rows] = misfits


def _misfits(values: Floats, low: Floats, high: Floats) -> Floats:
    worst: Floats = np.abs(values - values.clip(low, high)).max(axis=1)
    return worst
