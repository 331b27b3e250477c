"""The places of a [yolo] or [Gaussian_yolo] head, and the meaning of its raw entries there."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from darkconv.backends.torch.losses.places import GridPlaces
from darkconv.layers.head import YoloHead
from darkconv.layers.loss_rules import MAX_EXPONENT, MIN_SIZE, Setting, is_logit, point_shift


@dataclass(frozen=True)
class Entries:
    """One value for each entry of the places, sorted by meaning.

    Attributes:
        box: (places, 4) x, y, w, h.
        deviations: (places, 4) standard deviations of x, y, w, h; for [yolo] (places, 0).
        known: (places,) objectness.
        classes: (places, classes) class scores.
    """

    box: Tensor
    deviations: Tensor
    known: Tensor
    classes: Tensor


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
    all_anchors: Tensor
    is_exact: bool

    @classmethod
    def of(cls, spec: YoloHead, x: Tensor, setting: Setting) -> Self:
        """Build the grid of a head's input.

        Args:
            spec: the head.
            x: (N, C, H, W) input of the head.
            setting: input size and rule.
        """
        kind = torch.promote_types(x.dtype, torch.float32)
        size = torch.tensor(setting.input_size, dtype=kind, device=x.device)
        anchors = torch.from_numpy(spec.all_anchors).to(x.device, kind) / size
        shape = (x.shape[0], len(spec.mask), x.shape[2], x.shape[3])
        return cls(shape, anchors[list(spec.mask)], spec, anchors, setting.rule == "darknet")

    def entries(self, x: Tensor) -> Entries:
        """Split the input of the head by places, in float32 or better.

        Args:
            x: (N, C, H, W) input of the head.
        """
        images, anchors, rows, columns = self.shape
        split = x.reshape(images, anchors, self.spec.anchor_entries, rows, columns)
        values = split.permute(0, 1, 3, 4, 2).flatten(0, 3).to(self.anchors.dtype)
        ends = self.spec.box_entries - 1, self.spec.box_entries
        coordinates, known, classes = torch.tensor_split(values, ends, 1)
        kinds = coordinates.reshape(len(values), 4, -1)
        return Entries(kinds[..., 0], kinds[..., 1:].flatten(1), known[:, 0], classes)

    def assemble(self, entries: Entries) -> Tensor:
        """Join entries again: the inverse of `entries`.

        Args:
            entries: one value for each entry.

        Returns:
            A tensor (N, C, H, W).
        """
        coordinates = entries.box.unsqueeze(2)
        if entries.deviations.shape[1]:
            coordinates = torch.stack([entries.box, entries.deviations], 2)
        parts = coordinates.flatten(1), entries.known.unsqueeze(1), entries.classes
        values = torch.cat(parts, 1).reshape(*self.shape, self.spec.anchor_entries)
        return values.permute(0, 1, 4, 2, 3).flatten(1, 2)

    def places_of(self, images: Tensor, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Return the numbers (k,) of the places whose cells hold the points of boxes.

        Args:
            images: (k,) index of each box's picture.
            anchors: (k,) index of an anchor among those of this head.
            boxes: (k, 4) boxes, xywh relative to the picture.
        """
        return self.places(images, anchors, self._points(boxes))

    def values(self, raw: Tensor) -> Tensor:
        """Compute what raw entries predict before the grid and the anchors come in.

        Args:
            raw: (k, 4) raw x, y, w, h.

        Returns:
            (k, 4): x and y of the box's point within its cell, in cells; w and h before they become
            sizes in anchors.
        """
        scale = self.spec.scale_x_y
        offsets = probabilities(self.spec, raw[:, :2]) * scale - (scale - 1) / 2
        sizes = raw[:, 2:].sigmoid() if self.spec.squashes_sizes else raw[:, 2:]
        return torch.cat([offsets, sizes], 1)

    def boxes(self, raw: Tensor, places: Tensor | None = None) -> Tensor:
        """Compute predicted boxes (k, 4), xywh relative to the picture.

        Args:
            raw: (k, 4) raw x, y, w, h.
            places: (k,) numbers of their places; None for all places.
        """
        if places is None:
            places = torch.arange(len(raw), device=raw.device)
        values = self.values(raw)
        points = (self.cells(places) + values[:, :2]) / self.size()
        sizes = self._growth(values[:, 2:]) * self.anchors_at(places)
        return torch.cat([points - self.shift * sizes, sizes], 1)

    def targets(self, places: Tensor, boxes: Tensor) -> Tensor:
        """Compute the values, as of `values`, that predict given boxes.

        Args:
            places: (k,) numbers of places.
            boxes: (k, 4) boxes, xywh relative to the picture.

        Returns:
            (k, 4) target values.
        """
        offsets = self._points(boxes) * self.size() - self.cells(places)
        ratio = boxes[:, 2:] / self.anchors_at(places)
        sizes = (ratio / 4).sqrt() if self.spec.squares_sizes else ratio.log()
        return torch.cat([offsets, sizes], 1)

    def _growth(self, values: Tensor) -> Tensor:
        """Return sizes in anchors."""
        if self.spec.squares_sizes:
            sizes = 4 * values.square()
            return sizes if self.is_exact else sizes.clamp(min=MIN_SIZE)
        return values.exp() if self.is_exact else values.clamp(-MAX_EXPONENT, MAX_EXPONENT).exp()

    def _points(self, boxes: Tensor) -> Tensor:
        """Return the centres (k, 2) of boxes, or their corners if the head predicts these."""
        return boxes[:, :2] + self.shift * boxes[:, 2:]

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
    return raw.sigmoid() if is_logit(spec) else raw
