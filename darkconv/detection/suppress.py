"""Non-maximum suppression, in Darknet's kinds (golden/DIALECTS.md §7)."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array
from darkconv.detection.decode import Candidates
from darkconv.errors import DarkconvError

GREEDY_EXPONENT = 0.6  # greedynms does not read beta_nms

Overlap = Callable[[Array, Array], Array]
"""One box (4,) and others (n, 4), xywh -> (n,) measures; above the threshold means the same."""


def iou(box: Array, others: Array) -> Array:
    """Intersection over union; 0 where boxes do not meet."""
    sides = np.minimum(box[:2] + box[2:] / 2, others[:, :2] + others[:, 2:] / 2) - np.maximum(
        box[:2] - box[2:] / 2, others[:, :2] - others[:, 2:] / 2
    )
    meeting = np.where((sides > 0).all(axis=1), sides.prod(axis=1), np.float32(0))
    union = box[2] * box[3] + others[:, 2] * others[:, 3] - meeting
    return np.divide(meeting, union, out=np.zeros_like(meeting), where=meeting > 0)


def distance_iou(exponent: float) -> Overlap:
    """IoU less (d / c)^exponent.

    d is the squared distance of the centres, c the squared diagonal of the enclosing box.
    """

    def measure(box: Array, others: Array) -> Array:
        high = np.maximum(box[:2] + box[2:] / 2, others[:, :2] + others[:, 2:] / 2)
        low = np.minimum(box[:2] - box[2:] / 2, others[:, :2] - others[:, 2:] / 2)
        diagonal = ((high - low) ** 2).sum(axis=1)
        distance = ((box[:2] - others[:, :2]) ** 2).sum(axis=1)
        ratio = np.divide(distance, diagonal, out=np.zeros_like(distance), where=diagonal > 0)
        return iou(box, others) - ratio**exponent

    return measure


def overlap_measure(kind: str, beta: float) -> Overlap:
    """The measure of an NMS kind.

    Raises:
        DarkconvError: an unknown kind.
    """
    measures: dict[str, Overlap] = {
        "sort": iou,
        "default": iou,
        "cornersnms": iou,
        "greedynms": distance_iou(GREEDY_EXPONENT),
        "diounms": distance_iou(beta),
    }
    if kind not in measures:
        raise DarkconvError("nms_kind", expected=", ".join(["obj", *measures]), found=kind)
    return measures[kind]


def suppress(
    candidates: Candidates, *, threshold: float, kind: str = "sort", beta: float = 0.6
) -> Candidates:
    """Candidates in which a worse box of the same object has lost its scores.

    Args:
        candidates: those whose objectness is 0 are dropped first.
        threshold: of the overlap measure, to be exceeded.
        kind: "sort" (per class), "obj" (by objectness, all classes at once), "greedynms",
            "diounms" or "cornersnms" (per class).
        beta: exponent of diounms.

    Raises:
        DarkconvError: an unknown kind.
    """
    alive = candidates.objectness != 0
    boxes, objectness = candidates.boxes[alive], candidates.objectness[alive].copy()
    scores = candidates.scores[alive].copy()
    if kind == "obj":
        lost = _lost(boxes, objectness, threshold, iou)
        objectness[lost] = 0
        scores[lost] = 0
        return Candidates(boxes, objectness, scores)
    measure = overlap_measure(kind, beta)
    for column in scores.T:
        column[_lost(boxes, column, threshold, measure)] = 0
    return Candidates(boxes, objectness, scores)


@np.errstate(over="ignore", invalid="ignore")
def _lost(boxes: Array, scores: Array, threshold: float, measure: Overlap) -> npt.NDArray[np.intp]:
    """Indices of boxes that a better one suppresses.

    Boxes of untrained networks may be too large for their areas: these are infinite, as in C.
    """
    (scored,) = np.nonzero(scores)
    order = scored[np.argsort(-scores[scored], kind="stable")]
    lost = []
    while len(order) > 1:
        best, rest = order[0], order[1:]
        is_same = measure(boxes[best], boxes[rest]) > threshold
        lost.append(rest[is_same])
        order = rest[~is_same]
    return np.concatenate(lost) if lost else order[:0]
