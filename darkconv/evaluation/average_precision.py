"""Compute average precision (AP): the area under the precision-recall curve, in its usual forms."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkconv.detection import Detection
from darkconv.evaluation.matching import CONTINUOUS, Floats, Judged, Rule, Truths, judge

Area = Callable[[Judged], float]


@dataclass(frozen=True, eq=False)
class AveragePrecision:
    """Result of `average_precision`.

    Attributes:
        per_class: (classes,) AP in 0..1, NaN for a class without ground truth.
        mean: mean over the classes that have ground truth; NaN if none has.
        truths: (classes,) number of ground-truth boxes that are not difficult.
    """

    per_class: Floats
    mean: float
    truths: npt.NDArray[np.int64]


def average_precision(
    found: Sequence[Sequence[Detection]],
    truths: Sequence[Truths],
    *,
    num_classes: int,
    rule: Rule = CONTINUOUS,
    area: "Area | None" = None,
) -> AveragePrecision:
    """Compute the average precision of each class.

    Args:
        found: the detections in each picture.
        truths: the ground truth of each picture, (k, 5) rows of class, x0, y0, x1, y1 in pixels.
        num_classes: number of classes, whose indices begin at 0; boxes and detections of other
            classes are left out.
        rule: the rule by which detections and ground truth are compared.
        area: computes AP from the curve; None for the whole area.
    """
    judged = [judge(found, truths, class_id, rule) for class_id in range(num_classes)]
    return averaged(judged, area or all_points)


def averaged(judged: Sequence[Judged], area: Area) -> AveragePrecision:
    """Return the average precision of classes whose detections have been judged.

    Args:
        judged: the detections of each class.
        area: computes AP from the curve of a class.
    """
    counts = np.array([one.truths for one in judged], np.int64)
    per_class = np.array([area(one) if one.truths else np.nan for one in judged])
    known = per_class[counts > 0]
    return AveragePrecision(per_class, float(known.mean()) if len(known) else np.nan, counts)


def precision_recall(judged: Judged) -> tuple[Floats, Floats]:
    """Return precision and recall after each detection, by falling score, (n,) each.

    Args:
        judged: the detections of one class.
    """
    hits = judged.right.cumsum()
    return hits / np.arange(1, len(hits) + 1), hits / max(judged.truths, 1)


def envelope(precision: Floats) -> Floats:
    """Return the best precision at each recall or a higher one, (n,).

    Args:
        precision: (n,), by rising recall.
    """
    highest: Floats = np.maximum.accumulate(precision[::-1])[::-1]
    return highest


def all_points(judged: Judged) -> float:
    """Return the whole area under the curve, 0..1, as in Pascal VOC 2010 to 2012.

    Args:
        judged: the detections of one class, which has ground truth.
    """
    precision, _ = precision_recall(judged)
    # recall grows by 1 / truths at each detection that is right, and nowhere else
    return float(envelope(precision)[judged.right].sum() / judged.truths)


def best_first(names: Sequence[str], judged: Sequence[Judged]) -> list[tuple[str, Judged]]:
    """Return name and detections of each class with ground truth, the highest AP first.

    Args:
        names: class names.
        judged: the detections of each class, in the same order.
    """
    pairs = [(name, one) for name, one in zip(names, judged, strict=True) if one.truths]
    return sorted(pairs, key=lambda pair: -all_points(pair[1]))


def sampled(points: int, rule: Rule = CONTINUOUS) -> Area:
    """Return a function that computes the mean precision at evenly spaced recalls from 0 to 1.

    Pascal VOC 2007 takes 11 recalls, COCO 101.

    Args:
        points: number of recalls.
        rule: the rule in whose arithmetic the recalls are computed: in Darknet's a recall of 6 / 20
            reaches the fourth of 11, in the others it falls short by a rounding error.
    """
    recalls = rule.recalls(points)

    def area(judged: Judged) -> float:
        precision, recall = precision_recall(judged)
        highest = np.append(envelope(precision), 0.0)
        return float(highest[np.searchsorted(recall, recalls)].mean())

    return area
