"""Compute the confusion matrix of a detector: which classes it takes for which."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.boxes import iou
from darkconv.detection import Detection
from darkconv.evaluation.matching import Floats, Rule, Truths

BACKGROUND = "background"


@dataclass(frozen=True, eq=False)
class Confusion:
    """Result of `confusion`.

    Attributes:
        classes: class names.
        counts: (n + 1, n + 1), true class (rows) by class found. The last row counts detections
            where there is no object, the last column objects that were missed; the last entry is 0.
        at: score that detections must exceed.
        overlap: IoU from which a detection and a ground-truth box are the same object.
    """

    classes: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    at: float
    overlap: float

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the names of rows and columns."""
        return (*self.classes, BACKGROUND)

    @property
    def shares(self) -> Floats:
        """Return the counts as shares of their row, (n + 1, n + 1), 0..1."""
        counts = self.counts.astype(np.float64)
        shares: Floats = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
        return shares

    def as_dict(self) -> dict[str, Any]:
        """Return the matrix as a dictionary for JSON."""
        return {
            "labels": list(self.labels),
            "counts": self.counts.tolist(),
            "at": self.at,
            "overlap": self.overlap,
        }


def confusion(
    found: Sequence[Sequence[Detection]],
    truths: Sequence[Truths],
    classes: Sequence[str],
    *,
    rule: Rule,
    at: float,
) -> Confusion:
    """Pair detections with ground-truth boxes of any class, and count the pairs of classes.

    A box has one partner at most. Pairs of the same class come first, then the others, each by
    falling IoU. Difficult boxes count neither as found nor as missed.

    Args:
        found: the detections in each picture.
        truths: the ground truth of each picture, (k, 5) or (k, 6) rows.
        classes: class names, by index.
        rule: the rule by which boxes are compared.
        at: score that detections must exceed, 0..1.

    Returns:
        The confusion matrix.
    """
    count = len(classes)
    counts = np.zeros((count + 1, count + 1), np.int64)
    for detections, rows in zip(found, truths, strict=True):
        sure = [d for d in detections if d.score > at]
        true_ids = np.append(rows[:, 0].astype(int), count)
        found_ids = np.append(np.array([d.class_id for d in sure], int), count)
        difficult = rows[:, 5] > 0 if rows.shape[1] > 5 else np.zeros(len(rows), bool)
        for i, j in pairs(sure, rows, rule):
            if i == len(rows) or not difficult[i]:
                counts[true_ids[i], found_ids[j]] += 1
    return Confusion(tuple(classes), counts, at, rule.overlap)


def pairs(sure: Sequence[Detection], rows: Truths, rule: Rule) -> list[tuple[int, int]]:
    """Pair the detections of one picture with its ground-truth boxes.

    Args:
        sure: the detections.
        rows: the ground truth, (k, 5) or (k, 6): class, x0, y0, x1, y1 in pixels, difficult.
        rule: the rule by which boxes are compared.

    Returns:
        (index of the box, index of the detection) of each pair, from 0; the number of boxes, or of
        detections, stands for no partner.
    """
    boxes = np.asarray(rows, np.float64)[:, 1:5]
    overlaps = np.empty((len(rows), len(sure)))
    for j, d in enumerate(sure):
        overlaps[:, j] = iou(np.array(d.box), boxes, whole_pixels=rule.whole_pixels)
    is_other = rows[:, :1] != np.array([[d.class_id for d in sure]])
    order = np.lexsort((-overlaps.ravel(), is_other.ravel()))
    free_rows, free_found = set(range(len(rows))), set(range(len(sure)))
    found = []
    for place in order.tolist():
        i, j = divmod(place, len(sure))
        if i in free_rows and j in free_found and rule.fits(overlaps[i, j]):
            free_rows.remove(i)
            free_found.remove(j)
            found.append((i, j))
    missed = [(i, len(sure)) for i in sorted(free_rows)]
    return found + missed + [(len(rows), j) for j in sorted(free_found)]
