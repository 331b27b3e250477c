"""Which place of a [yolo] or [Gaussian_yolo] head is trained on which truth: Darknet's rule.

A place is one anchor in one cell of one image. Numbers of places count over images, anchors,
rows and columns, in this order; numbers of truths over images, then rows of the labels.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from darkconv.core.dialect import ALEXEYAB
from darkconv.layers.head import YoloHead
from darkconv.layers.loss_rules import (
    GOOD_IOU,
    LIKELY_CLASS,
    Setting,
    class_factors,
    class_multipliers,
)
from darkconv.training.losses.grid import Entries, Grid, probabilities
from darkconv.training.losses.overlap import iou, shape_overlap
from darkconv.training.losses.report import LossReport


@dataclass(frozen=True)
class Objects:
    """The truths of a batch, those of all images in one row.

    Attributes:
        boxes: (images * T, 4), xywh relative to the picture.
        classes: (images * T,) of the head; any where not valid.
        valid: (images, T), False for rows that only fill up.
        weights: (images * T,) multiplier of the class: its factor, times how rare it is.
        factors: (images * T,) of the class, as `Setting.class_weights` says.
    """

    boxes: Tensor
    classes: Tensor
    valid: Tensor
    weights: Tensor
    factors: Tensor

    @classmethod
    def of(cls, spec: YoloHead, truths: Tensor, setting: Setting) -> Self:
        """From rows of class and box; one row is added, so that there is always one."""
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
        """(images * T,) the image of each truth."""
        count, each = self.valid.shape
        return torch.arange(count, device=self.boxes.device).repeat_interleave(each)


@dataclass(frozen=True)
class Nearest:
    """For each place (places,): the best IoU with a truth, that truth, and what is spared.

    Attributes:
        iou: highest IoU of the predicted box with any truth of the image, 0 if there is none.
        truth: the truth's number.
        spared_iou: the IoU that the ignore rule looks at.
    """

    iou: Tensor
    truth: Tensor
    spared_iou: Tensor


def find_nearest(grid: Grid, entries: Entries, boxes: Tensor, objects: Objects) -> Nearest:
    """Compare every predicted box (places, 4) with every truth of its image."""
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
class Pairs:
    """Places with the truths that they are trained on, (k,) each, in Darknet's order.

    Attributes:
        places: numbers of places.
        truths: numbers of truths.
        scores: class score that is wanted.
    """

    places: Tensor
    truths: Tensor
    scores: Tensor

    def __add__(self, other: Self) -> Self:
        """These, then the others."""
        both = zip(vars(self).values(), vars(other).values(), strict=True)
        return type(self)(*(torch.cat(parts) for parts in both))

    def where(self, chosen: Tensor) -> Self:
        """Those that a mask (k,) chooses."""
        return type(self)(*(values[chosen] for values in vars(self).values()))

    def rounds(self) -> list[Self]:
        """Split so that a place is in each part once: its first truth, its second, and so on."""
        order = self.places.argsort(stable=True)
        ordered = self.places[order]
        count = torch.arange(len(order), device=order.device)
        rank = torch.empty_like(order)
        rank[order] = count - torch.searchsorted(ordered, ordered)
        last = int(rank.max()) if len(rank) else -1
        return [self.where(rank == number) for number in range(last + 1)]


def match_shapes(grid: Grid, objects: Objects) -> Pairs:
    """Each truth with the anchor of its shape, if it is this head's, and with others alike."""
    spec, sizes = grid.spec, objects.boxes[:, None, 2:]
    best = shape_overlap("iou", grid.all_anchors, sizes).argmax(1, keepdim=True)
    wanted = best == torch.arange(spec.anchor_count, device=best.device)
    if spec.iou_thresh < 1:
        alike = shape_overlap(spec.iou_thresh_kind, grid.all_anchors, sizes)
        wanted = wanted | (alike > spec.iou_thresh)
    wanted = wanted[:, list(spec.mask)] & objects.valid.reshape(-1, 1)
    truths, anchors = wanted.nonzero(as_tuple=True)
    places = grid.places_of(objects.images[truths], anchors, objects.boxes[truths])
    return Pairs(places, truths, sizes.new_ones(len(truths)))


def spot_good_boxes(spec: YoloHead, nearest: Nearest) -> Pairs:
    """Places whose box is so good (`truth_thresh`) that they are trained on its truth too."""
    (places,) = (nearest.iou > spec.truth_thresh).nonzero(as_tuple=True)
    found = nearest.iou[places]
    scores = found.square() if spec.objectness_smooth else torch.ones_like(found)
    return Pairs(places, nearest.truth[places], scores)


def spot_spared_boxes(spec: YoloHead, nearest: Nearest) -> Pairs:
    """Places that the ignore rule spares, with the truth that their box is near."""
    (places,) = (nearest.spared_iou > spec.ignore_thresh).nonzero(as_tuple=True)
    return Pairs(places, nearest.truth[places], torch.ones_like(nearest.iou[places]))


@dataclass(frozen=True)
class Claims:
    """Places that truths want, each once, and who wants them.

    Attributes:
        places: (m,) numbers of places, rising.
        owners: (m,) the last truth that wants the place: it has the box.
        pairs: all that want one, in Darknet's order.
        rows: for each of the pairs the index of its place in `places`.
        matched: (m,) whether the owner came by its shape, not by its box alone.
    """

    places: Tensor
    owners: Tensor
    pairs: Pairs
    rows: Tensor
    matched: Tensor

    @classmethod
    def of(cls, spotted: Pairs, matches: Pairs) -> Self:
        """Those that a good box has spotted come first, as in Darknet."""
        pairs = spotted + matches
        places, rows = torch.unique(pairs.places, return_inverse=True)
        order = torch.arange(len(rows), device=rows.device)
        last = torch.zeros_like(places).scatter_reduce(0, rows, order, "amax")
        return cls(places, pairs.truths[last], pairs, rows, last >= len(spotted.places))


@dataclass(frozen=True)
class Assignment:
    """All that the two rules train a batch by.

    Attributes:
        grid: the places.
        entries: the head's input there.
        objects: the truths.
        nearest: of each place.
        spotted: what is trained for its good box.
        matches: what is trained for its shape.
        overlaps: IoU of each of the matches.
    """

    grid: Grid
    entries: Entries
    objects: Objects
    nearest: Nearest
    spotted: Pairs
    matches: Pairs
    overlaps: Tensor

    @classmethod
    def of(cls, spec: YoloHead, x: Tensor, truths: Tensor, setting: Setting) -> Self:
        """Of a head's input (N, C, H, W) and rows (N, T, 5)."""
        grid = Grid.of(spec, x, setting)
        entries = grid.entries(x)
        objects = Objects.of(spec, truths.to(x.device, grid.anchors.dtype), setting)
        with torch.no_grad():
            boxes = grid.boxes(entries.box)
            nearest = find_nearest(grid, entries, boxes, objects)
            spotted, matches = spot_good_boxes(spec, nearest), match_shapes(grid, objects)
            overlaps = iou(boxes[matches.places], objects.boxes[matches.truths]).nan_to_num(0)
        return cls(grid, entries, objects, nearest, spotted, matches, overlaps)

    @property
    def claims(self) -> Claims:
        """Places with a truth."""
        return Claims.of(self.spotted, self.matches)

    @property
    def iou(self) -> Tensor:
        """Mean IoU of the matches, 0 if there are none."""
        return self.overlaps.sum() / max(len(self.overlaps), 1)

    @property
    def recall(self) -> Tensor:
        """Share of the matched truths that a predicted box covers well."""
        truths, rows = torch.unique(self.matches.truths, return_inverse=True)
        best = self.overlaps.new_zeros(len(truths)).scatter_reduce(0, rows, self.overlaps, "amax")
        return (best > GOOD_IOU).to(best.dtype).sum() / max(len(truths), 1)

    def report(self, total: Tensor, parts: Tensor) -> LossReport:
        """With parts (4,): boxes, objectness where truths are and elsewhere, classes."""
        box, objectness, no_object, classes = parts.unbind()
        return LossReport(total, box, objectness, no_object, classes, self.iou, self.recall)
