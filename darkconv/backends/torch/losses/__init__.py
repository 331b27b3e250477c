"""Losses of a network's predictions: one module for each kind of head."""

from torch import Tensor

from darkconv.backends.torch.losses import classifier, detection, gaussian, region, yolo
from darkconv.backends.torch.losses.registry import LOSSES
from darkconv.backends.torch.losses.report import LossReport
from darkconv.core.network import Layer
from darkconv.errors import UnsupportedError
from darkconv.layers.box_heads import check_anchors
from darkconv.layers.loss_rules import Rule, Setting, check_class_map

__all__ = [
    "LossReport",
    "Rule",
    "Setting",
    "classifier",
    "detection",
    "gaussian",
    "has_loss",
    "head_loss",
    "region",
    "yolo",
]


def has_loss(layer: Layer) -> bool:
    """Return True if a layer can be trained on ground truth.

    Args:
        layer: any layer of a network.
    """
    return type(layer.spec) in LOSSES


def head_loss(
    layer: Layer,
    x: Tensor,
    truths: Tensor,
    *,
    input_size: tuple[int, int],
    rule: Rule = "default",
    seen: int = 0,
    class_weights: tuple[float, ...] = (),
    class_map: tuple[int, ...] = (),
) -> LossReport:
    """Compute the loss of a head's predictions for a batch, summed over the batch as in C.

    Args:
        layer: a detection head, or a layer that compares all values with the truth: [softmax],
            [logistic], [cost].
        x: input of the layer, before any activation: (N, C, H, W) or (N, values).
        truths: for detection heads the ground truth boxes (N, T, 5): rows of class index from 0,
            centre x, centre y, width, height, relative to the picture; padding rows have class -1.
            For other layers target values (N, values).
        input_size: (width, height) of the network input in pixels.
        rule: "default" or "darknet", see `Setting`.
        seen: number of pictures trained on, this batch included, see `Setting`.
        class_weights: factor of each class, see `Setting`; empty for 1.
        class_map: class of the head for each class of the labels, see `Setting`; for a head with
            `map=` the result of `read_class_map`.

    Returns:
        The loss and its parts, as scalar tensors; `total` is to be back-propagated.

    Raises:
        UnsupportedError: the layer has no loss, or its `map=` is not given.
        GraphError: the mask of a head names anchors that are not listed.
    """
    check_anchors(layer)
    try:
        function = LOSSES[type(layer.spec)]
    except KeyError:
        raise UnsupportedError(f"[{layer.type}] has no loss to be trained by") from None
    check_class_map(layer, class_map)
    setting = Setting(input_size, rule, seen, class_weights, class_map)
    return function(layer, x, truths, setting)
