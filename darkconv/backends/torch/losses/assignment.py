"""Assignment of ground truth to the places of a [yolo] or [Gaussian_yolo] head, by Darknet's rule.

A place is one anchor in one cell of one picture. Places are numbered from 0 over pictures, anchors,
rows and columns, in this order; truths over pictures, then rows of the labels.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from darkconv.backends.torch.losses.grid import Entries, YoloGrid, probabilities
from darkconv.backends.torch.losses.overlap import iou, shape_overlap
from darkconv.backends.torch.losses.report import LossReport
from darkconv.core.dialect import ALEXEYAB
from darkconv.layers.head import YoloHead
from darkconv.layers.loss_rules import (
    GOOD_IOU,
    LIKELY_CLASS,
    Setting,
    class_factors,
    class_multipliers,
)


@dataclass(frozen=True)
class YoloTruths:
    """The ground truth of a batch, that of all pictures in one row.

    Attributes:
        boxes: (N * T, 4) boxes, xywh relative to the picture.
        classes: (N * T,) classes of the head, from 0; arbitrary if not valid.
        valid: (N, T) False for padding rows.
        weights: (N * T,) weight of the truth's class: its factor times its `counters_per_class`
            multiplier.
        factors: (N * T,) factor of the truth's class in `Setting.class_weights`.
    """

    boxes: Tensor
    classes: Tensor
    valid: Tensor
    weights: Tensor
    factors: Tensor

    @classmethod
    def of(cls, spec: YoloHead, truths: Tensor, setting: Setting) -> Self:
        """Build the ground truth of a batch, with one padding row more, so that there is a row.

        Args:
            spec: the head.
            truths: (N, T, 5) rows of class and box.
            setting: rule, class weights and class map.
        """
        padded = F.pad(truths, (0, 0, 0, 1), value=-1.0)
        classes, boxes = padded[..., 0].long(), padded[..., 1:]
        table = torch.tensor(setting.class_map or range(spec.classes), device=truths.device)
        valid = (classes >= 0) & (classes < len(table)) & (boxes[..., 2:] > 0).all(-1)
        if setting.rule == "darknet":  # a row whose x is 0 ends the list, which has `max` rows
            valid = valid & ((boxes[..., 0] == 0).cumsum(-1) == 0)
            valid[:, spec.max :] = False
        classes = table[torch.where(valid, classes, 0).flatten()]
        shares = class_factors(setting, spec.classes)
        factors = padded.new_tensor(shares)
        weights = padded.new_tensor(shares * class_multipliers(spec))
        return cls(boxes.flatten(0, 1), classes, valid, weights[classes], factors[classes])

    @property
    def images(self) -> Tensor:
        """Index of each truth's picture in the batch, (N * T,)."""
        count, each = self.valid.shape
        return torch.arange(count, device=self.boxes.device).repeat_interleave(each)


@dataclass(frozen=True)
class Nearest:
    """For each place the ground truth box that its predicted box overlaps most.

    Attributes:
        iou: (places,) highest IoU of the predicted box with a truth of the picture, 0 if there is
            none.
        truth: (places,) number of that truth.
        spared_iou: (places,) IoU that the ignore rule compares with `ignore_thresh`.
    """

    iou: Tensor
    truth: Tensor
    spared_iou: Tensor


def find_nearest(grid: YoloGrid, entries: Entries, boxes: Tensor, objects: YoloTruths) -> Nearest:
    """Find the best ground truth box of each predicted box, by IoU.

    Args:
        grid: the places.
        entries: the head's input by places; alexeyab ignores only boxes with a likely class.
        boxes: (places, 4) predicted boxes, xywh relative to the picture.
        objects: the ground truth.
    """
    images, count = objects.valid.shape
    predicted = boxes.reshape(images, -1, 1, 4)
    every = iou(predicted, objects.boxes.reshape(images, 1, count, 4)).nan_to_num(0)
    best, truth = torch.where(objects.valid.unsqueeze(1), every, 0).max(2)
    first = torch.arange(images, device=boxes.device).unsqueeze(1) * count
    spared = best.flatten()
    if grid.spec.dialect.follows(ALEXEYAB):
        likely = (probabilities(grid.spec, entries.classes) > LIKELY_CLASS).any(1)
        spared = torch.where(likely, spared, 0)
    return Nearest(best.flatten(), (truth + first).flatten(), spared)


@dataclass(frozen=True)
class YoloPairs:
    """Places with the truths that they are trained on, in Darknet's order.

    Attributes:
        places: (k,) numbers of places.
        truths: (k,) numbers of truths.
        scores: (k,) target of the class score.
    """

    places: Tensor
    truths: Tensor
    scores: Tensor

    def __add__(self, other: Self) -> Self:
        """Return these pairs, followed by the others."""
        both = zip(vars(self).values(), vars(other).values(), strict=True)
        return type(self)(*(torch.cat(parts) for parts in both))

    def where(self, chosen: Tensor) -> Self:
        """Return the pairs that a mask selects.

        Args:
            chosen: (k,) True for pairs that are kept.
        """
        return type(self)(*(values[chosen] for values in vars(self).values()))

    def rounds(self) -> list[Self]:
        """Split the pairs into parts with each place at most once: its first truth, then others."""
        order = self.places.argsort(stable=True)
        ordered = self.places[order]
        count = torch.arange(len(order), device=order.device)
        rank = torch.empty_like(order)
        rank[order] = count - torch.searchsorted(ordered, ordered)
        last = int(rank.max()) if len(rank) else -1
        return [self.where(rank == number) for number in range(last + 1)]


def match_shapes(grid: YoloGrid, objects: YoloTruths) -> YoloPairs:
    """Match each truth with the anchor that is most like its shape, and with similar anchors.

    The best anchor counts if it belongs to this head; with `iou_thresh` below 1, so do all of the
    head's anchors above that overlap.

    Args:
        grid: the places.
        objects: the ground truth.

    Returns:
        Pairs with target score 1, at the cells that hold the truths' points.
    """
    spec, sizes = grid.spec, objects.boxes[:, None, 2:]
    best = shape_overlap("iou", grid.all_anchors, sizes).argmax(1, keepdim=True)
    wanted = best == torch.arange(spec.anchor_count, device=best.device)
    if spec.iou_thresh < 1:
        alike = shape_overlap(spec.iou_thresh_kind, grid.all_anchors, sizes)
        wanted = wanted | (alike > spec.iou_thresh)
    wanted = wanted[:, list(spec.mask)] & objects.valid.reshape(-1, 1)
    truths, anchors = wanted.nonzero(as_tuple=True)
    places = grid.places_of(objects.images[truths], anchors, objects.boxes[truths])
    return YoloPairs(places, truths, sizes.new_ones(len(truths)))


def spot_good_boxes(spec: YoloHead, nearest: Nearest) -> YoloPairs:
    """Find the places that are trained on a truth because their box is above `truth_thresh`.

    Args:
        spec: the head.
        nearest: the best truth of each place.

    Returns:
        Pairs of these places with their best truths; the target score is IoU^2 with
        `objectness_smooth`, otherwise 1.
    """
    (places,) = (nearest.iou > spec.truth_thresh).nonzero(as_tuple=True)
    found = nearest.iou[places]
    scores = found.square() if spec.objectness_smooth else torch.ones_like(found)
    return YoloPairs(places, nearest.truth[places], scores)


def spot_spared_boxes(spec: YoloHead, nearest: Nearest) -> YoloPairs:
    """Find the places that the ignore rule ignores: their box is above `ignore_thresh`.

    Args:
        spec: the head.
        nearest: the best truth of each place.

    Returns:
        Pairs of these places with their best truths; the target score is 1.
    """
    (places,) = (nearest.spared_iou > spec.ignore_thresh).nonzero(as_tuple=True)
    return YoloPairs(places, nearest.truth[places], torch.ones_like(nearest.iou[places]))


@dataclass(frozen=True)
class Claims:
    """Places that are assigned to truths, each place once.

    Attributes:
        places: (m,) numbers of places, rising.
        owners: (m,) number of the last truth assigned to the place; its box is trained.
        pairs: all pairs of a place and a truth, in Darknet's order.
        rows: (k,) index into `places` for each pair.
        matched: (m,) True if the owner was matched by its shape, False if by a good box alone.
    """

    places: Tensor
    owners: Tensor
    pairs: YoloPairs
    rows: Tensor
    matched: Tensor

    @classmethod
    def of(cls, spotted: YoloPairs, matches: YoloPairs) -> Self:
        """Build the assignment of places from pairs; good boxes come first, as in Darknet.

        Args:
            spotted: pairs of good boxes.
            matches: pairs of matched shapes.
        """
        pairs = spotted + matches
        places, rows = torch.unique(pairs.places, return_inverse=True)
        order = torch.arange(len(rows), device=rows.device)
        last = torch.zeros_like(places).scatter_reduce(0, rows, order, "amax")
        return cls(places, pairs.truths[last], pairs, rows, last >= len(spotted.places))


@dataclass(frozen=True)
class Assignment:
    """Predictions of a batch, assigned to ground truth; both rules train on it.

    Attributes:
        grid: the places.
        entries: the head's input by places.
        objects: the ground truth.
        nearest: the best truth of each place.
        spotted: pairs that are trained because of their good box.
        matches: pairs that are trained because of their shape.
        overlaps: (matches,) IoU of the predicted box and the truth of each match.
    """

    grid: YoloGrid
    entries: Entries
    objects: YoloTruths
    nearest: Nearest
    spotted: YoloPairs
    matches: YoloPairs
    overlaps: Tensor

    @classmethod
    def of(cls, spec: YoloHead, x: Tensor, truths: Tensor, setting: Setting) -> Self:
        """Build the assignment of a head's places to ground truth.

        Args:
            spec: the head.
            x: (N, C, H, W) input of the head, before any activation.
            truths: (N, T, 5) rows of class and box.
            setting: input size, rule, class weights and class map.
        """
        grid = YoloGrid.of(spec, x, setting)
        entries = grid.entries(x)
        objects = YoloTruths.of(spec, truths.to(x.device, grid.anchors.dtype), setting)
        with torch.no_grad():
            boxes = grid.boxes(entries.box)
            nearest = find_nearest(grid, entries, boxes, objects)
            spotted, matches = spot_good_boxes(spec, nearest), match_shapes(grid, objects)
            overlaps = iou(boxes[matches.places], objects.boxes[matches.truths]).nan_to_num(0)
        return cls(grid, entries, objects, nearest, spotted, matches, overlaps)

    @property
    def claims(self) -> Claims:
        """Places that are assigned to a truth."""
        return Claims.of(self.spotted, self.matches)

    @property
    def iou(self) -> Tensor:
        """Mean IoU of the matches; 0 if there are none."""
        return self.overlaps.sum() / max(len(self.overlaps), 1)

    @property
    def recall(self) -> Tensor:
        """Share of the matched truths that a predicted box covers with an IoU above 0.5."""
        truths, rows = torch.unique(self.matches.truths, return_inverse=True)
        best = self.overlaps.new_zeros(len(truths)).scatter_reduce(0, rows, self.overlaps, "amax")
        return (best > GOOD_IOU).to(best.dtype).sum() / max(len(truths), 1)

    def report(self, total: Tensor, parts: Tensor) -> LossReport:
        """Build the report of a loss, with the assignment's IoU and recall.

        Args:
            total: the loss, a scalar.
            parts: (4,) losses of boxes, of objectness at assigned places and at the others, and of
                classes.
        """
        box, objectness, no_object, classes = parts.unbind()
        return LossReport(total, box, objectness, no_object, classes, self.iou, self.recall)
