"""Whether the columns of a file in 8 bits are those of its model: see `columns`.

8 bits add noise, and how much depends on the network and on the pictures that the ranges were
chosen by. What they do not do is to scale a whole head, to move it, to silence a channel or to put
one in another's place. The bounds lie between right files and files with such faults.
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
    Table,
    Values,
)

VARIES = 0.3
"""Share of the usual deviation of a table's columns below which a column hardly varies."""
STILL = 1e-3  # deviation below which nothing varies
PLACES_NEEDED = 8  # values of a column, of which its figures are

# Bounds, and what right files gave at most; docs/onnx.md says of which models and which faults.
SCALE = {SCORES: 0.14, CLASSES: 0.14, OBJECTNESS: 0.14, SIZES: 0.16, PLACES: 0.45, VALUES: 0.14}
"""By the sort of columns: how far the logarithm of their slope may be from 0.

Right files of detectors had up to 0.10, of sizes 0.12 and of places 0.33; those scaled by 0.8 or
1.25 have 0.17 and more.
"""
LEVEL = {SCORES: 1.3, CLASSES: 2.6, OBJECTNESS: 1.3, SIZES: 0.2, PLACES: 0.5}
"""How far the mean of a column may be off: before the sigmoid, of sizes in logarithms.

Right files had up to 0.93 of it.
"""
LEVEL_OF_VALUES = 0.75  # the same for other values, in deviations of all of them; up to 0.84 of it
DEAD = 0.7
"""Of 1 less what a column follows the model's, what is allowed: up to 0.66, and 1 where dead."""
DEAD_OF_LABELS = 0.9  # the same of 0 and 1: up to 0.75, and 1 where a class is never given
DEAD_IF_COARSE = 0.95  # the same of an output in 8 bits, of which a part of the range is seen
NOISE = 0.45  # the same of the column in the middle: up to 0.38, with noise of its own size 0.5
OF_CLASSES = (CLASSES, LABELS, VALUES)
"""Sorts of which each column is a class."""
EXCHANGED = 1.5  # times nearer to each other's columns than to their own that two are


class Figures(NamedTuple):
    """What the columns of a table are like, (columns,) each.

    Attributes:
        counts: places that both give a value for.
        deviations: of the model's values.
        slopes: of the file's values on the model's, through the origin.
        follows: covariance of both over the larger variance: 1 for the same values, 0 for values
            that have nothing in common or hardly vary.
        offsets: mean of the file's less that of the model's.
    """

    counts: npt.NDArray[np.intp]
    deviations: Values
    slopes: Values
    follows: Values
    offsets: Values

    @property
    def usual(self) -> float:
        """Deviation of a column in the middle."""
        return float(np.median(self.deviations))

    @property
    def are_told(self) -> npt.NDArray[np.bool_]:
        """Which columns have enough places."""
        return self.counts >= PLACES_NEEDED

    @property
    def vary(self) -> npt.NDArray[np.bool_]:
        """Which columns vary in the model, so that their figures say something."""
        least = max(VARIES * self.usual, STILL)
        return self.are_told & (self.deviations >= least)


def figures(table: Table) -> Figures:
    """Measure the columns of a table."""
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
    return Figures(
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
    """A figure of some columns of a table.

    Attributes:
        error: found.
        compared: of how many values or columns.
        text: what the error means.
    """

    error: float
    compared: int
    text: str


Check = Callable[[Table, Figures], Finding]


def check_columns(tables: Sequence[Table]) -> list[Agreement]:
    """Return a row for every property of every sort of columns, of the head that is worst in it.

    Args:
        tables: of `comparable`, over all inputs.
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


def _may_vary(table: Table, found: Figures) -> bool:
    """Return False where it is no fault that nothing varies.

    That is a single class, which may have one probability everywhere, an output that is in 8 bits
    itself, of which no value may be far enough from 0 and 1, and the best class of each box, which
    may nowhere be clear.
    """
    may_be_still = (
        table.is_coarse
        or table.sort == LABELS
        or (table.sort == CLASSES and table.expected.shape[1] == 1)
    )
    return bool(found.vary.any()) or not may_be_still


def still_note(tables: Sequence[Table]) -> list[str]:
    """Return how many columns of classes say nothing, and why, if there are any."""
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
    """Yield name, check and bound of what is checked of a sort of columns."""
    if sort != LABELS:
        yield "scale of {}", check_scale, SCALE[sort]
        yield "level of {}", check_level, 1.0
        yield "noise in {}", check_noise, NOISE
    if sort != SCORES:
        yield "{} unlike the model's", check_following, _dead(sort, is_coarse=is_coarse)
    if sort in OF_CLASSES and not is_coarse:
        yield "{} exchanged", check_exchange, 0.0


def _dead(sort: str, *, is_coarse: bool) -> float:
    """Return how far a column may be from the model's."""
    if sort == LABELS:
        return DEAD_OF_LABELS
    return DEAD_IF_COARSE if is_coarse else DEAD


def _row(
    name: str, some: Sequence[tuple[Table, Figures]], check: Check, allowed: float
) -> Agreement:
    """Return the worst finding; where nothing varies in the model, the row is not good."""
    found = [check(table, figure) for table, figure in some]
    worst = max(found, key=lambda one: (one.compared > 0, one.error))
    compared = sum(one.compared for one in found)
    text = worst.text if compared else f"nothing varies in the model; {HELP}"
    remark = "" if compared and worst.error <= allowed else text
    return Agreement(name, worst.error, allowed, compared, remark)


def check_scale(table: Table, found: Figures) -> Finding:
    """Compare the slope of a column in the middle with 1."""
    slopes = found.slopes[found.vary]
    slope = float(np.median(slopes)) if len(slopes) else 1.0
    error = abs(np.log(slope)) if slope > 0 else np.inf
    count = int(found.counts[found.vary].sum())
    return Finding(float(error), count, f"{table.name} are {slope:.2f} of the model's")


def check_level(table: Table, found: Figures) -> Finding:
    """Compare the means: of scores the usual one of each family, of others those of each column.

    What all classes are off by counts by itself, and what each is off by besides.
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


def check_following(table: Table, found: Figures) -> Finding:
    """Look for columns that do not vary with the model's."""
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


def check_noise(table: Table, found: Figures) -> Finding:
    """Measure how far a column in the middle is from the model's."""
    if not found.vary.any():
        return Finding(0.0, 0, "")
    error = 1 - float(np.median(found.follows[found.vary]))
    count = int(found.counts[found.vary].sum())
    return Finding(error, count, f"{table.name} are as much noise as the model's values")


def check_exchange(table: Table, found: Figures) -> Finding:
    """Count the columns that are like another one's, which is like theirs."""
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
    """Yield pairs of columns that are nearer to each other's than to their own.

    Args:
        expected: (columns, places).
        found: of the same shape.
        vary: which columns may be such.
    """
    known = np.isfinite(expected) & np.isfinite(found)
    one, two = (np.where(known, side, 0.0) for side in (expected, found))
    told = known.astype(np.float64)  # of two columns the places count that are known of both
    own = (two - one) ** 2 @ told.T
    apart = two**2 @ told.T + told @ (one**2).T - 2 * two @ one.T
    both, cross = own + own.T, np.maximum(apart + apart.T, 0)
    shared = told @ told.T >= PLACES_NEEDED
    is_pair = (both > EXCHANGED * cross) & np.outer(vary, vary) & shared
    gain = np.maximum(both - cross, (both - cross).T)  # the same but for rounding
    for i, j in np.argwhere(np.triu(is_pair, 1)):
        if gain[i, j] >= max(gain[i].max(), gain[j].max()):
            yield int(i), int(j)
