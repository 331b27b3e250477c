"""Assignment of ground truth to the places of a [region] head, by Darknet's rule.

A place is one anchor in one cell of a picture. Places are numbered from 0 over rows, columns and
anchors, in this order; truths over the rows of a picture's labels. P is the number of places of a
picture.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from keras import ops

from darkconv.backends.keras.losses.hierarchy import Hierarchy
from darkconv.backends.keras.losses.overlap import iou, shape_overlap
from darkconv.backends.keras.losses.places import GridPlaces, computed_dtype, grid_size
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
class RegionHead:
    """The properties of a [region] head that do not depend on a batch.

    Attributes:
        spec: options of the head.
        setting: setting of the loss.
        hierarchy: the class tree; None if the head has none.
        factors: (classes,) factor of each class.
    """

    spec: Region
    setting: Setting
    hierarchy: Hierarchy | None
    factors: npt.NDArray[np.float64]

    @classmethod
    def of(cls, layer: Layer, setting: Setting) -> Self:
        """Build the description of a layer's head.

        Args:
            layer: [region] layer.
            setting: setting of the loss.

        Raises:
            UnsupportedError: the head predicts more than four coordinates.
            OptionError: the number of class weights is not that of the classes.
            GraphError: the head's class tree does not fit.
        """
        spec = trainable_region(layer)
        hierarchy = Hierarchy.of(layer, spec.classes)
        factors = class_factors(setting, spec.classes, label_classes(spec, setting))
        return cls(spec, setting, hierarchy, factors)

    @property
    def joins_background(self) -> bool:
        """True if objectness is one more class: that of the background."""
        return joins_background(self.spec, has_tree=self.hierarchy is not None)

    @property
    def class_entries(self) -> slice:
        """Entries that are one distribution: the classes, or background and classes."""
        return slice(OBJECTNESS if self.joins_background else OBJECTNESS + 1, None)


@dataclass(frozen=True)
class RegionGrid(GridPlaces):
    """The places of a head; its anchors are in cells."""

    @classmethod
    def of(cls, spec: Region, x: Tensor) -> Self:
        """Build the grid of a head's input.

        Args:
            spec: the head.
            x: (N, H, W, C) input of the head.
        """
        return cls(*grid_size(x), spec.all_anchors.astype(np.float64), computed_dtype(x))

    def boxes(self, raw: Tensor) -> Tensor:
        """Compute predicted boxes (N, P, 4), xywh relative to the picture.

        Args:
            raw: (N, P, 4 or more) raw x, y, w, h, and other entries.
        """
        centres = self.cells() + ops.sigmoid(raw[..., :2])
        growth = ops.exp(ops.clip(raw[..., 2:4], -MAX_EXPONENT, MAX_EXPONENT))
        sizes = growth * self.every_anchor()
        return ops.concatenate([centres / self.size(), sizes / self.size()], axis=-1)

    def encoded(self, boxes: Tensor) -> Tensor:
        """Compute x, y (behind the sigmoid), w, h (N, P, 4) that predict given boxes.

        Args:
            boxes: (N, P, 4) boxes, xywh relative to the picture.
        """
        offsets = boxes[..., :2] * self.size() - self.cells()
        ratio = boxes[..., 2:] * self.size() / self.every_anchor()
        return ops.concatenate([offsets, ops.log(ratio)], axis=-1)


@dataclass(frozen=True)
class RegionTruths:
    """The ground truth of a batch.

    Attributes:
        boxes: (N, T, 4) boxes, xywh relative to the picture.
        classes: (N, T) int32 classes of the head, from 0; 0 for rows without one.
        spared: (N, T) the same for `classfix`: C does not translate these by `map=`.
        weights: (N, T) factor of the class.
        has_box: (N, T) True for rows that train a box.
        class_only: (N, T) True for the class-only label of a picture, at most one.
    """

    boxes: Tensor
    classes: Tensor
    spared: Tensor
    weights: Tensor
    has_box: Tensor
    class_only: Tensor

    @classmethod
    def of(cls, head: RegionHead, truths: Tensor) -> Self:
        """Build the ground truth of a batch, with one padding row more, so that there is a row.

        Args:
            head: the head.
            truths: (N, T, 5) rows of class and box.
        """
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
    """Return a mask (N, T) of the rows that C reads: limited, up to the first with x = 0."""
    ends = (boxes[..., 0] == 0) & (numbers >= 0)
    if spec.dialect != PJREDDIE:  # the fork skips unknown classes before it looks at x
        ends = ends & (numbers < spec.classes)
    row = ops.arange(ops.shape(numbers)[1], dtype="int32")
    return (ops.cumsum(ops.cast(ends, "int32"), axis=1) == 0) & (row < rows_read(spec))


@dataclass(frozen=True)
class Scene:
    """Predictions of a batch, compared with ground truth.

    Attributes:
        head: the head of the predictions.
        grid: the places.
        labels: the ground truth.
        entries: (N, P, 5 + classes) raw predictions.
        values: (N, P, 5 + classes) predictions behind their activations, without derivatives.
        matches: (N, T, 1) truths with a box, at the places of the most similar anchors.
        overlaps: (N, T) IoU of the predicted box and the truth of each match.
        singled: (N, P) True for the most probable place of each picture with a class-only label.
        best_iou: (N, P) highest IoU of the predicted box with a truth of the picture, or 0.
        best_truth: (N, P) number of that truth.
    """

    head: RegionHead
    grid: RegionGrid
    labels: RegionTruths
    entries: Tensor
    values: Tensor
    matches: Matches
    overlaps: Tensor
    singled: Tensor
    best_iou: Tensor
    best_truth: Tensor

    @classmethod
    def of(cls, head: RegionHead, x: Tensor, truths: Tensor) -> Self:
        """Build the comparison of a head's input with ground truth.

        Args:
            head: the head.
            x: (N, H, W, C) input of the head, before any activation.
            truths: (N, T, 5) rows of class and box.
        """
        grid = RegionGrid.of(head.spec, x)
        entries = grid.split(x)
        labels = RegionTruths.of(head, ops.cast(truths, grid.dtype))
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


def _activated(head: RegionHead, raw: Tensor) -> Tensor:
    """Return raw entries (N, P, 5 + classes) behind their activations."""
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


def _match_shapes(spec: Region, grid: RegionGrid, boxes: Tensor, labels: RegionTruths) -> Tensor:
    """Match each truth with the place in its cell whose shape is most like its own: (N, T).

    Args:
        spec: the head.
        grid: the places.
        boxes: (N, P, 4) predicted boxes; with `bias_match=0` their shapes are compared.
        labels: the ground truth.
    """
    places = grid.places_of(labels.boxes[..., :2])
    if spec.bias_match:
        shapes = grid.constant(grid.anchors) / grid.size()
    else:
        every = ops.reshape(places, (ops.shape(places)[0], -1))
        shapes = ops.reshape(rows_at(boxes[..., 2:], every), (*ops.shape(places), 2))
    best = ops.argmax(shape_overlap("iou", shapes, labels.boxes[:, :, None, 2:]), axis=2)
    return places[..., 0] + ops.cast(best, "int32")


def _likeliest(head: RegionHead, values: Tensor, labels: RegionTruths) -> Tensor:
    """Find the most probable place (N, P) of each picture with a class-only label."""
    if head.hierarchy is None:
        return ops.zeros_like(values[..., 0], dtype="bool")
    classes = ops.max(ops.where(labels.class_only, labels.classes, 0), axis=1)
    chances = head.hierarchy.absolute(values[..., 5:], classes)
    loudness = ops.maximum(values[..., OBJECTNESS] * chances, 0.0)
    best = ops.cast(ops.argmax(loudness, axis=1), "int32")
    order = ops.arange(values.shape[1], dtype="int32")
    return (order == best[:, None]) & ops.any(labels.class_only, axis=1, keepdims=True)
