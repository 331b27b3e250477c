"""The places of a [yolo] or [Gaussian_yolo] head, and the meaning of its raw entries there."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from keras import ops

from darkconv.backends.keras.losses.places import GridPlaces, computed_dtype, grid_size
from darkconv.backends.keras.scope import Tensor
from darkconv.layers.head import YoloHead
from darkconv.layers.loss_rules import MAX_EXPONENT, MIN_SIZE, Setting, is_logit, point_shift


@dataclass(frozen=True)
class Entries:
    """One value for each entry of the places, sorted by meaning.

    Attributes:
        box: (N, P, 4) x, y, w, h.
        deviations: (N, P, 4) standard deviations of x, y, w, h; for [yolo] (N, P, 0).
        known: (N, P) objectness.
        classes: (N, P, classes) class scores.
    """

    box: Tensor
    deviations: Tensor
    known: Tensor
    classes: Tensor

    def stopped(self) -> "Entries":
        """Return the same values without derivatives."""
        return Entries(*(ops.stop_gradient(value) for value in vars(self).values()))


@dataclass(frozen=True)
class YoloGrid(GridPlaces):
    """The places of a head; its anchors are relative to the network input.

    Attributes:
        spec: the head.
        all_anchors: (num, 2) width and height of all anchors, also those of other heads.
        is_exact: sizes have no limits, as in C; otherwise they have limits that keep losses and
            derivatives finite.
    """

    spec: YoloHead
    all_anchors: npt.NDArray[np.float64]
    is_exact: bool

    @classmethod
    def of(cls, spec: YoloHead, x: Tensor, setting: Setting) -> Self:
        """Build the grid of a head's input.

        Args:
            spec: the head.
            x: (N, H, W, C) input of the head.
            setting: input size and rule.
        """
        anchors = spec.all_anchors / np.array(setting.input_size, np.float64)
        own = anchors[list(spec.mask)]
        exact = setting.rule == "darknet"
        return cls(*grid_size(x), own, computed_dtype(x), spec, anchors, exact)

    def entries(self, x: Tensor) -> Entries:
        """Split the input of the head by places, in float32 or better.

        Args:
            x: (N, H, W, C) input of the head.
        """
        values, last = self.split(x), self.spec.box_entries - 1
        step = last // 4
        deviations = [values[..., place : place + 1] for place in range(1, last, 2)]
        return Entries(
            values[..., 0:last:step],
            ops.concatenate(deviations, axis=-1) if step == 2 else values[..., :0],
            values[..., last],
            values[..., last + 1 :],
        )

    def assemble(self, entries: Entries, like: Tensor) -> Tensor:
        """Join entries again: the inverse of `entries`.

        Args:
            entries: one value for each entry.
            like: tensor of the shape of the head's input.

        Returns:
            A tensor (N, H, W, C).
        """
        box = entries.box
        if self.spec.box_entries > 5:
            pairs = ops.stack([box, entries.deviations], axis=-1)
            box = ops.reshape(pairs, (-1, self.count, 8))
        values = [box, ops.expand_dims(entries.known, -1), entries.classes]
        return ops.reshape(ops.concatenate(values, axis=-1), (-1, *like.shape[1:]))

    def places_of_boxes(self, boxes: Tensor) -> Tensor:
        """Return the numbers (N, T, anchors) of the places whose cells hold the points of boxes.

        Args:
            boxes: (N, T, 4) boxes, xywh relative to the picture.
        """
        return self.places_of(self._points(boxes))

    def values(self, raw: Tensor) -> Tensor:
        """Compute what raw entries predict before the grid and the anchors come in.

        Args:
            raw: (N, P, 4) raw x, y, w, h.

        Returns:
            (N, P, 4): x and y of the box's point within its cell, in cells; w and h before they
            become sizes in anchors.
        """
        scale = self.spec.scale_x_y
        offsets = probabilities(self.spec, raw[..., :2]) * scale - (scale - 1) / 2
        sizes = ops.sigmoid(raw[..., 2:]) if self.spec.squashes_sizes else raw[..., 2:]
        return ops.concatenate([offsets, sizes], axis=-1)

    def boxes(self, raw: Tensor) -> Tensor:
        """Compute predicted boxes (N, P, 4), xywh relative to the picture.

        Args:
            raw: (N, P, 4) raw x, y, w, h.
        """
        values = self.values(raw)
        points = (self.cells() + values[..., :2]) / self.size()
        sizes = self._growth(values[..., 2:]) * self.every_anchor()
        return ops.concatenate([points - self.shift * sizes, sizes], axis=-1)

    def targets(self, boxes: Tensor) -> Tensor:
        """Compute the values, as of `values`, that predict given boxes.

        Args:
            boxes: (N, P, 4) boxes, xywh relative to the picture.

        Returns:
            (N, P, 4) target values.
        """
        offsets = self._points(boxes) * self.size() - self.cells()
        ratio = boxes[..., 2:] / self.every_anchor()
        sizes = ops.sqrt(ratio / 4) if self.spec.squares_sizes else ops.log(ratio)
        return ops.concatenate([offsets, sizes], axis=-1)

    def _growth(self, values: Tensor) -> Tensor:
        """Return sizes in anchors."""
        if self.spec.squares_sizes:
            sizes = 4 * ops.square(values)
            return sizes if self.is_exact else ops.maximum(sizes, MIN_SIZE)
        limited = values if self.is_exact else ops.clip(values, -MAX_EXPONENT, MAX_EXPONENT)
        return ops.exp(limited)

    def _points(self, boxes: Tensor) -> Tensor:
        """Return the centres (N, T, 2) of boxes, or their corners if the head predicts these."""
        return boxes[..., :2] + self.shift * boxes[..., 2:]

    @property
    def shift(self) -> float:
        """Distance of a box's predicted point from its centre, in sizes of the box."""
        return point_shift(self.spec)


def probabilities(spec: YoloHead, raw: Tensor) -> Tensor:
    """Return entries as probabilities: behind a sigmoid if the head's input is a logit.

    Args:
        spec: the head.
        raw: raw entries of any shape.
    """
    return ops.sigmoid(raw) if is_logit(spec) else raw
