"""Which function says what a layer type costs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from darkconv.core.network import Layer
from darkconv.core.spec import LayerSpec
from darkconv.finetune.losses.report import LossReport

Rule = Literal["default", "darknet"]


@dataclass(frozen=True)
class Setting:
    """What a loss depends on beside predictions and truths.

    Attributes:
        input_size: (width, height) of the network input in pixels.
        rule: "default" has true derivatives and none of the C code's slips; "darknet" gives
            at the head's input exactly minus the `delta` of the C program.
        seen: pictures that the network has been trained on, this batch among them, as C reads it.
        class_weights: factor of each class on all that its truths cost, box and objectness too;
            empty for 1.
    """

    input_size: tuple[int, int]
    rule: Rule = "default"
    seen: int = 0
    class_weights: tuple[float, ...] = ()


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
