"""The deltas that the C program adds to a [yolo] or [Gaussian_yolo] box for its truths."""

import math

from keras import ops

from darkconv.backends.keras.losses.assignment import YoloTruths
from darkconv.backends.keras.losses.darknet_overlap import overlap_gradient
from darkconv.backends.keras.losses.density import log_density
from darkconv.backends.keras.losses.grid import Entries, YoloGrid
from darkconv.backends.keras.losses.overlap import area
from darkconv.backends.keras.scope import Tensor
from darkconv.core.dialect import ALEXEYAB
from darkconv.layers.head import GaussianYolo
from darkconv.layers.loss_rules import DENSITY_OFFSET, DEVIATION_OFFSET, is_logit


def box_deltas(grid: YoloGrid, entries: Entries, truths: YoloTruths) -> tuple[Tensor, Tensor]:
    """Compute C's deltas of x, y, w, h and of their standard deviations.

    Args:
        grid: the places.
        entries: the head's input by places.
        truths: the truth that each place is trained on.

    Returns:
        Deltas of x, y, w, h (N, P, 4), and of their standard deviations: (N, P, 4), for [yolo] (N,
        P, 0).
    """
    spec, weights = grid.spec, truths.weights[..., None]
    if spec.dialect.follows(ALEXEYAB):  # the original has no such factor
        weights = weights * spec.iou_normalizer
    if isinstance(spec, GaussianYolo):
        means, deviations = _gaussian_deltas(grid, entries, truths)
        return _held(grid, means * weights), _held(grid, deviations * spec.uc_normalizer)
    if spec.iou_loss == "mse":
        importance, errors = _importance(truths), _errors(grid, entries, truths)
        return importance * errors * weights, entries.deviations
    deltas = _held(grid, _overlap_deltas(grid, entries, truths) * weights)
    return deltas, entries.deviations


def _importance(truths: YoloTruths) -> Tensor:
    """Return the weight of each box (N, P, 1); small boxes have a larger one."""
    return 2 - area(truths.boxes[..., 2:])[..., None]


def _errors(grid: YoloGrid, entries: Entries, truths: YoloTruths) -> Tensor:
    """Return target minus value (N, P, 4) of the offsets and of raw w, h."""
    return grid.targets(truths.boxes) - grid.values(entries.box)


def _overlap_deltas(grid: YoloGrid, entries: Entries, truths: YoloTruths) -> Tensor:
    """Compute the deltas of x, y, w, h (N, P, 4) for an overlap loss, without weights.

    Of the chain rule's factors C keeps the exponential's alone, and if a corner is predicted
    instead of the centre, it adds a share of the size's gradient to the position.
    """
    gradient = overlap_gradient(grid.spec.iou_loss, grid.boxes(entries.box), truths.boxes)
    position, size = gradient[..., :2], gradient[..., 2:]
    growth = ops.exp(entries.box[..., 2:]) if is_logit(grid.spec) else 1.0
    return ops.concatenate([position + grid.shift * size, size * growth], axis=-1)


def _gaussian_deltas(grid: YoloGrid, entries: Entries, truths: YoloTruths) -> tuple[Tensor, Tensor]:
    """Compute the deltas of the means and of the standard deviations.

    Those of the means follow from their density or from the overlap, those of the standard
    deviations from the density.
    """
    s = ops.sigmoid(entries.deviations)
    errors = _errors(grid, entries, truths) / s
    density = ops.exp(log_density(errors, s))
    weight = _importance(truths) / 2 * density / (density + DENSITY_OFFSET)
    deviations = weight * (ops.square(errors) / s - 1 / (s + DEVIATION_OFFSET))
    if grid.spec.iou_loss == "mse":
        return weight * errors / s, deviations
    return _overlap_deltas(grid, entries, truths), deviations


def _held(grid: YoloGrid, deltas: Tensor) -> Tensor:
    """Limit deltas to +-`max_delta`; what is not a finite number becomes 0."""
    limit = grid.spec.max_delta
    deltas = ops.where(ops.isfinite(deltas), deltas, 0.0)
    return deltas if math.isinf(limit) else ops.clip(deltas, -limit, limit)
