"""Whether the suppression in a graph leaves what plain NMS leaves of the same boxes.

The boxes and scores that enter it are compared with the model's before. So this is the same
question for every precision, and needs no tolerance for boxes near a threshold.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from darkconv.backends.layouts import BEST, CORNERS, COUNT, LABEL
from darkconv.boxes import as_corners, iou
from darkconv.core.model import Array
from darkconv.detection.decode import Candidates, passing
from darkconv.detection.exported import graph_thresholds, relative_boxes
from darkconv.detection.suppress import suppress
from darkconv.verification.agreement import Agreement

if TYPE_CHECKING:
    from darkconv.backends.exported import ExportedFile
    from darkconv.backends.onnx import SuppressionProbe

WANTED = 200
"""Scores before suppression that the threshold is lowered to have, so that there is something."""
BEYOND = 16.0
"""Network inputs beside the picture, from where on a corner is compared as if it were there.

A box of a network that has hardly been trained may be 1e30 pictures wide, or infinitely; in half
precision sooner than in single. In one norm with it all other boxes would count for nothing.
"""
LIKE = 0.5  # overlap of boxes that are compared with each other
SCORE, BOX = 1e-3, 0.01
"""Differences of scores, and of 1 from the overlap, up to which two detections are the same."""


def check_suppression(
    file: "ExportedFile", probe: "SuppressionProbe", inputs: Iterable[npt.NDArray[Any]]
) -> list[Agreement]:
    """Compare what a graph leaves with what plain NMS leaves of the boxes that entered it.

    This is done at the file's own threshold, and at one that many boxes pass.

    Args:
        file: that is compared.
        probe: of it.
        inputs: as the graph takes them, (N, ...) each.
    """
    missing = compared = 0
    score = overlap = 0.0
    own, nms = graph_thresholds(file)
    for x in inputs:
        lowered = min(own, lowered_threshold(probe.before(x, own)[1]))
        for threshold, run in ((own, file_run(file, own, nms)), (lowered, probe.after)):
            entering, outputs = probe.before(x, threshold), run(x, threshold, nms)
            for place in range(len(x)):
                boxes, scores = (value[place] for value in entering)
                found, least = detections(file, [value[place] for value in outputs])
                kept = remaining(file, boxes, scores, threshold, nms)
                gone, off, apart, pairs = differences(found, kept, max(least, threshold))
                missing, compared = missing + gone, compared + pairs + gone
                score, overlap = max(score, off), max(overlap, apart)
    return [
        Agreement("detections missing or surplus", missing, 0, compared),
        Agreement("scores of detections", score, SCORE, compared),
        Agreement("1 - IoU of boxes", overlap, BOX, compared),
    ]


def file_run(file: "ExportedFile", threshold: float, nms: float) -> Any:
    """Return a function that runs the file itself, its thresholds being what they are in it."""
    inputs = file.threshold_inputs(threshold, nms)
    return lambda x, *_: file.run(x, **inputs)


def lowered_threshold(scores: npt.NDArray[Any]) -> float:
    """Return the score that about `WANTED` scores are above; 0 where there are not so many."""
    known = scores[scores > 0]
    return float(np.partition(known, -WANTED)[-WANTED]) if len(known) > WANTED else 0.0


def detections(
    file: "ExportedFile", outputs: Sequence[npt.NDArray[Any]]
) -> tuple[Candidates, float]:
    """Return what a graph has left, and the least score of a full list, which has left some out.

    Args:
        file: of the graph.
        outputs: of one picture.
    """
    parts = file.taken_apart(outputs)
    scores, count = parts[BEST], int(parts[COUNT])
    classes = parts[LABEL][:count]
    table = np.zeros((count, int(classes.max(initial=-1)) + 1), np.float32)
    table[np.arange(count), classes] = scores[:count]
    boxes = relative_boxes(file, {CORNERS: parts[CORNERS][:count]})
    found = Candidates(boxes, scores[:count], table)
    return found, float(scores[-1]) if count == len(scores) else 0.0


def remaining(
    file: "ExportedFile",
    boxes: npt.NDArray[Any],
    scores: npt.NDArray[Any],
    threshold: float,
    nms: float,
) -> Candidates:
    """Return what plain NMS leaves of all boxes."""
    with np.errstate(invalid="ignore"):
        above = passing(scores.astype(np.float32), threshold)
    rows = above.any(axis=1)
    relative = relative_boxes(file, {CORNERS: boxes[rows].astype(np.float32)})
    some = Candidates(relative, np.ones(len(relative), np.float32), above[rows])
    return suppress(some, threshold=nms) if nms else some


def differences(
    found: Candidates, expected: Candidates, least: float
) -> tuple[int, float, float, int]:
    """Return what two sets of detections differ by.

    Args:
        found: one set.
        expected: the other.
        least: score that a detection must exceed by `SCORE` to count as missing.

    Returns: how many of either set have no like in the other; the largest difference of scores
        and of 1 from the overlap among those that have; how many these are.
    """
    missing, score, overlap, pairs = 0, 0.0, 0.0, 0
    sure = least + SCORE
    boxes, others = limited(as_corners(expected.boxes)), limited(as_corners(found.boxes))
    left = {(row, kind): found.scores[row, kind] for row, kind in np.argwhere(found.scores > 0)}
    for row, kind in np.argwhere(expected.scores > 0):
        right = expected.scores[row, kind]
        like = [key for key in left if key[1] == kind and abs(left[key] - right) <= SCORE]
        overlaps = iou(boxes[row], others[[key[0] for key in like]])
        if not overlaps.max(initial=0) >= LIKE:
            missing += int(right > sure)
            continue
        best = int(overlaps.argmax())
        score = max(score, abs(float(left.pop(like[best])) - float(right)))
        overlap = max(overlap, 1 - float(overlaps[best]))
        pairs += 1
    missing += sum(value > sure for value in left.values())
    return missing, score, overlap, pairs


def limited(corners: Array) -> Array:
    """Return relative corners (n, 4), those far beside the picture at `BEYOND`."""
    return corners.clip(-BEYOND, 1 + BEYOND)
