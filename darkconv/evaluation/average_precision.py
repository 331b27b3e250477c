"""Average precision: the area under the curve of precision over recall, in its usual forms."""

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
        per_class: (classes,) AP in 0..1, NaN for a class without a true box.
        mean: over the classes that have one; NaN if none has.
        truths: (classes,) number of true boxes.
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
    """Average precision of each class.

    Args:
        found: the detections in each picture.
        truths: the true boxes in each picture, (k, 5) rows of class, x0, y0, x1, y1 in pixels.
        num_classes: classes from 0; true boxes and detections of others are left out.
        rule: how detections and true boxes are compared.
        area: what is taken of the curve; by default all of it.
    """
    judged = [judge(found, truths, class_id, rule) for class_id in range(num_classes)]
    return averaged(judged, area or all_points)


def averaged(judged: Sequence[Judged], area: Area) -> AveragePrecision:
    """The average precision of classes that have been judged."""
    counts = np.array([one.truths for one in judged], np.int64)
    per_class = np.array([area(one) if one.truths else np.nan for one in judged])
    known = per_class[counts > 0]
    return AveragePrecision(per_class, float(known.mean()) if len(known) else np.nan, counts)


def precision_recall(judged: Judged) -> tuple[Floats, Floats]:
    """(n,) precision and recall when the detections down to each are taken."""
    hits = judged.right.cumsum()
    return hits / np.arange(1, len(hits) + 1), hits / max(judged.truths, 1)


def envelope(precision: Floats) -> Floats:
    """The best precision at each recall or a higher one."""
    highest: Floats = np.maximum.accumulate(precision[::-1])[::-1]
    return highest


def all_points(judged: Judged) -> float:
    """The whole area under the curve, as in Pascal VOC 2010 to 2012."""
    precision, _ = precision_recall(judged)
    # recall grows by 1 / truths at each detection that is right, nowhere else
    return float(envelope(precision)[judged.right].sum() / judged.truths)


def best_first(names: Sequence[str], judged: Sequence[Judged]) -> list[tuple[str, Judged]]:
    """Return name and detections of each class with true boxes, that of the highest AP first.

    Args:
        names: of the classes.
        judged: their detections.
    """
    pairs = [(name, one) for name, one in zip(names, judged, strict=True) if one.truths]
    return sorted(pairs, key=lambda pair: -all_points(pair[1]))


def sampled(points: int, rule: Rule = CONTINUOUS) -> Area:
    """Return the mean precision at so many recalls from 0 to 1: 11 in VOC 2007, 101 in COCO.

    Args:
        points: number of recalls.
        rule: in whose arithmetic these are computed: by Darknet's a recall of 6 / 20 reaches the
            fourth of 11, by the others it falls short by its rounding.
    """
    recalls = rule.recalls(points)

    def area(judged: Judged) -> float:
        precision, recall = precision_recall(judged)
        highest = np.append(envelope(precision), 0.0)
        return float(highest[np.searchsorted(recall, recalls)].mean())

    return area
