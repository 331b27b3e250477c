"""The loss of a [Gaussian_yolo] head.

The rules are those of `darkconv.backends.torch.losses.gaussian`, which describes where they differ
from C.
"""

from keras import ops

from darkconv.backends.keras.losses.assignment import Assignment, YoloTruths
from darkconv.backends.keras.losses.delta import with_limited_slope
from darkconv.backends.keras.losses.density import surprise
from darkconv.backends.keras.losses.overlap import area, overlap
from darkconv.backends.keras.losses.registry import PartsFunction, costs
from darkconv.backends.keras.losses.yolo import anchored_loss
from darkconv.backends.keras.scope import Tensor
from darkconv.core.network import Layer
from darkconv.layers.head import GaussianYolo
from darkconv.layers.loss_rules import LEAST_DEVIATION, Setting


@costs(GaussianYolo)
def gaussian_loss(layer: Layer, setting: Setting) -> PartsFunction:
    """Build the loss of a [Gaussian_yolo] head; see `head_loss`.

    Args:
        layer: [Gaussian_yolo] layer.
        setting: input size, rule, class weights and class map.
    """
    assert isinstance(layer.spec, GaussianYolo)
    return anchored_loss(layer.spec, setting, _box_costs)


def _box_costs(found: Assignment, truths: YoloTruths) -> Tensor:
    spec, entries = found.grid.spec, found.entries
    assert isinstance(spec, GaussianYolo)
    raw = ops.concatenate([entries.box, entries.deviations], axis=-1)
    raw = ops.where(truths.valid[..., None], raw, 0.0)

    def cost(raw: Tensor) -> Tensor:
        means, deviations = raw[..., :4], raw[..., 4:]
        fixed = ops.stop_gradient(means)
        spread = spec.uc_normalizer * _density_costs(found, truths, fixed, deviations)
        if spec.iou_loss != "mse":
            measure = overlap(spec.iou_loss, found.grid.boxes(means), truths.boxes)
            return spread + spec.iou_normalizer * (1 - measure)
        fixed = ops.stop_gradient(deviations)
        fit = spec.iou_normalizer * _density_costs(found, truths, means, fixed)
        return fit + spread - ops.stop_gradient(fit + spread) / 2

    return with_limited_slope(lambda raw: truths.weights * cost(raw), raw, spec.max_delta)


def _density_costs(
    found: Assignment, truths: YoloTruths, means: Tensor, deviations: Tensor
) -> Tensor:
    """Compute the density's loss (N, P) of raw means and standard deviations.

    Small truths have a larger weight.
    """
    s = ops.maximum(ops.sigmoid(deviations), LEAST_DEVIATION)
    errors = (found.grid.targets(truths.boxes) - found.grid.values(means)) / s
    return (2 - area(truths.boxes[..., 2:])) / 2 * ops.sum(surprise(errors, s), axis=-1)
