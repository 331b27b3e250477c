"""What a network with fewer channels would cost, without building it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkconv.core.network import Layer
from darkconv.errors import PlanError
from darkconv.surgery.channels import ChannelClasses

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The most that is to be kept: one of these.

    Attributes:
        params: share of the parameters.
        macs: share of the multiply-accumulates.
        size: bytes of the weights file.
    """

    params: float | None = None
    macs: float | None = None
    size: int | None = None


class Costs:
    """Parameters and multiply-accumulates of a network without some classes.

    Each layer's cost is taken in proportion to its channels: arrays with an input axis shrink
    with inputs and outputs, others with outputs.
    """

    def __init__(self, classes: ChannelClasses) -> None:
        self.classes = classes
        self.layers = [layer for layer in classes.network.layers if layer.slots or layer.macs]
        self.parameters = sum(layer.parameters for layer in self.layers)
        self.macs = sum(layer.macs for layer in self.layers)

    def of(self, removed: Mask) -> tuple[float, float]:
        """(parameters, multiply-accumulates)."""
        parameters, macs = 0.0, 0.0
        for layer in self.layers:
            outputs = self._share(layer.index, removed)
            inputs = self._input_share(layer, removed)
            for slot in layer.slots:
                share = outputs if slot.out_axis is not None else 1.0
                share *= inputs if slot.in_axis is not None else 1.0
                parameters += slot.count * share
            reads = any(slot.in_axis is not None for slot in layer.slots)
            macs += layer.macs * outputs * (inputs if reads else 1.0)
        return parameters, macs

    def _share(self, index: int, removed: Mask) -> float:
        return float(1 - removed[self.classes.of(index)].mean())

    def _input_share(self, layer: Layer, removed: Mask) -> float:
        if not layer.sources:
            return 1.0
        sources = [self.classes.of(source) for source in layer.sources]
        return float(1 - removed[np.concatenate(sources)].mean())

    def exceeds(self, budget: Budget, removed: Mask) -> bool:
        """Whether what is left is more than the budget."""
        parameters, macs = self.of(removed)
        if budget.params is not None:
            return parameters > budget.params * self.parameters
        if budget.macs is not None:
            return macs > budget.macs * self.macs
        if budget.size is not None:
            return 4 * parameters > budget.size
        raise PlanError("a budget of nothing")

    def describe(self, budget: Budget, removed: Mask) -> str:
        """What is left, in the budget's unit."""
        parameters, macs = self.of(removed)
        if budget.params is not None:
            return f"{parameters / self.parameters:.3f} of the parameters"
        if budget.macs is not None:
            return f"{macs / self.macs:.3f} of the MACs"
        return f"{4 * parameters:,.0f} bytes"
