"""Boxes and scores of several yolo heads in one computation (golden/DIALECTS.md §7)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import onnx_ir as ir

from darkconv.backends.layouts import CENTRES, PIXELS
from darkconv.backends.onnx.boxes import cells_first, grid_places, network_size, tested
from darkconv.backends.onnx.scope import LayerScope
from darkconv.core.model import Array
from darkconv.core.network import Layer, Network
from darkconv.layers import head
from darkconv.layers.box_heads import count_boxes, tests_objectness


def are_alike(network: Network, layers: Sequence[Layer]) -> bool:
    """Return True if heads can be decoded together: yolo heads of as many anchors and classes.

    The options that change the decoding must be equal, too.

    Args:
        network: network of the heads.
        layers: heads that predict boxes.
    """
    kinds = {
        (
            len(layer.spec.mask),
            layer.spec.anchor_entries,
            layer.spec.squashes,
            layer.spec.squares_sizes,
            tests_objectness(network, layer),
        )
        for layer in layers
        if isinstance(layer.spec, head.Yolo)
    }
    return len(kinds) == 1 and all(isinstance(layer.spec, head.Yolo) for layer in layers)


def decoded_alike(
    scopes: Sequence[LayerScope],
) -> tuple[ir.Value, ir.Value, ir.Value | None]:
    """Return boxes (N, boxes, 4), scores and confidences of alike heads on maps of known size.

    In a small network each operator and each copy counts. So the cells of all heads are
    concatenated before anything is computed. Vectors of cells are faster than vectors of entries.
    Scores are multiplied last, because onnxruntime makes a copy for a Reshape that comes last.

    Args:
        scopes: scopes of the heads, in order.

    Returns:
        Boxes in the form and unit of the layout, scores (N, boxes, classes), and confidences of the
        same shape, or None where these are the scores.
    """
    scope, maps = scopes[-1], [yolo_cells(each) for each in scopes]
    spec = scope.layer.spec
    assert isinstance(spec, head.Yolo)
    anchors, end = len(spec.mask), spec.anchor_entries
    values = scope.concat(
        [each.reshape(each.x, 0, anchors, end, each.cells) for each in scopes], axis=3
    )
    centre, size, known, classes = (
        scope.channels(values, first, last, axis=2)
        for first, last in ((0, 2), (2, 4), (4, 5), (5, end))
    )
    if spec.squashes:
        centre, known, classes = (scope.op("Sigmoid", part) for part in (centre, known, classes))
    size = scope.op("Sigmoid", size) if spec.squashes_sizes else size
    factors = scope.op("Mul", size, size) if spec.squares_sizes else scope.op("Exp", size)
    steps, places, halves = (np.concatenate(parts, axis=-1) for parts in zip(*maps, strict=True))
    centres = scope.add(scope.multiply(centre, steps), places)
    if scope.graph.options.box_form == CENTRES:
        sides = [centres, scope.multiply(factors, 2 * halves)]
    else:
        half = scope.multiply(factors, halves)
        sides = [scope.op(kind, centres, half) for kind in ("Sub", "Add")]
    edges = scope.concat(sides, axis=2)
    count = sum(count_boxes(each.layer) for each in scopes)
    boxes, known, classes = (
        scope.reshape(part, 0, count, width)
        for part, width in zip(
            cells_first(scope, edges, known, classes), (4, 1, end - 5), strict=True
        )
    )
    return boxes, *tested(scope, known, scope.op("Mul", known, classes))


class BoxFactors(NamedTuple):
    """Factors and summands that turn a yolo head's entries into boxes, in the unit of the boxes.

    Attributes:
        steps: (2, cells) factors of the centres' offsets.
        places: (2, cells) summands of the centres.
        halves: (anchors, 2, cells) factors of half a size.
    """

    steps: Array
    places: Array
    halves: Array


def yolo_cells(scope: LayerScope) -> BoxFactors:
    """Return the factors and summands of a head whose feature map has a known size.

    Args:
        scope: scope of the head.
    """
    spec = scope.layer.spec
    assert isinstance(spec, head.Yolo)
    rows, columns = scope.size
    assert isinstance(rows, int)
    assert isinstance(columns, int)
    network = np.array(network_size(scope))
    unit = network if scope.graph.options.unit == PIXELS else np.ones(2)
    steps = (unit / [columns, rows])[:, None]
    grid = grid_places(rows, columns).T
    halves = spec.head_anchors / network * unit * (2 if spec.squares_sizes else 0.5)
    parts = (
        np.broadcast_to(steps * spec.scale_x_y, grid.shape),
        (grid - (spec.scale_x_y - 1) / 2) * steps,
        np.repeat(halves[:, :, None], grid.shape[1], axis=2),
    )
    return BoxFactors(*(part.astype(np.float32) for part in parts))
