"""List what an output of another tool's file may be: heads, boxes and scores in usual forms."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from darkconv.boxes import as_centres, as_corners
from darkconv.core.model import Array, Model
from darkconv.core.names import Names
from darkconv.core.network import NETWORK_INPUT, Layer, Network
from darkconv.detection.decode import Candidates, box_heads, decode, input_size
from darkconv.layers.head import AnchorHead, Detection
from darkconv.verification.agreement import Agreement, compare_values
from darkconv.verification.columns import (
    ColumnTable,
    form_tables,
    output_tables,
    rows_and_columns,
    rows_of,
    score_tables,
)
from darkconv.verification.suppression import BEYOND

TablesOf = Callable[[npt.NDArray[Any]], Iterator[ColumnTable]]
"""A function that arranges the values of an output as the columns of what it may be."""


class Like(NamedTuple):
    """A candidate: something that an output may be.

    Attributes:
        source: label of the layer that gives the values, or "all heads".
        what: description of the values, for tables.
        values: the model's values, without a batch axis and without axes of length 1.
        tables: function that arranges the file's values as columns.
        most: values are clipped to -most..most before they are compared; see `BEYOND`.
    """

    source: str
    what: str
    values: Array
    tables: TablesOf
    most: float = math.inf

    def compared_with(self, name: str, values: npt.NDArray[Any], allowed: float) -> Agreement:
        """Return the row of an output that is compared with this candidate.

        Args:
            name: name of the output.
            values: the output, of the same shape as the candidate's values.
            allowed: the largest relative error that counts as the same.
        """
        found, expected = (
            side.astype(np.float32).clip(-self.most, self.most) for side in (values, self.values)
        )
        return compare_values(f"{name}: {self.what}", found, expected, allowed)


ALL_HEADS = "all heads"


def likes(model: Model, layers: list[Array], x: Array) -> Iterator[Like]:
    """Yield everything that an output may be.

    Args:
        model: the model that was run.
        layers: the values of every layer, by index.
        x: the input, (C, H, W) or (inputs,).
    """
    network, names = model.network, model.names
    for index in network.outputs:
        layer = network.layers[index]
        name = layer.label
        yield from arranged(layer, name, layers[index], names, activated=True)
        source = layer.sources[0]
        before = x if source == NETWORK_INPUT else layers[source]
        what = f"{name} before activation"
        yield from arranged(layer, what, before, names, activated=False)
    if network.finds_boxes:
        yield from box_likes(network, layers, names)


def arranged(
    layer: Layer, what: str, values: Array, names: Names, *, activated: bool
) -> Iterator[Like]:
    """Yield the values of a layer in each of the orders of axes that tools write.

    Args:
        layer: the head, or another layer that gives out values.
        what: description of the values, for tables.
        values: (channels, h, w), or of another shape, which has one order alone.
        names: class names.
        activated: True if the values are taken after the head's activation.
    """
    for suffix, order in orders(layer, values.shape):
        order = np.squeeze(order)

        def tables(
            found: npt.NDArray[Any], order: npt.NDArray[Any] = order
        ) -> Iterator[ColumnTable]:
            own = np.empty(values.size, np.float32)
            own[order.ravel()] = found.ravel()
            given = own.reshape(values.shape)
            return output_tables(layer, values, given, names, activated=activated)

        yield Like(layer.label, what + suffix, values.ravel()[order], tables)


def orders(layer: Layer, shape: tuple[int, ...]) -> Iterator[tuple[str, npt.NDArray[np.intp]]]:
    """Yield each order of axes of a layer's values.

    Args:
        layer: the layer; anchors are separated for heads with anchors alone.
        shape: shape of the layer's values.

    Yields:
        A description, and the flat indices of the values in that order.
    """
    own = np.arange(math.prod(shape)).reshape(shape)
    yield "", own
    if len(shape) != 3:
        return
    channels, height, width = shape
    yield ", channels last", own.transpose(1, 2, 0)
    if not isinstance(layer.spec, AnchorHead):
        return
    anchors = len(layer.spec.anchor_indices)
    if channels % anchors:
        return
    apart = own.reshape(anchors, -1, height, width)
    yield ", anchors apart", apart
    last = apart.transpose(0, 2, 3, 1)
    yield ", anchors apart, entries last", last
    yield ", a row per anchor and cell", last.reshape(anchors * height * width, -1)


def box_likes(network: Network, layers: list[Array], names: Names) -> Iterator[Like]:
    """Yield the boxes and scores of all heads, and of each head, in the forms that tools write.

    Args:
        network: a network that finds boxes.
        layers: the values of every layer, by index.
        names: class names.
    """
    heads = box_heads(network)
    found = decode(network, [layers[layer.index] for layer in heads], threshold=-1)
    counts = [box_count(layer, layers[layer.index]) for layer in heads]
    if sum(counts) != len(found.boxes):  # the decoder leaves out boxes of a class tree
        return
    starts = np.cumsum([0, *counts])
    own = np.arange(len(found.boxes))
    turned = np.concatenate(
        [own[a:b].reshape(*rows_and_columns(layer, b - a)).T.ravel() for layer, a, b in
         zip(heads, starts, starts[1:], strict=False)]
    )  # fmt: skip
    groups = [(ALL_HEADS, slice(None))]
    if len(heads) > 1:
        labels = [head.label for head in heads]
        groups += [(n, slice(a, b)) for n, a, b in zip(labels, starts, starts[1:], strict=False)]
    for name, part in groups:
        for order, suffix in ((own, ""), (turned, ", cells innermost")):
            taker = BoxTaker(network, found, order[part], names)
            yield from forms(network, found, taker, name, suffix)


def box_count(layer: Layer, values: Array) -> int:
    """Return the number of boxes that a head predicts.

    Args:
        layer: the head.
        values: its values, of which the last two axes are h and w.
    """
    if isinstance(layer.spec, Detection):
        return layer.spec.cells * layer.spec.num
    assert isinstance(layer.spec, AnchorHead)
    return len(layer.spec.anchor_indices) * int(np.prod(values.shape[-2:]))


@dataclass(frozen=True, eq=False)
class BoxTaker:
    """Arranges boxes and scores that a file lists in an order of its own.

    Attributes:
        network: the network of the model.
        expected: all boxes of the model.
        order: index of the model's box in each row of the file.
        names: class names.
    """

    network: Network
    expected: Candidates
    order: npt.NDArray[np.intp]
    names: Names

    def scores(self, values: npt.NDArray[Any]) -> Iterator[ColumnTable]:
        """Yield the columns of scores.

        Args:
            values: the file's scores, (rows, classes) or (rows,).
        """
        own = self._restored(values.reshape(len(self.order), -1), self.expected.scores)
        for layer, rows in self._heads():
            yield from score_tables(layer, self.expected, own, rows, self.names)

    def boxes(
        self, values: npt.NDArray[Any], *, corners: bool, unit: Array
    ) -> Iterator[ColumnTable]:
        """Yield the columns of boxes.

        Args:
            values: the file's boxes, (rows, 4).
            corners: True for xyxy, False for xywh.
            unit: (4,) by which the values are divided to be relative to the input.
        """
        relative = (values.reshape(-1, 4) / unit).astype(np.float32)
        centred = as_centres(relative) if corners else relative
        own = self._restored(centred, self.expected.boxes)
        for layer, rows in self._heads():
            yield from form_tables(layer, self.expected, own, rows, input_size(self.network))

    def rows(
        self, values: npt.NDArray[Any], *, corners: bool, unit: Array, has_scores: bool
    ) -> Iterator[ColumnTable]:
        """Yield the columns of rows of box, objectness and scores or class probabilities.

        Args:
            values: the file's rows, (rows, 5 + classes).
            corners: True for xyxy, False for xywh.
            unit: (4,) by which the boxes are divided to be relative to the input.
            has_scores: True if the last columns are scores, False if they are class probabilities,
                which are multiplied by objectness.
        """
        table = values.reshape(len(self.order), -1)
        last = table[:, 5:] if has_scores else table[:, 4:5] * table[:, 5:]
        yield from self.scores(last)
        yield from self.boxes(table[:, :4], corners=corners, unit=unit)

    def _restored(self, values: npt.NDArray[Any], like: Array) -> Array:
        """Return rows in the model's order."""
        own = np.full_like(like, np.nan)
        own[self.order] = values
        return own

    def _heads(self) -> Iterator[tuple[Layer, slice]]:
        """Yield the heads whose boxes are among the rows, each with the rows of its boxes."""
        first, last = int(self.order.min()), int(self.order.max())
        for layer, rows in rows_of(box_heads(self.network)):
            if first <= rows.start and rows.stop <= last + 1:
                yield layer, rows


def forms(
    network: Network, found: Candidates, taker: BoxTaker, name: str, suffix: str
) -> Iterator[Like]:
    """Yield the boxes and scores in one order, in each of the forms that tools write.

    Args:
        network: the network of the model.
        found: all boxes of the model.
        taker: arranges the file's values; its `order` says which boxes are meant.
        name: label of the head, or `ALL_HEADS`.
        suffix: text added to the descriptions that names the order.
    """
    order = taker.order
    scores, known = found.scores[order], found.objectness[order, None]
    yield Like(name, f"scores of {name}{suffix}", np.squeeze(scores), taker.scores)
    classes = np.divide(scores, known, out=np.zeros_like(scores), where=known != 0)
    centred, pixels = found.boxes[order], np.tile(input_size(network), 2)
    for shape, boxes in (("x y w h", centred), ("corners", as_corners(centred))):
        for unit, size in (("relative", np.ones(4)), ("in pixels", pixels)):
            text, most = f"boxes of {name}, {shape}, {unit}{suffix}", BEYOND * float(size.max())
            values, how = (boxes * size).astype(np.float32), (shape == "corners", size)
            given: dict[str, Any] = {"corners": how[0], "unit": how[1]}
            yield Like(name, text, np.squeeze(values), partial(taker.boxes, **given), most)
            for kind, last in (("scores", scores), ("class probabilities", classes)):
                row = np.hstack([values, known, last])
                take = partial(taker.rows, **given, has_scores=kind == "scores")
                yield Like(name, f"{text}; objectness; {kind}", row, take, most)
