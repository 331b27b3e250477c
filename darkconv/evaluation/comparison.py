"""Compare detections with labels: all figures of a detector, per class and in the mean."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from darkconv.core.bounds import require_share
from darkconv.core.names import same_name
from darkconv.dataset import Dataset, Sample
from darkconv.detection import Detection
from darkconv.errors import DarkconvError
from darkconv.evaluation.average_precision import all_points, averaged, sampled
from darkconv.evaluation.coco import coco_metrics
from darkconv.evaluation.confusion import Confusion, confusion
from darkconv.evaluation.figures import ClassFigures
from darkconv.evaluation.matching import CONTINUOUS, DARKNET, VOC, Floats, Judged, Rule, judge

RULES = {"voc": VOC, "darknet": DARKNET, "continuous": CONTINUOUS}


def rule_of(name: str, iou: float) -> Rule:
    """Return one of `RULES` with its IoU threshold replaced.

    Args:
        name: "voc", "darknet" or "continuous".
        iou: IoU from which a detection is right, 0..1.

    Raises:
        DarkconvError: an unknown rule, or the IoU is not within 0..1.
    """
    require_share("iou", iou)
    if name not in RULES:
        raise DarkconvError("rule", expected=" or ".join(RULES), found=name)
    return replace(RULES[name], overlap=iou)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Detections and ground truth of the classes that are measured.

    Attributes:
        classes: class names.
        found: the detections in each picture.
        truths: the ground truth of each picture, (k, 6) rows: see `truths_of`.
        rule: the rule by which boxes are compared.
        judged: the detections of each class, by falling score.
    """

    classes: tuple[str, ...]
    found: Sequence[Sequence[Detection]]
    truths: Sequence[Floats]
    rule: Rule
    judged: Sequence[Judged]

    @classmethod
    def of(
        cls,
        found: Sequence[Sequence[Detection]],
        dataset: Dataset,
        classes: Sequence[str],
        rule: Rule,
    ) -> "Comparison":
        """Compare detections with the labels of a data set; classes are matched by their names.

        Args:
            found: the detections in each picture.
            dataset: the pictures with their labels.
            classes: names of the classes that are measured.
            rule: the rule by which boxes are compared.

        Returns:
            The comparison, with class indices that count in `classes`.
        """
        order = {same_name(name): number for number, name in enumerate(classes)}
        own = [
            [
                replace(d, class_id=order[same_name(d.name)])
                for d in detections
                if same_name(d.name) in order
            ]
            for detections in found
        ]
        truths = [truths_of(sample, order) for sample in dataset.samples]
        judged = [judge(own, truths, number, rule) for number in range(len(classes))]
        return cls(tuple(classes), own, truths, rule, judged)

    def confusion(self, at: float) -> Confusion:
        """Compute the confusion matrix of the detections above a score.

        Args:
            at: score that detections must exceed, 0..1.
        """
        return confusion(self.found, self.truths, self.classes, rule=self.rule, at=at)

    def figures(
        self, at: float, *, coco: bool = True
    ) -> tuple[tuple[ClassFigures, ...], ClassFigures]:
        """Return the figures of each class, and their means.

        Args:
            at: score that detections must exceed to count for precision and recall, 0..1.
            coco: compute COCO's figures too, for which faster-coco-eval must be installed.
        """
        sure = [one.above(at) for one in self.judged]
        nothing = np.full(len(self.classes), np.nan)
        measured = (
            coco_metrics(self.found, self.truths, num_classes=len(self.classes)) if coco else None
        )
        columns = {
            "ap": averaged(self.judged, all_points).per_class,
            "ap_at": averaged(sure, all_points).per_class,
            "ap11": averaged(self.judged, sampled(11, self.rule)).per_class,
            "coco50": measured.ap50 if measured else nothing,
            "coco": measured.ap if measured else nothing,
        }
        classes = tuple(
            ClassFigures(
                name=name,
                boxes=one.truths,
                **_at_score(one),
                **{key: _known(values[number]) for key, values in columns.items()},
            )
            for number, (name, one) in enumerate(zip(self.classes, sure, strict=True))
        )
        boxes = sum(one.truths for one in self.judged)
        means: dict[str, Any] = {key: _mean(values.tolist()) for key, values in columns.items()}
        return classes, ClassFigures(name="mean", boxes=boxes, **means)


def _known(value: float) -> Any:
    """Return a number, or None in place of NaN, which marks what could not be measured."""
    return None if np.isnan(value) else float(value)


def _mean(values: Iterable[float]) -> float | None:
    """Return the mean of the values that are not NaN; None where there are none."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else None


def _at_score(sure: Judged) -> dict[str, Any]:
    """Return precision, recall and mean IoU of the detections above a score."""
    hits = int(sure.right.sum())
    return {
        "precision": hits / max(len(sure.right), 1),
        "recall": hits / max(sure.truths, 1),
        "overlap": float(sure.overlaps[sure.right].mean()) if hits else 0.0,
    }


def truths_of(sample: Sample, order: dict[str, int]) -> Floats:
    """Return the ground truth of a picture, of the classes that are measured.

    Args:
        sample: a picture with its labels.
        order: class index by name, in the form of `same_name`.

    Returns:
        float64 (k, 6): class, x0, y0, x1, y1 in pixels, and 1 for a difficult box.
    """
    rows = [
        (order[same_name(name)], *box, difficult)
        for name, box, difficult in zip(
            sample.names, sample.boxes.tolist(), sample.difficult.tolist(), strict=True
        )
        if same_name(name) in order
    ]
    return np.array(rows, np.float64).reshape(-1, 6)
