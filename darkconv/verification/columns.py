"""Arrange what a model and a file in 8 bits give as columns of values that belong together.

A column holds what one channel of a head gives at all places of all inputs, such as class 7 of the
second anchor. Values between 0 and 1 are compared before the sigmoid or the softmax that made
them, where an error of the arithmetic has the same size everywhere.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array
from darkconv.core.network import Layer
from darkconv.detection.decode import Candidates
from darkconv.layers.box_heads import count_boxes
from darkconv.layers.head import AnchorHead, Detection, GaussianYolo, Region, YoloHead

Values = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.floating[Any]]

SCORES, CLASSES, OBJECTNESS = "scores", "classes", "objectness"
SIZES, PLACES, VALUES = "box sizes", "box places", "values"
LABELS = "class labels"
"""The sorts of columns that a table may hold."""
LEAST_SHARE = 1e-6
"""The smallest distance from 0 and 1 that the sigmoids of all runtimes resolve."""
LEAST_OF_SOFTMAX = 1e-30  # the same of a softmax, whose logarithms need no small differences
LEAST_PLACE = 1e-4  # the same of a position in a cell, computed from a position in the picture
SUM = 1e-3  # the largest distance of a sum of probabilities from 1 that a softmax may have
STEPS = 4  # values of an output in 8 bits that are nearer to 0 and 1 than this are too coarse
CLEAR = 5.0
"""A box's best class counts if its score is so many times the second best one's."""
BEST_OF = 12  # a class counts if it is the best one of so many boxes of the model
RESOLVED = 48  # a column of an output in 8 bits counts if it has so many places
UNEVEN = 0.02  # share of a step by which float32 may shift the multiples of a step
LEVELS = 256  # the most different values that an output in 8 bits can have


@dataclass(frozen=True, eq=False)
class ColumnTable:
    """The values of one sort that a model and a file give.

    Attributes:
        sort: the sort of values, such as `CLASSES`.
        source: label of the layer that gives the values.
        labels: name of each column, family by family.
        expected: the model's values, (families, columns, places); a family is an anchor, or another
            group that has the same columns as the others.
        found: the file's values, of the same shape.
        is_coarse: True where the file's output is in 8 bits itself.
    """

    sort: str
    source: str
    labels: Sequence[str]
    expected: Values
    found: Values
    is_coarse: bool = False

    @property
    def name(self) -> str:
        """Return the sort and the source in words."""
        return f"{self.sort} of {self.source}"


def joined_tables(each: Sequence[Sequence[ColumnTable]]) -> list[ColumnTable]:
    """Return the tables of all inputs, joined along their places.

    Args:
        each: the tables of each input, in the same order for every input.
    """
    return [
        ColumnTable(
            same[0].sort,
            same[0].source,
            same[0].labels,
            np.concatenate([one.expected for one in same], axis=2),
            np.concatenate([one.found for one in same], axis=2),
        )
        for same in zip(*each, strict=True)
    ]


def output_tables(
    layer: Layer, expected: Array, found: Array, names: Sequence[str], *, activated: bool
) -> Iterator[ColumnTable]:
    """Yield tables of what a layer gives out, or of what enters a head.

    Args:
        layer: the head, or another layer that gives out values.
        expected: the model's values.
        found: the file's values, of the same size.
        names: class names.
        activated: True if the values are taken after the head's activation.
    """
    spec, pair = layer.spec, (expected, found.reshape(expected.shape))
    if isinstance(spec, Detection):
        cut = [spec.cells * spec.classes, spec.cells * (spec.classes + spec.num)]
        parts = zip(*(np.split(side.ravel(), cut) for side in pair), strict=True)
        for sort, (one, two) in zip((CLASSES, OBJECTNESS, VALUES), parts, strict=True):
            both = [side.reshape(1, spec.cells, -1).transpose(0, 2, 1) for side in (one, two)]
            yield _table(sort, layer, names, both)
    elif isinstance(spec, AnchorHead):
        both = [_entries(layer, side, activated=activated) for side in pair]
        for sort, places in _entry_sorts(spec).items():
            yield _table(sort, layer, names, [side[:, places] for side in both])
    else:
        is_map = expected.ndim == 3
        count = len(expected) if is_map else expected.size
        yield _table(VALUES, layer, names, [side.reshape(1, count, -1) for side in pair])


def _entries(layer: Layer, values: Array, *, activated: bool) -> Array:
    """Return the values of a head with anchors, (anchors, entries, places)."""
    spec = layer.spec
    assert isinstance(spec, AnchorHead)
    anchors, places = len(spec.anchor_indices), values.shape[-2] * values.shape[-1]
    if isinstance(spec, Region) and spec.dialect.region_is_cell_major and activated:
        return values.reshape(places, anchors, -1).transpose(1, 2, 0)
    table = values.reshape(anchors, -1, places)
    if activated and isinstance(spec, YoloHead) and spec.scale_x_y != 1:
        table = table.copy()
        centres = _entry_sorts(spec)[PLACES]
        table[:, centres] = (table[:, centres] - 0.5) / spec.scale_x_y + 0.5
    return table


def _entry_sorts(spec: AnchorHead) -> dict[str, list[int] | slice]:
    """Return the indices of an anchor's entries by their sort."""
    centres, sizes = ([0, 2], [4, 6]) if isinstance(spec, GaussianYolo) else ([0, 1], [2, 3])
    return {
        PLACES: centres,
        SIZES: sizes,
        OBJECTNESS: [spec.box_entries - 1],
        CLASSES: slice(spec.box_entries, None),
    }


def box_tables(
    heads: Sequence[Layer],
    expected: Candidates,
    found: Candidates,
    size: Array,
    names: Sequence[str],
) -> Iterator[ColumnTable]:
    """Yield tables of the scores, places and sizes of all boxes, head by head.

    Args:
        heads: the heads in the order in which the decoder lists their boxes.
        expected: the model's boxes.
        found: the file's boxes, in the same order.
        size: width and height of the network's input in pixels.
        names: class names.
    """
    for layer, rows in rows_of(heads):
        yield from score_tables(layer, expected, found.scores, rows, names)
        yield from form_tables(layer, expected, found.boxes, rows, size)


def rows_of(heads: Sequence[Layer]) -> Iterator[tuple[Layer, slice]]:
    """Yield each head with the rows of its boxes in the list of all boxes.

    Args:
        heads: the heads in the order in which the decoder lists their boxes.
    """
    start = 0
    for layer in heads:
        stop = start + count_boxes(layer)
        yield layer, slice(start, stop)
        start = stop


def form_tables(
    layer: Layer, expected: Candidates, found: Array, rows: slice, size: Array
) -> Iterator[ColumnTable]:
    """Yield tables of the places and sizes of a head's boxes.

    Places are relative to the cell, as the head's sigmoid gives them; sizes are logarithms relative
    to the anchor.

    Args:
        layer: the head.
        expected: all boxes of the model.
        found: all boxes of the file, (boxes, 4), xywh relative to the input.
        rows: the rows of the head's boxes.
        size: width and height of the network's input in pixels.
    """
    pair = [_by_anchor(layer, side[rows]) for side in (expected.boxes, found)]
    yield _table(PLACES, layer, (), [_within_cells(layer, side[:, :2]) for side in pair])
    anchors: Any = 1.0
    if isinstance(layer.spec, AnchorHead):
        unit = np.array(layer.in_shapes[0][:0:-1]) if isinstance(layer.spec, Region) else size
        anchors = (layer.spec.head_anchors / unit)[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        yield _table(SIZES, layer, (), [np.log(side[:, 2:] / anchors) for side in pair])


def _within_cells(layer: Layer, centres: Array) -> Values:
    """Return the position of each box in its cell, as the sigmoid of the head gives it."""
    spec = layer.spec
    height, width = (spec.side,) * 2 if isinstance(spec, Detection) else layer.in_shapes[0][1:]
    rows, columns = np.divmod(np.arange(height * width), width)
    grid = np.array([width, height], np.float64)[:, None]
    within: Values = centres * grid - np.stack([columns, rows])
    return (within - 0.5) / spec.scale_x_y + 0.5 if isinstance(spec, YoloHead) else within


def score_tables(
    layer: Layer, candidates: Candidates, found_scores: Array, rows: slice, names: Sequence[str]
) -> Iterator[ColumnTable]:
    """Yield a table of a head's scores, and one of class probabilities if it has several classes.

    Args:
        layer: the head.
        candidates: all boxes of the model, with objectness and scores.
        found_scores: all scores of the file, (boxes, classes).
        rows: the rows of the head's boxes.
        names: class names.
    """
    known = _by_anchor(layer, candidates.objectness[rows, None])
    scores = [_by_anchor(layer, side[rows]) for side in (candidates.scores, found_scores)]
    expected, found = (side.astype(np.float64) for side in scores)
    if not (_are_shares(expected) and _are_shares(known)):
        yield _table(SCORES, layer, names, scores)
        return
    known = known.astype(np.float64)
    if np.ptp(known) == 0:  # this head tests no objectness, and its probabilities add up to 1
        known = expected.sum(axis=1, keepdims=True)
    told = (known > LEAST_SHARE) & (expected > LEAST_SHARE * known)
    expected, found = (np.where(told, side, np.nan) for side in (expected, found))
    yield _table(SCORES, layer, names, [expected, found])
    if expected.shape[1] == 1:
        return
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # at places where all classes are NaN
        off = np.nanmedian(np.log(found / expected), axis=1, keepdims=True)
        logs = [np.log(expected / known), np.log(found / known) - off]
    yield _table(CLASSES, layer, names, logs)


def label_tables(
    heads: Sequence[Layer], expected: Array, found: Array, names: Sequence[str]
) -> Iterator[ColumnTable]:
    """Yield tables of the best class of each box, 1 for it and 0 for the others, head by head.

    Boxes whose best class is not clear in the model are NaN.

    Args:
        heads: the heads in the order in which the decoder lists their boxes.
        expected: the model's scores, (boxes, classes).
        found: the file's scores, of the same shape; all but the best one of a box may be 0.
        names: class names.
    """
    if expected.shape[1] < 2:
        return
    second, first = np.partition(expected, -2, axis=1)[:, -2:].T
    is_clear = (first > LEAST_SHARE) & (first > CLEAR * second)
    for layer, rows in rows_of(heads):
        pair = [np.eye(side.shape[1])[side[rows].argmax(axis=1)] for side in (expected, found)]
        told = is_clear[rows, None]
        yield _table(LABELS, layer, names, [np.where(told, side, np.nan).T[None] for side in pair])


def _are_shares(values: Numbers) -> bool:
    """Return True if all values are from 0 to 1."""
    return bool(values.size) and bool(values.min() >= 0) and bool(values.max() <= 1)


def _by_anchor(layer: Layer, values: Array) -> Array:
    """Return rows that the decoder lists as (anchors, columns, places)."""
    rows, columns = rows_and_columns(layer, len(values))
    table = values.reshape(rows, columns, -1)
    return table.transpose(0, 2, 1) if _is_anchor_major(layer) else table.transpose(1, 2, 0)


def rows_and_columns(layer: Layer, count: int) -> tuple[int, int]:
    """Return the shape of the table in which the decoder lists a head's boxes row by row.

    Args:
        layer: the head.
        count: number of its boxes.

    Returns:
        (cells, anchors), or (anchors, cells) where the decoder lists all boxes of an anchor
        together.
    """
    if isinstance(layer.spec, Detection):
        return layer.spec.cells, layer.spec.num
    assert isinstance(layer.spec, AnchorHead)
    anchors = len(layer.spec.anchor_indices)
    if _is_anchor_major(layer):
        return anchors, count // anchors
    return count // anchors, anchors


def _is_anchor_major(layer: Layer) -> bool:
    """Return True if the decoder lists all boxes of an anchor before those of the next anchor."""
    return isinstance(layer.spec, Region) and not layer.spec.dialect.region_is_cell_major


def _table(sort: str, layer: Layer, names: Sequence[str], pair: Sequence[Numbers]) -> ColumnTable:
    expected, found = (side.astype(np.float64) for side in pair)
    labels = _labels(sort, layer, names, *expected.shape[:2])
    return ColumnTable(sort, layer.label, labels, expected, found)


def _labels(
    sort: str, layer: Layer, names: Sequence[str], families: int, columns: int
) -> list[str]:
    """Return the names of a table's columns, such as `class 7 'cup', anchor 2`."""
    is_class = sort in (CLASSES, SCORES) or layer.type == "softmax" or len(names) == columns
    if sort == SCORES and columns == 1 and not names:
        each = ["score"]
    elif (is_class and sort in (CLASSES, SCORES, VALUES)) or sort == LABELS:
        each = [f"class {i}" + (f" {names[i]!r}" if i < len(names) else "") for i in range(columns)]
    elif sort in (SIZES, PLACES):
        each = ["width", "height"] if sort == SIZES else ["x", "y"]
    elif sort == OBJECTNESS:
        each = (
            ["objectness"] if columns == 1 else [f"objectness of box {i}" for i in range(columns)]
        )
    else:
        each = [f"channel {i}" for i in range(columns)]
    indices = layer.spec.anchor_indices if isinstance(layer.spec, AnchorHead) else [None]
    return [
        one if families == 1 else f"{one}, anchor {indices[family]}"
        for family in range(families)
        for one in each
    ]


def comparable(table: ColumnTable) -> ColumnTable:
    """Return a table of values before sigmoid and softmax, where all errors have the same size.

    Values that neither side can tell from 0 or 1 become NaN, and so do values that are not finite.
    Labels stay as they are, except for classes that are hardly ever the best one, which become NaN.

    Args:
        table: a table over all inputs, with values as the outputs give them.
    """
    if table.sort == LABELS:
        is_rare = np.nansum(table.expected, axis=2, keepdims=True) < BEST_OF
        sides = (np.where(is_rare, np.nan, side) for side in (table.expected, table.found))
        return _with(table, *sides)
    expected, found = table.expected, table.found
    finite = np.isfinite(expected) & np.isfinite(found)
    expected, found = (np.where(finite, side, np.nan) for side in (expected, found))
    known = expected[finite]
    if not known.size or known.min() < 0 or known.max() > 1 or table.sort == SIZES:
        return _with(table, expected, found)
    least = {SCORES: LEAST_SHARE**2, PLACES: LEAST_PLACE}.get(table.sort, LEAST_SHARE)
    sums = table.expected.sum(axis=1)
    is_softmax = table.expected.shape[1] > 1 and bool(np.abs(sums - 1).max() < SUM)
    least = LEAST_OF_SOFTMAX if is_softmax else least
    step = _step(found)
    if step:
        expected, found = _resolved(expected, found, STEPS * step)
    else:
        expected, found = _told_apart(expected, found, least)
    change = _centred if is_softmax else _logit
    return _with(table, change(expected), change(found), is_coarse=step > 0)


def _with(
    table: ColumnTable, expected: Values, found: Values, *, is_coarse: bool = False
) -> ColumnTable:
    return replace(table, expected=expected, found=found, is_coarse=is_coarse)


def _step(values: Values) -> float:
    """Return the distance between the values of an output in 8 bits; 0 for other outputs.

    What a sigmoid gives for such values has as few levels, but they are not evenly spaced.
    """
    levels = np.unique(values[np.isfinite(values)][:100_000])
    if not 1 < len(levels) <= LEVELS or values.size < 4 * LEVELS:
        return 0.0
    step = float(np.diff(levels).min())
    apart = np.abs(levels / step - np.rint(levels / step)).max()
    return step if apart < UNEVEN else 0.0


def _resolved(expected: Values, found: Values, least: float) -> tuple[Values, Values]:
    """Return values of 0..1, NaN where the model's are too near to 0 or 1 for steps of 8 bits.

    The model alone decides which places count: if both sides did, those near the limit would seem
    to have nothing in common. Columns with few such places become NaN.
    """
    told = (expected > least) & (expected < 1 - least)
    told &= told.sum(axis=2, keepdims=True) >= RESOLVED
    one, two = (
        np.where(told, side.clip(least / STEPS / 2, 1 - least / STEPS / 2), np.nan)
        for side in (expected, found)
    )
    return one, two


def _told_apart(expected: Values, found: Values, least: float) -> tuple[Values, Values]:
    """Return values of 0..1 clipped to limits, NaN where both sides are beyond the same limit."""
    most = 1 - max(least, LEAST_SHARE) if least != LEAST_OF_SOFTMAX else 1.0
    low = (expected <= least) & (found <= least)
    high = (expected >= most) & (found >= most) & (most < 1)
    one, two = (np.where(low | high, np.nan, side.clip(least, most)) for side in (expected, found))
    return one, two


def _logit(shares: Values) -> Values:
    result: Values = np.log(shares / (1 - shares))
    return result


def _centred(shares: Values) -> Values:
    """Return logarithms relative to the mean over all columns."""
    logs = np.log(shares)
    counts = np.isfinite(logs).sum(axis=1, keepdims=True)
    means = np.nansum(logs, axis=1, keepdims=True) / np.maximum(counts, 1)
    result: Values = logs - means
    return result
