"""Measure how far two sets of numbers are apart, and count how many of them were compared.

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
"""Added to the highest score before the errors of scores are divided by it."""
NOTHING = "nothing to compare"
HELP = "--image takes a picture of what it knows"


@dataclass(frozen=True)
class Agreement:
    """The error of one figure, beside the error that is allowed.

    Attributes:
        name: name of an output, of a layer, or of a property of detections.
        error: the error that was found; infinite where the two sides cannot be compared.
        allowed: the largest error that counts as the same.
        compared: number of values, boxes or detections that the error was measured on.
        remark: the reason why the row is not good, where the error does not say so.
        is_zero: True where every compared value is zero on both sides: see `told_of_zeros`.
        norm: L2 norm of the expected values, where the error is relative to it.
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
        """Return True if the two sides agree.

        It is False where nothing was compared, and where the error is NaN.
        """
        return self.compared > 0 and self.error <= self.allowed

    @property
    def verdict(self) -> str:
        """Return the text that a table shows beside the row; it is empty where the row is good."""
        return "" if self.is_good else f"wrong: {self.remark}" if self.remark else "wrong"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields for JSON, with None in place of an infinite error."""
        error = self.error if math.isfinite(self.error) else None
        fields = asdict(self)
        del fields["is_zero"], fields["norm"]
        return {**fields, "error": error, "wrong": not self.is_good}


def joined(rows: Sequence[Agreement]) -> Agreement:
    """Return one row for the same figure on several inputs: the worst error, all that was compared.

    Args:
        rows: one or more rows of the same name.
    """
    worst = max(rows, key=lambda row: math.inf if math.isnan(row.error) else row.error)
    compared = sum(row.compared for row in rows)
    remark = worst.remark if compared == 0 or not worst.error <= worst.allowed else ""
    is_zero = all(row.is_zero for row in rows)
    return Agreement(worst.name, worst.error, worst.allowed, compared, remark, is_zero)


def pooled(rows: Sequence[Agreement]) -> Agreement:
    """Return one row for the same values of several inputs, as if they were one array.

    In 8 bits an input on which the model's values are small has a large relative error of its own.

    Args:
        rows: one or more rows of `compare_values`, of the same name.
    """
    row = joined(rows)
    whole = math.hypot(*(one.norm for one in rows))
    if not whole or not math.isfinite(row.error):
        return row
    error = math.hypot(*(one.error * one.norm for one in rows)) / whole
    remark = row.remark if row.compared == 0 or error > row.allowed else ""
    return replace(row, error=error, remark=remark, norm=whole)


def told_of_zeros(rows: Sequence[Agreement]) -> list[Agreement]:
    """Return the rows, none of them good if every value in all of them is zero.

    A layer of zeros is right where other layers give values. Where none does, any file would agree:
    the picture is black, or the network is dead.

    Args:
        rows: the rows of everything that was compared.
    """
    if not all(row.is_zero and row.is_good for row in rows):
        return list(rows)
    remark = f"all values are zero; {HELP}"
    return [replace(row, compared=0, remark=remark) for row in rows]


def relative_error(found: Array, expected: Array) -> float:
    """Return the L2 norm of the difference, divided by the L2 norm of the expected values.

    The error is infinite where the shapes differ, where a value is NaN, and where one side alone is
    infinite. Values that are infinite on both sides are left out.

    Args:
        found: the values to check, of any shape.
        expected: the right values, of the same shape.
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
    """Return the relative L2 error of an array, over the values that are finite on both sides.

    Args:
        name: name of the row.
        found: the values to check.
        expected: the right values.
        allowed: the largest relative error that counts as the same.
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
    """Return why two arrays of the same shape cannot be compared, or "" where they can.

    Args:
        found: the values to check.
        expected: the right values.
        compared: number of values that were compared.
    """
    return nan_remark(np.where(np.isnan(found), found, expected)) or ("" if compared else NOTHING)


def nan_remark(values: Array) -> str:
    """Return how many values are NaN, in words, or "" where none is.

    Args:
        values: an array of floats of any shape.
    """
    missing = int(np.count_nonzero(np.isnan(values)))
    if not missing:
        return ""
    many = "all" if missing == values.size else f"{missing:,} of"
    return f"{many} {values.size:,} values are NaN"


def compare_scores(name: str, found: Array, expected: Array, allowed: float) -> Agreement:
    """Return the error of scores; scores above the allowed error count as compared.

    A score below the allowed error could be missing without notice, so it shows nothing. Where all
    scores are so small, the row is not good.

    Args:
        name: name of the row.
        found: the scores to check, 0..1.
        expected: the right scores, of the same shape.
        allowed: the largest error that counts as the same: see `score_error`.
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
    """Return the largest difference of scores, divided by the highest score plus `SCORE_FLOOR`.

    With an allowed error of 1e-4 this is the rule for single layers, 1e-5 + 1e-4 max |b|. Where
    nothing is found all scores are tiny, and runtimes' sigmoids are exact to 1e-7, not to so many
    digits. The error is infinite where the shapes differ, and where a score is NaN.

    Args:
        found: the scores to check, of any shape.
        expected: the right scores, of the same shape.
    """
    if found.shape != expected.shape:
        return math.inf
    with np.errstate(invalid="ignore"):
        difference = np.abs(found - expected).max(initial=0)
    error = float(difference / (SCORE_FLOOR + expected.max(initial=0)))
    return math.inf if math.isnan(error) else error
