"""How often a classifier is right, and what it takes for what."""

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
        pictures: how many were judged.
        top: k -> share of the pictures whose class is among the k best.
        confusion: (classes, classes) pictures by true class and by the class found.
    """

    pictures: int
    top: Mapping[int, float]
    confusion: Numbers

    @property
    def recalls(self) -> Floats:
        """(classes,) share of each class's pictures that are found; nan without pictures."""
        totals = self.confusion.sum(axis=1)
        shares = np.full(len(totals), np.nan)
        np.divide(self.confusion.diagonal(), totals, out=shares, where=totals > 0)
        return shares

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "pictures": self.pictures,
            **{f"top{k}": share for k, share in self.top.items()},
            "confusion": self.confusion.tolist(),
        }


def classification(
    outputs: npt.ArrayLike, labels: npt.ArrayLike, *, top: Sequence[int] = (1, 5)
) -> Classification:
    """Judge a classifier.

    Args:
        outputs: (n, classes) scores, of any scale.
        labels: (n,) true classes.
        top: how many best classes count as found, several times; with fewer classes, all.
    """
    scores, numbers = np.asarray(outputs), np.asarray(labels, np.int64)
    classes = scores.shape[1]
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (numbers, scores.argmax(axis=1)), 1)
    shares = {k: top_k(scores, numbers, k) for k in top}
    return Classification(len(numbers), shares, confusion)


def top_k(outputs: npt.ArrayLike, labels: npt.ArrayLike, k: int) -> float:
    """Share of the pictures whose class is among the k best; 0 without pictures.

    Of equal scores, those of lower classes are better.

    Args:
        outputs: (n, classes) scores, of any scale.
        labels: (n,) true classes.
        k: how many.
    """
    scores, numbers = np.asarray(outputs), np.asarray(labels, np.int64)
    if not len(numbers):
        return 0.0
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return float((best == numbers[:, None]).any(axis=1).mean())
