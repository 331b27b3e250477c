"""Which place of a [yolo] or [Gaussian_yolo] head is trained on which truth: Darknet's rule.

A place is one anchor in one cell of a picture. Numbers of places count over rows, columns and
anchors, in this order; numbers of truths over the rows of a picture's labels, -1 for none.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from keras import ops

from darkconv.backends.keras.losses.grid import Entries, Grid, probabilities
from darkconv.backends.keras.losses.overlap import iou_or_none, shape_overlap
from darkconv.backends.keras.losses.selection import Matches, is_class, rows_at
from darkconv.backends.keras.scope import Tensor
from darkconv.core.dialect import ALEXEYAB
from darkconv.layers.head import YoloHead
from darkconv.layers.loss_rules import LIKELY_CLASS, Setting, class_factors, class_multipliers

NO_BOX = (0.5, 0.5, 0.5, 0.5)
"""Stands where there is no truth, so that what is masked there is finite."""


@dataclass(frozen=True)
class Objects:
    """Truths: those of a batch (N, T), or those that places (N, P) have.

    Attributes:
        boxes: (N, T, 4), xywh relative to the picture.
        classes: (N, T) int32, of the head; any where not valid.
        valid: (N, T), False for rows that only fill up and for places without a truth.
        class_weights: (classes,) multiplier of each: its factor, times how rare it is.
        class_factors: (classes,) as `Setting.class_weights` says.
    """

    boxes: Tensor
    classes: Tensor
    valid: Tensor
    class_weights: Tensor
    class_factors: Tensor

    @classmethod
    def of(cls, spec: YoloHead, truths: Tensor, weights: "Weights", setting: Setting) -> Self:
        """From rows of class and box; one row is added, so that there is always one."""
        padded = ops.pad(truths, ((0, 0), (0, 1), (0, 0)), constant_values=-1)
        classes, boxes = ops.cast(padded[..., 0], "int32"), padded[..., 1:]
        table = np.array(setting.class_map or range(spec.classes), np.int32)
        valid = (classes >= 0) & (classes < len(table)) & ops.all(boxes[..., 2:] > 0, axis=-1)
        if setting.rule == "darknet":  # a row whose x is 0 ends the list, which has `max` rows
            ends = ops.cumsum(ops.cast(boxes[..., 0] == 0, "int32"), axis=1)
            row = ops.arange(ops.shape(padded)[1], dtype="int32")
            valid = valid & (ends == 0) & (row < spec.max)
        tables = (ops.cast(table, padded.dtype) for table in (weights.weights, weights.factors))
        classes = ops.take(ops.convert_to_tensor(table), ops.where(valid, classes, 0), axis=0)
        return cls(boxes, classes, valid, *tables)

    def at(self, owners: Tensor) -> "Objects":
        """The truths that places (N, P) have by their numbers."""
        valid = owners >= 0
        none = ops.convert_to_tensor(NO_BOX, dtype=self.boxes.dtype)
        boxes = ops.where(valid[..., None], rows_at(self.boxes, owners), none)
        return Objects(
            boxes, rows_at(self.classes, owners), valid, self.class_weights, self.class_factors
        )

    @property
    def weights(self) -> Tensor:
        """(N, T) multiplier of each truth."""
        return ops.take(self.class_weights, self.classes, axis=0)

    @property
    def factors(self) -> Tensor:
        """(N, T) factor of each truth."""
        return ops.take(self.class_factors, self.classes, axis=0)

    def hot(self) -> Tensor:
        """(N, T, classes) whether a class is the truth's."""
        return is_class(self.classes, self.class_weights.shape[0])


@dataclass(frozen=True)
class Weights:
    """How much classes count, (classes,) both: see `Objects`."""

    weights: npt.NDArray[np.float64]
    factors: npt.NDArray[np.float64]

    @classmethod
    def of(cls, spec: YoloHead, setting: Setting) -> Self:
        """Those of a head.

        Raises:
            OptionError: `counters_per_class` or `class_weights` are not one for each class.
        """
        factors = class_factors(setting, spec.classes)
        return cls(factors * class_multipliers(spec), factors)


@dataclass(frozen=True)
class Nearest:
    """For each place (N, P): the best IoU with a truth, that truth, and what is spared.

    Attributes:
        iou: highest IoU of the predicted box with any truth of the picture, 0 if there is none.
        truth: the truth's number.
        spared_iou: the IoU that the ignore rule looks at.
    """

    iou: Tensor
    truth: Tensor
    spared_iou: Tensor

    @classmethod
    def of(cls, grid: Grid, entries: Entries, boxes: Tensor, objects: Objects) -> Self:
        """Compare every predicted box (N, P, 4) with every truth of its picture."""
        every = iou_or_none(boxes[:, :, None], objects.boxes[:, None])
        every = ops.where(objects.valid[:, None], every, 0.0)
        best, truth = ops.max(every, axis=2), ops.cast(ops.argmax(every, axis=2), "int32")
        spared = best
        if grid.spec.dialect.follows(ALEXEYAB):
            likely = ops.any(probabilities(grid.spec, entries.classes) > LIKELY_CLASS, axis=2)
            spared = ops.where(likely, spared, 0.0)
        return cls(best, truth, spared)


def match_shapes(grid: Grid, objects: Objects) -> Matches:
    """Each truth with the anchor of its shape, if it is this head's, and with others alike."""
    spec, sizes = grid.spec, objects.boxes[:, :, None, 2:]
    anchors = grid.constant(grid.all_anchors)
    best = ops.argmax(shape_overlap("iou", anchors, sizes), axis=2)
    wanted = is_class(ops.cast(best, "int32"), spec.anchor_count)
    if spec.iou_thresh < 1:
        wanted = wanted | (shape_overlap(spec.iou_thresh_kind, anchors, sizes) > spec.iou_thresh)
    own = ops.take(wanted, list(spec.mask), axis=2) & objects.valid[..., None]
    return Matches.of(own, grid.places_of_boxes(objects.boxes))


@dataclass(frozen=True)
class Assignment:
    """All that the two rules train a batch by.

    Attributes:
        grid: the places.
        entries: the head's input there.
        objects: the truths.
        nearest: of each place.
        spotted: (N, P) whether its box is so good (`truth_thresh`) that it is trained on the
            nearest truth.
        scores: (N, P) class score that is wanted then.
        matches: what is trained for its shape.
    """

    grid: Grid
    entries: Entries
    objects: Objects
    nearest: Nearest
    spotted: Tensor
    scores: Tensor
    matches: Matches

    @classmethod
    def of(
        cls, spec: YoloHead, x: Tensor, truths: Tensor, weights: Weights, setting: Setting
    ) -> Self:
        """Of a head's input (N, H, W, C) and rows (N, T, 5)."""
        grid = Grid.of(spec, x, setting)
        entries = grid.entries(x)
        objects = Objects.of(spec, ops.cast(truths, grid.dtype), weights, setting)
        stopped = entries.stopped()
        nearest = Nearest.of(grid, stopped, grid.boxes(stopped.box), objects)
        spotted = nearest.iou > spec.truth_thresh
        good = ops.square(nearest.iou) if spec.objectness_smooth else ops.ones_like(nearest.iou)
        matches = match_shapes(grid, objects)
        return cls(grid, entries, objects, nearest, spotted, good, matches)

    @property
    def matched(self) -> Tensor:
        """(N, P) the last truth that is matched with each place."""
        return self.matches.last(self.grid.count)

    @property
    def owners(self) -> Tensor:
        """(N, P) the truth that has each place's box: the last match, or that of a good box."""
        return self.owned(self.spotted)

    def owned(self, spotted: Tensor) -> Tensor:
        """The same, of places (N, P) that are trained on the nearest truth."""
        matched = self.matched
        return ops.where(matched >= 0, matched, ops.where(spotted, self.nearest.truth, -1))

    @property
    def spared(self) -> Tensor:
        """(N, P) whether the ignore rule spares a place."""
        return self.nearest.spared_iou > self.grid.spec.ignore_thresh
