"""Losses of a network's predictions, as plain functions for `compile(loss=...)`.

The rules, and the points where the default one differs from C, are those of
`darkconv.backends.torch.losses`: its modules of the same names describe them. Here everything has a
fixed shape and consists of `keras.ops`, so that it runs on every Keras backend and compiled: places
without a truth are computed too, and masked.
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
"""Takes y_true and y_pred, and returns the loss of each picture (N,)."""


def has_loss(layer: Layer) -> bool:
    """Return True if a layer can be trained on ground truth.

    Args:
        layer: any layer of a network.
    """
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
    """Build the loss of a head, for `compile(loss=...)`; its name is that of the layer.

    The loss takes y_true and y_pred. For detection heads y_true holds the ground truth boxes (N, T,
    5): rows of class index from 0, centre x, centre y, width, height, relative to the picture;
    padding rows have class -1: see `encode_truths`. For other layers it holds target values (N,
    values). y_pred is the input of the layer, before any activation, as `to_keras(model,
    head="logits")` gives it: (N, H, W, C) or (N, values).

    It returns the loss of each picture (N,), whose sum is C's cost of the batch and the loss of
    `darkconv.training`. Keras takes the mean over the pictures, so its learning rates are those of
    one picture.

    Args:
        layer: a detection head, or a layer that compares all values with the truth: [softmax],
            [logistic], [cost].
        input_size: (width, height) of the network input in pixels.
        rule: "default" or "darknet", see `Setting`.
        seen: number of pictures trained on, this batch included, see `Setting`.
        class_weights: factor of each class, see `Setting`; empty for 1.
        class_map: class of the head for each class of the labels, see `Setting`; for a head with
            `map=` the result of `read_class_map`.

    Raises:
        UnsupportedError: the layer, or one of its options, has no loss, or its `map=` is not given.
        OptionError: the number of class weights or counters is not that of the classes.
        GraphError: the file of the class tree was not found or does not fit, or the layer's mask
            names anchors that are not listed.
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
    """Build the loss of a head with its parts; see `head_loss`, whose other errors it raises too.

    Args:
        layer: a detection head, or [softmax], [logistic] or [cost].
        input_size: (width, height) of the network input in pixels.
        rule: "default" or "darknet", see `Setting`.
        seen: number of pictures trained on, this batch included, see `Setting`.
        class_weights: factor of each class, see `Setting`; empty for 1.
        class_map: class of the head for each class of the labels, see `Setting`.

    Raises:
        UnsupportedError: the layer has no loss.
    """
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
    """Build the parts of a head's loss, for `compile(metrics=...)`: box, objectness and so on.

    Each metric computes the whole loss again: they are for inspecting a training, not for every
    one.

    Args:
        layer: a detection head, or [softmax], [logistic] or [cost].
        input_size: (width, height) of the network input in pixels.
        rule: "default" or "darknet", see `Setting`.
        seen: number of pictures trained on, this batch included, see `Setting`.
        class_weights: factor of each class, see `Setting`; empty for 1.
        class_map: class of the head for each class of the labels, see `Setting`.
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
