"""Figures: what is measured of a class, or in the mean."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

OF_BOXES = (
    "boxes", "ap", "ap_at", "ap11", "coco50", "coco", "precision", "recall", "overlap",
)  # fmt: skip
"""What is measured of a detector's class; in the mean all but the last three."""
OF_MEAN = OF_BOXES[:-3]
OF_CLASSES = ("pictures", "top1", "taken_for")
"""What is measured of a classifier's class."""


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What is measured of one class, or in the mean. Shares are 0..1, None where not measured.

    Attributes:
        name: of the class, or "mean".
        boxes: true boxes that are not difficult.
        ap: all-point average precision.
        ap_at: the same of the detections above a score alone.
        ap11: by 11 points, which are those of the rule.
        coco50: COCO's at IoU 0.50.
        coco: COCO's over IoU 0.50:0.95.
        precision: share of detections above a score that are right; 0 without any.
        recall: share of the true boxes that they find.
        overlap: mean IoU of the right ones; 0 without any.
        pictures: of a classifier: pictures of the class.
        top1: of a classifier: share of them for which this class has the highest score.
        top5: of a classifier, in the mean: share whose class is among the five best.
        taken_for: of a classifier: the class that they are most often taken for otherwise.
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
        """Return some of the figures by their names, for JSON."""
        return {key: getattr(self, key) for key in keys}
