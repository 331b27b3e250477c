"""The places of a [yolo] or [Gaussian_yolo] head, and what its raw entries mean there."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from darkconv.layers.head import YoloHead
from darkconv.layers.loss_rules import MAX_EXPONENT, MIN_SIZE, Setting, is_logit, point_shift
from darkconv.training.losses.places import Places


@dataclass(frozen=True)
class Entries:
    """One value for each entry of the places, sorted by what they say.

    Attributes:
        box: (places, 4) x, y, w, h.
        deviations: (places, 4) those of x, y, w, h; of [yolo] (places, 0).
        known: (places,) objectness.
        classes: (places, classes).
    """

    box: Tensor
    deviations: Tensor
    known: Tensor
    classes: Tensor


@dataclass(frozen=True)
class Grid(Places):
    """The places of a head; its anchors are relative to the network input.

    Attributes:
        spec: the head.
        all_anchors: (num, 2), others' too.
        is_exact: sizes have no limits; else those that keep costs and derivatives finite.
    """

    spec: YoloHead
    all_anchors: Tensor
    is_exact: bool

    @classmethod
    def of(cls, spec: YoloHead, x: Tensor, setting: Setting) -> Self:
        """The grid of a head's input (N, C, H, W)."""
        kind = torch.promote_types(x.dtype, torch.float32)
        size = torch.tensor(setting.input_size, dtype=kind, device=x.device)
        anchors = torch.from_numpy(spec.all_anchors).to(x.device, kind) / size
        shape = (x.shape[0], len(spec.mask), x.shape[2], x.shape[3])
        return cls(shape, anchors[list(spec.mask)], spec, anchors, setting.rule == "darknet")

    def entries(self, x: Tensor) -> Entries:
        """The head's input by places, in float32 or better."""
        images, anchors, rows, columns = self.shape
        split = x.reshape(images, anchors, self.spec.anchor_entries, rows, columns)
        values = split.permute(0, 1, 3, 4, 2).flatten(0, 3).to(self.anchors.dtype)
        ends = self.spec.box_entries - 1, self.spec.box_entries
        coordinates, known, classes = torch.tensor_split(values, ends, 1)
        kinds = coordinates.reshape(len(values), 4, -1)
        return Entries(kinds[..., 0], kinds[..., 1:].flatten(1), known[:, 0], classes)

    def assemble(self, entries: Entries) -> Tensor:
        """The way back: a tensor of the head's input's shape (N, C, H, W)."""
        coordinates = entries.box.unsqueeze(2)
        if entries.deviations.shape[1]:
            coordinates = torch.stack([entries.box, entries.deviations], 2)
        parts = coordinates.flatten(1), entries.known.unsqueeze(1), entries.classes
        values = torch.cat(parts, 1).reshape(*self.shape, self.spec.anchor_entries)
        return values.permute(0, 1, 4, 2, 3).flatten(1, 2)

    def places_of(self, images: Tensor, anchors: Tensor, boxes: Tensor) -> Tensor:
        """Numbers of the places (k,) whose cells hold the points of boxes (k, 4), relative."""
        return self.places(images, anchors, self._points(boxes))

    def values(self, raw: Tensor) -> Tensor:
        """(k, 4) what raw x, y, w, h say: where in its cell a box's point is, in cells; w, h."""
        scale = self.spec.scale_x_y
        offsets = probabilities(self.spec, raw[:, :2]) * scale - (scale - 1) / 2
        sizes = raw[:, 2:].sigmoid() if self.spec.squashes_sizes else raw[:, 2:]
        return torch.cat([offsets, sizes], 1)

    def boxes(self, raw: Tensor, places: Tensor | None = None) -> Tensor:
        """Predicted boxes (k, 4), xywh relative to the picture, from raw x, y, w, h.

        Args:
            raw: (k, 4) entries.
            places: their places; all of them if not given.
        """
        if places is None:
            places = torch.arange(len(raw), device=raw.device)
        values = self.values(raw)
        points = (self.cells(places) + values[:, :2]) / self.size()
        sizes = self._growth(values[:, 2:]) * self.anchors_at(places)
        return torch.cat([points - self.shift * sizes, sizes], 1)

    def targets(self, places: Tensor, boxes: Tensor) -> Tensor:
        """(k, 4) values that say boxes (k, 4)."""
        offsets = self._points(boxes) * self.size() - self.cells(places)
        ratio = boxes[:, 2:] / self.anchors_at(places)
        sizes = (ratio / 4).sqrt() if self.spec.squares_sizes else ratio.log()
        return torch.cat([offsets, sizes], 1)

    def _growth(self, values: Tensor) -> Tensor:
        """Sizes in anchors."""
        if self.spec.squares_sizes:
            sizes = 4 * values.square()
            return sizes if self.is_exact else sizes.clamp(min=MIN_SIZE)
        return values.exp() if self.is_exact else values.clamp(-MAX_EXPONENT, MAX_EXPONENT).exp()

    def _points(self, boxes: Tensor) -> Tensor:
        """(k, 2) centres, or corners if the head predicts these."""
        return boxes[:, :2] + self.shift * boxes[:, 2:]

    @property
    def shift(self) -> float:
        """How many sizes a box's predicted point lies from its centre."""
        return point_shift(self.spec)


def probabilities(spec: YoloHead, raw: Tensor) -> Tensor:
    """Entries between 0 and 1."""
    return raw.sigmoid() if is_logit(spec) else raw
