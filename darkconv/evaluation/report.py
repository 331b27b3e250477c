"""All figures of an evaluation, per class and in the mean."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from darkconv.core.bounds import require_share
from darkconv.core.names import same_name
from darkconv.dataset import Dataset, Sample
from darkconv.detection import Detection
from darkconv.evaluation.average_precision import all_points, averaged, sampled
from darkconv.evaluation.coco import coco_metrics
from darkconv.evaluation.confusion import Confusion, confusion
from darkconv.evaluation.matching import CONTINUOUS, DARKNET, VOC, Floats, Judged, Rule, judge

RULES = {"voc": VOC, "darknet": DARKNET, "continuous": CONTINUOUS}


@dataclass(frozen=True)
class ClassResult:
    """One class. Shares are 0..1.

    Attributes:
        name: of the class.
        boxes: true boxes that are not difficult.
        ap: all-point average precision.
        ap_at: the same of the detections above a score alone.
        ap11: by 11 points, which are those of the rule.
        coco50: COCO's at IoU 0.50.
        coco: COCO's over IoU 0.50:0.95.
        precision: share of detections above a score that are right; 0 without any.
        recall: share of the true boxes that they find.
        overlap: mean IoU of the right ones; 0 without any.
    """

    name: str
    boxes: int
    ap: float
    ap_at: float
    ap11: float
    coco50: float
    coco: float
    precision: float
    recall: float
    overlap: float


@dataclass(frozen=True)
class Evaluation:
    """Result of `evaluation`: classes, and means over those that have true boxes."""

    classes: tuple[ClassResult, ...]
    ap: float
    ap_at: float
    ap11: float
    coco50: float
    coco: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def rule_of(name: str, overlap: float) -> Rule:
    """One of `RULES` with another overlap.

    Raises:
        DarkconvError: the overlap is not within 0..1.
    """
    require_share("overlap", overlap)
    return replace(RULES[name], overlap=overlap)


@dataclass(frozen=True, eq=False)
class Comparison:
    """Detections beside labels, of the classes that count.

    Attributes:
        classes: names.
        found: the detections in each picture.
        truths: the true boxes in each picture.
        rule: how boxes are compared.
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
        """Compare detections, told apart by name, with the labels of a data set."""
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
        """Which classes are taken for which, by detections above a score."""
        return confusion(self.found, self.truths, self.classes, rule=self.rule, at=at)

    def evaluation(self, at: float) -> Evaluation:
        """All figures; precision and recall are those of detections above a score."""
        sure = [one.above(at) for one in self.judged]
        whole, fixed = averaged(self.judged, all_points), averaged(sure, all_points)
        points = averaged(self.judged, sampled(11, self.rule))
        coco = coco_metrics(self.found, self.truths, num_classes=len(self.classes))
        results = tuple(
            ClassResult(
                name,
                one.truths,
                float(whole.per_class[number]),
                float(fixed.per_class[number]),
                float(points.per_class[number]),
                float(coco.ap50[number]),
                float(coco.ap[number]),
                *_at_score(one),
            )
            for number, (name, one) in enumerate(zip(self.classes, sure, strict=True))
        )
        means = (float(np.nanmean(values)) for values in (coco.ap50, coco.ap))
        return Evaluation(results, whole.mean, fixed.mean, points.mean, *means)


def _at_score(sure: Judged) -> tuple[float, float, float]:
    """Precision, recall and mean overlap of the detections above a score."""
    hits = int(sure.right.sum())
    overlap = float(sure.overlaps[sure.right].mean()) if hits else 0.0
    return hits / max(len(sure.right), 1), hits / max(sure.truths, 1), overlap


def evaluation(
    found: Sequence[Sequence[Detection]],
    dataset: Dataset,
    classes: Sequence[str],
    rule: Rule,
    at: float,
) -> Evaluation:
    """Compare detections with labels.

    Args:
        found: the detections in each picture; they are told apart by name.
        dataset: the pictures with their labels.
        classes: names of the classes that count.
        rule: how boxes are compared.
        at: score for precision, recall and AP at a fixed threshold.
    """
    return Comparison.of(found, dataset, classes, rule).evaluation(at)


def truths_of(sample: Sample, order: dict[str, int]) -> Floats:
    """(k, 6): class, x0, y0, x1, y1 in pixels, difficult; of the classes that count."""
    rows = [
        (order[same_name(name)], *box, difficult)
        for name, box, difficult in zip(
            sample.names, sample.boxes.tolist(), sample.difficult.tolist(), strict=True
        )
        if same_name(name) in order
    ]
    return np.array(rows, np.float64).reshape(-1, 6)
