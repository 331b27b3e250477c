"""Assignment of ground truth to the places of a [region] head, by Darknet's rule.

A place is one anchor in one cell of one picture. Places are numbered from 0 over pictures, anchors,
rows and columns, in this order; truths over pictures, then rows of the labels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from darkconv.backends.torch.losses.hierarchy import Hierarchy
from darkconv.backends.torch.losses.overlap import iou, shape_overlap
from darkconv.backends.torch.losses.places import GridPlaces
from darkconv.core.dialect import PJREDDIE
from darkconv.core.network import Layer
from darkconv.layers.head import Region
from darkconv.layers.loss_rules import (
    CLASS_ONLY,
    MAX_EXPONENT,
    Setting,
    class_factors,
    joins_background,
    label_classes,
    rows_read,
    trainable_region,
)


@dataclass(frozen=True)
class RegionGrid(GridPlaces):
    """The places of a head; its anchors are in cells.

    Attributes:
        spec: the head.
    """

    spec: Region

    @classmethod
    def of(cls, spec: Region, x: Tensor) -> Self:
        """Build the grid of a head's input.

        Args:
            spec: the head.
            x: (N, C, H, W) input of the head.
        """
        kind = torch.promote_types(x.dtype, torch.float32)
        anchors = torch.from_numpy(spec.all_anchors).to(x.device, kind)
        return cls((x.shape[0], spec.num, x.shape[2], x.shape[3]), anchors, spec)

    def entries(self, x: Tensor) -> Tensor:
        """Return the head's input as (places, 5 + classes), in float32 or better.

        Args:
            x: (N, C, H, W) input of the head.
        """
        images, anchors, rows, columns = self.shape
        split = x.reshape(images, anchors, -1, rows, columns).permute(0, 1, 3, 4, 2)
        return split.flatten(0, 3).to(self.anchors.dtype)

    def restored(self, entries: Tensor) -> Tensor:
        """Return entries in the shape (N, C, H, W): the inverse of `entries`.

        Args:
            entries: (places, 5 + classes) values.
        """
        return entries.reshape(*self.shape, -1).permute(0, 1, 4, 2, 3).flatten(1, 2)

    def all_places(self) -> Tensor:
        """Return the numbers (places,) of all places."""
        return torch.arange(math.prod(self.shape), device=self.anchors.device)

    def per_image(self, values: Tensor) -> Tensor:
        """Return values by picture: a view (N, places of a picture, ...).

        Args:
            values: (places, ...) values.
        """
        places = math.prod(self.shape[1:])
        return values.view(self.shape[0], places, *values.shape[1:])

    def boxes(self, raw: Tensor, places: Tensor) -> Tensor:
        """Compute predicted boxes (k, 4), xywh relative to the picture.

        Args:
            raw: (k, 4 or more) raw x, y, w, h, and other entries.
            places: (k,) numbers of their places.
        """
        centres = self.cells(places) + raw[:, :2].sigmoid()
        sizes = raw[:, 2:4].clamp(-MAX_EXPONENT, MAX_EXPONENT).exp() * self.anchors_at(places)
        return torch.cat([centres, sizes], 1) / self.size().repeat(2)

    def encoded(self, boxes: Tensor, places: Tensor) -> Tensor:
        """Compute x, y (behind the sigmoid), w, h (k, 4) that predict given boxes.

        Args:
            boxes: (k, 4) boxes, xywh relative to the picture.
            places: (k,) numbers of places.
        """
        scaled = boxes * self.size().repeat(2)
        offsets = scaled[:, :2] - self.cells(places)
        return torch.cat([offsets, (scaled[:, 2:] / self.anchors_at(places)).log()], 1)


@dataclass(frozen=True)
class RegionTruths:
    """The ground truth of a batch, that of all pictures in one row.

    Attributes:
        boxes: (N * T, 4) boxes, xywh relative to the picture.
        classes: (N * T,) classes of the head, from 0; 0 for rows without one.
        spared: (N * T,) the same for `classfix`: C does not translate these by `map=`.
        weights: (N * T,) factor of the class.
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
    def of(cls, layer: Layer, truths: Tensor, setting: Setting) -> Self:
        """Build the ground truth of a batch, with one padding row more, so that there is a row.

        Args:
            layer: [region] layer.
            truths: (N, T, 5) rows of class and box.
            setting: rule, class weights and class map.
        """
        spec = trainable_region(layer)
        padded = F.pad(truths, (0, 0, 0, 1), value=-1.0)
        numbers, boxes = padded[..., 0].long(), padded[..., 1:]
        table = torch.tensor(label_classes(spec, setting), device=truths.device)
        far = boxes[..., :2] > CLASS_ONLY
        direct = far.all(-1) & bool(setting.class_map)  # class-only labels name the tree's classes
        known = (numbers >= 0) & (numbers < torch.where(direct, spec.classes, len(table)))
        if setting.rule == "darknet":
            known &= _listed(spec, numbers, boxes)
        only = known & far.all(-1) if layer.tree else torch.zeros_like(known)
        has_box = known & ~far.any(-1) & (boxes[..., 2:] > 0).all(-1) & ~only.any(1, keepdim=True)
        numbers = torch.where(known, numbers, 0).flatten()
        listed = table[numbers.clamp(max=len(table) - 1)]
        classes = torch.where(direct.flatten(), numbers, listed)
        factors = class_factors(setting, spec.classes, label_classes(spec, setting))
        weights = padded.new_tensor(factors)[classes]
        first = only & (only.cumsum(1) == 1)
        spared = numbers if setting.rule == "darknet" and setting.class_map else classes
        return cls(boxes.flatten(0, 1), classes, spared, weights, has_box, first)

    @property
    def images(self) -> Tensor:
        """Index of each truth's picture in the batch, (N * T,)."""
        count, each = self.has_box.shape
        return torch.arange(count, device=self.boxes.device).repeat_interleave(each)


def _listed(spec: Region, numbers: Tensor, boxes: Tensor) -> Tensor:
    """Return a mask (N, T) of the rows that C reads: limited, up to the first with x = 0."""
    ends = (boxes[..., 0] == 0) & (numbers >= 0)
    if spec.dialect != PJREDDIE:  # the fork skips unknown classes before it looks at x
        ends &= numbers < spec.classes
    row = torch.arange(numbers.shape[1], device=numbers.device)
    return (ends.cumsum(1) == 0) & (row < rows_read(spec))


@dataclass(frozen=True)
class RegionPairs:
    """Places with the truths that they are trained on, in Darknet's order.

    Attributes:
        places: (k,) numbers of places.
        truths: (k,) numbers of truths.
    """

    places: Tensor
    truths: Tensor

    def ranks(self) -> Tensor:
        """Count the earlier pairs of each pair's place, (k,)."""
        order = self.places.argsort(stable=True)
        places = self.places[order]
        first = torch.searchsorted(places, places)
        place_in_order = torch.arange(len(order), device=order.device)
        return torch.empty_like(order).index_put((order,), place_in_order - first)


@dataclass(frozen=True)
class Scene:
    """Predictions of a batch, compared with ground truth.

    Attributes:
        grid: the places.
        labels: the ground truth.
        hierarchy: the class tree; None if the head has none.
        entries: (places, 5 + classes) raw predictions.
        values: (places, 5 + classes) predictions behind their activations, detached.
        matches: truths with a box, at the places of the most similar anchors.
        singled: the most probable place of each picture with a class-only label.
        overlaps: (matches,) IoU of the predicted box and the truth of each match.
        best_iou: (places,) highest IoU of the predicted box with a truth of the picture, or 0.
        best_truth: (places,) number of that truth.
    """

    grid: RegionGrid
    labels: RegionTruths
    hierarchy: Hierarchy | None
    entries: Tensor
    values: Tensor
    matches: RegionPairs
    singled: RegionPairs
    overlaps: Tensor
    best_iou: Tensor
    best_truth: Tensor

    @classmethod
    def of(cls, layer: Layer, x: Tensor, truths: Tensor, setting: Setting) -> Self:
        """Build the comparison of a head's input with ground truth.

        Args:
            layer: [region] layer.
            x: (N, C, H, W) input of the head, before any activation.
            truths: (N, T, 5) rows of class and box.
            setting: rule, class weights and class map.

        Raises:
            UnsupportedError: the head predicts more than four coordinates.
            OptionError: the number of class weights is not that of the classes.
            GraphError: the head's class tree does not fit.
        """
        spec = trainable_region(layer)
        grid = RegionGrid.of(spec, x)
        entries = grid.entries(x)
        hierarchy = Hierarchy.of(layer, spec.classes, x.device)
        labels = RegionTruths.of(layer, truths.to(x.device, entries.dtype), setting)
        with torch.no_grad():
            raw = entries.detach()
            values = _activated(spec, raw, hierarchy)
            boxes = grid.boxes(raw, grid.all_places())
            matches = _match_shapes(grid, boxes, labels)
            overlaps = iou(boxes[matches.places], labels.boxes[matches.truths])
            singled = _likeliest(grid, values, labels, hierarchy)
            best_iou, best_truth = _find_nearest(grid, boxes, labels)
        compared = matches, singled, overlaps, best_iou, best_truth
        return cls(grid, labels, hierarchy, entries, values, *compared)

    def rounds(self) -> Iterator[tuple[RegionPairs, Tensor]]:
        """Iterate over the first truths of all places, then over their second ones, and so on.

        Yields:
            Pairs with each place at most once, and their IoU.
        """
        ranks = self.matches.ranks()
        for rank in range(int(ranks.max()) + 1 if len(ranks) else 0):
            (now,) = (ranks == rank).nonzero(as_tuple=True)
            yield (
                RegionPairs(self.matches.places[now], self.matches.truths[now]),
                self.overlaps[now],
            )


def _activated(spec: Region, raw: Tensor, hierarchy: Hierarchy | None) -> Tensor:
    """Return raw entries (places, 5 + classes) behind their activations."""
    box = torch.cat([raw[:, :2].sigmoid(), raw[:, 2:4]], 1)
    if joins_background(spec, has_tree=hierarchy is not None):
        return torch.cat([box, raw[:, 4:].softmax(1)], 1)
    known, classes = raw[:, 4:5], raw[:, 5:]
    if not spec.background:
        known = known.sigmoid()
    if hierarchy is not None:
        classes = hierarchy.log_softmax(classes).exp()
    elif spec.softmax:
        classes = classes.softmax(1)
    elif spec.dialect == PJREDDIE:
        classes = classes.sigmoid()
    return torch.cat([box, known, classes], 1)


def _match_shapes(grid: RegionGrid, boxes: Tensor, labels: RegionTruths) -> RegionPairs:
    """Match each truth with the place in its cell whose shape is most like its own.

    Args:
        grid: the places.
        boxes: (places, 4) predicted boxes; with `bias_match=0` their shapes are compared.
        labels: the ground truth.
    """
    (truths,) = labels.has_box.flatten().nonzero(as_tuple=True)
    wanted = labels.boxes[truths].unsqueeze(1)
    anchors = torch.arange(grid.spec.num, device=truths.device)
    places = grid.places(labels.images[truths].unsqueeze(1), anchors, wanted[..., :2])
    shapes = grid.anchors / grid.size() if grid.spec.bias_match else boxes[places, 2:]
    best = shape_overlap("iou", shapes, wanted[..., 2:]).argmax(1, keepdim=True)
    return RegionPairs(places.gather(1, best).squeeze(1), truths)


def _find_nearest(grid: RegionGrid, boxes: Tensor, labels: RegionTruths) -> tuple[Tensor, Tensor]:
    """Find the best IoU of every predicted box (places, 4) with a truth, and that truth."""
    images, count = labels.has_box.shape
    truths = labels.boxes.reshape(images, 1, count, 4)
    every = iou(grid.per_image(boxes).unsqueeze(2), truths)
    best, truth = torch.where(labels.has_box.unsqueeze(1), every, 0).max(2)
    first = torch.arange(images, device=boxes.device).unsqueeze(1) * count
    return best.flatten(), (truth + first).flatten()


def _likeliest(
    grid: RegionGrid, values: Tensor, labels: RegionTruths, hierarchy: Hierarchy | None
) -> RegionPairs:
    """Find the most probable place of the picture for each class-only label."""
    (truths,) = labels.class_only.flatten().nonzero(as_tuple=True)
    if hierarchy is None or not len(truths):
        return RegionPairs(truths, truths)
    images = labels.images[truths]
    found = grid.per_image(values)[images]
    chances = hierarchy.absolute(found[..., 5:], labels.classes[truths])
    best = (found[..., 4] * chances).clamp(min=0).argmax(1)
    return RegionPairs(images * found.shape[1] + best, truths)
