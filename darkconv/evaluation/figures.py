"""Hold the figures that are measured of a class, or in the mean."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

OF_BOXES = (
    "boxes", "ap", "ap_at", "ap11", "coco50", "coco", "precision", "recall", "overlap",
)  # fmt: skip
"""Figures of a class of a detector; the mean has all but the last three."""
OF_MEAN = OF_BOXES[:-3]
OF_CLASSES = ("pictures", "top1", "taken_for")
"""Figures of a class of a classifier."""


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """The figures of one class, or their means. Shares are 0..1; None means not measured.

    Attributes:
        name: name of the class, or "mean".
        boxes: number of ground-truth boxes that are not difficult.
        ap: all-point average precision.
        ap_at: all-point average precision of the detections above a score.
        ap11: 11-point average precision, with the recalls of the rule.
        coco50: COCO's AP at IoU 0.50.
        coco: COCO's AP, the mean over IoU 0.50:0.95.
        precision: share of the detections above a score that are right; 0 without any.
        recall: share of the ground-truth boxes that these detections find.
        overlap: mean IoU of the right detections; 0 without any.
        pictures: number of pictures of the class; for a classifier.
        top1: share of these pictures for which this class has the highest score; for a classifier.
        top5: share of the pictures whose class is among the five best; for a classifier, mean only.
        taken_for: the class that these pictures are most often mistaken for; for a classifier.
    """

    name: str
    boxes: int | None = None
    ap: float | None = None
    ap_at: float | None = None
    ap11: float | None = None
    coco50: float | None = None
    coco: float | None = None
    precision: float | None = None
    recall: float | None = None
    overlap: float | None = None
    pictures: int | None = None
    top1: float | None = None
    top5: float | None = None
    taken_for: str | None = None

    def only(self, keys: Iterable[str]) -> dict[str, Any]:
        """Return some of the figures as a dictionary for JSON.

        Args:
            keys: names of the figures.
        """
        return {key: getattr(self, key) for key in keys}
