"""The loss of a [yolo] head, and what the default rule of [Gaussian_yolo] shares with it.

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
- `delta_normalizer` scales the whole, as in C's GPU code; the rule "darknet" is that of the CPU.
- A centre at x = 0 counts, where C takes it for the end of the list; so do rows beyond `max`.
  A truth without width or height, or of an unknown class, does not count by either rule.

`Setting.class_weights` act as the multipliers of `counters_per_class` do, on the box, objectness
where a truth is matched and the score of its class, and on the scores of the other classes there.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from darkconv.core.dialect import ALEXEYAB
from darkconv.core.network import Layer
from darkconv.layers.head import Yolo
from darkconv.layers.loss_rules import Setting, check_rule
from darkconv.training.losses.assignment import Assignment, Claims
from darkconv.training.losses.darknet_yolo import darknet_loss
from darkconv.training.losses.overlap import overlap
from darkconv.training.losses.registry import costs
from darkconv.training.losses.report import LossReport
from darkconv.training.losses.scores import class_loss, deviation, objectness_loss

BoxLoss = Callable[[Assignment, Claims], Tensor]
"""Cost of the box of each place that a truth owns (m,)."""


@costs(Yolo)
def layer_loss(layer: Layer, x: Tensor, truths: Tensor, setting: Setting) -> LossReport:
    """See `head_loss`."""
    assert isinstance(layer.spec, Yolo)
    return yolo_loss(layer.spec, x, truths, setting)


def yolo_loss(spec: Yolo, x: Tensor, truths: Tensor, setting: Setting) -> LossReport:
    """The cost of a head's predictions.

    Args:
        spec: the head.
        x: (N, anchors * (5 + classes), H, W), what enters the head, before any activation.
        truths: (N, T, 5) rows of class, centre x, centre y, width, height, relative to the
            picture; rows of class -1 fill up.
        setting: size of the network input, rule and weights.

    Raises:
        OptionError: `counters_per_class` or `class_weights` are not one for each class.
        UnsupportedError: the rule is Darknet's, and no C program has this head.
    """
    check_rule(spec, setting)
    found = Assignment.of(spec, x, truths, setting)
    return darknet_loss(found, x) if setting.rule == "darknet" else default_loss(found, _box_loss)


def default_loss(found: Assignment, box_loss: BoxLoss) -> LossReport:
    """The cost by the default rule, its parts summed over the batch."""
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
    """Cost of raw x, y, w, h (m,) by their own targets; small boxes count more."""
    spec, raw = found.grid.spec, found.entries.box[claims.places]
    boxes = found.objects.boxes[claims.owners]
    targets = found.grid.targets(claims.places, boxes)
    scale = spec.scale_x_y
    unscaled = (targets[:, :2] + (scale - 1) / 2) / scale
    position = scale * deviation(spec, raw[:, :2], unscaled).sum(1)
    size = (found.grid.values(raw)[:, 2:] - targets[:, 2:]).square().sum(1) / 2
    return (2 - boxes[:, 2] * boxes[:, 3]) * (position + size)


def with_limited_slope(cost: Callable[[Tensor], Tensor], raw: Tensor, limit: float) -> Tensor:
    """cost(raw) (m,), its derivative at each entry of `raw` (m, k) held within +-limit.

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
