"""Which function makes the loss of a layer type."""

from collections.abc import Callable

from darkconv.backends.keras.losses.parts import LossParts
from darkconv.backends.keras.scope import Tensor
from darkconv.core.network import Layer
from darkconv.core.spec import LayerSpec
from darkconv.layers.loss_rules import Setting

PartsFunction = Callable[[Tensor, Tensor], LossParts]
"""(y_true, y_pred) -> costs."""
LossBuilder = Callable[[Layer, Setting], PartsFunction]
LOSSES: dict[type[LayerSpec], LossBuilder] = {}
"""By exact spec class: a subclass never falls through to its parent's."""


def costs(*specs: type[LayerSpec]) -> Callable[[LossBuilder], LossBuilder]:
    """Register what makes the loss of one or more layer types; twice for one is an error."""

    def add(builder: LossBuilder) -> LossBuilder:
        for spec in specs:
            if spec in LOSSES:
                raise ValueError(f"{spec.__name__} has two losses")
            LOSSES[spec] = builder
        return builder

    return add
