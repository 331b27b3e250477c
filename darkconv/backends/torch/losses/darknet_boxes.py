"""The deltas that the C program adds to a [yolo] or [Gaussian_yolo] box for its truths."""

import torch
from torch import Tensor

from darkconv.backends.torch.losses.assignment import Assignment, YoloPairs
from darkconv.backends.torch.losses.darknet_overlap import overlap_gradient
from darkconv.backends.torch.losses.density import log_density
from darkconv.core.dialect import ALEXEYAB
from darkconv.layers.head import GaussianYolo
from darkconv.layers.loss_rules import DENSITY_OFFSET, DEVIATION_OFFSET, is_logit


def box_deltas(found: Assignment, pairs: YoloPairs) -> tuple[Tensor, Tensor]:
    """Compute C's deltas of x, y, w, h and of their standard deviations.

    Args:
        found: the assignment of the batch.
        pairs: places with the truths that they are trained on.

    Returns:
        Deltas of x, y, w, h (k, 4), and of their standard deviations: (k, 4), for [yolo] (k, 0).
    """
    spec = found.grid.spec
    weights = found.objects.weights[pairs.truths].unsqueeze(1)
    if spec.dialect.follows(ALEXEYAB):  # the original has no such factor
        weights = weights * spec.iou_normalizer
    if isinstance(spec, GaussianYolo):
        means, deviations = _gaussian_deltas(found, pairs)
        return _held(found, means * weights), _held(found, deviations * spec.uc_normalizer)
    none = found.entries.deviations[pairs.places]
    if spec.iou_loss == "mse":
        return _importance(found, pairs) * _errors(found, pairs) * weights, none
    return _held(found, _overlap_deltas(found, pairs) * weights), none


def _importance(found: Assignment, pairs: YoloPairs) -> Tensor:
    """Return the weight of each box (k, 1); small boxes have a larger one."""
    sizes = found.objects.boxes[pairs.truths, 2:]
    return 2 - sizes.prod(1, keepdim=True)


def _errors(found: Assignment, pairs: YoloPairs) -> Tensor:
    """Return target minus value (k, 4) of the offsets and of raw w, h."""
    grid, boxes = found.grid, found.objects.boxes[pairs.truths]
    return grid.targets(pairs.places, boxes) - grid.values(found.entries.box[pairs.places])


def _overlap_deltas(found: Assignment, pairs: YoloPairs) -> Tensor:
    """Compute the deltas of x, y, w, h (k, 4) for an overlap loss, without weights.

    Of the chain rule's factors C keeps the exponential's alone, and if a corner is predicted
    instead of the centre, it adds a share of the size's gradient to the position.
    """
    grid, raw = found.grid, found.entries.box[pairs.places]
    predicted = grid.boxes(raw, pairs.places)
    truths = found.objects.boxes[pairs.truths]
    gradient = overlap_gradient(grid.spec.iou_loss, predicted, truths)
    position, size = gradient[:, :2], gradient[:, 2:]
    growth = raw[:, 2:].exp() if is_logit(grid.spec) else 1.0
    return torch.cat([position + grid.shift * size, size * growth], 1)


def _gaussian_deltas(found: Assignment, pairs: YoloPairs) -> tuple[Tensor, Tensor]:
    """Compute the deltas of the means and of the standard deviations.

    Those of the means follow from their density or from the overlap, those of the standard
    deviations from the density.
    """
    s = found.entries.deviations[pairs.places].sigmoid()
    errors = _errors(found, pairs) / s
    density = log_density(errors, s).exp()
    weight = _importance(found, pairs) / 2 * density / (density + DENSITY_OFFSET)
    deviations = weight * (errors.square() / s - 1 / (s + DEVIATION_OFFSET))
    if found.grid.spec.iou_loss == "mse":
        return weight * errors / s, deviations
    return _overlap_deltas(found, pairs), deviations


def _held(found: Assignment, deltas: Tensor) -> Tensor:
    """Limit deltas to +-`max_delta`; what is not a finite number becomes 0."""
    limit = found.grid.spec.max_delta
    return deltas.nan_to_num(0, 0, 0).clamp(-limit, limit)
