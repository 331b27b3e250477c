"""What a network's predictions cost: one module per kind of head."""

from torch import Tensor

from darkconv.core.network import Layer
from darkconv.errors import UnsupportedError
from darkconv.layers.box_heads import check_anchors
from darkconv.layers.loss_rules import Rule, Setting, check_class_map
from darkconv.training.losses import classifier, detection, gaussian, region, yolo
from darkconv.training.losses.registry import LOSSES
from darkconv.training.losses.report import LossReport

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
    """Whether a layer can be trained on truths."""
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
    """What a head's predictions for a batch cost, summed over the batch as in C.

    Args:
        layer: a detection head, or a layer that compares all values with truths: [softmax],
            [logistic], [cost].
        x: what enters the layer, before any activation: (N, C, H, W) or (N, values).
        truths: of detection heads (N, T, 5), rows of class, centre x, centre y, width, height,
            relative to the picture; rows of class -1 fill up. Of others (N, values).
        input_size: (width, height) of the network input in pixels.
        rule: see `Setting`.
        seen: see `Setting`.
        class_weights: see `Setting`.
        class_map: see `Setting`; of `read_class_map` for a head with `map=`.

    Raises:
        UnsupportedError: the layer has no loss, or a `map=` that is not given.
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
