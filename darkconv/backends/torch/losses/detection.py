"""The loss of a [detection] head (YOLOv1).

A cell of the grid has at most one object: the first truth whose centre lies in it. Of the boxes
that the cell predicts, one is responsible: that of the highest IoU, or the nearest if none
overlaps.

Rule "darknet" gives C's deltas and prints the sum of their squares. The default rule is the paper's
(Redmon et al. 2016, "You Only Look Once"), whose true derivative these deltas are: half the squared
error of every value, and the cross entropy of the classes if they pass a softmax (`softmax=1`),
counted from the lowest value that the targets allow. It differs from C in these points:

- The number is half of scale * error^2, where C prints scale^2 * error^2.
- With `random=1` C picks a box at random for the first 64,000 pictures; the default rule does not.

By both rules the IoU that is the target of objectness with `rescore` is a constant, a truth without
width or height or of an unknown class is left out, and where all boxes are further from the truth
than 20 (C writes beside the cell) the nearest is responsible.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from darkconv.backends.torch.losses.delta import with_delta
from darkconv.backends.torch.losses.overlap import iou
from darkconv.backends.torch.losses.registry import costs
from darkconv.backends.torch.losses.report import LossReport
from darkconv.core.network import Layer
from darkconv.layers.head import Detection
from darkconv.layers.loss_rules import (
    GOOD_IOU,
    RANDOM_PICTURES,
    SMALL_AREA,
    Setting,
    class_factors,
    trainable_detection,
)


@dataclass(frozen=True)
class CellValues:
    """Predictions of the cells of a batch, or one number about each of these values.

    Attributes:
        scores: (cells, classes) class scores; cells are numbered over pictures, rows and columns.
        known: (cells, boxes of a cell) objectness.
        boxes: (cells, boxes of a cell, 4): x and y within the cell, in cells; w and h relative to
            the picture, or their square roots with `sqrt=1`.
    """

    scores: Tensor
    known: Tensor
    boxes: Tensor

    @classmethod
    def of(cls, spec: Detection, x: Tensor) -> Self:
        """Split the input of a head by cells, in float32 or better.

        Args:
            spec: the head.
            x: (N, values) input of the head.
        """
        sizes = [spec.cells * spec.classes, spec.cells * spec.num, spec.cells * spec.num * 4]
        kind = torch.promote_types(x.dtype, torch.float32)
        scores, known, boxes = torch.split(x.to(kind), sizes, 1)
        return cls(
            scores.reshape(-1, spec.classes),
            known.reshape(-1, spec.num),
            boxes.reshape(-1, spec.num, 4),
        )

    def like(self) -> "CellValues":
        """Return zeros of the same shapes."""
        return CellValues(*(torch.zeros_like(part.detach()) for part in _parts(self)))

    def flat(self, images: int) -> Tensor:
        """Join the values again: the inverse of `of`.

        Args:
            images: number of pictures N.

        Returns:
            A tensor (N, values).
        """
        return torch.cat([part.reshape(images, -1) for part in _parts(self)], 1)


@dataclass(frozen=True)
class CellTruths:
    """The truths that have a cell, one for each of these cells.

    Attributes:
        cells: (k,) numbers of their cells.
        boxes: (k, 4) boxes as in `CellValues`, with w and h themselves.
        classes: (k,) classes, from 0.
        weights: (k,) factors of the classes.
    """

    cells: Tensor
    boxes: Tensor
    classes: Tensor
    weights: Tensor

    @classmethod
    def of(cls, spec: Detection, truths: Tensor, factors: Tensor) -> Self:
        """Build the first truth of each cell.

        Args:
            spec: the head.
            truths: (N, T, 5) rows of class and box.
            factors: (classes,) factor of each class.
        """
        classes, boxes = truths[..., 0].long(), truths[..., 1:]
        valid = (classes >= 0) & (classes < spec.classes) & (boxes[..., 2:] > 0).all(-1)
        images, _ = valid.nonzero(as_tuple=True)
        classes, boxes = classes[valid], boxes[valid]
        place = boxes[:, :2] * spec.side
        corner = place.long().clamp(0, spec.side - 1)
        cells = (images * spec.side + corner[:, 1]) * spec.side + corner[:, 0]
        first = _first(cells)
        boxes = torch.cat([place - corner, boxes[:, 2:]], 1)
        return cls(cells[first], boxes[first], classes[first], factors[classes[first]])


def _first(cells: Tensor) -> Tensor:
    """Return the index of the first cell of each number among `cells` (k,)."""
    kinds, rows = torch.unique(cells, return_inverse=True)
    order = torch.arange(len(cells), device=cells.device)
    return torch.full_like(kinds, len(cells)).scatter_reduce(0, rows, order, "amin")


@dataclass(frozen=True)
class CellTargets:
    """The target of every value, and its weight (0 where there is no target)."""

    wanted: CellValues
    scale: CellValues


@costs(Detection)
def detection_loss(layer: Layer, x: Tensor, truths: Tensor, setting: Setting) -> LossReport:
    """Compute the loss of a [detection] head; see `head_loss`.

    Args:
        layer: [detection] layer.
        x: (N, values) input of the head.
        truths: (N, T, 5) rows of class and box.
        setting: rule, number of pictures seen, and class weights.

    Raises:
        UnsupportedError: the boxes do not have four coordinates.
        OptionError: the number of class weights is not that of the classes.
    """
    spec = trainable_detection(layer)
    given = CellValues.of(spec, x.flatten(1))
    factors = given.known.new_tensor(class_factors(setting, spec.classes))
    objects = CellTruths.of(spec, truths.to(factors), factors)
    with torch.no_grad():
        chosen, overlaps = _responsible(spec, given.boxes, objects, setting)
        aims = _aims(spec, given, objects, chosen, overlaps)
    if setting.rule == "default":
        return _report(_costs(spec, given, aims), objects, chosen, overlaps)
    with torch.no_grad():
        delta = _delta(spec, given, aims)
        squares = CellValues(*(part.square() for part in _parts(delta)))
        report = _report(squares, objects, chosen, overlaps)
    total = with_delta(report.total, x, delta.flat(len(x)).reshape(x.shape))
    return replace(report, total=total)


def _responsible(
    spec: Detection, predicted: Tensor, objects: CellTruths, setting: Setting
) -> tuple[Tensor, Tensor]:
    """Return for each object the index of its box in the cell, and their IoU."""
    boxes, truths = predicted[objects.cells], objects.boxes.unsqueeze(1)
    if spec.sqrt:
        boxes = torch.cat([boxes[..., :2], boxes[..., 2:].square()], 2)
    unit = boxes.new_tensor([1 / spec.side, 1 / spec.side, 1, 1])
    boxes, truths = boxes * unit, truths * unit
    overlaps = iou(boxes, truths).nan_to_num(0, 0, 0)
    nearest = (boxes - truths).square().sum(2).argmin(1)
    chosen = torch.where((overlaps > 0).any(1), overlaps.argmax(1), nearest)
    if spec.forced:
        small = objects.boxes[:, 2] * objects.boxes[:, 3] < SMALL_AREA
        chosen = small.long().clamp(max=spec.num - 1)
    if spec.random and setting.rule == "darknet" and setting.seen < RANDOM_PICTURES:
        chosen = torch.randint_like(chosen, spec.num)
    return chosen, overlaps.gather(1, chosen.unsqueeze(1)).squeeze(1)


def _aims(
    spec: Detection, given: CellValues, objects: CellTruths, chosen: Tensor, overlaps: Tensor
) -> CellTargets:
    """Return the targets: no object but the truths, each in its box."""
    wanted, scale = given.like(), given.like()
    cells, weights, boxes = objects.cells, objects.weights, objects.boxes
    wanted.scores[cells, objects.classes] = 1
    scale.scores[cells] = (spec.class_scale * weights).unsqueeze(1)
    wanted.known[cells, chosen] = overlaps if spec.rescore else torch.ones_like(overlaps)
    scale.known.fill_(spec.noobject_scale)
    scale.known[cells, chosen] = spec.object_scale * weights
    sizes = boxes[:, 2:].sqrt() if spec.sqrt else boxes[:, 2:]
    wanted.boxes[cells, chosen] = torch.cat([boxes[:, :2], sizes], 1)
    scale.boxes[cells, chosen] = (spec.coord_scale * weights).unsqueeze(1)
    return CellTargets(wanted, scale)


def _delta(spec: Detection, given: CellValues, aims: CellTargets) -> CellValues:
    """Compute C's deltas."""
    scores = given.scores.softmax(1) if spec.softmax else given.scores
    values = scores, given.known, given.boxes
    parts = zip(values, _parts(aims.wanted), _parts(aims.scale), strict=True)
    return CellValues(*(scale * (wanted - value) for value, wanted, scale in parts))


def _costs(spec: Detection, given: CellValues, aims: CellTargets) -> CellValues:
    """Compute the loss of every value by the default rule."""
    parts = zip(_parts(given), _parts(aims.wanted), _parts(aims.scale), strict=True)
    costs = [scale * (wanted - value).square() / 2 for value, wanted, scale in parts]
    if spec.softmax:
        costs[0] = -aims.scale.scores * aims.wanted.scores * given.scores.log_softmax(1)
    return CellValues(*costs)


def _parts(cells: CellValues) -> tuple[Tensor, Tensor, Tensor]:
    return cells.scores, cells.known, cells.boxes


def _report(costs: CellValues, objects: CellTruths, chosen: Tensor, overlaps: Tensor) -> LossReport:
    """Build the report from the losses of all values."""
    matched = torch.zeros_like(costs.known, dtype=torch.bool)
    matched[objects.cells, chosen] = True
    parts = (costs.boxes, costs.known[matched], costs.known[~matched], costs.scores)
    box, objectness, no_object, classes = (part.sum() for part in parts)
    count = max(len(overlaps), 1)
    return LossReport(
        total=box + objectness + no_object + classes,
        box=box,
        objectness=objectness,
        no_object=no_object,
        classes=classes,
        iou=overlaps.sum() / count,
        recall=(overlaps > GOOD_IOU).to(overlaps.dtype).sum() / count,
    )
