"""The loss of a [yolo] head, and the parts of the default rule that [Gaussian_yolo] shares with it.

The rules are those of `darkconv.backends.torch.losses.yolo`, which describes where they differ
from C.
"""

from collections.abc import Callable

from keras import ops

from darkconv.backends.keras.losses.assignment import Assignment, Weights, YoloTruths
from darkconv.backends.keras.losses.darknet_yolo import darknet_parts
from darkconv.backends.keras.losses.delta import with_limited_slope
from darkconv.backends.keras.losses.overlap import area, overlap
from darkconv.backends.keras.losses.parts import LossParts
from darkconv.backends.keras.losses.registry import PartsFunction, costs
from darkconv.backends.keras.losses.scores import class_costs, deviation, objectness_costs
from darkconv.backends.keras.scope import Tensor
from darkconv.core.dialect import ALEXEYAB
from darkconv.core.network import Layer
from darkconv.layers.head import Yolo, YoloHead
from darkconv.layers.loss_rules import Setting, check_rule

BoxCosts = Callable[[Assignment, YoloTruths], Tensor]
"""Computes the loss (N, P) of the box of each place by the truth that it is assigned to."""


@costs(Yolo)
def yolo_loss(layer: Layer, setting: Setting) -> PartsFunction:
    """Build the loss of a [yolo] head; see `head_loss`.

    Args:
        layer: [yolo] layer.
        setting: input size, rule, class weights and class map.
    """
    assert isinstance(layer.spec, Yolo)
    return anchored_loss(layer.spec, setting, _box_costs)


def anchored_loss(spec: YoloHead, setting: Setting, box_costs: BoxCosts) -> PartsFunction:
    """Build the loss of a head by either rule.

    Args:
        spec: the head.
        setting: input size, rule, class weights and class map.
        box_costs: computes the loss of boxes by the default rule.

    Raises:
        OptionError: the number of `counters_per_class` or `class_weights` is not that of the
            classes.
        UnsupportedError: the rule is Darknet's, and no C program has this head.
    """
    check_rule(spec, setting)
    weights = Weights.of(spec, setting)

    def parts(truths: Tensor, x: Tensor) -> LossParts:
        found = Assignment.of(spec, x, truths, weights, setting)
        if setting.rule == "darknet":
            return darknet_parts(found, x)
        return _default_parts(found, box_costs)

    return parts


def _default_parts(found: Assignment, box_costs: BoxCosts) -> LossParts:
    scale = found.grid.spec.delta_normalizer
    truths = found.objects.at(found.owners)
    box = ops.where(truths.valid, box_costs(found, truths), 0.0)
    known, classes = objectness_costs(found), class_costs(found)
    return LossParts.of_places(scale * box, scale * known, truths.valid, scale * classes)


def _box_costs(found: Assignment, truths: YoloTruths) -> Tensor:
    grid, spec, weights = found.grid, found.grid.spec, truths.weights
    raw = ops.where(truths.valid[..., None], found.entries.box, 0.0)
    if spec.dialect.follows(ALEXEYAB):  # the original has no such factor
        weights = weights * spec.iou_normalizer
    if spec.iou_loss == "mse":
        return weights * _coordinate_costs(found, raw, truths)

    def cost(raw: Tensor) -> Tensor:
        return weights * (1 - overlap(spec.iou_loss, grid.boxes(raw), truths.boxes))

    return with_limited_slope(cost, raw, spec.max_delta)


def _coordinate_costs(found: Assignment, raw: Tensor, truths: YoloTruths) -> Tensor:
    """Compute the loss (N, P) of raw x, y, w, h by targets of their own.

    Small boxes have a larger weight.
    """
    spec = found.grid.spec
    targets = found.grid.targets(truths.boxes)
    scale = spec.scale_x_y
    unscaled = (targets[..., :2] + (scale - 1) / 2) / scale
    position = scale * ops.sum(deviation(spec, raw[..., :2], unscaled), axis=-1)
    sizes = found.grid.values(raw)[..., 2:]
    size = ops.sum(ops.square(sizes - targets[..., 2:]), axis=-1) / 2
    return (2 - area(truths.boxes[..., 2:])) * (position + size)
