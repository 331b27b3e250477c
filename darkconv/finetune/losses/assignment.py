"""Which place of a [yolo] head is trained on which truth: Darknet's rule.

A place is one anchor in one cell of one image. Numbers of places count over images, anchors,
rows and columns, in this order; numbers of truths over images, then rows of the labels.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional as F

from darkconv.core.dialect import ALEXEYAB
from darkconv.errors import OptionError, Where
from darkconv.finetune.losses.overlap import iou, shape_overlap
from darkconv.layers.head import Yolo

LIKELY_CLASS = 0.25
"""alexeyab: only boxes with a class score above this are spared as good enough."""
MAX_EXPONENT = 20.0
"""Raw w and h act up to here: e^20 anchors, whose area squared is still a float32."""
MIN_SIZE = 1e-9


@dataclass(frozen=True)
class Grid:
    """The places of a batch, one for each image, anchor, row and column, numbered in that order.

    Attributes:
        spec: the head.
        shape: (images, anchors, rows, columns).
        anchors: (anchors, 2) of this head, relative to the network input.
        all_anchors: (num, 2), others' too.
    """

    spec: Yolo
    shape: tuple[int, int, int, int]
    anchors: Tensor
    all_anchors: Tensor

    @classmethod
    def of(cls, spec: Yolo, x: Tensor, input_size: tuple[int, int]) -> Self:
        """The grid of a head's input."""
        kind = torch.promote_types(x.dtype, torch.float32)
        size = torch.tensor(input_size, dtype=kind, device=x.device)
        anchors = torch.from_numpy(spec.all_anchors).to(x.device, kind) / size
        shape = (x.shape[0], len(spec.mask), x.shape[2], x.shape[3])
        return cls(spec, shape, anchors[list(spec.mask)], anchors)

    def entries(self, x: Tensor) -> Tensor:
        """The head's input as (places, 5 + classes), in float32 or better."""
        images, anchors, rows, columns = self.shape
        split = x.reshape(images, anchors, self.spec.anchor_entries, rows, columns)
        return split.permute(0, 1, 3, 4, 2).flatten(0, 3).to(self.anchors.dtype)

    def places(self, images: Tensor, anchors: Tensor, centres: Tensor) -> Tensor:
        """Numbers of the places (k,) whose cells hold the centres (k, 2), relative."""
        _, count, rows, columns = self.shape
        column = (centres[:, 0] * columns).long().clamp(0, columns - 1)
        row = (centres[:, 1] * rows).long().clamp(0, rows - 1)
        return ((images * count + anchors) * rows + row) * columns + column

    def cells(self, places: Tensor) -> Tensor:
        """(k, 2) column and row."""
        _, _, rows, columns = self.shape
        pair = torch.stack([places % columns, places // columns % rows], 1)
        return pair.to(self.anchors.dtype)

    def size(self) -> Tensor:
        """(columns, rows)."""
        return self.anchors.new_tensor(self.shape[:1:-1])

    def anchors_at(self, places: Tensor) -> Tensor:
        """(k, 2) anchor of each place."""
        _, count, rows, columns = self.shape
        return self.anchors[places // (rows * columns) % count]

    def boxes(self, raw: Tensor, places: Tensor | None = None) -> Tensor:
        """Predicted boxes (k, 4), xywh relative to the picture, from raw x, y, w, h.

        Args:
            raw: (k, 4) entries.
            places: their places; all of them if not given.
        """
        if places is None:
            places = torch.arange(len(raw), device=raw.device)
        scale = self.spec.scale_x_y
        offsets = probabilities(self.spec, raw[:, :2]) * scale - (scale - 1) / 2
        if self.spec.new_coords:
            sizes = (4 * raw[:, 2:].square()).clamp(min=MIN_SIZE)
        else:
            sizes = raw[:, 2:].clamp(-MAX_EXPONENT, MAX_EXPONENT).exp()
        centres = (self.cells(places) + offsets) / self.size()
        return torch.cat([centres, sizes * self.anchors_at(places)], 1)


@dataclass(frozen=True)
class Objects:
    """The truths of a batch, those of all images in one row.

    Attributes:
        boxes: (images * T, 4), xywh relative to the picture.
        classes: (images * T,), 0 where not valid.
        valid: (images, T), False for rows that only fill up.
        weights: (images * T,) multiplier of the class.
    """

    boxes: Tensor
    classes: Tensor
    valid: Tensor
    weights: Tensor

    @classmethod
    def of(cls, spec: Yolo, truths: Tensor) -> Self:
        """From rows of class and box; one row is added, so that there is always one."""
        padded = F.pad(truths, (0, 0, 0, 1), value=-1.0)
        classes, boxes = padded[..., 0].long(), padded[..., 1:]
        valid = (classes >= 0) & (classes < spec.classes) & (boxes[..., 2:] > 0).all(-1)
        classes = torch.where(valid, classes, 0).flatten()
        return cls(boxes.flatten(0, 1), classes, valid, _multipliers(spec, padded)[classes])

    @property
    def images(self) -> Tensor:
        """(images * T,) the image of each truth."""
        count, each = self.valid.shape
        return torch.arange(count, device=self.boxes.device).repeat_interleave(each)


def _multipliers(spec: Yolo, like: Tensor) -> Tensor:
    """(classes,) how much more a rare class counts."""
    counters = spec.counters_per_class
    if not counters:
        return like.new_ones(spec.classes)
    if len(counters) != spec.classes:
        raise OptionError(
            where=Where(section=spec.type, option="counters_per_class"),
            expected=f"{spec.classes} numbers, one for each class",
            found=len(counters),
        )
    counts = like.new_tensor(counters)
    return (counts.max() / counts.clamp(min=1)).clamp(max=spec.max_delta)


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


def find_nearest(grid: Grid, entries: Tensor, boxes: Tensor, objects: Objects) -> Nearest:
    """Compare every predicted box (places, 4) with every truth of its image."""
    images, count = objects.valid.shape
    predicted = boxes.reshape(images, -1, 1, 4)
    every = iou(predicted, objects.boxes.reshape(images, 1, count, 4))
    best, truth = torch.where(objects.valid.unsqueeze(1), every, 0).max(2)
    first = torch.arange(images, device=boxes.device).unsqueeze(1) * count
    spared = best.flatten()
    if grid.spec.dialect == ALEXEYAB:
        likely = (probabilities(grid.spec, entries[:, 5:]) > LIKELY_CLASS).any(1)
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


def match_shapes(grid: Grid, objects: Objects) -> Pairs:
    """Each truth with the anchor of its shape, if it is this head's, and with others alike."""
    spec, sizes = grid.spec, objects.boxes[:, None, 2:]
    best = shape_overlap("iou", grid.all_anchors, sizes).argmax(1, keepdim=True)
    wanted = best == torch.arange(spec.num, device=best.device)
    if spec.iou_thresh < 1:
        alike = shape_overlap(spec.iou_thresh_kind, grid.all_anchors, sizes)
        wanted = wanted | (alike > spec.iou_thresh)
    wanted = wanted[:, list(spec.mask)] & objects.valid.reshape(-1, 1)
    truths, anchors = wanted.nonzero(as_tuple=True)
    places = grid.places(objects.images[truths], anchors, objects.boxes[truths, :2])
    return Pairs(places, truths, sizes.new_ones(len(truths)))


def spot_good_boxes(spec: Yolo, nearest: Nearest) -> Pairs:
    """Places whose box is so good (`truth_thresh`) that they are trained on its truth too."""
    (places,) = (nearest.iou > spec.truth_thresh).nonzero(as_tuple=True)
    found = nearest.iou[places]
    scores = found.square() if spec.objectness_smooth else torch.ones_like(found)
    return Pairs(places, nearest.truth[places], scores)


@dataclass(frozen=True)
class Claims:
    """Places that truths want, each once, and who wants them.

    Attributes:
        places: (m,) numbers of places, rising.
        owners: (m,) the last truth that wants the place: it has the box.
        pairs: all that want one, in Darknet's order.
        rows: for each of the pairs the index of its place in `places`.
        matched: (m,) whether the owner came by its shape, not by `truth_thresh` alone.
    """

    places: Tensor
    owners: Tensor
    pairs: Pairs
    rows: Tensor
    matched: Tensor

    @classmethod
    def of(cls, spotted: Pairs, matches: Pairs) -> Self:
        """Those that a good box has spotted come first, as in Darknet."""
        both = zip(vars(spotted).values(), vars(matches).values(), strict=True)
        pairs = Pairs(*(torch.cat(parts) for parts in both))
        places, rows = torch.unique(pairs.places, return_inverse=True)
        order = torch.arange(len(rows), device=rows.device)
        last = torch.zeros_like(places).scatter_reduce(0, rows, order, "amax")
        return cls(places, pairs.truths[last], pairs, rows, last >= len(spotted.places))


def probabilities(spec: Yolo, raw: Tensor) -> Tensor:
    """Entries between 0 and 1: with `new_coords` they come so."""
    return raw if spec.new_coords else raw.sigmoid()
