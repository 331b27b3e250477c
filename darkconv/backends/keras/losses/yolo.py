"""The loss of a [yolo] head, and what the default rule of [Gaussian_yolo] shares with it.

The rules are those of `darkconv.training.losses.yolo`, which says where they differ from C.
"""

from collections.abc import Callable

from keras import ops

from darkconv.backends.keras.losses.assignment import Assignment, Objects, Weights
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

BoxCosts = Callable[[Assignment, Objects], Tensor]
"""Cost (N, P) of each place's box by the truths that have the places."""


@costs(Yolo)
def yolo_loss(layer: Layer, setting: Setting) -> PartsFunction:
    """See `head_loss`."""
    assert isinstance(layer.spec, Yolo)
    return anchored_loss(layer.spec, setting, _box_costs)


def anchored_loss(spec: YoloHead, setting: Setting, box_costs: BoxCosts) -> PartsFunction:
    """A head's costs by either rule; `box_costs` are for the default one.

    Raises:
        OptionError: `counters_per_class` or `class_weights` are not one for each class.
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


def _box_costs(found: Assignment, truths: Objects) -> Tensor:
    grid, spec, weights = found.grid, found.grid.spec, truths.weights
    raw = ops.where(truths.valid[..., None], found.entries.box, 0.0)
    if spec.dialect.follows(ALEXEYAB):  # the original has no such factor
        weights = weights * spec.iou_normalizer
    if spec.iou_loss == "mse":
        return weights * _coordinate_costs(found, raw, truths)

    def cost(raw: Tensor) -> Tensor:
        return weights * (1 - overlap(spec.iou_loss, grid.boxes(raw), truths.boxes))

    return with_limited_slope(cost, raw, spec.max_delta)


def _coordinate_costs(found: Assignment, raw: Tensor, truths: Objects) -> Tensor:
    """Cost (N, P) of raw x, y, w, h by their own targets; small boxes count more."""
    spec = found.grid.spec
    targets = found.grid.targets(truths.boxes)
    scale = spec.scale_x_y
    unscaled = (targets[..., :2] + (scale - 1) / 2) / scale
    position = scale * ops.sum(deviation(spec, raw[..., :2], unscaled), axis=-1)
    sizes = found.grid.values(raw)[..., 2:]
    size = ops.sum(ops.square(sizes - targets[..., 2:]), axis=-1) / 2
    return (2 - area(truths.boxes[..., 2:])) * (position + size)
