"""Compute COCO's metrics with faster-coco-eval."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from darkconv.detection import Detection
from darkconv.evaluation.matching import Floats, Truths
from darkconv.libraries import telling_missing

STATS = (
    "AP", "AP50", "AP75", "APsmall", "APmedium", "APlarge",
    "AR1", "AR10", "AR100", "ARsmall", "ARmedium", "ARlarge",
)  # fmt: skip
TASK = "COCO's average precision"
"""The task that faster-coco-eval is needed for, in messages."""


@dataclass(frozen=True, eq=False)
class CocoMetrics:
    """Result of `coco_metrics`.

    Attributes:
        stats: the twelve figures of COCO's summary, by name; -1 where there is nothing to measure.
        ap: (classes,) mean AP over IoU 0.50:0.95; NaN for a class without ground truth.
        ap50: (classes,) AP at IoU 0.50.
        ap75: (classes,) AP at IoU 0.75.
    """

    stats: dict[str, float]
    ap: Floats
    ap50: Floats
    ap75: Floats


def require_coco() -> None:
    """Check that faster-coco-eval can be imported, before the work whose result it measures.

    Raises:
        MissingDependencyError: it is not installed.
    """
    with telling_missing(TASK):
        import faster_coco_eval  # noqa: F401


def coco_metrics(
    found: Sequence[Sequence[Detection]], truths: Sequence[Truths], *, num_classes: int
) -> CocoMetrics:
    """Compute COCO's twelve figures, and its AP of each class.

    Args:
        found: the detections in each picture.
        truths: the ground truth of each picture, (k, 5) or (k, 6) rows of class, x0, y0, x1, y1 in
            pixels and 1 for a difficult box, which counts as a crowd.
        num_classes: number of classes, whose indices begin at 0; boxes and detections of other
            classes are left out.

    Raises:
        MissingDependencyError: faster-coco-eval is not installed.
    """
    with telling_missing(TASK):
        from faster_coco_eval import COCO, COCOeval_faster
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(_as_dataset(truths, num_classes))
        results = truth.loadRes(_as_results(found, num_classes)) if any(found) else COCO()
        run = COCOeval_faster(truth, results, "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    # the axes are IoU thresholds, recalls, classes, area ranges and limits of detections
    precision = run.eval["precision"][:, :, :, 0, 2]
    return CocoMetrics(
        dict(zip(STATS, map(float, run.stats[: len(STATS)]), strict=True)),
        _mean(precision),
        _mean(precision[:1]),
        _mean(precision[5:6]),
    )


def _mean(precision: Floats) -> Floats:
    """Return the mean over thresholds and recalls, (classes,); -1 marks a missing value."""
    known = np.where(precision > -1, precision, np.nan).reshape(-1, precision.shape[2])
    counts = (~np.isnan(known)).sum(axis=0)
    totals = np.nansum(known, axis=0)
    mean: Floats = np.divide(totals, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    return mean


def _as_dataset(truths: Sequence[Truths], num_classes: int) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image, rows in enumerate(truths):
        for row in np.asarray(rows, np.float64).tolist():
            class_id, x0, y0, x1, y1, *difficult = row
            if class_id < num_classes:
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image,
                        "category_id": int(class_id),
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "area": (x1 - x0) * (y1 - y0),
                        "iscrowd": int(bool(difficult and difficult[0])),
                    }
                )
    return {
        "images": [{"id": image} for image in range(len(truths))],
        "categories": [{"id": number, "name": str(number)} for number in range(num_classes)],
        "annotations": annotations,
    }


def _as_results(found: Sequence[Sequence[Detection]], num_classes: int) -> list[dict[str, Any]]:
    return [
        {
            "image_id": image,
            "category_id": d.class_id,
            "bbox": [d.box[0], d.box[1], d.box[2] - d.box[0], d.box[3] - d.box[1]],
            "score": d.score,
        }
        for image, detections in enumerate(found)
        for d in detections
        if d.class_id < num_classes
    ]
