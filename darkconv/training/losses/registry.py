"""Which function says what a layer type costs."""

from collections.abc import Callable

from torch import Tensor

from darkconv.core.network import Layer
from darkconv.core.spec import LayerSpec
from darkconv.layers.loss_rules import Setting
from darkconv.training.losses.report import LossReport

LossFunction = Callable[[Layer, Tensor, Tensor, Setting], LossReport]
LOSSES: dict[type[LayerSpec], LossFunction] = {}
"""By exact spec class: a subclass never falls through to its parent's."""


def costs(*specs: type[LayerSpec]) -> Callable[[LossFunction], LossFunction]:
    """Register the loss of one or more layer types; twice for one is an error."""

    def add(function: LossFunction) -> LossFunction:
        for spec in specs:
            if spec in LOSSES:
                raise ValueError(f"{spec.__name__} has two losses")
            LOSSES[spec] = function
        return function

    return add
