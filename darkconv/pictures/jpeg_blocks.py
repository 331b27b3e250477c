"""Blocks of JPEG files: libjpeg's levels -> coefficients -> stb_image's levels.

Both decoders round twice between the 64 coefficients of a block and its levels, each with its own
integer constants, so that about one level in a hundred differs by 1. Coefficients are multiples of
the entries of the file's quantization table, the divisors. Where the divisors are 2 or more, the
coefficients follow from the rounded levels; where some divisors are 1, neighbouring coefficients
are tried. Blocks whose coefficients do not give libjpeg's levels again keep libjpeg's levels.
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
SEARCHED = 2048  # blocks at a time in the search, where numpy's calls cost more than the cache
MISFIT = 0.05  # libjpeg's first rounding moves values by about this much
TRIED = 8  # coefficients of a block that may be off by one multiple
OFF = 3  # how many of these may be off at once
FOLLOWED = 3  # steps that are taken one after the other
GAIN_WEIGHT = 20  # weight of a step's gain against its likelihood; found by experiment
FARTHEST = 1.15  # the error that rounding the levels gives a coefficient: 4 standard deviations
MOST_ONES = 16  # divisors of 1; with more of them there are too many neighbours
CLIPPED_ROUNDS = 8


def _choices() -> Iterator[Floats]:
    """Yield, for 1 to OFF wrong coefficients, rows of 0 and 1 that say which ones they are."""
    for count in range(1, OFF + 1):
        chosen = combinations(range(TRIED), count)
        yield np.array([np.isin(range(TRIED), one) for one in chosen]).astype(np.float32)


CHOICES = list(_choices())


def restore(levels: Levels, divisors: Integers) -> Levels:
    """Return the levels that stb_image decodes where libjpeg decodes the given ones.

    Args:
        levels: uint8 (H, W) of one component, as libjpeg decodes it.
        divisors: (8, 8) the component's quantization table.

    Returns:
        uint8 (H, W).
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
    """Return the multiples of the divisors that are nearest to a transform."""
    coefficients = spectrum / table
    np.rint(coefficients, out=coefficients)
    coefficients *= table
    return coefficients


def _take_over(restored: Levels, rows: slice | Places, coefficients: Floats, known: Flags) -> Flags:
    """Replace the blocks whose coefficients give libjpeg's levels; return which ones they are."""
    confirmed: Flags = ((LIBJPEG(coefficients) == restored[rows]) | ~known).all(axis=1)
    restored[rows] = np.where(confirmed[:, None], STB(coefficients), restored[rows])
    return confirmed


def _searched(levels: Levels, known: Flags, table: Floats) -> Floats:
    """Return coefficients for blocks of which the nearest multiples are wrong."""
    search = _Search.start(levels, known, table)
    search.fit_clipped()
    if np.count_nonzero(table == 1) <= MOST_ONES:
        search.follow_misfit()
        for choices in CHOICES:
            search.try_neighbours(choices)
    return search.coefficients


@dataclass(eq=False)
class _Search:
    """The search for the coefficients of some blocks; rows are blocks.

    Attributes:
        levels: (n, 64) less 128.
        low: (n, 64) the smallest values that are rounded to the levels.
        high: (n, 64) the largest values that are rounded to the levels.
        table: (64,) the divisors.
        spectrum: (n, 64) the transform of the levels.
        coefficients: (n, 64) the best ones found so far.
        values: (n, 64) the levels that the coefficients give before rounding.
        misfits: (n,) the largest distance of `values` from the bounds.
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
        """Begin with the multiples that are nearest to the levels' transform."""
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
        """Return the indices of the blocks whose coefficients are not right yet."""
        return np.nonzero(self.misfits > MISFIT)[0]

    def fit_clipped(self) -> None:
        """Replace levels of 0 or 255, which may be clipped, by what the other levels imply."""
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
        """Take the neighbours that lessen the misfit, one after the other, if this ends in a fit.

        This finds nearly all single coefficients that `try_neighbours` finds, in a fifth of the
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
            choices: (k, TRIED) 1 for the coefficients that are changed at once.

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
        """Return the step to each coefficient's other neighbour, 0 if too far, and its distance."""
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
