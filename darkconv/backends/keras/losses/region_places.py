"""Which place of a [region] head is trained on which truth: Darknet's rule.

A place is one anchor in one cell of a picture. Numbers of places count over rows, columns and
anchors, in this order; numbers of truths over the rows of a picture's labels.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from keras import ops

from darkconv.backends.keras.losses.hierarchy import Hierarchy
from darkconv.backends.keras.losses.overlap import iou, shape_overlap
from darkconv.backends.keras.losses.places import Places, computed_dtype, grid_size
from darkconv.backends.keras.losses.selection import Matches, rows_at
from darkconv.backends.keras.scope import Tensor
from darkconv.core.dialect import PJREDDIE
from darkconv.core.network import Layer
from darkconv.layers.head import Region
from darkconv.layers.loss_rules import (
    CLASS_ONLY,
    MAX_EXPONENT,
    OBJECTNESS,
    Setting,
    class_factors,
    joins_background,
    label_classes,
    rows_read,
    trainable_region,
)


@dataclass(frozen=True)
class Head:
    """What is known of a [region] head before it is trained.

    Attributes:
        spec: its options.
        setting: of the loss.
        hierarchy: its class tree, if it has one.
        factors: (truths' classes,) how much each counts.
    """

    spec: Region
    setting: Setting
    hierarchy: Hierarchy | None
    factors: npt.NDArray[np.float64]

    @classmethod
    def of(cls, layer: Layer, setting: Setting) -> Self:
        """The head of a layer.

        Raises:
            UnsupportedError: the head's truths are more than classes and boxes.
            OptionError: the number of class weights is not that of the classes.
            GraphError: the head's class tree does not fit.
        """
        spec = trainable_region(layer)
        hierarchy = Hierarchy.of(layer, spec.classes)
        factors = class_factors(setting, spec.classes, label_classes(spec, setting))
        return cls(spec, setting, hierarchy, factors)

    @property
    def joins_background(self) -> bool:
        """Whether objectness is one more class: that of the background."""
        return joins_background(self.spec, has_tree=self.hierarchy is not None)

    @property
    def class_entries(self) -> slice:
        """The entries that are one distribution: all classes, the background beside them."""
        return slice(OBJECTNESS if self.joins_background else OBJECTNESS + 1, None)


@dataclass(frozen=True)
class Grid(Places):
    """The places of a head; its anchors are in cells."""

    @classmethod
    def of(cls, spec: Region, x: Tensor) -> Self:
        """The grid of a head's input (N, H, W, C)."""
        return cls(*grid_size(x), spec.all_anchors.astype(np.float64), computed_dtype(x))

    def boxes(self, raw: Tensor) -> Tensor:
        """Predicted boxes (N, P, 4), xywh relative to the picture, from raw entries."""
        centres = self.cells() + ops.sigmoid(raw[..., :2])
        growth = ops.exp(ops.clip(raw[..., 2:4], -MAX_EXPONENT, MAX_EXPONENT))
        sizes = growth * self.every_anchor()
        return ops.concatenate([centres / self.size(), sizes / self.size()], axis=-1)

    def encoded(self, boxes: Tensor) -> Tensor:
        """What x, y (behind the sigmoid), w, h must be to predict boxes, (N, P, 4) both."""
        offsets = boxes[..., :2] * self.size() - self.cells()
        ratio = boxes[..., 2:] * self.size() / self.every_anchor()
        return ops.concatenate([offsets, ops.log(ratio)], axis=-1)


@dataclass(frozen=True)
class Labels:
    """The truths of a batch.

    Attributes:
        boxes: (N, T, 4), xywh relative to the picture.
        classes: (N, T) int32 as the head's input counts them, 0 where there is none.
        spared: (N, T) likewise, as `classfix` wants them: C does not look them up in `map=`.
        weights: (N, T) factor of the class.
        has_box: (N, T) rows that train a box.
        class_only: (N, T) the row, at most one of a picture, that the whole picture is for.
    """

    boxes: Tensor
    classes: Tensor
    spared: Tensor
    weights: Tensor
    has_box: Tensor
    class_only: Tensor

    @classmethod
    def of(cls, head: Head, truths: Tensor) -> Self:
        """From rows of class and box; one row is added, so that there is always one."""
        padded = ops.pad(truths, ((0, 0), (0, 1), (0, 0)), constant_values=-1)
        numbers, boxes = ops.cast(padded[..., 0], "int32"), padded[..., 1:]
        spec, setting = head.spec, head.setting
        table = np.array(label_classes(spec, setting), np.int32)
        far = boxes[..., :2] > CLASS_ONLY
        direct = ops.all(far, axis=-1) & bool(setting.class_map)  # they name the tree's classes
        known = (numbers >= 0) & (numbers < ops.where(direct, spec.classes, len(table)))
        if setting.rule == "darknet":
            known = known & _listed(spec, numbers, boxes)
        only = known & ops.all(far, axis=-1) & (head.hierarchy is not None)
        has_box = known & ~ops.any(far, axis=-1) & ops.all(boxes[..., 2:] > 0, axis=-1)
        has_box = has_box & ~ops.any(only, axis=1, keepdims=True)
        numbers = ops.where(known, numbers, 0)
        listed = ops.take(
            ops.convert_to_tensor(table), ops.minimum(numbers, len(table) - 1), axis=0
        )
        classes = ops.where(direct, numbers, listed)
        spared = numbers if setting.rule == "darknet" and setting.class_map else classes
        factors = ops.convert_to_tensor(head.factors, dtype=padded.dtype)
        first = only & (ops.cumsum(ops.cast(only, "int32"), axis=1) == 1)
        return cls(boxes, classes, spared, ops.take(factors, classes, axis=0), has_box, first)


def _listed(spec: Region, numbers: Tensor, boxes: Tensor) -> Tensor:
    """Rows (N, T) that C reads: a limited number, up to the first whose x is 0."""
    ends = (boxes[..., 0] == 0) & (numbers >= 0)
    if spec.dialect != PJREDDIE:  # the fork passes over unknown classes before it looks at x
        ends = ends & (numbers < spec.classes)
    row = ops.arange(ops.shape(numbers)[1], dtype="int32")
    return (ops.cumsum(ops.cast(ends, "int32"), axis=1) == 0) & (row < rows_read(spec))


@dataclass(frozen=True)
class Scene:
    """A batch of predictions with its truths, compared.

    Attributes:
        head: whose predictions they are.
        grid: the places.
        labels: the truths.
        entries: (N, P, 5 + classes) raw predictions.
        values: the same without derivatives, as the head gives them; x and y behind their
            sigmoid.
        matches: boxes of truths at the places of the most similar anchors, (N, T, 1).
        overlaps: (N, T) IoU of the boxes predicted there with the truths.
        singled: (N, P) the likeliest place of each picture that has a class-only label.
        best_iou: (N, P) highest IoU of the predicted box with a truth of the picture, or 0.
        best_truth: (N, P) the number of that truth.
    """

    head: Head
    grid: Grid
    labels: Labels
    entries: Tensor
    values: Tensor
    matches: Matches
    overlaps: Tensor
    singled: Tensor
    best_iou: Tensor
    best_truth: Tensor

    @classmethod
    def of(cls, head: Head, x: Tensor, truths: Tensor) -> Self:
        """Compare a head's input (N, H, W, C) with truths (N, T, 5)."""
        grid = Grid.of(head.spec, x)
        entries = grid.split(x)
        labels = Labels.of(head, ops.cast(truths, grid.dtype))
        raw = ops.stop_gradient(entries)
        values = _activated(head, raw)
        boxes = grid.boxes(raw)
        places = _match_shapes(head.spec, grid, boxes, labels)
        matches = Matches.of(labels.has_box[..., None], places[..., None])
        overlaps = iou(rows_at(boxes, places), labels.boxes)
        every = iou(boxes[:, :, None], labels.boxes[:, None])
        every = ops.where(labels.has_box[:, None], every, 0.0)
        nearest = ops.max(every, axis=2), ops.cast(ops.argmax(every, axis=2), "int32")
        singled = _likeliest(head, values, labels)
        return cls(head, grid, labels, entries, values, matches, overlaps, singled, *nearest)


def _activated(head: Head, raw: Tensor) -> Tensor:
    """Raw entries (N, P, 5 + classes) as the head gives them, x and y behind their sigmoid."""
    spec = head.spec
    box = [ops.sigmoid(raw[..., :2]), raw[..., 2:4]]
    if head.joins_background:
        return ops.concatenate([*box, ops.softmax(raw[..., 4:], axis=-1)], axis=-1)
    known, classes = raw[..., 4:5], raw[..., 5:]
    if not spec.background:
        known = ops.sigmoid(known)
    if head.hierarchy is not None:
        classes = ops.exp(head.hierarchy.siblings.log_softmax(classes))
    elif spec.softmax:
        classes = ops.softmax(classes, axis=-1)
    elif spec.dialect == PJREDDIE:
        classes = ops.sigmoid(classes)
    return ops.concatenate([*box, known, classes], axis=-1)


def _match_shapes(spec: Region, grid: Grid, boxes: Tensor, labels: Labels) -> Tensor:
    """(N, T) for each truth the place in its cell whose shape is most like its own.

    Args:
        spec: the head.
        grid: the places.
        boxes: (N, P, 4) as predicted: their shapes are compared with `bias_match=0`.
        labels: the truths.
    """
    places = grid.places_of(labels.boxes[..., :2])
    if spec.bias_match:
        shapes = grid.constant(grid.anchors) / grid.size()
    else:
        every = ops.reshape(places, (ops.shape(places)[0], -1))
        shapes = ops.reshape(rows_at(boxes[..., 2:], every), (*ops.shape(places), 2))
    best = ops.argmax(shape_overlap("iou", shapes, labels.boxes[:, :, None, 2:]), axis=2)
    return places[..., 0] + ops.cast(best, "int32")


def _likeliest(head: Head, values: Tensor, labels: Labels) -> Tensor:
    """(N, P) the place of each picture that says its class-only label loudest."""
    if head.hierarchy is None:
        return ops.zeros_like(values[..., 0], dtype="bool")
    classes = ops.max(ops.where(labels.class_only, labels.classes, 0), axis=1)
    chances = head.hierarchy.absolute(values[..., 5:], classes)
    loudness = ops.maximum(values[..., OBJECTNESS] * chances, 0.0)
    best = ops.cast(ops.argmax(loudness, axis=1), "int32")
    order = ops.arange(values.shape[1], dtype="int32")
    return (order == best[:, None]) & ops.any(labels.class_only, axis=1, keepdims=True)
