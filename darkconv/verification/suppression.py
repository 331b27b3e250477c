"""Check the non-maximum suppression (NMS) in a graph against plain NMS of the same boxes.

The boxes and scores that enter it were compared with the model's before. So the check is the same
for every precision, and needs no tolerance for boxes near a threshold.
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
"""Number of scores above the lowered threshold, so that there is something to compare."""
BEYOND = 16.0
"""The farthest that a corner may lie beside the picture, in widths or heights of the input.

Corners beyond it are moved to it. A box of a network that has hardly been trained may be 1e30
pictures wide, or infinitely wide; in half precision sooner than in single precision. In a norm with
such a box all others would count for nothing.
"""
LIKE = 0.5  # IoU from which two boxes are compared with each other
SCORE, BOX = 1e-3, 0.01
"""The largest difference of scores, and the largest 1 - IoU, of two equal detections."""


def check_suppression(
    file: "ExportedFile", probe: "SuppressionProbe", inputs: Iterable[npt.NDArray[Any]]
) -> list[Agreement]:
    """Compare the detections of a graph with what plain NMS keeps of the boxes that entered it.

    This is done at the file's own threshold, and at a lower one that many boxes pass.

    Args:
        file: the file to compare, with NMS in the graph.
        probe: the probe of that file.
        inputs: inputs as the graph takes them, (N, ...) each.

    Returns:
        Three rows: the number of missing or surplus detections, the largest difference of scores,
        and the largest 1 - IoU.
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
    """Return a function that runs the file itself, with the thresholds that are in it.

    Args:
        file: the file to run.
        threshold: score threshold, for a file that takes it as an input.
        nms: IoU threshold of NMS, for a file that takes it as an input.
    """
    inputs = file.threshold_inputs(threshold, nms)
    return lambda x, *_: file.run(x, **inputs)


def lowered_threshold(scores: npt.NDArray[Any]) -> float:
    """Return the score that about `WANTED` scores exceed; 0 where there are not so many.

    Args:
        scores: scores before NMS, of any shape.
    """
    known = scores[scores > 0]
    return float(np.partition(known, -WANTED)[-WANTED]) if len(known) > WANTED else 0.0


def detections(
    file: "ExportedFile", outputs: Sequence[npt.NDArray[Any]]
) -> tuple[Candidates, float]:
    """Return the detections of a graph, and the lowest score of a list that is full.

    A full list may have left detections out.

    Args:
        file: the file that was run.
        outputs: its outputs for one picture.

    Returns:
        The detections, and the lowest score, or 0 where the list is not full.
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
    """Return the boxes that plain NMS keeps.

    Args:
        file: the file that gave the boxes.
        boxes: (boxes, 4), as the file gives them before NMS.
        scores: (boxes, classes).
        threshold: score that a box has to exceed.
        nms: IoU above which the box of lower score is removed; 0 keeps all boxes.
    """
    with np.errstate(invalid="ignore"):
        above = passing(scores.astype(np.float32), threshold)
    rows = above.any(axis=1)
    relative = relative_boxes(file, {CORNERS: boxes[rows].astype(np.float32)})
    some = Candidates(relative, np.ones(len(relative), np.float32), above[rows])
    return suppress(some, threshold=nms) if nms else some


def differences(
    found: Candidates, expected: Candidates, least: float
) -> tuple[int, float, float, int]:
    """Count and measure the differences between two sets of detections.

    Args:
        found: one set.
        expected: the other set.
        least: a detection counts as missing only if its score exceeds this by more than `SCORE`.

    Returns:
        The number of detections of either set without a match in the other; the largest difference
        of scores and the largest 1 - IoU of the matched ones; and the number of matched ones.
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
    """Return relative corners, clipped to `BEYOND` input sizes beside the picture.

    Args:
        corners: (n, 4), xyxy relative to the input.
    """
    return corners.clip(-BEYOND, 1 + BEYOND)
