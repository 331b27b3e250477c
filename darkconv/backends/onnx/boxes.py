"""Boxes and class scores of all heads as part of the graph (golden/DIALECTS.md §7).

A decoder works on (N, a, b, entries), where a and b are cells and anchors in the order in which the
C program gives them. Scores are not compared with a threshold. Only objectness is, where
non-maximum suppression (NMS) follows, so that the scores above the threshold are those of the C
program.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from darkconv.backends.layouts import CENTRES, PIXELS
from darkconv.backends.onnx.head import EntryRange, activated, yolo_runs
from darkconv.backends.onnx.nms import score_threshold
from darkconv.backends.onnx.scope import LayerScope, Length
from darkconv.backends.registry import Builders
from darkconv.core.model import Array
from darkconv.core.network import Layer
from darkconv.errors import DarkconvError, UnsupportedError
from darkconv.layers import head
from darkconv.layers.box_heads import count_boxes, count_classes, scored_classes, tests_objectness

ENTRIES = 3  # index of the axis that holds an anchor's entries


class DecodedBoxes(NamedTuple):
    """Boxes and scores that a decoder returns, relative to the network input.

    Attributes:
        centres: (N, a, b, 2), x and y; `decoded` joins a and b to one axis of boxes.
        sizes: (N, a, b, 2), width and height.
        scores: (N, a, b, classes), to be compared with a threshold.
        confidences: (N, a, b, classes), what the C program reports for a box that is kept, or None
            where that is the score: see `darkconv.layers.box_heads.box_outputs`.
    """

    centres: ir.Value
    sizes: ir.Value
    scores: ir.Value
    confidences: ir.Value | None = None


Decoder = Callable[[LayerScope, ir.Value], DecodedBoxes]
DECODERS: Builders[Decoder] = Builders("ONNX boxes")
"""Decoders of boxes and scores, from a head's scope and its activated output, or its input.

`takes_input` says which of the two.
"""


def takes_input(layer: Layer) -> bool:
    """Return True if the decoder of a head reads its input, and activates the entries itself.

    So the entries need not be concatenated and split again.

    Args:
        layer: head that predicts boxes.
    """
    return isinstance(layer.spec, head.Yolo)


def decoded(scope: LayerScope, value: ir.Value) -> DecodedBoxes:
    """Return boxes and scores of one head, (N, boxes, 2 or classes) each.

    Args:
        scope: scope of the head.
        value: the head's activated output, or its input (see `takes_input`).

    Returns:
        Boxes and scores, with zeros for the classes that only other heads have.
    """
    layer = scope.layer
    found = DECODERS[layer](scope, value)
    count, classes = -1 if scope.is_free else count_boxes(layer), count_classes(layer)
    centres, sizes = (scope.reshape(part, 0, count, 2) for part in (found.centres, found.sizes))
    scores = scope.reshape(found.scores, 0, count, classes)
    confidences = found.confidences and scope.reshape(found.confidences, 0, count, classes)
    missing = [0, 0, scored_classes(scope.network) - classes]
    return DecodedBoxes(
        centres,
        sizes,
        scope.pad(scores, [0, 0, 0], missing),
        confidences and scope.pad(confidences, [0, 0, 0], missing),
    )


def tested(
    scope: LayerScope, objectness: ir.Value, product: ir.Value
) -> tuple[ir.Value, ir.Value | None]:
    """Return scores that pass the threshold only where objectness does; confidences if they differ.

    Args:
        scope: scope of the head.
        objectness: (..., 1).
        product: (..., classes), objectness times class scores.
    """
    if not tests_objectness(scope.network, scope.layer):
        return product, None
    if scope.graph.options.head != "nms":
        return scope.op("Min", objectness, product), product
    is_kept = scope.op("Greater", objectness, score_threshold(scope))
    return scope.op("Where", is_kept, product, scope.floats(0)), None


def formed(scope: LayerScope, centres: ir.Value, sizes: ir.Value) -> ir.Value:
    """Return boxes (N, boxes, 4) in the form and unit of the layout.

    Args:
        scope: scope of any head.
        centres: x and y relative to the network input, (N, boxes, 2).
        sizes: width and height relative to the network input, (N, boxes, 2).
    """
    values = scope.concat(sides(scope, centres, sizes), 2)
    if scope.graph.options.unit == PIXELS:
        return scope.op("Mul", values, as_floats(scope, [*network_size(scope)] * 2))
    return values


def sides(scope: LayerScope, centres: ir.Value, sizes: ir.Value) -> list[ir.Value]:
    """Return low and high corners, or centres and sizes, as the layout demands.

    Args:
        scope: scope of any head.
        centres: x and y, (N, boxes, 2).
        sizes: width and height in the same unit, (N, boxes, 2).
    """
    if scope.graph.options.box_form == CENTRES:
        return [centres, sizes]
    half = scope.multiply(sizes, 0.5)
    return [scope.op(kind, centres, half) for kind in ("Sub", "Add")]


@DECODERS.register(head.Yolo)
def decode_yolo(scope: LayerScope, _: ir.Value) -> DecodedBoxes:
    """Return the boxes of a yolo head, cell by cell in rows, with all anchors of each cell.

    It serves maps of free size, and heads that are not alike.

    Args:
        scope: scope of the head.
        _: not used, since the scope has the head's input.
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.Yolo)
    centre, size, rest = yolo_runs(spec)
    known = EntryRange(4, 5, rest.is_raw)
    classes = known._replace(start=5, end=rest.end)
    offsets, raw, objectness, scores = activated(scope, spec, [centre, size, known, classes])
    if spec.squares_sizes:
        factors, anchors = scope.op("Mul", raw, raw), 4 * spec.head_anchors
    else:
        factors, anchors = scope.op("Exp", raw), spec.head_anchors
    product = scope.op("Mul", objectness, scores)
    offsets, factors, objectness, product = cells_first(
        scope, offsets, factors, objectness, product
    )
    sizes = sized(scope, factors, anchors, network_size(scope))
    return DecodedBoxes(placed(scope, offsets), sizes, *tested(scope, objectness, product))


def cells_first(scope: LayerScope, *parts: ir.Value) -> list[ir.Value]:
    """Return values of shape (N, anchors, entries, cells) as (N, cells, anchors, entries).

    Args:
        scope: scope of the head.
        parts: values of that shape.
    """
    return [scope.transpose(part, 0, 3, 1, 2) for part in parts]


@DECODERS.register(head.GaussianYolo)
def decode_gaussian_yolo(scope: LayerScope, value: ir.Value) -> DecodedBoxes:
    """Return the boxes of a Gaussian_yolo head; uncertain coordinates lower the scores.

    The score is multiplied with 1 minus the mean uncertainty of the four coordinates.

    Args:
        scope: scope of the head.
        value: activated output of the head, (N, C, H, W).
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.GaussianYolo)
    rows = cell_rows(scope, value, spec)
    powers = scope.op("Exp", entries(scope, rows, 4, 8, step=2))
    sizes = sized(scope, powers, spec.head_anchors, network_size(scope))
    centres = placed(scope, entries(scope, rows, 0, 4, step=2))
    side = {"left_top": 0.5, "right_bottom": -0.5}.get(spec.yolo_point)
    if side:
        centres = scope.op("Add", centres, scope.multiply(sizes, side))
    doubt = scope.reduce("ReduceSum", entries(scope, rows, 1, 8, step=2), ENTRIES)
    certainty = scope.op("Sub", scope.floats(1), scope.multiply(doubt, 1 / 4))
    known = scope.op("Mul", entries(scope, rows, 8, 9), certainty)
    classes = entries(scope, rows, 9, spec.anchor_entries)
    return DecodedBoxes(centres, sizes, scope.op("Mul", known, classes))


@DECODERS.register(head.Region)
def decode_region(scope: LayerScope, value: ir.Value) -> DecodedBoxes:
    """Return the boxes of a region head, in the order and with the meaning of the dialect.

    Args:
        scope: scope of the head.
        value: activated output of the head, (N, C, H, W).

    Raises:
        UnsupportedError: the head has a class tree.
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.Region)
    if spec.tree:
        raise UnsupportedError(
            "a class tree is descended box by box, which ONNX has no operator for",
            where=scope.network.where(scope.layer.index, "tree"),
            hint="export the head as it is (raw): darkconv detect does the rest",
        )
    if spec.dialect.region_is_cell_major:
        return decode_cell_major(scope, spec, value)
    return decode_anchor_major(scope, spec, value)


def decode_anchor_major(scope: LayerScope, spec: head.Region, value: ir.Value) -> DecodedBoxes:
    """Return the boxes of a region head of dialect pjreddie: for each anchor all cells.

    Args:
        scope: scope of the head.
        spec: spec of the head.
        value: activated output of the head, (N, C, H, W).
    """
    apart = scope.reshape(value, 0, spec.num, spec.output_entries, scope.cells)
    rows = scope.transpose(apart, 0, 1, 3, 2)
    powers = scope.op("Exp", entries(scope, rows, 2, 4))
    anchors = spec.head_anchors[:, None]
    sizes = sized(scope, powers, anchors, scope.size[::-1])
    scores = entries(scope, rows, spec.box_entries, spec.output_entries)
    if not spec.background:
        known = entries(scope, rows, spec.coords, spec.coords + 1)
        scores = scope.op("Mul", known, scores)
    centres = placed(scope, entries(scope, rows, 0, 2), anchor_axis=False)
    return DecodedBoxes(centres, sizes, scores)


def decode_cell_major(scope: LayerScope, spec: head.Region, value: ir.Value) -> DecodedBoxes:
    """Return the boxes of a region head of dialect alexeyab: for each cell all anchors.

    This dialect applies the sigmoid to x and y only here.

    Args:
        scope: scope of the head.
        spec: spec of the head.
        value: activated output of the head, (N, C, H, W).
    """
    rows = scope.reshape(value, 0, scope.cells, spec.num, spec.output_entries)
    powers = scope.op("Exp", entries(scope, rows, 2, 4))
    sizes = sized(scope, powers, spec.head_anchors, scope.size[::-1])
    known = entries(scope, rows, 4, 5)
    if spec.classfix == -1:
        is_low = scope.op("Less", known, scope.floats(0.5))
        known = scope.op("Where", is_low, scope.floats(0), known)
    scores = scope.op("Mul", known, entries(scope, rows, 5, spec.output_entries))
    offsets = scope.op("Sigmoid", entries(scope, rows, 0, 2))
    return DecodedBoxes(placed(scope, offsets), sizes, scores)


@DECODERS.register(head.Detection)
def decode_detection(scope: LayerScope, value: ir.Value) -> DecodedBoxes:
    """Return the boxes of a detection head, for each cell all its boxes.

    Args:
        scope: scope of the head.
        value: activated output of the head, (N, values).

    Raises:
        DarkconvError: the head has another number of coordinates than 4.
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.Detection)
    if spec.coords != 4:
        where = scope.network.where(scope.layer.index, "coords")
        raise DarkconvError(where=where, expected="4 for boxes", found=spec.coords)
    ends = np.cumsum([0, spec.classes, spec.num, 4 * spec.num]) * spec.cells
    classes, known, boxes = (
        scope.reshape(scope.channels(value, start, end), 0, spec.cells, *axes)
        for start, end, axes in zip(
            ends[:-1].tolist(),
            ends[1:].tolist(),
            ((1, spec.classes), (spec.num, 1), (spec.num, 4)),
            strict=True,
        )
    )
    sizes = entries(scope, boxes, 2, 4)
    if spec.sqrt:
        sizes = scope.op("Mul", sizes, sizes)
    centres = placed(scope, entries(scope, boxes, 0, 2), grid=(spec.side, spec.side))
    return DecodedBoxes(centres, sizes, scope.op("Mul", known, classes))


def cell_rows(scope: LayerScope, value: ir.Value, spec: head.YoloHead) -> ir.Value:
    """Return the output of a yolo head, (N, C, H, W), as (N, cells, anchors, entries).

    Args:
        scope: scope of the head.
        value: activated output of the head.
        spec: spec of the head.
    """
    apart = scope.reshape(value, 0, len(spec.mask), spec.anchor_entries, scope.cells)
    return scope.transpose(apart, 0, 3, 1, 2)


def entries(scope: LayerScope, rows: ir.Value, start: int, end: int, step: int = 1) -> ir.Value:
    """Return some entries of each anchor.

    Args:
        scope: scope of the head.
        rows: (N, a, b, entries).
        start: first entry, from 0.
        end: entry after the last one.
        step: distance of the entries that are taken.
    """
    return scope.channels(rows, start, end, axis=ENTRIES, step=step)


def placed(
    scope: LayerScope,
    offsets: ir.Value,
    *,
    anchor_axis: bool = True,
    grid: tuple[int, int] | None = None,
) -> ir.Value:
    """Return centres relative to the network input: (cell + offset) / number of cells.

    Args:
        scope: scope of the head.
        offsets: (N, cells, anchors, 2), or (N, anchors, cells, 2).
        anchor_axis: True if the axis of the anchors follows that of the cells.
        grid: rows and columns; None for those of the head's input.
    """
    rows, columns = grid or scope.size
    cells = cell_places(scope, rows, columns)
    if anchor_axis:
        cells = scope.unsqueeze(cells, 1)
    moved = scope.op("Add", offsets, cells)
    return scope.op("Div", moved, as_floats(scope, [columns, rows]))


def cell_places(scope: LayerScope, rows: Length, columns: Length) -> ir.Value:
    """Return the column and the row of each cell, (cells, 2) float32.

    Args:
        scope: scope of the head.
        rows: number of rows.
        columns: number of columns.
    """
    if isinstance(rows, int) and isinstance(columns, int):
        return scope.floats(grid_places(rows, columns), "cells")
    rows, columns = scope.lengths(rows), scope.lengths(columns)
    zero, one = (scope.constant(np.array(n, np.int64), "number") for n in (0, 1))
    count = scope.squeeze(scope.op("Mul", rows, columns), 0)
    numbers = scope.op("Range", zero, count, one)
    pair = [scope.op(kind, numbers, columns) for kind in ("Mod", "Div")]
    stacked = scope.concat([scope.unsqueeze(part, 1) for part in pair], axis=1)
    return scope.op("Cast", stacked, to=ir.DataType.FLOAT)


def grid_places(rows: int, columns: int) -> npt.NDArray[np.int64]:
    """Return the column and the row of each cell of a grid of known size, (cells, 2) int64.

    Args:
        rows: number of rows.
        columns: number of columns.
    """
    y, x = np.divmod(np.arange(rows * columns), columns)
    return np.stack([x, y], axis=1)


def sized(
    scope: LayerScope, factors: ir.Value, anchors: Array, unit: tuple[Length, Length]
) -> ir.Value:
    """Return the sizes of boxes: factors times anchors, divided by a unit.

    Args:
        scope: scope of the head.
        factors: (N, a, b, 2).
        anchors: width and height of each anchor, broadcast to the factors.
        unit: width and height that are 1, in the unit of the anchors.
    """
    known = [length for length in unit if isinstance(length, int)]
    if len(known) == len(unit):
        return scope.multiply(factors, anchors / np.array(known))
    return scope.op("Div", scope.multiply(factors, anchors), as_floats(scope, unit))


def network_size(scope: LayerScope) -> tuple[Length, Length]:
    """Return width and height of the network input, in pixels.

    Args:
        scope: scope of any layer.
    """
    if scope.graph.options.has_free_size:
        x = scope.network_input
        return scope.lengths_of(x, 3, 4), scope.lengths_of(x, 2, 3)
    shape = scope.network.input_shape
    return shape.w, shape.h


def as_floats(scope: LayerScope, lengths: Sequence[Length]) -> ir.Value:
    """Return lengths as a float32 vector.

    Args:
        scope: scope of any layer.
        lengths: elements of the vector.
    """
    known = [length for length in lengths if isinstance(length, int)]
    if len(known) == len(lengths):
        return scope.floats(known, "lengths")
    return scope.op("Cast", scope.lengths(*lengths), to=ir.DataType.FLOAT)
