"""Assignment of ground truth to the places of a [yolo] or [Gaussian_yolo] head, by Darknet's rule.

A place is one anchor in one cell of a picture. Places are numbered from 0 over rows, columns and
anchors, in this order; truths over the rows of a picture's labels, -1 for none. P is the number of
places of a picture.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from keras import ops

from darkconv.backends.keras.losses.grid import Entries, YoloGrid, probabilities
from darkconv.backends.keras.losses.overlap import iou_or_none, shape_overlap
from darkconv.backends.keras.losses.selection import Matches, is_class, rows_at
from darkconv.backends.keras.scope import Tensor
from darkconv.core.dialect import ALEXEYAB
from darkconv.layers.head import YoloHead
from darkconv.layers.loss_rules import LIKELY_CLASS, Setting, class_factors, class_multipliers

NO_BOX = (0.5, 0.5, 0.5, 0.5)
"""Box of places without a truth, so that the values that are masked there are finite."""


@dataclass(frozen=True)
class YoloTruths:
    """Ground truth: that of a batch (N, T), or the truths that places (N, P) are assigned to.

    Attributes:
        boxes: (N, T, 4) boxes, xywh relative to the picture.
        classes: (N, T) int32 classes of the head, from 0; arbitrary if not valid.
        valid: (N, T) False for padding rows and for places without a truth.
        class_weights: (classes,) weight of each class: its factor times its `counters_per_class`
            multiplier.
        class_factors: (classes,) factors in `Setting.class_weights`.
    """

    boxes: Tensor
    classes: Tensor
    valid: Tensor
    class_weights: Tensor
    class_factors: Tensor

    @classmethod
    def of(cls, spec: YoloHead, truths: Tensor, weights: "Weights", setting: Setting) -> Self:
        """Build the ground truth of a batch, with one padding row more, so that there is a row.

        Args:
            spec: the head.
            truths: (N, T, 5) rows of class and box.
            weights: weights of the head's classes.
            setting: rule and class map.
        """
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

    def at(self, owners: Tensor) -> "YoloTruths":
        """Return the truths of places.

        Args:
            owners: (N, P) number of each place's truth; -1 for none.
        """
        valid = owners >= 0
        none = ops.convert_to_tensor(NO_BOX, dtype=self.boxes.dtype)
        boxes = ops.where(valid[..., None], rows_at(self.boxes, owners), none)
        return YoloTruths(
            boxes, rows_at(self.classes, owners), valid, self.class_weights, self.class_factors
        )

    @property
    def weights(self) -> Tensor:
        """Weight of each truth's class, (N, T)."""
        return ops.take(self.class_weights, self.classes, axis=0)

    @property
    def factors(self) -> Tensor:
        """Factor of each truth's class, (N, T)."""
        return ops.take(self.class_factors, self.classes, axis=0)

    def hot(self) -> Tensor:
        """Return a mask (N, T, classes): True for the truth's class."""
        return is_class(self.classes, self.class_weights.shape[0])


@dataclass(frozen=True)
class Weights:
    """Weights of a head's classes, see `YoloTruths`.

    Attributes:
        weights: (classes,) weights.
        factors: (classes,) factors.
    """

    weights: npt.NDArray[np.float64]
    factors: npt.NDArray[np.float64]

    @classmethod
    def of(cls, spec: YoloHead, setting: Setting) -> Self:
        """Build the weights of a head's classes.

        Args:
            spec: the head.
            setting: the class weights.

        Raises:
            OptionError: the number of `counters_per_class` or `class_weights` is not that of the
                classes.
        """
        factors = class_factors(setting, spec.classes)
        return cls(factors * class_multipliers(spec), factors)


@dataclass(frozen=True)
class Nearest:
    """For each place the ground truth box that its predicted box overlaps most.

    Attributes:
        iou: (N, P) highest IoU of the predicted box with any truth of the picture, 0 if there is
            none.
        truth: (N, P) number of that truth.
        spared_iou: (N, P) IoU that the ignore rule compares with `ignore_thresh`.
    """

    iou: Tensor
    truth: Tensor
    spared_iou: Tensor

    @classmethod
    def of(cls, grid: YoloGrid, entries: Entries, boxes: Tensor, objects: YoloTruths) -> Self:
        """Find the best ground truth box of each predicted box, by IoU.

        Args:
            grid: the places.
            entries: the head's input by places; alexeyab ignores only boxes with a likely class.
            boxes: (N, P, 4) predicted boxes, xywh relative to the picture.
            objects: the ground truth.
        """
        every = iou_or_none(boxes[:, :, None], objects.boxes[:, None])
        every = ops.where(objects.valid[:, None], every, 0.0)
        best, truth = ops.max(every, axis=2), ops.cast(ops.argmax(every, axis=2), "int32")
        spared = best
        if grid.spec.dialect.follows(ALEXEYAB):
            likely = ops.any(probabilities(grid.spec, entries.classes) > LIKELY_CLASS, axis=2)
            spared = ops.where(likely, spared, 0.0)
        return cls(best, truth, spared)


def match_shapes(grid: YoloGrid, objects: YoloTruths) -> Matches:
    """Match each truth with the anchor that is most like its shape, and with similar anchors.

    The best anchor counts if it belongs to this head; with `iou_thresh` below 1, so do all of the
    head's anchors above that overlap.

    Args:
        grid: the places.
        objects: the ground truth.

    Returns:
        Matches at the cells that hold the truths' points.
    """
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
    """Predictions of a batch, assigned to ground truth; both rules train on it.

    Attributes:
        grid: the places.
        entries: the head's input by places.
        objects: the ground truth.
        nearest: the best truth of each place.
        spotted: (N, P) True for places that are trained on their best truth because of their good
            box (`truth_thresh`).
        scores: (N, P) target of the class score at these places.
        matches: places that are trained because of their shape.
    """

    grid: YoloGrid
    entries: Entries
    objects: YoloTruths
    nearest: Nearest
    spotted: Tensor
    scores: Tensor
    matches: Matches

    @classmethod
    def of(
        cls, spec: YoloHead, x: Tensor, truths: Tensor, weights: Weights, setting: Setting
    ) -> Self:
        """Build the assignment of a head's places to ground truth.

        Args:
            spec: the head.
            x: (N, H, W, C) input of the head, before any activation.
            truths: (N, T, 5) rows of class and box.
            weights: weights of the head's classes.
            setting: input size, rule and class map.
        """
        grid = YoloGrid.of(spec, x, setting)
        entries = grid.entries(x)
        objects = YoloTruths.of(spec, ops.cast(truths, grid.dtype), weights, setting)
        stopped = entries.stopped()
        nearest = Nearest.of(grid, stopped, grid.boxes(stopped.box), objects)
        spotted = nearest.iou > spec.truth_thresh
        good = ops.square(nearest.iou) if spec.objectness_smooth else ops.ones_like(nearest.iou)
        matches = match_shapes(grid, objects)
        return cls(grid, entries, objects, nearest, spotted, good, matches)

    @property
    def matched(self) -> Tensor:
        """Number of the last truth matched with each place, (N, P); -1 for none."""
        return self.matches.last(self.grid.count)

    @property
    def owners(self) -> Tensor:
        """Number of the truth that each place is trained on, (N, P); -1 for none.

        It is the last match, or the truth of a good box.
        """
        return self.owned(self.spotted)

    def owned(self, spotted: Tensor) -> Tensor:
        """Return the truth that each place is trained on, (N, P); -1 for none.

        Args:
            spotted: (N, P) True for places that are trained on their best truth.
        """
        matched = self.matched
        return ops.where(matched >= 0, matched, ops.where(spotted, self.nearest.truth, -1))

    @property
    def spared(self) -> Tensor:
        """True for places that the ignore rule ignores, (N, P)."""
        return self.nearest.spared_iou > self.grid.spec.ignore_thresh
