"""Boxes and class scores of all heads as part of the model (golden/DIALECTS.md §7).

A decoder computes with tensors (N, a, b, entries): a and b are cells and anchors in the order of
the C program. No threshold is applied. Where the C program gives scores above 1, so does the
decoder.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from darkconv.backends.keras.scope import LayerScope, Tensor
from darkconv.backends.registry import Builders
from darkconv.core.model import Array
from darkconv.errors import DarkconvError, UnsupportedError
from darkconv.layers import head
from darkconv.layers.box_heads import (
    BOXES,
    CONFIDENCES,
    SCORES,
    count_boxes,
    count_classes,
    scored_classes,
    tests_objectness,
)


class DecodedBoxes(NamedTuple):
    """Boxes and scores of one head, relative to the network input.

    Attributes:
        centres: (N, a, b, 2), x and y.
        sizes: (N, a, b, 2), width and height.
        scores: (N, a, b, classes), to be compared with a threshold.
        confidences: (N, a, b, classes), the confidence that C reports of a box that is kept; None
            if it is the score: see `darkconv.layers.box_heads.box_outputs`.
    """

    centres: Tensor
    sizes: Tensor
    scores: Tensor
    confidences: Tensor | None = None


Decoder = Callable[[LayerScope, Tensor], DecodedBoxes]
DECODERS: Builders[Decoder] = Builders("Keras boxes")
"""From the scope of a head and its activated value to boxes and scores."""


def decoded(scope: LayerScope, value: Tensor) -> dict[str, Tensor]:
    """Decode the boxes of one head.

    Args:
        scope: of the head, in whose graph the operations are appended.
        value: activated value of the head, (N, H, W, C) or (N, values).

    Returns:
        Tensors by the names of `box_outputs`: boxes (N, boxes, 4), xyxy relative to the input;
        scores and confidences (N, boxes, classes). Confidences are always present, since other
        heads of the network may have some.
    """
    layer = scope.layer
    found = DECODERS[layer](scope, value)
    halves = scope.op("multiply", found.sizes, 0.5)
    low, high = (scope.op(kind, found.centres, halves) for kind in ("subtract", "add"))
    count, classes = count_boxes(layer), count_classes(layer)
    scores = scope.reshape(found.scores, count, classes)
    confidences = scores
    if found.confidences is not None:
        confidences = scope.reshape(found.confidences, count, classes)
    boxes = scope.reshape(scope.concat([low, high]), count, 4)
    missing = scored_classes(scope.network) - classes
    if missing:
        scores, confidences = (
            scope.op("pad", values, [[0, 0], [0, 0], [0, missing]])
            for values in (scores, confidences)
        )
    return {BOXES: boxes, SCORES: scores, CONFIDENCES: confidences}


@DECODERS.register(head.Yolo)
def decode_yolo(scope: LayerScope, value: Tensor) -> DecodedBoxes:
    """Decode a YOLOv3 head: cells row by row, anchors innermost.

    Args:
        scope: of the [yolo] layer, in whose graph the operations are appended.
        value: its activated value, (N, H, W, anchors * (5 + classes)).
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.Yolo)
    rows = cell_rows(scope, value, len(spec.mask))
    raw, anchors = scope.channels(rows, 2, 4), spec.head_anchors
    if spec.squares_sizes:
        sizes = sized(scope, scope.op("square", raw), 4 * anchors, network_size(scope))
    else:
        sizes = sized(scope, scope.op("exp", raw), anchors, network_size(scope))
    centres = placed(scope, scope.channels(rows, 0, 2), map_size(scope))
    known = scope.channels(rows, 4, 5)
    product = scope.op("multiply", known, scope.channels(rows, 5, None))
    if not tests_objectness(scope.network, scope.layer):
        return DecodedBoxes(centres, sizes, product)
    return DecodedBoxes(centres, sizes, scope.op("minimum", known, product), product)


@DECODERS.register(head.GaussianYolo)
def decode_gaussian_yolo(scope: LayerScope, value: Tensor) -> DecodedBoxes:
    """Decode a Gaussian YOLOv3 head: scores shrink with the mean deviation of the coordinates.

    Args:
        scope: of the [Gaussian_yolo] layer, in whose graph the operations are appended.
        value: its activated value, (N, H, W, anchors * (9 + classes)).
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.GaussianYolo)
    rows = cell_rows(scope, value, len(spec.mask))
    powers = scope.op("exp", scope.channels(rows, 4, 8, 2))
    sizes = sized(scope, powers, spec.head_anchors, network_size(scope))
    centres = placed(scope, scope.channels(rows, 0, 4, 2), map_size(scope))
    side = {"left_top": 0.5, "right_bottom": -0.5}.get(spec.yolo_point)
    if side:
        centres = scope.op("add", centres, scope.op("multiply", sizes, side))
    doubt = scope.op("mean", scope.channels(rows, 1, 8, 2), axis=-1, keepdims=True)
    certainty = scope.op("subtract", 1.0, doubt)
    known = scope.op("multiply", scope.channels(rows, 8, 9), certainty)
    return DecodedBoxes(centres, sizes, scope.op("multiply", known, scope.channels(rows, 9, None)))


@DECODERS.register(head.Region)
def decode_region(scope: LayerScope, value: Tensor) -> DecodedBoxes:
    """Decode a YOLOv2 head: cell by cell in alexeyab, anchor by anchor in pjreddie.

    alexeyab's x and y get their sigmoid here.

    Args:
        scope: of the [region] layer, in whose graph the operations are appended.
        value: its activated value, (N, H, W, anchors * (coords + 1 + kept classes)).

    Raises:
        UnsupportedError: the head has a class tree.
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.Region)
    if spec.tree:
        raise UnsupportedError(
            "a class tree is descended box by box, which Keras has no operation for",
            where=scope.network.where(scope.layer.index, "tree"),
            hint="convert the head as it is (raw): darkconv detect does the rest",
        )
    rows = cell_rows(scope, value, spec.num)
    offsets = scope.channels(rows, 0, 2)
    powers = scope.op("exp", scope.channels(rows, 2, 4))
    known = scope.channels(rows, spec.coords, spec.coords + 1)
    scores = scope.channels(rows, spec.box_entries, None)
    if spec.dialect.region_is_cell_major:
        offsets = scope.op("sigmoid", offsets)
    if spec.classfix == -1 and spec.dialect.region_is_cell_major:
        known = scope.op("where", scope.op("less", known, 0.5), 0.0, known)
    found = (
        placed(scope, offsets, map_size(scope)),
        sized(scope, powers, spec.head_anchors, map_size(scope)[::-1]),
        scores if spec.background else scope.op("multiply", known, scores),
    )
    if spec.dialect.region_is_cell_major:
        return DecodedBoxes(*found)
    return DecodedBoxes(*(scope.op("transpose", part, (0, 2, 1, 3)) for part in found))


@DECODERS.register(head.Detection)
def decode_detection(scope: LayerScope, value: Tensor) -> DecodedBoxes:
    """Decode a YOLOv1 head: cell by cell, and within a cell box by box.

    Args:
        scope: of the [detection] layer, in whose graph the operations are appended.
        value: its activated value, (N, values).

    Raises:
        DarkconvError: `coords` is not 4.
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.Detection)
    if spec.coords != 4:
        where = scope.network.where(scope.layer.index, "coords")
        raise DarkconvError(where=where, expected="4 for boxes", found=spec.coords)
    ends = np.cumsum([0, spec.classes, spec.num, 4 * spec.num]) * spec.cells
    classes, known, boxes = (
        scope.reshape(scope.channels(value, start, end), spec.cells, *axes)
        for start, end, axes in zip(
            ends[:-1].tolist(),
            ends[1:].tolist(),
            ((1, spec.classes), (spec.num, 1), (spec.num, 4)),
            strict=True,
        )
    )
    sizes = scope.channels(boxes, 2, 4)
    sizes = scope.op("square", sizes) if spec.sqrt else sizes
    centres = placed(scope, scope.channels(boxes, 0, 2), (spec.side, spec.side))
    return DecodedBoxes(centres, sizes, scope.op("multiply", known, classes))


def cell_rows(scope: LayerScope, value: Tensor, anchors: int) -> Tensor:
    """Split a feature map into cells and anchors: (N, cells, anchors, entries).

    Args:
        scope: of the head.
        value: (N, H, W, anchors * entries).
        anchors: number of anchors.
    """
    _, rows, columns, channels = value.shape
    return scope.reshape(value, rows * columns, anchors, channels // anchors)


def placed(scope: LayerScope, offsets: Tensor, grid: tuple[int, int]) -> Tensor:
    """Compute box centres relative to the input: (cell + offset) / number of cells.

    Args:
        scope: of the head.
        offsets: (N, cells, anchors, 2), x and y within a cell, in 0..1.
        grid: numbers of rows and columns of cells.
    """
    rows, columns = grid
    y, x = np.divmod(np.arange(rows * columns), columns)
    cells = np.stack([x, y], axis=1)[:, None].astype(np.float32)
    moved = scope.op("add", offsets, cells)
    return scope.op("divide", moved, np.array([columns, rows], np.float32))


def sized(scope: LayerScope, factors: Tensor, anchors: Array, unit: tuple[int, int]) -> Tensor:
    """Compute box sizes: anchors times factors, relative to the unit.

    Args:
        scope: of the head.
        factors: (N, cells, anchors, 2), for width and height.
        anchors: (anchors, 2), widths and heights, in pixels or cells.
        unit: width and height of the whole in the same pixels or cells.
    """
    return scope.op("multiply", factors, (anchors / np.array(unit)).astype(np.float32))


def network_size(scope: LayerScope) -> tuple[int, int]:
    """Return the width and height of the network input, in pixels.

    Args:
        scope: of any layer of the network.
    """
    shape = scope.network.input_shape
    return shape.w, shape.h


def map_size(scope: LayerScope) -> tuple[int, int]:
    """Return the numbers of rows and columns of the head's input.

    Args:
        scope: of the head.
    """
    return scope.layer.in_shapes[0].h, scope.layer.in_shapes[0].w
