"""The layer types connected, implicit, implicit_add and implicit_mul."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from darkconv.core.dialect import ALEXEYAB, YOLOR
from darkconv.core.options import option
from darkconv.core.shape import Shape, Shapes
from darkconv.core.spec import Initial, LayerSpec, Slot, Slots, Ties, layer
from darkconv.layers.activation import activation_option
from darkconv.layers.conv import new_channels, norm_slots

YOLOR_SPREAD = 0.02
"""The initial values of yolor's constants have this standard deviation."""


@layer("connected", "conn")
@dataclass(frozen=True, kw_only=True)
class Connected(LayerSpec):
    """Matrix product with the flattened input, then batch norm or bias, then activation."""

    output: int = option(1, minimum=1)
    activation: str = activation_option("logistic")
    batch_normalize: bool = option(False)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the shape of a feature map with `output` channels and one pixel."""
        return Shape(self.output, 1, 1)

    def slots(self, inputs: Shapes) -> Slots:
        """Return biases, weights (outputs, inputs) and batch norm, which comes last here."""
        (x,) = inputs
        stored = 0 if self.dontloadscales else None
        norm = norm_slots(self.output, stored=stored) if self.batch_normalize else ()
        start = Initial(spread=math.sqrt(2 / x.size), noise="uniform")
        matrix = Slot("weights", (self.output, x.size), start, order="dense", in_axis=1)
        return (Slot("biases", (self.output,)), matrix, *norm)

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties of new channels."""
        return new_channels(self.output)

    def count_options(self, outputs: int) -> Mapping[str, object]:
        """Return `output`."""
        return {"output": outputs}

    def macs(self, inputs: Shapes, output: Shape) -> int:
        """Return one operation per weight."""
        return inputs[0].size * self.output


@dataclass(frozen=True, kw_only=True)
class Constant(LayerSpec):
    """A layer without inputs that outputs a learned constant of shape (filters, rows, 1)."""

    filters: int = option(128, minimum=1)

    @property
    def rows(self) -> int:
        """Return the number of rows of the output."""
        return 1

    @property
    def initial(self) -> Initial:
        """Return the distribution of the initial values."""
        raise NotImplementedError

    def sources(self, index: int) -> tuple[int, ...]:
        """Return no sources."""
        return ()

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return (filters, rows, 1)."""
        return Shape(self.filters, self.rows, 1)

    def slots(self, inputs: Shapes) -> Slots:
        """Return the slot of the constant."""
        return (Slot("weights", (self.filters, self.rows), self.initial),)

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties of new channels."""
        return new_channels(self.filters)

    def count_options(self, outputs: int) -> Mapping[str, object]:
        """Return `filters`."""
        return {"filters": outputs}


@layer("implicit", only=ALEXEYAB)
@dataclass(frozen=True, kw_only=True)
class Implicit(Constant):
    """A learned constant of shape (filters, atoms, 1); the input is ignored."""

    atoms: int = option(1, minimum=1)
    mean: float = option(0.0, training=True)
    std: float = option(0.2, training=True)

    @property
    def rows(self) -> int:
        """Return `atoms`."""
        return self.atoms

    @property
    def initial(self) -> Initial:
        """Return the distribution with the `mean` and the spread `std` of the cfg."""
        return Initial(self.mean, self.std, "uniform")


@layer("implicit_add", only=YOLOR)
@dataclass(frozen=True, kw_only=True)
class ImplicitAdd(Constant):
    """yolor's learned summand for each channel, (filters, 1, 1), read by [shift_channels]."""

    is_unsaved = True

    filters: int = option(128, minimum=1, required=True)

    @property
    def initial(self) -> Initial:
        """Return yolor's normal distribution around 0."""
        return Initial(0.0, YOLOR_SPREAD, "normal")


@layer("implicit_mul", only=YOLOR)
@dataclass(frozen=True, kw_only=True)
class ImplicitMul(Constant):
    """yolor's learned factor for each channel, (filters, 1, 1), read by [control_channels]."""

    is_unsaved = True

    filters: int = option(128, minimum=1, required=True)

    @property
    def initial(self) -> Initial:
        """Return yolor's normal distribution around 1."""
        return Initial(1.0, YOLOR_SPREAD, "normal")
