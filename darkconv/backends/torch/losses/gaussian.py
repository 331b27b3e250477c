"""The loss of a [Gaussian_yolo] head.

Assignment, objectness, classes and weights follow the default rule of [yolo]. For each of x, y, w,
h the head predicts a mean and a standard deviation s. At a place with a truth:

- With `iou_loss=mse` the loss of a coordinate is -ln(N + 1e-9) * (2 - w * h) / 2, counted from its
  lowest value; N is the density of the target, exp(-e^2 / 2) / (sqrt(2 pi) (s + 0.3)), for the
  error e = (target - mean) / s. Its derivative is multiplied by iou_normalizer for means and by
  uc_normalizer for standard deviations, as in C. No one function has these derivatives if the two
  differ; this number is multiplied by their mean. C's deltas of w and h are its derivative; those
  of x, y and all standard deviations lack the sigmoid's factor, and x and y lack that of
  `scale_x_y` too.
- With another `iou_loss` the loss of the means is iou_normalizer * (1 - measure), with the true
  derivative, and that of the standard deviations uc_normalizer times the density's loss, in which
  the means are constants: they learn by the overlap alone, as in C.
- With `yolo_point`, where a corner is predicted, half of the derivative at its position also goes
  to the size. In C it is the other way round: half of the size's gradient goes to the position.
- `max_delta` limits the derivative at each raw entry. C limits the delta of each truth: those of x
  and y before the factors that they lack, where they are at least four times as large.
- The `counters_per_class` multiplier of a class acts on standard deviations too; in C on means
  alone.
- C divides the box deltas of a place by its number of classes with a positive delta. Here the box
  of the last truth is trained with full weight.
- With `objectness_smooth`, ignored boxes have the objectness target IoU^2 and train their truth's
  class, as in C. `focal_loss` has no effect, as in C.
- A standard deviation below 1e-6 counts as 1e-6; where C's delta is not a number then, it is 0.
"""

import torch
from torch import Tensor

from darkconv.backends.torch.losses.assignment import Assignment, Claims
from darkconv.backends.torch.losses.darknet_yolo import darknet_loss
from darkconv.backends.torch.losses.density import surprise
from darkconv.backends.torch.losses.overlap import overlap
from darkconv.backends.torch.losses.registry import costs
from darkconv.backends.torch.losses.report import LossReport
from darkconv.backends.torch.losses.yolo import default_loss, with_limited_slope
from darkconv.core.network import Layer
from darkconv.layers.head import GaussianYolo
from darkconv.layers.loss_rules import LEAST_DEVIATION, Setting


@costs(GaussianYolo)
def layer_loss(layer: Layer, x: Tensor, truths: Tensor, setting: Setting) -> LossReport:
    """Compute the loss of a [Gaussian_yolo] head; see `head_loss`.

    Args:
        layer: [Gaussian_yolo] layer.
        x: (N, C, H, W) input of the head, before any activation.
        truths: (N, T, 5) rows of class and box.
        setting: input size, rule, class weights and class map.
    """
    assert isinstance(layer.spec, GaussianYolo)
    return gaussian_loss(layer.spec, x, truths, setting)


def gaussian_loss(spec: GaussianYolo, x: Tensor, truths: Tensor, setting: Setting) -> LossReport:
    """Compute the loss of a [Gaussian_yolo] head's predictions.

    Args:
        spec: the head.
        x: (N, anchors * (9 + classes), H, W) input of the head, before any activation.
        truths: (N, T, 5) rows of class index from 0, centre x, centre y, width, height, relative to
            the picture; padding rows have class -1.
        setting: input size, rule, class weights and class map.

    Raises:
        OptionError: the number of `counters_per_class` or `class_weights` is not that of the
            classes.
    """
    found = Assignment.of(spec, x, truths, setting)
    return darknet_loss(found, x) if setting.rule == "darknet" else default_loss(found, _box_loss)


def _box_loss(found: Assignment, claims: Claims) -> Tensor:
    spec, places = found.grid.spec, claims.places
    assert isinstance(spec, GaussianYolo)
    entries = found.entries
    raw = torch.cat([entries.box[places], entries.deviations[places]], 1)

    def cost(raw: Tensor) -> Tensor:
        means, deviations = raw[:, :4], raw[:, 4:]
        spread = spec.uc_normalizer * _density_loss(found, claims, means.detach(), deviations)
        if spec.iou_loss != "mse":
            return spread + spec.iou_normalizer * _overlap_loss(found, claims, means)
        fit = spec.iou_normalizer * _density_loss(found, claims, means, deviations.detach())
        return fit + spread - (fit + spread).detach() / 2

    weights = found.objects.weights[claims.owners]
    return with_limited_slope(lambda raw: weights * cost(raw), raw, spec.max_delta)


def _overlap_loss(found: Assignment, claims: Claims, means: Tensor) -> Tensor:
    """Compute 1 - measure (m,) of the boxes that raw means (m, 4) predict."""
    predicted = found.grid.boxes(means, claims.places)
    return 1 - overlap(found.grid.spec.iou_loss, predicted, found.objects.boxes[claims.owners])


def _density_loss(found: Assignment, claims: Claims, means: Tensor, deviations: Tensor) -> Tensor:
    """Compute the density's loss (m,) of raw means and standard deviations (m, 4).

    Small truths have a larger weight.
    """
    boxes = found.objects.boxes[claims.owners]
    s = deviations.sigmoid().clamp(min=LEAST_DEVIATION)
    errors = (found.grid.targets(claims.places, boxes) - found.grid.values(means)) / s
    return (2 - boxes[:, 2] * boxes[:, 3]) / 2 * surprise(errors, s).sum(1)
