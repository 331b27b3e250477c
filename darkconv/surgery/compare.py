"""Statistics of the arrays of a model, and differences between the arrays of two models."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array, Model

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ArrayStatistics:
    """Statistics of one array.

    Attributes:
        key: "<layer>.<array>".
        shape: shape of the array.
        mean, deviation, minimum, maximum: statistics of the finite values, with the standard
            deviation; NaN if there are none.
        zeros: share of values that are zero, 0 to 1.
        non_finite: number of values that are infinite or NaN.
    """

    key: str
    shape: tuple[int, ...]
    mean: float
    deviation: float
    minimum: float
    maximum: float
    zeros: float
    non_finite: int

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as data for JSON; None replaces numbers that are not finite."""
        return _plain(asdict(self))


@dataclass(frozen=True)
class ArrayDifference:
    """Difference between one array of two models.

    Attributes:
        key: "<layer>.<array>".
        state: "equal" (bit by bit), "different", "other shape", "only first" or "only second".
        shapes: shapes in both models; None where the array is missing.
        max_abs: largest absolute difference; None unless both have the same shape.
        relative: L2 norm of the difference divided by that of the first model's array; inf if that
            is zero and the other is not; None unless both have the same shape.
    """

    key: str
    state: str
    shapes: tuple[tuple[int, ...] | None, tuple[int, ...] | None]
    max_abs: float | None = None
    relative: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as data for JSON; None replaces numbers that are not finite."""
        return _plain(asdict(self))


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def statistics(model: Model) -> list[ArrayStatistics]:
    """Return statistics of each array, in file order.

    Args:
        model: the model to examine.
    """
    return [_statistics(key, array) for key, array in model.arrays.items()]


def _statistics(key: str, array: Array) -> ArrayStatistics:
    finite = np.isfinite(array)
    broken = array.size - int(np.count_nonzero(finite))
    values = array[finite] if broken else array
    mean = deviation = least = most = float("nan")
    if values.size:
        mean, deviation = (float(f(values, dtype=np.float64)) for f in (np.mean, np.std))
        least, most = float(values.min()), float(values.max())
    zeros = (array.size - np.count_nonzero(array)) / array.size
    return ArrayStatistics(key, array.shape, mean, deviation, least, most, zeros, broken)


def difference(a: Model, b: Model) -> list[ArrayDifference]:
    """Compare the arrays of two models.

    Args:
        a: the first model.
        b: the second model.

    Returns:
        One difference for each array: those of the first model in file order, then those that only
            the second model has.
    """
    return list(_differences(a, b))


def _differences(a: Model, b: Model) -> Iterator[ArrayDifference]:
    for key, array in a.arrays.items():
        if key not in b.arrays:
            yield ArrayDifference(key, "only first", (array.shape, None))
        elif array.shape != b.arrays[key].shape:
            yield ArrayDifference(key, "other shape", (array.shape, b.arrays[key].shape))
        else:
            yield _compared(key, array, b.arrays[key])
    for key, array in b.arrays.items():
        if key not in a.arrays:
            yield ArrayDifference(key, "only second", (None, array.shape))


def _compared(key: str, a: Array, b: Array) -> ArrayDifference:
    shapes = (a.shape, b.shape)
    if np.array_equal(a.view(np.uint32), b.view(np.uint32)):
        return ArrayDifference(key, "equal", shapes, 0.0, 0.0)
    gap = _gap(a, b)
    norm, size = (float(np.linalg.norm(values.ravel())) for values in (gap, _finite(a)))
    relative = norm / size if size else (float("inf") if norm else 0.0)
    return ArrayDifference(key, "different", shapes, float(gap.max()), relative)


def _gap(a: Array, b: Array) -> Doubles:
    """Return absolute differences; 0 for the same infinity in both, and infinity for NaN."""
    with np.errstate(invalid="ignore"):
        gap = np.abs(a.astype(np.float64) - b)
    found: Doubles = np.where(a == b, 0.0, np.where(np.isnan(gap), np.inf, gap))
    return found


def _finite(array: Array) -> Doubles:
    return np.where(np.isfinite(array), array, 0.0).astype(np.float64)
