"""connected, implicit."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from darkconv.core.dialect import ALEXEYAB
from darkconv.core.options import option
from darkconv.core.shape import Shape, Shapes
from darkconv.core.spec import Initial, LayerSpec, Slot, Slots, Ties, layer
from darkconv.layers.activation import activation_option
from darkconv.layers.conv import new_channels, norm_slots


@layer("connected", "conn")
@dataclass(frozen=True, kw_only=True)
class Connected(LayerSpec):
    """Matrix product with the flattened input, batch norm or bias, activation."""

    output: int = option(1, minimum=1)
    activation: str = activation_option("logistic")
    batch_normalize: bool = option(False)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """A map of `output` channels and one pixel."""
        return Shape(self.output, 1, 1)

    def slots(self, inputs: Shapes) -> Slots:
        """Biases, weights (outputs, inputs), batch norm: unlike convolutional, it comes last."""
        (x,) = inputs
        stored = 0 if self.dontloadscales else None
        norm = norm_slots(self.output, stored=stored) if self.batch_normalize else ()
        start = Initial(spread=math.sqrt(2 / x.size), noise="uniform")
        matrix = Slot("weights", (self.output, x.size), start, order="dense", in_axis=1)
        return (Slot("biases", (self.output,)), matrix, *norm)

    def ties(self, inputs: Shapes) -> Ties:
        """New channels."""
        return new_channels(self.output)

    def count_options(self, outputs: int) -> Mapping[str, object]:
        """`output`."""
        return {"output": outputs}

    def macs(self, inputs: Shapes, output: Shape) -> int:
        """One per weight."""
        return inputs[0].size * self.output


@layer("implicit", only=ALEXEYAB)
@dataclass(frozen=True, kw_only=True)
class Implicit(LayerSpec):
    """A learned constant of shape (filters, atoms, 1); the input is ignored."""

    filters: int = option(128, minimum=1)
    atoms: int = option(1, minimum=1)
    mean: float = option(0.0, training=True)
    std: float = option(0.2, training=True)

    def sources(self, index: int) -> tuple[int, ...]:
        """None."""
        return ()

    def infer_shape(self, inputs: Shapes) -> Shape:
        """(filters, atoms, 1)."""
        return Shape(self.filters, self.atoms, 1)

    def slots(self, inputs: Shapes) -> Slots:
        """The constant."""
        start = Initial(self.mean, self.std, "uniform")
        return (Slot("weights", (self.filters, self.atoms), start),)

    def ties(self, inputs: Shapes) -> Ties:
        """New channels."""
        return new_channels(self.filters)

    def count_options(self, outputs: int) -> Mapping[str, object]:
        """`filters`."""
        return {"filters": outputs}
