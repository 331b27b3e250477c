"""Which classes a detector takes for which: the confusion matrix."""

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
        classes: names.
        counts: (n + 1, n + 1), true class by found class. The last row counts what was found
            where nothing is, the last column what was missed; its last entry is 0.
        at: score that detections exceed.
        overlap: IoU from which a detection and a true box are the same object.
    """

    classes: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    at: float
    overlap: float

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of rows and columns."""
        return (*self.classes, BACKGROUND)

    @property
    def shares(self) -> Floats:
        """(n + 1, n + 1) the same as shares of each row."""
        counts = self.counts.astype(np.float64)
        shares: Floats = counts / counts.sum(axis=1, keepdims=True).clip(min=1)
        return shares

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
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
    """Pair detections with true boxes, whatever their classes, and count the pairs of classes.

    A box has one partner at most. Those of its own class come first, then the others, each by
    falling IoU. Difficult boxes count neither as found nor as missed.

    Args:
        found: the detections in each picture.
        truths: the true boxes in each picture.
        classes: names of the classes, by index.
        rule: how boxes are compared.
        at: score that detections must exceed.
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
    """(true box, detection) of one picture; the count of either stands for none."""
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
