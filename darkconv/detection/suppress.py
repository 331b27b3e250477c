"""Non-maximum suppression (NMS) in Darknet's kinds (golden/DIALECTS.md §7)."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from darkconv.boxes import centred_iou
from darkconv.core.model import Array
from darkconv.detection.decode import Candidates
from darkconv.errors import DarkconvError

GREEDY_EXPONENT = 0.6  # greedynms does not read beta_nms

PAIRED = 512
"""The most boxes of a class of which all pairs are measured at once; with more, one box against
the rest is faster."""
TABLED = 32_768
"""The most boxes for which many classes share a table of all pairs: 128 MiB of bits."""
CELLS = 1 << 17  # cells of the table that are measured at once, for the processor's cache

Index = npt.NDArray[np.intp]
Bits = npt.NDArray[np.uint8]
Overlap = Callable[[Array, Array], Array]
"""A measure of overlap: of boxes (..., 4) and others (n, 4), both xywh, it returns (..., n)."""


def distance_iou(exponent: float) -> Overlap:
    """Return the measure IoU less (d / c)^exponent, as of Distance-IoU (Zheng et al. 2020).

    d is the squared distance of the centres, c the squared diagonal of the enclosing box.

    Args:
        exponent: the exponent, `beta_nms` in a cfg; the paper's is 1.
    """

    def measure(box: Array, others: Array) -> Array:
        half, halves = box[..., 2:] / 2, others[:, 2:] / 2
        high = np.maximum(box[..., :2] + half, others[:, :2] + halves)
        low = np.minimum(box[..., :2] - half, others[:, :2] - halves)
        diagonal = ((high - low) ** 2).sum(axis=-1)
        distance = ((box[..., :2] - others[:, :2]) ** 2).sum(axis=-1)
        ratio = np.divide(distance, diagonal, out=np.zeros_like(distance), where=diagonal > 0)
        return centred_iou(box, others) - ratio**exponent

    return measure


def check_kind(kind: str | None) -> None:
    """Raise DarkconvError unless an NMS kind is known.

    Args:
        kind: "sort", "default", "obj", "greedynms", "diounms" or "cornersnms"; None for the cfg's.

    Raises:
        DarkconvError: the kind is another word.
    """
    if kind not in (None, "obj"):
        overlap_measure(str(kind), 0.0)


def overlap_measure(kind: str, beta: float) -> Overlap:
    """Return the measure of overlap of an NMS kind.

    Args:
        kind: any kind but "obj".
        beta: the exponent of diounms.

    Raises:
        DarkconvError: the kind is unknown.
    """
    measures: dict[str, Overlap] = {
        "sort": centred_iou,
        "default": centred_iou,
        "cornersnms": centred_iou,
        "greedynms": distance_iou(GREEDY_EXPONENT),
        "diounms": distance_iou(beta),
    }
    if kind not in measures:
        raise DarkconvError("nms_kind", expected=", ".join(["obj", *measures]), found=kind)
    return measures[kind]


def suppress(
    candidates: Candidates,
    *,
    threshold: float,
    kind: str = "sort",
    beta: float = 0.6,
    classes: int | None = None,
) -> Candidates:
    """Return candidates in which a worse box of the same object has its scores set to 0.

    Args:
        candidates: the candidates; those whose objectness is 0 are dropped first.
        threshold: the number that the measure of overlap has to exceed.
        kind: "sort" (per class, by IoU), "obj" (all classes at once, by objectness), "greedynms",
            "diounms" or "cornersnms" (per class).
        beta: the exponent of diounms.
        classes: the number of classes, from the first, that are suppressed; None for all.

    Raises:
        DarkconvError: the kind is unknown.
    """
    if classes is not None and classes < candidates.scores.shape[1]:
        return _with_spared(candidates, classes, threshold=threshold, kind=kind, beta=beta)
    alive = candidates.objectness != 0
    boxes, objectness = candidates.boxes[alive], candidates.objectness[alive].copy()
    scores = candidates.scores[alive].copy()
    if kind == "obj":
        order = np.argsort(-objectness, kind="stable")
        lost = order[_lost_of_sorted(boxes[order], threshold, centred_iou)]
        objectness[lost] = 0
        scores[lost] = 0
        return Candidates(boxes, objectness, scores)
    measure = overlap_measure(kind, beta)
    rows, kinds = np.nonzero(scores)
    order = np.lexsort((-scores[rows, kinds], kinds))
    rows, kinds = rows[order], kinds[order]
    lost = _lost_by_class(boxes, rows, kinds, threshold, measure)
    scores[rows[lost], kinds[lost]] = 0
    return Candidates(boxes, objectness, scores)


def _with_spared(
    candidates: Candidates, classes: int, *, threshold: float, kind: str, beta: float
) -> Candidates:
    """Suppress the first classes only; the scores of the others stay."""
    some = replace(candidates, scores=candidates.scores[:, :classes])
    kept = suppress(some, threshold=threshold, kind=kind, beta=beta)
    spared = candidates.scores[candidates.objectness != 0, classes:]
    return replace(kept, scores=np.hstack([kept.scores, spared]))


def _lost_by_class(
    boxes: Array, rows: Index, classes: Index, threshold: float, measure: Overlap
) -> Index:
    """Return the places of boxes that a better box of their class suppresses.

    Args:
        boxes: (m, 4) xywh.
        rows: (n,) indices into `boxes`, those of a class together, the best first.
        classes: (n,) class indices.
        threshold: the number that the measure has to exceed.
        measure: the measure of overlap.
    """
    if not len(classes):
        return classes
    starts = np.flatnonzero(np.r_[True, classes[1:] != classes[:-1]])
    counts = np.diff(np.r_[starts, len(classes)])
    if len(boxes) <= TABLED and (counts.astype(float) ** 2).sum() > len(boxes) ** 2:
        same = _table(boxes, threshold, measure)
        groups = zip(starts, np.split(rows, starts[1:]), strict=True)
        return np.concatenate([start + _lost_of_tabled(same, group) for start, group in groups])
    few = counts <= PAIRED
    lost = [_lost_of_pairs(boxes[rows], starts[few], counts[few], threshold, measure)]
    for start, count in zip(starts[~few], counts[~few], strict=True):
        group = boxes[rows[start : start + count]]
        lost.append(start + _lost_of_sorted(group, threshold, measure))
    return np.concatenate(lost)


@np.errstate(over="ignore", invalid="ignore")
def _table(boxes: Array, threshold: float, measure: Overlap) -> Bits:
    """Return for all pairs of boxes whether they are the same object, (n, n) bits in bytes."""
    same = np.empty((len(boxes), -(-len(boxes) // 8)), np.uint8)
    step = max(1, CELLS // len(boxes))
    for start in range(0, len(boxes), step):
        some = boxes[start : start + step, None]
        same[start : start + step] = np.packbits(measure(some, boxes) > threshold, axis=1)
    return same


def _lost_of_tabled(same: Bits, rows: Index) -> Index:
    """Return what `_lost_of_sorted` returns, for these rows of a table."""
    gone = np.zeros(same.shape[1], np.uint8)
    places = []
    for place, (row, byte, bit) in enumerate(
        zip(rows.tolist(), (rows >> 3).tolist(), (128 >> (rows & 7)).tolist(), strict=True)
    ):
        if gone[byte] & bit:
            places.append(place)
        else:
            gone |= same[row]
    return np.array(places, np.intp)


@np.errstate(over="ignore", invalid="ignore")
def _lost_of_pairs(
    boxes: Array, starts: Index, counts: Index, threshold: float, measure: Overlap
) -> Index:
    """Return what `_lost_by_class` returns, for some groups, by measuring every pair in a group."""
    better = _ranges(starts, counts)
    worse = np.repeat(starts + counts, counts) - better - 1
    first, second = np.repeat(better, worse), _ranges(better + 1, worse)
    same = measure(boxes[first], boxes[second]) > threshold
    lost: set[int] = set()
    for one, other in zip(first[same].tolist(), second[same].tolist(), strict=True):
        if one not in lost:
            lost.add(other)
    return np.array(sorted(lost), np.intp)


def _ranges(starts: Index, counts: Index) -> Index:
    """Return `count` numbers from each start, one range after the other."""
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())


@np.errstate(over="ignore", invalid="ignore")
def _lost_of_sorted(boxes: Array, threshold: float, measure: Overlap) -> Index:
    """Return the places of boxes that a better box suppresses; the best comes first.

    Boxes of untrained networks may be so large that their areas are infinite, as in C.
    """
    order = np.arange(len(boxes))
    lost = []
    while len(order) > 1:
        best, rest = order[0], order[1:]
        is_same = measure(boxes[best], boxes[rest]) > threshold
        lost.append(rest[is_same])
        order = rest[~is_same]
    return np.concatenate(lost) if lost else order[:0]
