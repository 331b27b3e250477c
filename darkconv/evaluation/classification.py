"""Measure how often a classifier is right, and which classes it confuses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.evaluation.matching import Floats

Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Classification:
    """Result of `classification`.

    Attributes:
        pictures: number of pictures that were judged.
        top: k -> share of the pictures whose class is among the k best, 0..1.
        confusion: (classes, classes) number of pictures by true class (rows) and class found.
    """

    pictures: int
    top: Mapping[int, float]
    confusion: Numbers

    @property
    def recalls(self) -> Floats:
        """Return the recall of each class, (classes,); NaN for a class without pictures."""
        totals = self.confusion.sum(axis=1)
        shares = np.full(len(totals), np.nan)
        np.divide(self.confusion.diagonal(), totals, out=shares, where=totals > 0)
        return shares

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as a dictionary for JSON."""
        return {
            "pictures": self.pictures,
            **{f"top{k}": share for k, share in self.top.items()},
            "confusion": self.confusion.tolist(),
        }


def classification(
    outputs: npt.ArrayLike, labels: npt.ArrayLike, *, top: Sequence[int] = (1, 5)
) -> Classification:
    """Compute top-k accuracy and the confusion matrix of a classifier.

    Args:
        outputs: (n, classes) scores, of any scale.
        labels: (n,) true class indices, from 0.
        top: values of k for top-k accuracy; a k above the number of classes takes all classes.
    """
    scores, numbers = np.asarray(outputs), np.asarray(labels, np.int64)
    classes = scores.shape[1]
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (numbers, scores.argmax(axis=1)), 1)
    shares = {k: top_k(scores, numbers, k) for k in top}
    return Classification(len(numbers), shares, confusion)


def top_k(outputs: npt.ArrayLike, labels: npt.ArrayLike, k: int) -> float:
    """Return the share of the pictures whose class is among the k best; 0 without pictures.

    Among equal scores the lower class index comes first.

    Args:
        outputs: (n, classes) scores, of any scale.
        labels: (n,) true class indices, from 0.
        k: number of best classes that are looked at.
    """
    scores, numbers = np.asarray(outputs), np.asarray(labels, np.int64)
    if not len(numbers):
        return 0.0
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float((best == numbers[:, None]).any(axis=1).mean())
