"""The loss of a [Gaussian_yolo] head.

What the default rule of [yolo] says of matching, objectness, classes and weights holds here too.
For each of x, y, w, h the head says a mean and a deviation s. Where a truth is:

- With `iou_loss=mse` a coordinate costs -ln(N + 1e-9) * (2 - w * h) / 2, counted from its lowest;
  N is the density of what is wanted, exp(-e^2 / 2) / (sqrt(2 pi) (s + 0.3)), e = (wanted - mean)
  / s. Means have iou_normalizer times its derivative, deviations uc_normalizer times, as in C.
  No one number has these if the two differ; this one counts times their mean. C's deltas of
  w and h are its derivative; those of x, y and all deviations lack the sigmoid's, x and y the
  stretch of `scale_x_y` too.
- With another `iou_loss` means cost iou_normalizer * (1 - measure), with the true derivative, and
  deviations uc_normalizer times the density's cost, for which means are constants: they learn
  by the overlap alone, as in C.
- `yolo_point`: where a corner is predicted, half of the derivative at its position belongs to the
  size too. C has it the other way round: half of the size's gradient at the position.
- `max_delta` limits the derivative at each raw entry. C limits the delta of each truth: those of
  x and y before the factors that they lack, where they are at least four times as large.
- The multiplier of a class acts on deviations too; in C on means alone.
- C divides the box deltas of a place by its number of classes with a positive delta. Here the last
  truth has the box, whole.
- `objectness_smooth`: boxes that the ignore rule spares are wanted with IoU^2 and train their
  truth's class, as in C. `focal_loss` does nothing, as in C.
- A deviation below 1e-6 counts as 1e-6; where C's delta is no number then, it is 0.
"""

import torch
from torch import Tensor

from darkconv.core.network import Layer
from darkconv.layers.head import GaussianYolo
from darkconv.layers.loss_rules import LEAST_DEVIATION, Setting
from darkconv.training.losses.assignment import Assignment, Claims
from darkconv.training.losses.darknet_yolo import darknet_loss
from darkconv.training.losses.density import surprise
from darkconv.training.losses.overlap import overlap
from darkconv.training.losses.registry import costs
from darkconv.training.losses.report import LossReport
from darkconv.training.losses.yolo import default_loss, with_limited_slope


@costs(GaussianYolo)
def layer_loss(layer: Layer, x: Tensor, truths: Tensor, setting: Setting) -> LossReport:
    """See `head_loss`."""
    assert isinstance(layer.spec, GaussianYolo)
    return gaussian_loss(layer.spec, x, truths, setting)


def gaussian_loss(spec: GaussianYolo, x: Tensor, truths: Tensor, setting: Setting) -> LossReport:
    """The cost of a head's predictions.

    Args:
        spec: the head.
        x: (N, anchors * (9 + classes), H, W), what enters the head, before any activation.
        truths: (N, T, 5) rows of class, centre x, centre y, width, height, relative to the
            picture; rows of class -1 fill up.
        setting: size of the network input, rule and weights.

    Raises:
        OptionError: `counters_per_class` or `class_weights` are not one for each class.
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
    """1 - measure (m,) of the boxes that raw means (m, 4) say."""
    predicted = found.grid.boxes(means, claims.places)
    return 1 - overlap(found.grid.spec.iou_loss, predicted, found.objects.boxes[claims.owners])


def _density_loss(found: Assignment, claims: Claims, means: Tensor, deviations: Tensor) -> Tensor:
    """How surprising truths are (m,), by raw means and deviations (m, 4); small ones count more."""
    boxes = found.objects.boxes[claims.owners]
    s = deviations.sigmoid().clamp(min=LEAST_DEVIATION)
    errors = (found.grid.targets(claims.places, boxes) - found.grid.values(means)) / s
    return (2 - boxes[:, 2] * boxes[:, 3]) / 2 * surprise(errors, s).sum(1)
