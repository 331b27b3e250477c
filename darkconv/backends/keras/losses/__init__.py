"""What a head's predictions cost, as plain functions for `compile(loss=...)`.

The rules, and all that the default one cleans up of C's, are those of `darkconv.training.losses`:
its modules of the same names tell them. Here everything has a fixed shape and is made of
`keras.ops`, so that it runs on every Keras backend and compiled: a place that no truth wants is
computed too, and masked.
"""

from collections.abc import Callable
from typing import Any

from darkconv.backends.keras.losses import classifier, detection, gaussian, region, yolo
from darkconv.backends.keras.losses.parts import LossParts
from darkconv.backends.keras.losses.registry import LOSSES, PartsFunction
from darkconv.backends.keras.losses.truths import encode_truths
from darkconv.core.network import Layer
from darkconv.errors import UnsupportedError
from darkconv.layers.box_heads import check_anchors
from darkconv.layers.loss_rules import Rule, Setting, check_class_map

__all__ = [
    "LossFunction",
    "LossParts",
    "Rule",
    "classifier",
    "detection",
    "encode_truths",
    "gaussian",
    "has_loss",
    "head_loss",
    "loss_parts",
    "part_metrics",
    "region",
    "yolo",
]

LossFunction = Callable[[Any, Any], Any]
"""(y_true, y_pred) -> (N,), the cost of each picture."""


def has_loss(layer: Layer) -> bool:
    """Whether a layer can be trained on truths."""
    return type(layer.spec) in LOSSES


def head_loss(
    layer: Layer,
    *,
    input_size: tuple[int, int],
    rule: Rule = "default",
    seen: int = 0,
    class_weights: tuple[float, ...] = (),
    class_map: tuple[int, ...] = (),
) -> LossFunction:
    """The loss of a head, for `compile(loss=...)`; its name is that of the layer.

    It takes y_true and y_pred. Of detection heads y_true is (N, T, 5), rows of class, centre x,
    centre y, width, height, relative to the picture; rows of class -1 fill up: see
    `encode_truths`. Of others it is (N, values). y_pred is what enters the layer, before any
    activation, as `to_keras(model, head="logits")` gives it: (N, H, W, C) or (N, values).

    It gives the cost of each picture (N,), whose sum is C's cost of the batch and the cost of
    `darkconv.training`; Keras takes the mean. So its learning rates count for one picture.

    Args:
        layer: a detection head, or a layer that compares all values with truths: [softmax],
            [logistic], [cost].
        input_size: (width, height) of the network input in pixels.
        rule: see `Setting`.
        seen: see `Setting`.
        class_weights: see `Setting`.
        class_map: see `Setting`; of `read_class_map` for a head with `map=`.

    Raises:
        UnsupportedError: the layer, or one of its options, has no loss, or a `map=` is not given.
        OptionError: the number of class weights or counters is not that of the classes.
        GraphError: the layer's class tree was not found or does not fit, or its mask names anchors
            that are not listed.
    """
    parts = loss_parts(
        layer,
        input_size=input_size,
        rule=rule,
        seen=seen,
        class_weights=class_weights,
        class_map=class_map,
    )

    def loss(y_true: Any, y_pred: Any) -> Any:
        return parts(y_true, y_pred).total

    loss.__name__ = loss.__qualname__ = f"{layer.label}_loss"
    return loss


def loss_parts(
    layer: Layer,
    *,
    input_size: tuple[int, int],
    rule: Rule = "default",
    seen: int = 0,
    class_weights: tuple[float, ...] = (),
    class_map: tuple[int, ...] = (),
) -> PartsFunction:
    """The loss of a head with its parts: see `head_loss`, whose arguments and errors it has."""
    check_anchors(layer)
    try:
        build = LOSSES[type(layer.spec)]
    except KeyError:
        raise UnsupportedError(f"[{layer.type}] has no loss to be trained by") from None
    check_class_map(layer, class_map)
    return build(layer, Setting(input_size, rule, seen, class_weights, class_map))


def part_metrics(
    layer: Layer,
    *,
    input_size: tuple[int, int],
    rule: Rule = "default",
    seen: int = 0,
    class_weights: tuple[float, ...] = (),
    class_map: tuple[int, ...] = (),
) -> list[LossFunction]:
    """The parts of a head's loss, for `compile(metrics=...)`: box, objectness and so on.

    Each computes the whole again: they are for looking into a training, not for every one.
    """
    parts = loss_parts(
        layer,
        input_size=input_size,
        rule=rule,
        seen=seen,
        class_weights=class_weights,
        class_map=class_map,
    )
    return [_part_metric(parts, name) for name in LossParts.NAMES]


def _part_metric(parts: PartsFunction, name: str) -> LossFunction:
    def metric(y_true: Any, y_pred: Any) -> Any:
        return getattr(parts(y_true, y_pred), name)

    metric.__name__ = metric.__qualname__ = name
    return metric
