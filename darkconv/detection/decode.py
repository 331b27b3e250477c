"""Decode the raw outputs of heads to boxes and class scores (golden/DIALECTS.md §7).

The entries that exceed the threshold are gathered first, and only they are decoded.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from darkconv.backends.registry import Builders
from darkconv.core.model import Array
from darkconv.core.network import Layer, Network
from darkconv.core.tree import Tree
from darkconv.darknet.class_map import read_class_map
from darkconv.errors import DarkconvError, GraphError
from darkconv.layers import head
from darkconv.layers.box_heads import check_anchors, check_room

Index = npt.NDArray[np.intp]

HIERARCHY_THRESHOLD = 0.5
MAPPED_CLASSES = 200  # the most lines of a map file that Darknet reads
LOGIT_MARGIN = 1e-3
"""Raw objectness down to this much below the threshold is activated and compared again."""
MOST_EXPONENT = np.float32(40)  # the area of a box of e^40 anchors is still a finite float32
TREE_SCORE = 0.5  # alexeyab: the probability that a class of the tree has to exceed


@dataclass(frozen=True)
class Candidates:
    """The boxes of one picture before non-maximum suppression, in the decoder's order.

    Attributes:
        boxes: (n, 4) float32 xywh, relative to the network input; after `Fit.to_picture` relative
            to the picture.
        objectness: (n,) float32.
        scores: (n, classes) float32; scores that do not exceed the threshold are 0.
    """

    boxes: Array
    objectness: Array
    scores: Array


@dataclass(frozen=True)
class DecodeOptions:
    """The options of decoding, as Darknet's box getters take them.

    Attributes:
        network: the network that the head belongs to.
        threshold: the number in 0..1 that objectness and scores must exceed.
        hierarchy: the descent in a class tree stops where the product of probabilities falls to
            this.
        raw: see `decode`.
    """

    network: Network
    threshold: float
    hierarchy: float = HIERARCHY_THRESHOLD
    raw: bool = False


Decoder = Callable[[Layer, Array, DecodeOptions], Candidates]
DECODERS: Builders[Decoder] = Builders("box decoding")


def decode(
    network: Network,
    outputs: Sequence[Array],
    *,
    threshold: float,
    hierarchy: float = HIERARCHY_THRESHOLD,
    raw: bool = False,
) -> Candidates:
    """Return the candidates of one picture, decoded from the outputs of all box heads.

    Args:
        network: the network that has made the outputs.
        outputs: for each layer of `box_heads(network)`, its output for one picture, in Darknet's
            order.
        threshold: the number in 0..1 that objectness and scores must exceed.
        hierarchy: the descent in a class tree stops where the product of probabilities falls to
            this.
        raw: True if the outputs of heads for which `takes_raw` holds are the heads' inputs instead,
            not activated yet; then only what exceeds the threshold is activated.

    Raises:
        DarkconvError: the network has no head that predicts boxes, or one with more classes than
            its boxes have room for.
    """
    heads = box_heads(network)
    options = DecodeOptions(network, threshold, hierarchy, raw)
    found = [
        DECODERS[layer](layer, output, options)
        for layer, output in zip(heads, outputs, strict=True)
    ]
    width = max(part.scores.shape[1] for part in found)  # a class map may change the count
    return Candidates(
        np.concatenate([part.boxes for part in found]),
        np.concatenate([part.objectness for part in found]),
        np.concatenate([widened(part.scores, width) for part in found]),
    )


def widened(scores: Array, width: int) -> Array:
    """Return scores with columns of zeros for further classes.

    Args:
        scores: (n, classes) scores of boxes.
        width: the number of classes of the result.

    Returns:
        (n, width).
    """
    missing = width - scores.shape[1]
    return np.pad(scores, ((0, 0), (0, missing))) if missing else scores


def box_heads(network: Network) -> tuple[Layer, ...]:
    """Return the heads that predict boxes.

    Args:
        network: the network to search.

    Raises:
        DarkconvError: the network has no such head, or one without anchors, or one with more
            classes than its boxes have room for.
    """
    heads = network.box_heads
    if not heads:
        raise DarkconvError(
            f"{network.file}: predicts no boxes",
            expected="a [yolo], [Gaussian_yolo], [region] or [detection] layer",
            found=", ".join(f"[{layer.type}]" for layer in network.heads) or "no head",
        )
    for layer in heads:
        check_anchors(layer, network)
    check_room(network)
    return heads


def takes_raw(layer: Layer) -> bool:
    """Return True if a head activates each value by itself, so that its input can be decoded.

    Args:
        layer: a head that predicts boxes.
    """
    return isinstance(layer.spec, head.YoloHead)


def input_size(network: Network) -> Array:
    """Return the size of the network input in pixels, float32 (width, height).

    Args:
        network: a network whose input is a picture.
    """
    shape = network.input_shape
    return np.array([shape.w, shape.h], np.float32)


def passing(scores: Array, threshold: float) -> Array:
    """Return the scores, with 0 in place of those that do not exceed the threshold.

    Args:
        scores: an array of any shape.
        threshold: the number to exceed.
    """
    return np.where(scores > np.float32(threshold), scores, np.float32(0))


def grid_positions(columns: Index, rows: Index, offsets: Array, size: Array) -> Array:
    """Return the centres of boxes relative to the input: (cell + offset) / number of cells.

    Args:
        columns: (n,) column of each box's cell, from 0.
        rows: (n,) row of each box's cell, from 0.
        offsets: (n, 2) x and y of the centre in its cell, in cells.
        size: (columns, rows) of the grid.

    Returns:
        (n, 2) float32 x, y.
    """
    cells = np.stack([columns, rows], axis=1).astype(np.float32)
    return (cells + offsets) / size


def _gather(
    spec: head.YoloHead, output: Array, options: DecodeOptions, objectness: int
) -> tuple[Index, Index, Index, Array]:
    """Return rows, columns, anchors and activated entries with enough objectness, in C's order.

    Args:
        spec: the options of the head.
        output: (anchors * entries, H, W), activated unless the options say that it is raw.
        options: the options of decoding.
        objectness: the index of the objectness among the entries.
    """
    entries = output.reshape(len(spec.mask), spec.anchor_entries, *output.shape[-2:])
    least = options.threshold
    is_squashed = options.raw and spec.squashes
    if is_squashed:
        least = _logit(least) - LOGIT_MARGIN
    rows, columns, anchors = np.nonzero(
        entries[:, objectness].transpose(1, 2, 0) > np.float32(least)
    )
    found = entries[anchors, :, rows, columns]
    if not options.raw:
        return rows, columns, anchors, found
    found = _activated(spec, found, is_squashed=is_squashed)
    passes = found[:, objectness] > np.float32(options.threshold)
    return rows[passes], columns[passes], anchors[passes], found[passes]


def _activated(spec: head.YoloHead, found: Array, *, is_squashed: bool) -> Array:
    """Return entries (n, entries) after the head's activation."""
    centres, sizes = ([0, 2], [4, 6]) if isinstance(spec, head.GaussianYolo) else ([0, 1], [2, 3])
    result = logistic(found) if is_squashed else found
    if not spec.squashes_sizes:
        result[:, sizes] = found[:, sizes]
    if spec.scale_x_y != 1:
        shift = np.float32(0.5 * (spec.scale_x_y - 1))
        result[:, centres] = result[:, centres] * np.float32(spec.scale_x_y) - shift
    return result


def _logit(share: float) -> float:
    """Return the value whose logistic is `share`."""
    if not 0 < share < 1:
        return -np.inf if share <= 0 else np.inf
    return float(np.log(share / (1 - share)))


def logistic(values: Array) -> Array:
    """Return 1 / (1 + e^-x), float32.

    Args:
        values: an array of any shape.
    """
    return (1 / (1 + grown(-values))).astype(np.float32)


@DECODERS.register(head.Yolo)
def decode_yolo(layer: Layer, output: Array, options: DecodeOptions) -> Candidates:
    """Decode a [yolo] head cell by cell and anchor by anchor, only entries with enough objectness.

    Args:
        layer: the [yolo] layer, with its anchors.
        output: (anchors * entries, H, W).
        options: the options of decoding.

    Returns:
        The candidates, in Darknet's order.
    """
    spec = layer.spec
    assert isinstance(spec, head.Yolo)
    rows, columns, anchors, found = _gather(spec, output, options, 4)
    grid = np.array(output.shape[:-3:-1], np.float32)
    sizes = 4 * found[:, 2:4] ** 2 if spec.squares_sizes else grown(found[:, 2:4])
    sizes = sizes * spec.head_anchors[anchors] / input_size(options.network)
    centres = grid_positions(columns, rows, found[:, 0:2], grid)
    scores = passing(found[:, 4:5] * found[:, 5:], options.threshold)
    return Candidates(np.hstack([centres, sizes]), found[:, 4], scores)


@DECODERS.register(head.GaussianYolo)
def decode_gaussian_yolo(layer: Layer, output: Array, options: DecodeOptions) -> Candidates:
    """Decode a [Gaussian_yolo] head; a large mean deviation of the coordinates lowers the scores.

    Args:
        layer: the [Gaussian_yolo] layer, with its anchors.
        output: (anchors * entries, H, W).
        options: the options of decoding.

    Returns:
        The candidates, in Darknet's order.
    """
    spec = layer.spec
    assert isinstance(spec, head.GaussianYolo)
    rows, columns, anchors, found = _gather(spec, output, options, 8)
    grid = np.array(output.shape[:-3:-1], np.float32)
    sizes = grown(found[:, 4:8:2]) * spec.head_anchors[anchors] / input_size(options.network)
    centres = grid_positions(columns, rows, found[:, 0:4:2], grid)
    side = {"left_top": 0.5, "right_bottom": -0.5}.get(spec.yolo_point, 0.0)
    centres = centres + np.float32(side) * sizes
    certainty = 1 - found[:, 1:8:2].mean(axis=1, keepdims=True)
    scores = passing(found[:, 8:9] * found[:, 9:] * certainty, options.threshold)
    return Candidates(np.hstack([centres, sizes]), found[:, 8], scores)


@DECODERS.register(head.Region)
def decode_region(layer: Layer, output: Array, options: DecodeOptions) -> Candidates:
    """Decode a [region] head: all cells and anchors, by the rules of the dialect.

    Args:
        layer: the [region] layer, with its anchors and its class tree.
        output: its values for one picture.
        options: the options of decoding.

    Returns:
        The candidates, in the order of the dialect's program.
    """
    spec = layer.spec
    assert isinstance(spec, head.Region)
    if spec.dialect.region_is_cell_major:
        return _decode_cell_major(layer, output, options)
    return _decode_channel_major(layer, output, options)


def _decode_channel_major(layer: Layer, output: Array, options: DecodeOptions) -> Candidates:
    """Decode a [region] head of the pjreddie dialect: anchor by anchor, all cells of each."""
    spec = layer.spec
    assert isinstance(spec, head.Region)
    height, width = output.shape[-2:]
    entries = output.reshape(spec.num, spec.output_entries, height * width)
    found = entries.transpose(0, 2, 1).reshape(-1, spec.output_entries)
    anchors, cells = np.divmod(np.arange(len(found)), height * width)
    rows, columns = np.divmod(cells, width)
    boxes = _region_boxes(spec, found[:, :2], found[:, 2:4], (columns, rows, anchors), output)
    known = np.ones(len(found), np.float32) if spec.background else found[:, spec.coords]
    objectness = passing(known, options.threshold)
    classes = found[:, spec.box_entries :]
    if layer.tree:
        scores = _tree_scores(layer, classes, objectness, options)
    else:
        scores = passing(known[:, None] * classes, options.threshold)
    scores = np.where(objectness[:, None] > 0, scores, np.float32(0))
    return Candidates(boxes, objectness, scores)


def _decode_cell_major(layer: Layer, output: Array, options: DecodeOptions) -> Candidates:
    """Decode a [region] head of the alexeyab dialect: cell by cell, all anchors of each.

    In this dialect x and y are not activated yet.
    """
    spec = layer.spec
    assert isinstance(spec, head.Region)
    width = output.shape[-1]
    found = output.reshape(-1, spec.output_entries)
    cells, anchors = np.divmod(np.arange(len(found)), spec.num)
    rows, columns = np.divmod(cells, width)
    offsets = logistic(found[:, :2])
    boxes = _region_boxes(spec, offsets, found[:, 2:4], (columns, rows, anchors), output)
    known = found[:, 4]
    if spec.classfix == -1:
        known = np.where(known < 0.5, np.float32(0), known)
    classes = found[:, 5:]
    if layer.tree:
        scores = _cell_major_tree_scores(layer, classes, known, options)
    else:
        scores = passing(known[:, None] * classes, options.threshold)
    return Candidates(boxes, np.ones(len(found), np.float32), scores)


def _region_boxes(
    spec: head.Region,
    offsets: Array,
    sizes: Array,
    place: tuple[Index, Index, Index],
    output: Array,
) -> Array:
    columns, rows, anchors = place
    grid = np.array(output.shape[:-3:-1], np.float32)
    centres = grid_positions(columns, rows, offsets, grid)
    return np.hstack([centres, grown(sizes) * spec.head_anchors[anchors] / grid])


def _tree_scores(layer: Layer, classes: Array, objectness: Array, options: DecodeOptions) -> Array:
    """Return scores as pjreddie does: of mapped classes, or objectness where the descent ends."""
    tree = _tree(layer, options)
    absolute = tree.hierarchical(classes)
    mapped = _mapped_classes(layer, options)
    if mapped is not None:
        return passing(objectness[:, None] * absolute[:, mapped], options.threshold)
    scores = np.zeros_like(classes)
    for row in np.flatnonzero(objectness):
        scores[row, _descend(tree, absolute[row], options.hierarchy)] = objectness[row]
    return scores


def _cell_major_tree_scores(
    layer: Layer, classes: Array, known: Array, options: DecodeOptions
) -> Array:
    """Return scores as AlexeyAB does: of mapped classes, or of the last class that exceeds 0.5."""
    absolute = _tree(layer, options).hierarchical(classes)
    mapped = _mapped_classes(layer, options)
    if mapped is not None:
        return passing(known[:, None] * absolute[:, mapped], options.threshold)
    scores = np.zeros_like(classes)
    likely = absolute > TREE_SCORE
    last = likely.shape[1] - 1 - likely[:, ::-1].argmax(axis=1)
    rows = np.flatnonzero(likely.any(axis=1) & (known > np.float32(options.threshold)))
    scores[rows, last[rows]] = absolute[rows, last[rows]]
    return scores


def _descend(tree: Tree, absolute: Array, threshold: float) -> int:
    """Return the class at which the best path in a tree ends, as C's `hierarchy_top_prediction`."""
    group, product = 0, 1.0
    while True:
        start, count = tree.groups[group]
        best = start + int(absolute[start : start + count].argmax())
        if product * absolute[best] <= threshold:
            return best if group == 0 else tree.parents[start]
        product *= float(absolute[best])
        below = tree.child_group(best)
        if below is None:
            return best
        group = below


def _tree(layer: Layer, options: DecodeOptions) -> Tree:
    if layer.tree is None:
        raise GraphError("class tree not found", where=options.network.where(layer.index, "tree"))
    return layer.tree


def _mapped_classes(layer: Layer, options: DecodeOptions) -> list[int] | None:
    """Return the tree classes that a `map=` file selects, or None."""
    numbers = read_class_map(layer, options.network)
    return list(numbers[:MAPPED_CLASSES]) or None


@DECODERS.register(head.Detection)
def decode_detection(layer: Layer, output: Array, options: DecodeOptions) -> Candidates:
    """Decode a [detection] head (YOLOv1): cell by cell, all boxes of each.

    Args:
        layer: the [detection] layer.
        output: its values for one picture: class scores of all cells, then objectness, then boxes.
        options: the options of decoding.

    Returns:
        The candidates, in Darknet's order; boxes are relative to the input.
    """
    spec = layer.spec
    assert isinstance(spec, head.Detection)
    flat = output.reshape(-1)
    count = spec.cells * spec.num
    classes, known, boxes = np.split(
        flat, [spec.cells * spec.classes, spec.cells * spec.classes + count]
    )
    boxes = boxes.reshape(count, -1)
    cells = np.arange(count) // spec.num
    rows, columns = np.divmod(cells, spec.side)
    grid = np.full(2, spec.side, np.float32)
    centres = grid_positions(columns, rows, boxes[:, :2], grid)
    sizes = boxes[:, 2:4] ** 2 if spec.sqrt else boxes[:, 2:4]
    scores = known[:, None] * classes.reshape(spec.cells, spec.classes)[cells]
    return Candidates(np.hstack([centres, sizes]), known, passing(scores, options.threshold))


def fitted(candidates: Candidates, boxes: Array) -> Candidates:
    """Return the same candidates with other boxes.

    Args:
        candidates: candidates whose objectness and scores stay.
        boxes: (n, 4) the boxes that replace theirs.
    """
    return replace(candidates, boxes=boxes)


def grown(values: Array) -> Array:
    """Return e^x, where x is limited to `MOST_EXPONENT`: untrained networks predict such boxes.

    Args:
        values: an array of any shape.
    """
    result: Array = np.exp(np.minimum(values, MOST_EXPONENT))
    return result
