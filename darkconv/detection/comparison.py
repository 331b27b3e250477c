"""Comparing what an exported file gives with what its model gives in PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from darkconv.backends import trace
from darkconv.core.model import Array, Model
from darkconv.detection.decode import Candidates, box_heads, decode
from darkconv.detection.exported import as_input, graph_thresholds, relative_boxes
from darkconv.detection.suppress import iou, suppress
from darkconv.errors import DarkconvError, Where
from darkconv.layers.box_heads import BOXES, CONFIDENCES, SCORES
from darkconv.layers.head import decodes_boxes

if TYPE_CHECKING:
    from darkconv.backends.exported import ExportedFile

LIKE = 0.5  # overlap of boxes that are compared with each other


@dataclass(frozen=True)
class Tolerance:
    """What counts as the same.

    Attributes:
        relative: error of an output, L2 over that of what is expected.
        score: difference of two scores.
        box: 1 less the overlap of two boxes.
        missing: share of the detections that may come or go.
    """

    relative: float
    score: float
    box: float
    missing: float = 0.0


SCORE_FLOOR = 0.1
"""Added to the highest score that errors of scores are relative to."""

TOLERANCES = {
    "float32": Tolerance(1e-4, 1e-3, 0.01),
    "float16": Tolerance(1e-2, 2e-2, 0.1),
    "int8": Tolerance(0.4, 0.3, 0.5, 0.5),
}
"""By a file's precision.

In float32 those of whole networks. In half precision up to 7e-3 was measured, in 8 bits up to 0.29;
between two models whose heads have the same shape 0.47 and more. The bounds for 8 bits can only
tell a damaged file, or one of another model, from one that is right: how good it is, AP says.
"""


@dataclass(frozen=True)
class Agreement:
    """How far one figure is off.

    Attributes:
        name: of an output, or of a property of detections.
        error: found.
        allowed: the most that counts as the same.
    """

    name: str
    error: float
    allowed: float

    @property
    def is_good(self) -> bool:
        """Whether the two agree; not where the error is no number."""
        return self.error <= self.allowed


def compare_outputs(model: Model, file: "ExportedFile", x: Array) -> list[Agreement]:
    """Run a file and the model that it was exported from on the same input.

    Args:
        model: what the file should be.
        file: of `read_onnx`, `read_keras_file` or `read_litert`.
        x: (C, H, W), or (inputs,), as the model takes it.

    Raises:
        DarkconvError: the file takes another input, or has other outputs.
    """
    expected, found = model.network.input_shape, file.network.input_shape
    if expected != found:
        raise DarkconvError(
            "input", where=Where(file=file.path), expected=f"{expected}, as the model", found=found
        )
    given, planes = as_input(file, x)
    layers = trace(model, planes)
    if file.head == "logits":
        entering = [layer.sources[0] for layer in model.network.heads]
        return compare_layers(file, given, [layers[i] if i >= 0 else planes for i in entering])
    heads = [layer.index for layer in model.network.heads if decodes_boxes(layer.spec)]
    if file.head == "raw" or not heads:
        return compare_layers(file, given, [layers[i] for i in model.network.outputs])
    outputs = [layers[layer.index] for layer in box_heads(model.network)]
    return COMPARISONS[file.head](model, file, given, outputs)


def compare_layers(file: "ExportedFile", given: Array, expected: list[Array]) -> list[Agreement]:
    """Relative error of every output."""
    found = file.run(given)
    if [value.size for value in found] != [value.size for value in expected]:
        raise DarkconvError(
            "outputs",
            where=Where(file=file.path),
            expected=", ".join(str(value.shape) for value in expected),
            found=", ".join(str(value.shape[1:]) for value in found),
        )
    allowed = tolerance(file).relative
    return [
        Agreement(name, relative_error(a.reshape(b.shape), b), allowed)
        for name, a, b in zip(file.run.outputs, found, expected, strict=True)
    ]


def compare_boxes(
    model: Model, file: "ExportedFile", given: Array, outputs: list[Array]
) -> list[Agreement]:
    """Relative error of all boxes and of all scores; the decoder has none below zero."""
    expected = decode(model.network, outputs, threshold=-np.inf)
    found = {name: value[0] for name, value in zip(file.run.outputs, file.run(given), strict=True)}
    right = {SCORES: expected.scores}
    if CONFIDENCES in found:
        lower = np.minimum(expected.objectness[:, None], expected.scores)
        right = {SCORES: lower, CONFIDENCES: expected.scores}
    allowed, boxes = tolerance(file).relative, relative_boxes(file, found[BOXES])
    rows = [Agreement(BOXES, relative_error(boxes, expected.boxes), allowed)]
    for name, values in right.items():
        error = score_error(np.maximum(found[name], 0), np.maximum(values, 0))
        rows.append(Agreement(name, error, allowed))
    return rows


def score_error(found: Array, expected: Array) -> float:
    """The largest difference of scores, relative to the highest score and a tenth.

    With an allowance of 1e-4 this is the rule for single layers, 1e-5 + 1e-4 max |b|. Where
    nothing is found all scores are tiny, and runtimes' sigmoids are exact to 1e-7, not to so many
    digits.
    """
    if found.shape != expected.shape or not np.array_equal(np.isnan(found), np.isnan(expected)):
        return float("inf")
    difference = np.nanmax(np.abs(found - expected), initial=0)
    return float(difference / (SCORE_FLOOR + np.nanmax(expected, initial=0)))


def compare_detections(
    model: Model, file: "ExportedFile", given: Array, outputs: list[Array]
) -> list[Agreement]:
    """Differences of detections: their number, the worst score, the worst overlap."""
    threshold, nms = graph_thresholds(file)
    kept = decode(model.network, outputs, threshold=threshold)
    kept = suppress(kept, threshold=nms, kind="sort") if nms else kept
    inputs = file.threshold_inputs(threshold, nms)
    boxes, scores, classes, count = (value[0] for value in file.run(given, **inputs))
    found = np.zeros((count, kept.scores.shape[1]), np.float32)
    found[np.arange(count), classes[:count]] = scores[:count]
    ours = Candidates(relative_boxes(file, boxes[:count]), scores[:count], found)
    least = scores[-1] if count == len(scores) else threshold  # a full list has left some out
    limits = tolerance(file)
    missing, score, overlap = differences(ours, kept, float(least) + limits.score, limits.score)
    most = int(limits.missing * sum(np.count_nonzero(side.scores) for side in (ours, kept)))
    return [
        Agreement("detections missing or surplus", missing, most),
        Agreement("scores", score, limits.score),
        Agreement("1 - IoU of boxes", overlap, limits.box),
    ]


def tolerance(file: "ExportedFile") -> Tolerance:
    """What counts as the same for a file of its precision."""
    return TOLERANCES[file.precision]


def differences(
    found: Candidates, expected: Candidates, sure: float, near: float
) -> tuple[int, float, float]:
    """What two sets of detections differ by.

    Args:
        found: one set.
        expected: the other.
        sure: score above which a detection may not come or go.
        near: difference of scores up to which two detections may be the same.

    Returns: how many of either set have no like in the other; the largest difference of scores
        and of 1 from the overlap among those that have.
    """
    missing, score, overlap = 0, 0.0, 0.0
    left = {(row, kind): found.scores[row, kind] for row, kind in np.argwhere(found.scores > 0)}
    for row, kind in np.argwhere(expected.scores > 0):
        right = expected.scores[row, kind]
        like = [key for key in left if key[1] == kind and abs(left[key] - right) <= near]
        overlaps = iou(expected.boxes[row], found.boxes[[key[0] for key in like]])
        if overlaps.max(initial=0) < LIKE:
            missing += int(right > sure)
            continue
        best = int(overlaps.argmax())
        score = max(score, abs(float(left.pop(like[best])) - float(right)))
        overlap = max(overlap, 1 - float(overlaps[best]))
    missing += sum(value > sure for value in left.values())
    return missing, score, overlap


def relative_error(found: Array, expected: Array) -> float:
    """L2 norm of the difference over that of what is expected; infinite for other shapes.

    Values that are infinite or undefined in both are the same.
    """
    if found.shape != expected.shape:
        return float("inf")
    one, two = found.astype(np.float64), expected.astype(np.float64)
    is_number = np.isfinite(two)
    if not np.array_equal(one[~is_number], two[~is_number], equal_nan=True):
        return float("inf")
    one, two = one[is_number], two[is_number]
    return float(np.linalg.norm(one - two)) / (float(np.linalg.norm(two)) or 1.0)


COMPARISONS: dict[str, Callable[[Model, "ExportedFile", Array, list[Array]], list[Agreement]]] = {
    "boxes": compare_boxes,
    "nms": compare_detections,
}
"""By the kind of the file's outputs."""
