"""Average precision of detections against ground truth, by the rule of Pascal VOC 2012.

The detections of a class, over all pictures, are taken by falling score. Each goes to the true
box of its class and picture that it overlaps most: it is right if the IoU reaches the threshold
and no better scored detection has taken that box, else wrong; a second-best box is not tried.
AP is the whole area under the curve of precision over recall, precision first made to fall
monotonously. Boxes are continuous: width = x1 - x0, with no "+ 1".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkconv.detection import Detection

Floats = npt.NDArray[np.float64]
Truths = npt.NDArray[np.floating]
"""(k, 5): class, x0, y0, x1, y1 in pixels of the picture."""


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
    iou_threshold: float = 0.5,
) -> AveragePrecision:
    """All-point average precision; see the module for the rule.

    Args:
        found: the detections in each picture.
        truths: the true boxes in each picture, (k, 5) rows of class, x0, y0, x1, y1 in pixels.
        num_classes: classes from 0; true boxes and detections of others are left out.
        iou_threshold: a detection whose IoU reaches it can be right.
    """
    per_class = np.full(num_classes, np.nan)
    counts = np.zeros(num_classes, np.int64)
    for class_id in range(num_classes):
        boxes = [rows[rows[:, 0] == class_id, 1:].astype(np.float64) for rows in truths]
        counts[class_id] = sum(map(len, boxes))
        if counts[class_id]:
            own = [[d for d in detections if d.class_id == class_id] for detections in found]
            right = _judge(own, boxes, iou_threshold)
            per_class[class_id] = area_under_curve(right, int(counts[class_id]))
    known = per_class[counts > 0]
    return AveragePrecision(per_class, float(known.mean()) if len(known) else np.nan, counts)


def pixel_boxes(labels: Truths, size: tuple[int, int]) -> Floats:
    """Rows of a Darknet label file as truths in pixels.

    Args:
        labels: (k, 5): class, centre x, centre y, width, height, relative to the picture.
        size: (width, height) of the picture.

    Returns: (k, 5): class, x0, y0, x1, y1.
    """
    centre, half = labels[:, 1:3], labels[:, 3:] / 2
    corners = np.hstack([centre - half, centre + half]) * np.array(size * 2)
    return np.hstack([labels[:, :1], corners])


def _judge(
    found: Sequence[Sequence[Detection]], truths: Sequence[Floats], threshold: float
) -> npt.NDArray[np.bool_]:
    """Whether each detection of a class is right, best scored first; ties keep their order."""
    pairs = zip(found, truths, strict=True)
    ranked = [(d, place) for place, (detections, _) in enumerate(pairs) for d in detections]
    ranked.sort(key=lambda pair: -pair[0].score)
    taken = [np.zeros(len(boxes), bool) for boxes in truths]
    right = np.zeros(len(ranked), bool)
    for rank, (detection, place) in enumerate(ranked):
        if not len(truths[place]):
            continue
        overlaps = iou(np.array(detection.box), truths[place])
        best = int(overlaps.argmax())
        right[rank] = overlaps[best] >= threshold and not taken[place][best]
        taken[place][best] |= right[rank]
    return right


def iou(box: Floats, others: Floats) -> Floats:
    """Intersection over union of a box (4,) with each of others (k, 4), xyxy all."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared: Floats = sides.clip(min=0).prod(axis=1)
    areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
    union = (box[2:] - box[:2]).prod() + areas - shared
    share: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return share


def area_under_curve(right: npt.NDArray[np.bool_], truths: int) -> float:
    """All-point AP.

    Args:
        right: (n,) whether each detection is right, by falling score.
        truths: number of true boxes, at least one.
    """
    hits = right.cumsum()
    precision = hits / np.arange(1, len(right) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    # recall grows by 1 / truths at each detection that is right, nowhere else
    return float(falling[right].sum() / truths)
