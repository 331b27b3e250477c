"""The loss function of each layer type."""

from collections.abc import Callable

from torch import Tensor

from darkconv.backends.torch.losses.report import LossReport
from darkconv.core.network import Layer
from darkconv.core.spec import LayerSpec
from darkconv.layers.loss_rules import Setting

LossFunction = Callable[[Layer, Tensor, Tensor, Setting], LossReport]
LOSSES: dict[type[LayerSpec], LossFunction] = {}
"""Loss functions by exact spec class: a subclass never gets that of its parent."""


def costs(*specs: type[LayerSpec]) -> Callable[[LossFunction], LossFunction]:
    """Return a decorator that registers a function as the loss of layer types.

    Args:
        *specs: spec classes of the layer types; a second loss for one raises a ValueError.
    """

    def add(function: LossFunction) -> LossFunction:
        for spec in specs:
            if spec in LOSSES:
                raise ValueError(f"{spec.__name__} has two losses")
            LOSSES[spec] = function
        return function

    return add
