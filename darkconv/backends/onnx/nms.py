"""Non-maximum suppression (NMS) as part of the graph.

The operator NonMaxSuppression does plain NMS per class, which is Darknet's kind `sort`. Its result
is a list over all pictures, whose length is known only when the graph runs. Serving tools split
outputs along the batch and need fixed shapes. So the detections are sorted, best first, and padded,
as TensorRT's EfficientNMS and TensorFlow's detection models do. Classes and counts are int32
because many runtimes have no 64-bit integers.
"""

import numpy as np
import onnx_ir as ir

from darkconv.backends.onnx.scope import Scope

UNLIMITED = 2**31 - 1
NEVER_SAME = 1.0  # an IoU that no two boxes exceed
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
    """Return the detections of each picture after NMS, best first.

    Args:
        scope: scope for the nodes.
        boxes: corners, (N, boxes, 4).
        scores: (N, boxes, classes).
        count: number of boxes; None if it is known only when the graph runs.
        classes: number of classes.
        padding: class of the places after the last detection.

    Returns:
        Boxes (N, m, 4), scores (N, m), classes (N, m) int32, and the number of detections (N,)
        int32; m is `max_detections`.
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
    """Return the detections of each picture after TensorRT's plugin EfficientNMS_TRT, best first.

    The plugin keeps scores equal to its threshold, and Darknet only those above it. So the plugin
    gets the next larger float32 number.

    Args:
        scope: scope for the nodes.
        boxes: corners, (N, boxes, 4).
        scores: (N, boxes, classes).

    Returns:
        The number of detections (N, 1), boxes (N, m, 4), scores (N, m), classes (N, m).
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
    """Return scores (N, classes, boxes), with zeros for boxes that NMS removes.

    Args:
        scope: scope for the nodes.
        boxes: corners, (N, boxes, 4).
        scores: (N, classes, boxes).
    """
    least, overlap = score_threshold(scope), overlap_threshold(scope)
    most = scope.ints(UNLIMITED)
    chosen = scope.op("NonMaxSuppression", boxes, scores, most, overlap, least)
    zero = ir.Tensor(np.zeros(1, np.float32))
    nothing = scope.op("ConstantOfShape", scope.op("Shape", scores), value=zero)
    return scope.op("ScatterND", nothing, chosen, picked_scores(scope, scores, chosen))


def picked_scores(scope: Scope, scores: ir.Value, places: ir.Value) -> ir.Value:
    """Return the scores at some places, (k,).

    If there were no places, OpenCV 5 would divide by zero. So one place is added, and its score is
    removed again.

    Args:
        scope: scope for the nodes.
        scores: (N, classes, boxes).
        places: (k, 3) int64, indices from 0 of picture, class and box.
    """
    some = scope.constant(np.zeros((1, 3), np.int64), "place")
    known = scope.op("GatherND", scores, scope.concat([places, some], axis=0))
    return scope.slice(known, {0: 0}, {0: -1})


def score_threshold(scope: Scope) -> ir.Value:
    """Return the score that a detection must exceed, (1,): a constant, or an input of the graph.

    Args:
        scope: scope for the nodes.
    """
    options = scope.graph.options
    if options.threshold_inputs:
        return scope.graph.input(SCORE_THRESHOLD, [1])
    return scope.floats([options.threshold])


def overlap_threshold(scope: Scope) -> ir.Value:
    """Return the IoU above which two boxes are the same object, (1,): a constant, or an input.

    Args:
        scope: scope for the nodes.
    """
    options = scope.graph.options
    if options.threshold_inputs:
        return scope.graph.input(IOU_THRESHOLD, [1])
    return scope.floats([options.nms or NEVER_SAME])


def picked(scope: Scope, boxes: ir.Value, index: ir.Value, is_found: ir.Value) -> ir.Value:
    """Return the boxes of some indices, (N, m, 4), with zeros where there is no detection.

    Args:
        scope: scope for the nodes.
        boxes: (N, boxes, 4).
        index: (N, m) int64, indices of boxes, from 0.
        is_found: (N, m) bool, False for padding.
    """
    column = scope.unsqueeze(index, 2)
    found = scope.op("GatherElements", boxes, scope.concat([column] * 4, axis=2), axis=1)
    share = scope.op("Cast", is_found, to=ir.DataType.FLOAT)
    return scope.op("Mul", found, scope.unsqueeze(share, 2))


def as_int32(scope: Scope, x: ir.Value) -> ir.Value:
    """Return a value converted to int32.

    Args:
        scope: scope for the nodes.
        x: integers or booleans.
    """
    return scope.op("Cast", x, to=ir.DataType.INT32)
