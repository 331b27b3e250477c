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

Levels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.integer[Any]]
Flags = npt.NDArray[np.bool_]

SIDE = 8
CHUNK = 1024  # blocks at a time, for the processor's cache
MISFIT = 0.05  # libjpeg's first rounding moves values by about this much
TRIED = 8  # coefficients of a block that may be a step off
OFF = 3  # of which so many at once
FARTHEST = 1.15  # what rounding of levels does to a coefficient: four deviations
MOST_ONES = 16  # divisors of 1, with more there are too many neighbours
CLIPPED_ROUNDS = 8


@dataclass(frozen=True, eq=False)
class Inverse:
    """A decoder's inverse transform, in integers: columns, then rows.

    Attributes:
        matrix: (8, 8) of one direction, (place, frequency).
        shifts: bits that are dropped after the columns and after the rows.
    """

    matrix: npt.NDArray[np.float64]
    shifts: tuple[int, int]

    @classmethod
    def of(cls, upper: tuple[tuple[int, ...], ...], shifts: tuple[int, int]) -> "Inverse":
        """From the upper half of the matrix; even waves are symmetric, odd ones are not."""
        half = np.array(upper, np.float64)
        lower = half[::-1] * np.where(np.arange(SIDE) % 2, -1, 1)
        return cls(np.concatenate([half, lower]), shifts)

    def __call__(self, coefficients: Floats) -> Levels:
        """(n, 64) coefficients -> (n, 64) levels."""
        # float64 holds all sums of the integers
        columns = self.matrix @ coefficients.reshape(-1, SIDE, SIDE).astype(np.float64)
        _drop_bits(columns, self.shifts[0])
        rows = columns.reshape(-1, SIDE) @ self.matrix.T
        _drop_bits(rows, self.shifts[1])
        rows += 128
        return rows.clip(0, 255).astype(np.uint8).reshape(-1, SIDE * SIDE)


def _drop_bits(values: npt.NDArray[np.float64], bits: int) -> None:
    """Shift integers to the right, rounded to the nearest."""
    values *= 2.0**-bits
    values += 0.5
    np.floor(values, out=values)


STB = Inverse.of(
    (
        (4096, 5683, 5352, 4816, 4096, 3219, 2217, 1131),
        (4096, 4816, 2217, -1129, -4096, -5681, -5350, -3218),
        (4096, 3219, -2217, -5681, -4096, 1132, 5350, 4816),
        (4096, 1131, -5352, -3218, 4096, 4816, -2217, -5680),
    ),
    (10, 17),
)
LIBJPEG = Inverse.of(
    (
        (8192, 11363, 10703, 9633, 8192, 6437, 4433, 2260),
        (8192, 9633, 4433, -2259, -8192, -11362, -10704, -6436),
        (8192, 6437, -4433, -11362, -8192, 2261, 10704, 9633),
        (8192, 2260, -10703, -6436, 8192, 9633, -4433, -11363),
    ),
    (11, 18),
)


def _waves() -> Floats:
    """(64, 64) the orthonormal cosine transform of a block."""
    place = np.arange(SIDE)
    one = np.cos((2 * place + 1) * place[:, None] * np.pi / (2 * SIDE)) / 2
    one[0] /= np.sqrt(2)
    return np.kron(one, one).astype(np.float32)


def _choices() -> list[Floats]:
    """For 1, 2 ... coefficients that are off: rows of 0 and 1, which of those tried they are."""
    return [
        np.array([np.isin(range(TRIED), chosen) for chosen in combinations(range(TRIED), count)])
        .astype(np.float32)
        for count in range(1, OFF + 1)
    ]  # fmt: skip


WAVES = _waves()
CHOICES = _choices()


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
    restored = [_restore(blocks[chunk], known[chunk], table) for chunk in _chunks(len(blocks))]
    whole = _from_blocks(np.concatenate(restored), (width - 1) // SIDE + 1)
    return whole[:height, :width]


def _chunks(count: int) -> Iterator[slice]:
    return (slice(start, start + CHUNK) for start in range(0, count, CHUNK))


def _to_blocks(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    height, width = plane.shape
    blocks = plane.reshape(height // SIDE, SIDE, width // SIDE, SIDE).swapaxes(1, 2)
    return blocks.reshape(-1, SIDE * SIDE)


def _from_blocks(blocks: Levels, across: int) -> Levels:
    rows = blocks.reshape(-1, across, SIDE, SIDE).swapaxes(1, 2)
    return rows.reshape(-1, across * SIDE)


def _restore(levels: Levels, known: Flags, table: Floats) -> Levels:
    """The same for (n, 64) blocks; what is not known was outside the picture."""
    search = _Search.start(levels, known, table)
    search.fit_clipped()
    if np.count_nonzero(table == 1) <= MOST_ONES:
        for choices in CHOICES:
            search.try_neighbours(choices)
    again = LIBJPEG(search.coefficients)
    confirmed = ((again == levels) | ~known).all(axis=1)
    return np.where(confirmed[:, None], STB(search.coefficients), levels)


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
        centred = levels.astype(np.float32) - 128
        low, high = centred - 0.5, centred + 0.5
        low[(levels == 0) | ~known] = -np.inf
        high[(levels == 255) | ~known] = np.inf
        spectrum = centred @ WAVES.T
        coefficients = np.rint(spectrum / table) * table
        values = coefficients @ WAVES
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
            self.spectrum[rows] = implied @ WAVES.T
            self._take(rows, np.rint(self.spectrum[rows] / self.table) * self.table)

    def try_neighbours(self, choices: Floats) -> None:
        """Take the other neighbouring multiple of a few coefficients, if that fits.

        Args:
            choices: (k, TRIED) 1 for those that are changed at once.
        """
        rows = self.misfitting()
        if not len(rows):
            return
        rest = self.spectrum[rows] - self.coefficients[rows]
        distance = self.table - np.abs(rest)
        nearest = np.argpartition(distance, TRIED, axis=1)[:, :TRIED]
        steps = np.take_along_axis(np.copysign(self.table, rest), nearest, axis=1)
        steps[np.take_along_axis(distance, nearest, axis=1) > FARTHEST] = 0
        changes = choices @ (steps[:, :, None] * WAVES[nearest])
        changes += self.values[rows][:, None]
        changes -= changes.clip(self.low[rows][:, None], self.high[rows][:, None])
        best = np.einsum("ijk,ijk->ij", changes, changes).argmin(axis=1)
        change = np.zeros_like(rest)
        np.put_along_axis(change, nearest, steps * choices[best], axis=1)
        self._take(rows, self.coefficients[rows] + change, only_better=True)

    def _take(
        self, rows: npt.NDArray[np.intp], coefficients: Floats, *, only_better: bool = False
    ) -> None:
        values = coefficients @ WAVES
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
