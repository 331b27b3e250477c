"""The layer types batchnorm, normalization, l2norm, activation, softmax and logistic."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkconv.core.dialect import PJREDDIE
from darkconv.core.network import Layer, Network
from darkconv.core.options import Ints, option
from darkconv.core.shape import FlatShape, Shape, Shapes
from darkconv.core.spec import HeadSpec, LayerSpec, Slot, Slots, Ties, layer, value_ties
from darkconv.core.tree import Tree
from darkconv.errors import GraphError, Where
from darkconv.layers.activation import activation_option
from darkconv.layers.conv import norm_slots
from darkconv.layers.head import check_kept


@layer("batchnorm")
@dataclass(frozen=True, kw_only=True)
class Batchnorm(LayerSpec):
    """scale * (x - mean) / deviation + bias for each channel; pjreddie stores no biases."""

    needs_map = True

    def slots(self, inputs: Shapes) -> Slots:
        """Return the slots of biases (alexeyab only), scales, mean and variance."""
        (x,) = inputs
        biases = (Slot("biases", (x.c,)),) if self.dialect.batchnorm_has_biases else ()
        return (*biases, *norm_slots(x.c))


@layer("normalization", "lrn")
@dataclass(frozen=True, kw_only=True)
class Normalization(LayerSpec):
    """Local response normalization across channels, with a term missing as in C.

    norm[k] = kappa + alpha * (sum of in[m]^2 for k - (size - 1) / 2 <= m <= k + size / 2, less
    in[size / 2]^2). Both C programs leave out that one channel for every k.
    """

    needs_map = True

    size: int = option(5, minimum=1)
    alpha: float = option(0.0001)
    beta: float = option(0.75)
    kappa: float = option(1.0)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the shape of the input."""
        if inputs[0].c <= self.size // 2:
            raise GraphError(
                where=Where(option="size"),
                expected=f"less than twice the {inputs[0].c} channels",
                found=self.size,
            )
        return inputs[0]

    def locks_inputs(self, inputs: Shapes) -> str:
        """Return the reason: channels are divided by their neighbours."""
        return "it divides channels by their neighbours"


@layer("l2norm", only=PJREDDIE)
@dataclass(frozen=True, kw_only=True)
class L2norm(LayerSpec):
    """Each pixel divided by the length of its channel vector, without an epsilon."""

    def locks_inputs(self, inputs: Shapes) -> str:
        """Return the reason: every channel contributes to the length."""
        return "it divides channels by the length of all"


@layer("activation")
@dataclass(frozen=True, kw_only=True)
class Activation(LayerSpec):
    """An activation function as a layer."""

    activation: str = activation_option("linear")


@layer("logistic", only=PJREDDIE)
@dataclass(frozen=True, kw_only=True)
class Logistic(LayerSpec):
    """The sigmoid of every value; in training also a loss."""


@layer("softmax", "soft")
@dataclass(frozen=True, kw_only=True)
class Softmax(HeadSpec):
    """Softmax over `groups` equal parts of the flattened input, or over each group of a tree.

    `spatial` is read but has no effect, as in C's CPU code.
    """

    groups: int = option(1, minimum=1)
    temperature: float = option(1.0)
    tree: str = option("")
    spatial: bool = option(False)
    keep_classes: Ints = option(())
    """An option that Darknet does not have: the values kept after the softmax; empty for all."""
    noloss: bool = option(False, training=True)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the shape of a vector with the kept values."""
        (x,) = inputs
        if x.size % self.groups:
            raise GraphError(
                where=Where(option="groups"),
                expected=f"a divisor of {x.size} values",
                found=self.groups,
            )
        if self.temperature == 0:
            raise GraphError(where=Where(option="temperature"), expected="not 0", found=0)
        check_kept(self.keep_classes, x.size)
        return FlatShape.of(len(self.keep_classes) or x.size)

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties of each value to the channel that holds it."""
        ties = value_ties(inputs[0])
        return ties[list(self.keep_classes)] if self.keep_classes else ties

    def num_classes(self, inputs: Shapes) -> int:
        """Return the number of values."""
        return len(self.keep_classes) or inputs[0].size

    def class_rows(self, inputs: Shapes, keep: Sequence[int]) -> npt.NDArray[np.int64]:
        """Return the indices of the kept classes."""
        return np.array(keep)


def required_tree(layer: Layer, network: Network, classes: int) -> Tree | None:
    """Return the class tree that a layer's `tree=` names; None if it names none.

    Args:
        layer: a layer that may have the option `tree=`.
        network: gives the place in the cfg for the message.
        classes: largest number of classes that the tree may have.

    Raises:
        GraphError: the file of the tree was not found, or it has more classes.
    """
    name = getattr(layer.spec, "tree", "")
    if not name:
        return None
    where = network.where(layer.index, "tree")
    if layer.tree is None:
        raise GraphError(
            f"{name} was not found beside the cfg, above it or in the working folder",
            where=where,
        )
    if len(layer.tree.parents) > classes:
        raise GraphError(
            where=where,
            expected=f"a tree of at most {classes} classes",
            found=len(layer.tree.parents),
        )
    return layer.tree
