"""Non-maximum suppression as part of the graph.

Plain suppression per class, as Darknet's `sort` kind, is what the operator NonMaxSuppression
does. Its own result is a list over all pictures, of a length known only when the graph runs.
Serving tools cut outputs along the batch and want fixed shapes, so what is left is put in order,
best first, and padded: the layout of TensorRT's EfficientNMS and of TensorFlow's detection
models. Classes and counts are int32 because many runtimes have no 64-bit integers.
"""

import numpy as np
import onnx_ir as ir

from darkconv.backends.onnx.scope import Scope

UNLIMITED = 2**31 - 1
NEVER_SAME = 1.0  # an overlap that no two boxes exceed
PLUGIN, PLUGIN_DOMAIN = "EfficientNMS_TRT", "TRT"
SCORE_THRESHOLD = "score_threshold"
IOU_THRESHOLD = "iou_threshold"


def suppressed(
    scope: Scope,
    boxes: ir.Value,
    scores: ir.Value,
    *,
    count: int | None,
    classes: int,
    padding: int,
) -> tuple[ir.Value, ir.Value, ir.Value, ir.Value]:
    """Detections of each picture, best first.

    Args:
        scope: for the names.
        boxes: (N, boxes, 4).
        scores: (N, boxes, classes).
        count: of the boxes, None if known only when the graph runs.
        classes: length of that axis.
        padding: class of the places that are left.

    Returns: boxes (N, m, 4), scores (N, m), classes (N, m), count (N,); see `OnnxOptions`.
    """
    most = scope.graph.options.max_detections
    by_class = scope.transpose(scores, 0, 2, 1)
    kept = scope.flatten(kept_scores(scope, boxes, by_class))
    if count is None or count * classes < most:
        kept = scope.pad(kept, [0, 0], [0, most])
    best, place = scope.ops("TopK", kept, scope.ints(most), axis=1, outputs=2)
    per_class = scope.ints(count) if count else scope.lengths_of(boxes, 1, 2)
    box, label = (scope.op(kind, place, per_class) for kind in ("Mod", "Div"))
    is_found = scope.op("Greater", best, scope.floats(0))
    nothing = scope.constant(np.array(padding, np.int32), "no_class")
    labels = scope.op("Where", is_found, as_int32(scope, label), nothing)
    total = scope.reduce("ReduceSum", as_int32(scope, is_found), 1, keepdims=False)
    return picked(scope, boxes, box, is_found), best, labels, total


def suppressed_by_tensorrt(
    scope: Scope, boxes: ir.Value, scores: ir.Value
) -> tuple[ir.Value, ir.Value, ir.Value, ir.Value]:
    """Detections of each picture by TensorRT's plugin EfficientNMS_TRT, best first.

    It keeps scores that are not below its threshold, where Darknet keeps those above it: so it is
    given the next number.

    Args:
        scope: for the names.
        boxes: (N, boxes, 4) corners.
        scores: (N, boxes, classes).

    Returns: count (N, 1), boxes (N, m, 4), scores (N, m), classes (N, m).
    """
    options = scope.graph.options
    least = np.nextafter(np.float32(options.threshold), np.float32(np.inf))
    count, kept, best, labels = scope.ops(
        PLUGIN,
        boxes,
        scores,
        outputs=4,
        domain=PLUGIN_DOMAIN,
        plugin_version="1",
        score_threshold=float(least),
        iou_threshold=float(options.nms or NEVER_SAME),
        max_output_boxes=options.max_detections,
        background_class=-1,
        score_activation=0,
        box_coding=0,
    )
    return count, kept, best, labels


def kept_scores(scope: Scope, boxes: ir.Value, scores: ir.Value) -> ir.Value:
    """(N, classes, boxes) scores, those of suppressed boxes 0."""
    least, overlap = score_threshold(scope), overlap_threshold(scope)
    most = scope.ints(UNLIMITED)
    chosen = scope.op("NonMaxSuppression", boxes, scores, most, overlap, least)
    zero = ir.Tensor(np.zeros(1, np.float32))
    nothing = scope.op("ConstantOfShape", scope.op("Shape", scores), value=zero)
    return scope.op("ScatterND", nothing, chosen, picked_scores(scope, scores, chosen))


def picked_scores(scope: Scope, scores: ir.Value, places: ir.Value) -> ir.Value:
    """(k,): the scores at some places (k, 3).

    Where nothing was found there are none, on which OpenCV 5 divides by zero: so one place is
    added, and its score left out.
    """
    some = scope.constant(np.zeros((1, 3), np.int64), "place")
    known = scope.op("GatherND", scores, scope.concat([places, some], axis=0))
    return scope.slice(known, {0: 0}, {0: -1})


def score_threshold(scope: Scope) -> ir.Value:
    """Return the score to be exceeded, (1,): a constant, or an input of the graph."""
    options = scope.graph.options
    if options.threshold_inputs:
        return scope.graph.input(SCORE_THRESHOLD, [1])
    return scope.floats([options.threshold])


def overlap_threshold(scope: Scope) -> ir.Value:
    """Return the overlap of two boxes of the same object, (1,): a constant, or an input."""
    options = scope.graph.options
    if options.threshold_inputs:
        return scope.graph.input(IOU_THRESHOLD, [1])
    return scope.floats([options.nms or NEVER_SAME])


def picked(scope: Scope, boxes: ir.Value, index: ir.Value, is_found: ir.Value) -> ir.Value:
    """(N, m, 4): the boxes of some indices (N, m), zeros where nothing was found."""
    column = scope.unsqueeze(index, 2)
    found = scope.op("GatherElements", boxes, scope.concat([column] * 4, axis=2), axis=1)
    share = scope.op("Cast", is_found, to=ir.DataType.FLOAT)
    return scope.op("Mul", found, scope.unsqueeze(share, 2))


def as_int32(scope: Scope, x: ir.Value) -> ir.Value:
    """In 32 bits."""
    return scope.op("Cast", x, to=ir.DataType.INT32)
