"""Check the columns of a file in 8 bits against those of its model: see `columns`.

8 bits add noise, and how much depends on the network and on the pictures that the ranges were
calibrated with. They do not scale a whole head, shift it, silence a channel or exchange two
channels. The bounds lie between right files and files with such faults.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from darkconv.verification.agreement import HELP, Agreement
from darkconv.verification.columns import (
    CLASSES,
    LABELS,
    OBJECTNESS,
    PLACES,
    SCORES,
    SIZES,
    VALUES,
    ColumnTable,
    Values,
)

VARIES = 0.3
"""A column hardly varies if its deviation is below this share of the table's median deviation."""
STILL = 1e-3  # standard deviation below which a column does not vary at all
PLACES_NEEDED = 8  # values that a column must have before its figures count

# Bounds, and the largest figures of right files; docs/onnx.md names the models and the faults.
SCALE = {SCORES: 0.14, CLASSES: 0.14, OBJECTNESS: 0.14, SIZES: 0.16, PLACES: 0.45, VALUES: 0.14}
"""The largest |log(slope)| that is allowed, by the sort of columns.

Right files of detectors had up to 0.10, for sizes 0.12 and for places 0.33; files scaled by 0.8 or
1.25 have 0.17 and more.
"""
LEVEL = {SCORES: 1.3, CLASSES: 2.6, OBJECTNESS: 1.3, SIZES: 0.2, PLACES: 0.5}
"""The largest shift of a column's mean that is allowed, before the sigmoid; sizes as logarithms.

Right files had up to 0.93 of this bound.
"""
# The same for other values, in standard deviations of all values; right files had up to 0.84 of it.
LEVEL_OF_VALUES = 0.75
DEAD = 0.7
"""The largest 1 - `follows` that is allowed: right files had up to 0.66; a dead column has 1."""
DEAD_OF_LABELS = 0.9  # for labels of 0 and 1: up to 0.75, and 1 where a class is never given
DEAD_IF_COARSE = 0.95  # for an output that is in 8 bits itself, where a part of the range is seen
NOISE = 0.45  # for the median column: up to 0.38, and 0.5 for noise as large as the values
OF_CLASSES = (CLASSES, LABELS, VALUES)
"""Sorts of columns in which each column is a class."""
# Two columns are exchanged if they are so many times nearer to each other's than to their own.
EXCHANGED = 1.5


class ColumnStatistics(NamedTuple):
    """The statistics of the columns of a table, each of shape (columns,).

    Attributes:
        counts: number of places where both sides have a value.
        deviations: standard deviation of the model's values.
        slopes: slope of the file's values over the model's, of a line through the origin.
        follows: covariance of both sides over the larger variance: 1 for the same values, 0 for
            values that have nothing in common or hardly vary.
        offsets: mean of the file's values minus the mean of the model's.
    """

    counts: npt.NDArray[np.intp]
    deviations: Values
    slopes: Values
    follows: Values
    offsets: Values

    @property
    def usual(self) -> float:
        """Return the median deviation of the columns."""
        return float(np.median(self.deviations))

    @property
    def are_told(self) -> npt.NDArray[np.bool_]:
        """Return which columns have enough places."""
        return self.counts >= PLACES_NEEDED

    @property
    def vary(self) -> npt.NDArray[np.bool_]:
        """Return which columns vary in the model, so that their statistics mean something."""
        least = max(VARIES * self.usual, STILL)
        return self.are_told & (self.deviations >= least)


def figures(table: ColumnTable) -> ColumnStatistics:
    """Measure the columns of a table.

    Args:
        table: a table that `comparable` returned; NaN is left out.

    Returns:
        The statistics of each column, family by family.
    """
    places = table.expected.shape[2]
    one, two = (side.reshape(-1, places) for side in (table.expected, table.found))
    known = np.isfinite(one) & np.isfinite(two)
    counts = known.sum(axis=1)
    total = np.maximum(counts, 1)
    one, two = (np.where(known, side, 0.0) for side in (one, two))
    means = [side.sum(axis=1) / total for side in (one, two)]
    apart = [
        np.where(known, side - mean[:, None], 0.0)
        for side, mean in zip((one, two), means, strict=True)
    ]
    variances = [(side**2).sum(axis=1) / total for side in apart]
    covariance = (apart[0] * apart[1]).sum(axis=1) / total
    squares = (one**2).sum(axis=1)
    return ColumnStatistics(
        counts,
        np.sqrt(variances[0]),
        _quotient((one * two).sum(axis=1), squares),
        _quotient(covariance, np.maximum(*variances)),
        means[1] - means[0],
    )


def _quotient(above: Values, below: Values) -> Values:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


@dataclass(frozen=True)
class Finding:
    """What a check found in some columns of a table.

    Attributes:
        error: the error that was found.
        compared: number of values or columns that it was measured on.
        text: the meaning of the error, as a table shows it.
    """

    error: float
    compared: int
    text: str


Check = Callable[[ColumnTable, ColumnStatistics], Finding]


def check_columns(tables: Sequence[ColumnTable]) -> list[Agreement]:
    """Return a row for each property of each sort of columns, with the error of the worst head.

    Args:
        tables: tables that `comparable` returned, each over all inputs.
    """
    rows = []
    measured = [(table, figures(table)) for table in tables]
    for sort in dict.fromkeys(table.sort for table in tables):
        some = [(table, found) for table, found in measured if table.sort == sort]
        if not any(_may_vary(*one) for one in some):
            continue
        is_coarse = any(table.is_coarse for table, _ in some)
        rows += [
            _row(name.format(sort), some, check, allowed)
            for name, check, allowed in _checks(sort, is_coarse=is_coarse)
        ]
    return rows


def _may_vary(table: ColumnTable, found: ColumnStatistics) -> bool:
    """Return False where it is no fault that nothing varies.

    That is so for a single class, which may have one probability everywhere; for an output that is
    in 8 bits itself, where no value may be far enough from 0 and 1; and for the best class of each
    box, which may be clear nowhere.
    """
    may_be_still = (
        table.is_coarse
        or table.sort == LABELS
        or (table.sort == CLASSES and table.expected.shape[1] == 1)
    )
    return bool(found.vary.any()) or not may_be_still


def still_note(tables: Sequence[ColumnTable]) -> list[str]:
    """Return notes on the columns of classes that could not be checked, and why.

    Args:
        tables: tables that `comparable` returned.
    """
    notes = []
    found = [figures(table).vary for table in tables if table.sort in OF_CLASSES]
    vary = np.concatenate([np.zeros(0, bool), *found])
    still = int(np.count_nonzero(~vary))
    if still:
        notes.append(
            f"{still} of {len(vary)} channels of classes hardly vary in the model on these inputs: "
            "nothing is said of them"
        )
    if any(table.is_coarse for table in tables):
        notes.append(
            "the file's outputs are in 8 bits themselves: their values near 0 and 1 say nothing, "
            "and whether classes are exchanged is not seen. Scores are better where the "
            "convolutions alone are quantised, and the heads' activations stay in float32"
        )
    return notes


def _checks(sort: str, *, is_coarse: bool) -> Iterator[tuple[str, Check, float]]:
    """Yield the name, the check and the bound of each check of a sort of columns."""
    if sort != LABELS:
        yield "scale of {}", check_scale, SCALE[sort]
        yield "level of {}", check_level, 1.0
        yield "noise in {}", check_noise, NOISE
    if sort != SCORES:
        yield "{} unlike the model's", check_following, _dead(sort, is_coarse=is_coarse)
    if sort in OF_CLASSES and not is_coarse:
        yield "{} exchanged", check_exchange, 0.0


def _dead(sort: str, *, is_coarse: bool) -> float:
    """Return the largest 1 - `follows` that is allowed."""
    if sort == LABELS:
        return DEAD_OF_LABELS
    return DEAD_IF_COARSE if is_coarse else DEAD


def _row(
    name: str, some: Sequence[tuple[ColumnTable, ColumnStatistics]], check: Check, allowed: float
) -> Agreement:
    """Return the worst finding; where nothing varies in the model, the row is not good."""
    found = [check(table, figure) for table, figure in some]
    worst = max(found, key=lambda one: (one.compared > 0, one.error))
    compared = sum(one.compared for one in found)
    text = worst.text if compared else f"nothing varies in the model; {HELP}"
    remark = "" if compared and worst.error <= allowed else text
    return Agreement(name, worst.error, allowed, compared, remark)


def check_scale(table: ColumnTable, found: ColumnStatistics) -> Finding:
    """Compare the median slope of the columns with 1.

    Args:
        table: a table that `comparable` returned.
        found: its statistics.

    Returns:
        |log(slope)|; infinite where the slope is not above 0.
    """
    slopes = found.slopes[found.vary]
    slope = float(np.median(slopes)) if len(slopes) else 1.0
    error = abs(np.log(slope)) if slope > 0 else np.inf
    count = int(found.counts[found.vary].sum())
    return Finding(float(error), count, f"{table.name} are {slope:.2f} of the model's")


def check_level(table: ColumnTable, found: ColumnStatistics) -> Finding:
    """Compare the means of the columns.

    Of scores the median shift of each family is taken, of other sorts the shift of each column. For
    classes and values, the shift that all columns share is a row of its own, and each column is
    measured without it.

    Args:
        table: a table that `comparable` returned.
        found: its statistics.

    Returns:
        The largest shift, as a share of the shift that is allowed.
    """
    labels, off, told = list(table.labels), found.offsets, found.are_told
    if table.sort == SCORES:
        families, columns, _ = table.expected.shape
        each = [
            np.median(off[told][indices == family]) if (indices == family).any() else np.nan
            for indices in [np.repeat(np.arange(families), columns)[told]]
            for family in range(families)
        ]
        labels = [label.rpartition(", ")[2] for label in labels[::columns]]
        off, told = np.array(each), np.isfinite(each)
    count = int(found.counts[found.are_told].sum())
    if not told.any():
        return Finding(0.0, 0, "")
    if table.sort in (CLASSES, VALUES):
        common = float(np.median(off[told]))
        labels, off, told = (
            [*labels, "every class"],
            np.append(off - common, common),
            np.append(told, True),
        )
    worst = int(np.argmax(np.where(told, np.abs(off), -1)))
    allowed = LEVEL.get(table.sort) or max(
        LEVEL_OF_VALUES * float(np.nanstd(table.expected)), STILL
    )
    height = "high" if off[worst] > 0 else "low"
    text = f"{labels[worst]} of {table.source} is {abs(off[worst]):.2g} too {height} on average"
    return Finding(float(abs(off[worst])) / allowed, count, text)


def check_following(table: ColumnTable, found: ColumnStatistics) -> Finding:
    """Look for columns that do not vary with the model's.

    Args:
        table: a table that `comparable` returned.
        found: its statistics.

    Returns:
        The largest 1 - `follows` of the columns that vary.
    """
    vary = np.flatnonzero(found.vary)
    if not len(vary):
        return Finding(0.0, 0, "")
    follows = found.follows[vary]
    dead = [
        table.labels[vary[place]]
        for place in np.flatnonzero(1 - follows > _dead(table.sort, is_coarse=table.is_coarse))
    ]
    more = f" and {len(dead) - 1} more" if len(dead) > 1 else ""
    first = dead[0] if dead else ""
    text = f"{first} of {table.source}{more}: what the file gives does not follow the model"
    return Finding(float(1 - follows.min()), len(vary), text)


def check_noise(table: ColumnTable, found: ColumnStatistics) -> Finding:
    """Measure how far the median column is from the model's.

    Args:
        table: a table that `comparable` returned.
        found: its statistics.

    Returns:
        1 - `follows` of the median column.
    """
    if not found.vary.any():
        return Finding(0.0, 0, "")
    error = 1 - float(np.median(found.follows[found.vary]))
    count = int(found.counts[found.vary].sum())
    return Finding(error, count, f"{table.name} are as much noise as the model's values")


def check_exchange(table: ColumnTable, found: ColumnStatistics) -> Finding:
    """Count the columns that are exchanged with another column of the same family.

    Args:
        table: a table that `comparable` returned.
        found: its statistics.

    Returns:
        Twice the number of exchanged pairs.
    """
    families, columns, _ = table.expected.shape
    if columns < 2:
        return Finding(0.0, columns, "")
    vary = found.vary.reshape(families, columns)
    pairs = [
        (family * columns + i, family * columns + j)
        for family in range(families)
        for i, j in exchanged(table.expected[family], table.found[family], vary[family])
    ]
    text = ""
    if pairs:
        one, two = (table.labels[place] for place in pairs[0])
        text = f"{one} and {two} of {table.source} are exchanged"
    return Finding(2.0 * len(pairs), int(vary.sum()), text)


def exchanged(
    expected: Values, found: Values, vary: npt.NDArray[np.bool_]
) -> Iterator[tuple[int, int]]:
    """Yield pairs of columns that are nearer to each other's column than to their own.

    Args:
        expected: the model's values, (columns, places).
        found: the file's values, of the same shape.
        vary: bool (columns,), True for the columns that may be exchanged.

    Yields:
        The two column indices, from 0, the smaller first.
    """
    known = np.isfinite(expected) & np.isfinite(found)
    one, two = (np.where(known, side, 0.0) for side in (expected, found))
    told = known.astype(np.float64)  # only places where both columns are known are counted
    own = (two - one) ** 2 @ told.T
    apart = two**2 @ told.T + told @ (one**2).T - 2 * two @ one.T
    both, cross = own + own.T, np.maximum(apart + apart.T, 0)
    shared = told @ told.T >= PLACES_NEEDED
    is_pair = (both > EXCHANGED * cross) & np.outer(vary, vary) & shared
    gain = np.maximum(both - cross, (both - cross).T)  # symmetric, except for rounding
    for i, j in np.argwhere(np.triu(is_pair, 1)):
        if gain[i, j] >= max(gain[i].max(), gain[j].max()):
            yield int(i), int(j)
