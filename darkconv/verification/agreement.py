"""How far two sets of numbers are from each other, and how many of them were compared.

NaN agrees with nothing, NaN included: a model that gives no numbers is not right in any framework.
A check that had nothing to compare has failed.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from darkconv.core.model import Array

SCORE_FLOOR = 0.1
"""Added to the highest score that errors of scores are relative to."""
NOTHING = "nothing to compare"
HELP = "--image takes a picture of what it knows"


@dataclass(frozen=True)
class Agreement:
    """How far one figure is off.

    Attributes:
        name: of an output or a layer, or of a property of detections.
        error: found.
        allowed: the most that counts as the same.
        compared: how many values, boxes or detections the error is of.
        remark: why it cannot be good, where the error does not say so.
        is_zero: all that was compared is zero on both sides: see `told_of_zeros`.
        norm: L2 norm of what was expected, where the error is relative to it.
    """

    name: str
    error: float
    allowed: float
    compared: int
    remark: str = ""
    is_zero: bool = False
    norm: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether the two agree; not where nothing was compared, or the error is no number."""
        return self.compared > 0 and self.error <= self.allowed

    @property
    def verdict(self) -> str:
        """What a table says beside it: nothing where it is good."""
        return "" if self.is_good else f"wrong: {self.remark}" if self.remark else "wrong"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON, which knows no infinity: null in place of it."""
        error = self.error if math.isfinite(self.error) else None
        fields = asdict(self)
        del fields["is_zero"], fields["norm"]
        return {**fields, "error": error, "wrong": not self.is_good}


def joined(rows: Sequence[Agreement]) -> Agreement:
    """Return one row for the same figure on several inputs: the worst error, all that was compared.

    Args:
        rows: one or more, of one name.
    """
    worst = max(rows, key=lambda row: math.inf if math.isnan(row.error) else row.error)
    compared = sum(row.compared for row in rows)
    remark = worst.remark if compared == 0 or not worst.error <= worst.allowed else ""
    is_zero = all(row.is_zero for row in rows)
    return Agreement(worst.name, worst.error, worst.allowed, compared, remark, is_zero)


def pooled(rows: Sequence[Agreement]) -> Agreement:
    """Return one row for the same values of several inputs, as if they were one array's.

    In 8 bits an input on which the model gives little has a large relative error of its own.

    Args:
        rows: of `compare_values`, one or more, of one name.
    """
    row = joined(rows)
    whole = math.hypot(*(one.norm for one in rows))
    if not whole or not math.isfinite(row.error):
        return row
    error = math.hypot(*(one.error * one.norm for one in rows)) / whole
    remark = row.remark if row.compared == 0 or error > row.allowed else ""
    return replace(row, error=error, remark=remark, norm=whole)


def told_of_zeros(rows: Sequence[Agreement]) -> list[Agreement]:
    """Return rows of which none is good if there is nothing but zeros in any of them.

    A layer of zeros is right where others give values. Where none does, a file would agree whatever
    it holds: the picture is black, or the network is dead.

    Args:
        rows: of all that was compared.
    """
    if not all(row.is_zero and row.is_good for row in rows):
        return list(rows)
    remark = f"all values are zero; {HELP}"
    return [replace(row, compared=0, remark=remark) for row in rows]


def relative_error(found: Array, expected: Array) -> float:
    """Return the L2 norm of the difference over that of what is expected.

    It is infinite for other shapes, where a value is NaN, and where one alone is infinite.

    Args:
        found: of any shape.
        expected: of the same.
    """
    if found.shape != expected.shape:
        return math.inf
    one, two = found.astype(np.float64), expected.astype(np.float64)
    is_number = np.isfinite(two)
    if not np.array_equal(one[~is_number], two[~is_number]):
        return math.inf
    one, two = one[is_number], two[is_number]
    error = float(np.linalg.norm(one - two)) / (float(np.linalg.norm(two)) or 1.0)
    return math.inf if math.isnan(error) else error


def compare_values(name: str, found: Array, expected: Array, allowed: float) -> Agreement:
    """Return the relative error of an array, of which all finite values count as compared.

    Args:
        name: of the row.
        found: what is checked.
        expected: what it should be.
        allowed: relative error.
    """
    if found.shape != expected.shape:
        remark = f"shape {found.shape} in place of {expected.shape}"
        return Agreement(name, math.inf, allowed, 0, remark)
    compared = int(np.count_nonzero(np.isfinite(found) & np.isfinite(expected)))
    error = relative_error(found, expected)
    is_zero = not (np.any(found) or np.any(expected))
    remark = remark_on(found, expected, compared)
    norm = float(np.linalg.norm(expected[np.isfinite(expected)].astype(np.float64)))
    return Agreement(name, error, allowed, compared, remark, is_zero, norm)


def remark_on(found: Array, expected: Array, compared: int) -> str:
    """Return what keeps two arrays of a shape from being compared; nothing where they are."""
    return nan_remark(np.where(np.isnan(found), found, expected)) or ("" if compared else NOTHING)


def nan_remark(values: Array) -> str:
    """Return how many values are NaN; nothing where none is."""
    missing = int(np.count_nonzero(np.isnan(values)))
    if not missing:
        return ""
    many = "all" if missing == values.size else f"{missing:,} of"
    return f"{many} {values.size:,} values are NaN"


def compare_scores(name: str, found: Array, expected: Array, allowed: float) -> Agreement:
    """Return the error of scores, of which those count that would be missed.

    Scores so small that the error allows for their absence say nothing: where nothing is found,
    all are, and the row is not good.

    Args:
        name: of the row.
        found: what is checked.
        expected: of the same shape.
        allowed: see `score_error`.
    """
    error = score_error(found, expected)
    if found.shape != expected.shape:
        return compare_values(name, found, expected, allowed)
    least = allowed * (SCORE_FLOOR + np.nanmax(expected, initial=0))
    with np.errstate(invalid="ignore"):
        compared = int(np.count_nonzero(np.maximum(found, expected) > least))
    remark = remark_on(found, expected, compared)
    if remark == NOTHING:
        remark = f"the model gives no score above {least:.0e}; {HELP}"
    return Agreement(name, error, allowed, compared, remark)


def score_error(found: Array, expected: Array) -> float:
    """Return the largest difference of scores, relative to the highest score and a tenth.

    With an allowance of 1e-4 this is the rule for single layers, 1e-5 + 1e-4 max |b|. Where
    nothing is found all scores are tiny, and runtimes' sigmoids are exact to 1e-7, not to so many
    digits. It is infinite for other shapes, and where a score is NaN.

    Args:
        found: of any shape.
        expected: of the same.
    """
    if found.shape != expected.shape:
        return math.inf
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - expected).max(initial=0)
    error = float(difference / (SCORE_FLOOR + expected.max(initial=0)))
    return math.inf if math.isnan(error) else error
