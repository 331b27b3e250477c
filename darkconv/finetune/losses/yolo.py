"""The loss of a [yolo] head by the default rule.

The default rule is Darknet's own (golden/loss/README.md), cleaned of its slips: one number whose
true derivative at the head's input is Darknet's hand-made delta, sign reversed, wherever that
delta is the derivative of anything. Objectness and classes cost the cross entropy of their
logits; so do x and y in the pjreddie dialect and with `iou_loss=mse`, where w and h cost half
their squared error; with `new_coords`, whose input is no logit, every entry does. Cross
entropies count from the lowest that their target allows, so a perfect head costs nothing.

Which truth trains which place, what is ignored and all weights are as in C. What differs:

- `iou_loss` other than mse: the cost is iou_normalizer * (1 - measure), its derivative the true
  one, through sigmoid, grid and anchor. C leaves these factors out, doubles w and h, turns the
  sign of a term of DIoU and has another derivative of CIoU's aspect term. `max_delta` limits
  the derivative at each raw entry, as in C.
- Several truths at one cell and anchor: the last one has the box (alexeyab adds up their
  deltas and divides by the number of classes), objectness and all their classes are wanted.
  C divides after `label_smooth_eps` too, where one truth raises several classes.
- With `counters_per_class` every truth's class has the weight multiplier * cls_normalizer;
  C leaves cls_normalizer out for a second truth at the place. As in C the option does nothing
  without counters.
- Weights of `focal_loss` and targets of `objectness_smooth` are constants, as in C. There is
  no one number whose derivative C's focal deltas are.
- `delta_normalizer` scales the whole, as in C's GPU code.
- A truth without width or height, or of an unknown class, does not count; a centre at x = 0
  does, where C takes it for the end of the list.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from darkconv.core.dialect import ALEXEYAB
from darkconv.core.network import Layer
from darkconv.finetune.losses.assignment import (
    Claims,
    Grid,
    Nearest,
    Objects,
    Pairs,
    find_nearest,
    match_shapes,
    probabilities,
    spot_good_boxes,
)
from darkconv.finetune.losses.overlap import iou, overlap
from darkconv.finetune.losses.registry import Setting, costs
from darkconv.finetune.losses.report import LossReport
from darkconv.layers.head import Yolo

FOCAL_FACTOR = 0.5
GOOD_IOU = 0.5


@costs(Yolo)
def layer_loss(layer: Layer, x: Tensor, truths: Tensor, setting: Setting) -> LossReport:
    """See `head_loss`."""
    assert isinstance(layer.spec, Yolo)
    return yolo_loss(layer.spec, x, truths, input_size=setting.input_size)


def yolo_loss(spec: Yolo, x: Tensor, truths: Tensor, *, input_size: tuple[int, int]) -> LossReport:
    """The cost of a head's predictions; see the module for the rule.

    Args:
        spec: the head.
        x: (N, anchors * (5 + classes), H, W), what enters the head, before any activation.
        truths: (N, T, 5) rows of class, centre x, centre y, width, height, relative to the
            picture; rows of class -1 fill up.
        input_size: (width, height) of the network input in pixels.

    Raises:
        OptionError: `counters_per_class` does not have one counter per class.
    """
    grid = Grid.of(spec, x, input_size)
    entries = grid.entries(x)
    objects = Objects.of(spec, truths.to(x.device, entries.dtype))
    with torch.no_grad():
        boxes = grid.boxes(entries[:, :4])
        nearest = find_nearest(grid, entries, boxes, objects)
        matches = match_shapes(grid, objects)
        claims = Claims.of(spot_good_boxes(spec, nearest), matches)
        overlaps = iou(boxes[matches.places], objects.boxes[matches.truths])
    known = _objectness_loss(spec, entries[:, 4], nearest, claims, objects)
    wanted = torch.zeros_like(known, dtype=torch.bool).index_fill(0, claims.places, True)
    box = _box_loss(grid, entries, claims, objects).sum()
    classes = _class_loss(spec, entries[:, 5:], claims, objects).sum()
    parts = torch.stack([box, known[wanted].sum(), known[~wanted].sum(), classes])
    parts = parts * spec.delta_normalizer
    mean_iou = overlaps.sum() / max(len(overlaps), 1)
    return LossReport(
        total=parts.sum(),
        box=parts[0],
        objectness=parts[1],
        no_object=parts[2],
        classes=parts[3],
        iou=mean_iou,
        recall=_recall(matches, overlaps),
    )


def _objectness_loss(
    spec: Yolo, raw: Tensor, nearest: Nearest, claims: Claims, objects: Objects
) -> Tensor:
    """Cost of objectness at every place (places,), from its raw entry."""
    spared = nearest.spared_iou > spec.ignore_thresh
    spotted = nearest.iou > spec.truth_thresh
    if spec.objectness_smooth:
        wanted = torch.where(spared, nearest.spared_iou, 0)
        wanted = torch.where(spotted, nearest.iou.square(), wanted)
        return spec.obj_normalizer * _deviation(spec, raw, wanted)
    weights = (spotted | ~spared).to(raw.dtype)
    places, owners = claims.places[claims.matched], claims.owners[claims.matched]
    weights = weights.index_put((places,), objects.weights[owners])
    wanted = torch.zeros_like(weights).index_fill(0, claims.places, 1.0)
    return spec.obj_normalizer * weights * _deviation(spec, raw, wanted)


def _class_loss(spec: Yolo, raw: Tensor, claims: Claims, objects: Objects) -> Tensor:
    """Cost of every class score (m, classes) where a truth is."""
    raw = raw[claims.places]
    classes = objects.classes[claims.pairs.truths]
    flat = claims.rows * spec.classes + classes
    wanted = torch.zeros_like(raw).flatten().scatter_reduce(0, flat, claims.pairs.scores, "amax")
    smooth = spec.label_smooth_eps
    wanted = wanted.reshape(raw.shape) * (1 - smooth) + smooth / 2
    cost = _deviation(spec, raw, wanted)
    if spec.counters_per_class:
        factors = objects.weights[claims.pairs.truths] * spec.cls_normalizer
        cost = cost * torch.ones_like(raw).index_put((claims.rows, classes), factors)
    if spec.focal_loss:
        own = objects.classes[claims.owners].unsqueeze(1)
        cost = cost * _focal_weight(probabilities(spec, raw.detach()).gather(1, own))
    return cost


def _focal_weight(p: Tensor) -> Tensor:
    """Darknet's weight of all classes of a place from the score of the true one."""
    return FOCAL_FACTOR * (p - 1) * (2 * torch.xlogy(p, p) + p - 1)


def _box_loss(grid: Grid, entries: Tensor, claims: Claims, objects: Objects) -> Tensor:
    """Cost of the box of each place that a truth owns (m,)."""
    spec, raw = grid.spec, entries[claims.places, :4]
    boxes, weights = objects.boxes[claims.owners], objects.weights[claims.owners]
    if spec.dialect == ALEXEYAB:  # the original has no such factor
        weights = weights * spec.iou_normalizer
    if spec.iou_loss == "mse":
        return weights * _coordinate_loss(grid, raw, claims.places, boxes)

    def cost(raw: Tensor) -> Tensor:
        predicted = grid.boxes(raw, claims.places)
        return weights * (1 - overlap(spec.iou_loss, predicted, boxes))

    return _with_limited_slope(cost, raw, spec.max_delta)


def _coordinate_loss(grid: Grid, raw: Tensor, places: Tensor, boxes: Tensor) -> Tensor:
    """Cost of raw x, y, w, h (m, 4) by their own targets; small boxes count more."""
    spec, anchors = grid.spec, grid.anchors_at(places)
    offsets = boxes[:, :2] * grid.size() - grid.cells(places)
    unscaled = (offsets + (spec.scale_x_y - 1) / 2) / spec.scale_x_y
    position = spec.scale_x_y * _deviation(spec, raw[:, :2], unscaled).sum(1)
    ratio = boxes[:, 2:] / anchors
    wanted = (ratio / 4).sqrt() if spec.new_coords else ratio.log()
    size = (raw[:, 2:] - wanted).square().sum(1) / 2
    return (2 - boxes[:, 2] * boxes[:, 3]) * (position + size)


def _with_limited_slope(cost: Callable[[Tensor], Tensor], raw: Tensor, limit: float) -> Tensor:
    """cost(raw) (m,), its derivative at each entry of `raw` (m, 4) held within +-limit.

    The limit acts on the cost itself: a factor that is applied to the result scales it too.
    """
    value = cost(raw)
    if not raw.requires_grad or math.isinf(limit):
        return value
    with torch.enable_grad():
        here = raw.detach().requires_grad_()
        (slope,) = torch.autograd.grad(cost(here).sum(), here)
    limited = slope.clamp(-limit, limit)
    return value.detach() + ((raw - raw.detach()) * limited).sum(1)


def _deviation(spec: Yolo, raw: Tensor, wanted: Tensor) -> Tensor:
    """Cost of entries between 0 and 1; its derivative at `raw` is probability - wanted."""
    if spec.new_coords:
        return (raw - wanted).square() / 2
    lowest = torch.special.entr(wanted) + torch.special.entr(1 - wanted)
    cost = F.binary_cross_entropy_with_logits(raw, wanted, reduction="none")
    return cost - torch.where(lowest > 0, lowest, 0)


def _recall(matches: Pairs, overlaps: Tensor) -> Tensor:
    truths, rows = torch.unique(matches.truths, return_inverse=True)
    best = overlaps.new_zeros(len(truths)).scatter_reduce(0, rows, overlaps, "amax")
    return (best > GOOD_IOU).to(overlaps.dtype).sum() / max(len(truths), 1)
