"""The loss of a [yolo] head, and the parts of the default rule that [Gaussian_yolo] shares with it.

The default rule is Darknet's own (golden/loss/README.md) without its slips: one number whose true
derivative at the head's input is Darknet's hand-made delta, negated, wherever that delta is the
derivative of any function. The loss of objectness and classes is the cross entropy of their logits,
as is that of x and y in the pjreddie dialect and with `iou_loss=mse`, where that of w and h is half
their squared error; with `new_coords`, whose input is no logit, that of every entry is half its
squared error. Cross entropies are counted from the lowest value that their target allows, so a
perfect head has the loss 0.

The assignment of places to truths, the ignored places and all weights are as in C. The losses
differ from C's in these points:

- `iou_loss` other than mse: the loss is iou_normalizer * (1 - measure) with its true derivative,
  through sigmoid, grid and anchor. C leaves these factors out, doubles w and h, turns the sign of a
  term of DIoU, and has another derivative of CIoU's aspect term. `max_delta` limits the derivative
  at each raw entry, as in C.
- Several truths at one cell and anchor: the box of the last one is trained (alexeyab adds up their
  deltas and divides by the number of classes), and objectness and all their classes are targets. C
  also divides with `label_smooth_eps`, where one truth raises several classes.
- With `counters_per_class` every truth's class has the weight multiplier * cls_normalizer; C leaves
  cls_normalizer out for a second truth at the place. As in C, cls_normalizer has no effect without
  counters.
- Weights of `focal_loss` and targets of `objectness_smooth` are constants, as in C. There is no
  function whose derivative C's focal deltas are.
- `delta_normalizer` scales the whole loss, as in C's GPU code; the rule "darknet" is that of the
  CPU.
- A centre at x = 0 counts, where C takes it for the end of the list; so do rows beyond `max`. A
  truth without width or height, or of an unknown class, is left out by either rule.

`Setting.class_weights` act as the multipliers of `counters_per_class` do, on the box, on objectness
at matched places and on the score of the truth's class, and also on the scores of the other classes
there.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from darkconv.backends.torch.losses.assignment import Assignment, Claims
from darkconv.backends.torch.losses.darknet_yolo import darknet_loss
from darkconv.backends.torch.losses.overlap import overlap
from darkconv.backends.torch.losses.registry import costs
from darkconv.backends.torch.losses.report import LossReport
from darkconv.backends.torch.losses.scores import class_loss, deviation, objectness_loss
from darkconv.core.dialect import ALEXEYAB
from darkconv.core.network import Layer
from darkconv.layers.head import Yolo
from darkconv.layers.loss_rules import Setting, check_rule

BoxLoss = Callable[[Assignment, Claims], Tensor]
"""Computes the loss (m,) of the box of each assigned place."""


@costs(Yolo)
def layer_loss(layer: Layer, x: Tensor, truths: Tensor, setting: Setting) -> LossReport:
    """Compute the loss of a [yolo] head; see `head_loss`.

    Args:
        layer: [yolo] layer.
        x: (N, C, H, W) input of the head, before any activation.
        truths: (N, T, 5) rows of class and box.
        setting: input size, rule, class weights and class map.
    """
    assert isinstance(layer.spec, Yolo)
    return yolo_loss(layer.spec, x, truths, setting)


def yolo_loss(spec: Yolo, x: Tensor, truths: Tensor, setting: Setting) -> LossReport:
    """Compute the loss of a [yolo] head's predictions.

    Args:
        spec: the head.
        x: (N, anchors * (5 + classes), H, W) input of the head, before any activation.
        truths: (N, T, 5) rows of class index from 0, centre x, centre y, width, height, relative to
            the picture; padding rows have class -1.
        setting: input size, rule, class weights and class map.

    Raises:
        OptionError: the number of `counters_per_class` or `class_weights` is not that of the
            classes.
        UnsupportedError: the rule is Darknet's, and no C program has this head.
    """
    check_rule(spec, setting)
    found = Assignment.of(spec, x, truths, setting)
    return darknet_loss(found, x) if setting.rule == "darknet" else default_loss(found, _box_loss)


def default_loss(found: Assignment, box_loss: BoxLoss) -> LossReport:
    """Compute the loss by the default rule, its parts summed over the batch.

    Args:
        found: the assignment of the batch.
        box_loss: computes the loss of each assigned box.
    """
    claims = found.claims
    known = objectness_loss(found, claims)
    wanted = torch.zeros_like(known, dtype=torch.bool).index_fill(0, claims.places, True)
    box, classes = box_loss(found, claims).sum(), class_loss(found).sum()
    objects, rest = known.where(wanted, 0.0).sum(), known.where(~wanted, 0.0).sum()
    parts = torch.stack([box, objects, rest, classes])
    parts = parts * found.grid.spec.delta_normalizer
    return found.report(parts.sum(), parts)


def _box_loss(found: Assignment, claims: Claims) -> Tensor:
    grid, places = found.grid, claims.places
    spec, raw = grid.spec, found.entries.box[places]
    boxes, weights = found.objects.boxes[claims.owners], found.objects.weights[claims.owners]
    if spec.dialect.follows(ALEXEYAB):  # the original has no such factor
        weights = weights * spec.iou_normalizer
    if spec.iou_loss == "mse":
        return weights * _coordinate_loss(found, claims)

    def cost(raw: Tensor) -> Tensor:
        return weights * (1 - overlap(spec.iou_loss, grid.boxes(raw, places), boxes))

    return with_limited_slope(cost, raw, spec.max_delta)


def _coordinate_loss(found: Assignment, claims: Claims) -> Tensor:
    """Compute the loss (m,) of raw x, y, w, h by targets of their own.

    Small boxes have a larger weight.
    """
    spec, raw = found.grid.spec, found.entries.box[claims.places]
    boxes = found.objects.boxes[claims.owners]
    targets = found.grid.targets(claims.places, boxes)
    scale = spec.scale_x_y
    unscaled = (targets[:, :2] + (scale - 1) / 2) / scale
    position = scale * deviation(spec, raw[:, :2], unscaled).sum(1)
    size = (found.grid.values(raw)[:, 2:] - targets[:, 2:]).square().sum(1) / 2
    return (2 - boxes[:, 2] * boxes[:, 3]) * (position + size)


def with_limited_slope(cost: Callable[[Tensor], Tensor], raw: Tensor, limit: float) -> Tensor:
    """Compute cost(raw) with its derivative at each entry of `raw` limited to +-limit.

    The limit acts on the cost itself: a factor that is applied to the result scales it too.

    Args:
        cost: takes raw entries (m, k) and returns a cost (m,), each of its own row.
        raw: (m, k) raw entries.
        limit: largest size of a derivative; may be infinite.
    """
    value = cost(raw)
    if not raw.requires_grad or math.isinf(limit):
        return value
    with torch.enable_grad():
        here = raw.detach().requires_grad_()
        (slope,) = torch.autograd.grad(cost(here).sum(), here)
    limited = slope.clamp(-limit, limit)
    return value.detach() + ((raw - raw.detach()) * limited).sum(1)
