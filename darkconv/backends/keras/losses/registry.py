"""The function that builds the loss of each layer type."""

from collections.abc import Callable

from darkconv.backends.keras.losses.parts import LossParts
from darkconv.backends.keras.scope import Tensor
from darkconv.core.network import Layer
from darkconv.core.spec import LayerSpec
from darkconv.layers.loss_rules import Setting

PartsFunction = Callable[[Tensor, Tensor], LossParts]
"""Takes y_true and y_pred, and returns the loss of each picture, in parts."""
LossBuilder = Callable[[Layer, Setting], PartsFunction]
LOSSES: dict[type[LayerSpec], LossBuilder] = {}
"""Loss builders by exact spec class: a subclass never gets that of its parent."""


def costs(*specs: type[LayerSpec]) -> Callable[[LossBuilder], LossBuilder]:
    """Return a decorator that registers a function that builds the loss of layer types.

    Args:
        *specs: spec classes of the layer types; a second loss for one raises a ValueError.
    """

    def add(builder: LossBuilder) -> LossBuilder:
        for spec in specs:
            if spec in LOSSES:
                raise ValueError(f"{spec.__name__} has two losses")
            LOSSES[spec] = builder
        return builder

    return add
