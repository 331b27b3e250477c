"""The layer types dropout, cost, empty, contrastive and history, which do little at inference."""

from dataclasses import dataclass

import numpy as np

from darkconv.core.dialect import ALEXEYAB, PJREDDIE
from darkconv.core.options import option
from darkconv.core.shape import FlatShape, Shape, Shapes
from darkconv.core.spec import LayerSpec, Ties, layer, value_ties


@layer("dropout")
@dataclass(frozen=True, kw_only=True)
class Dropout(LayerSpec):
    """The identity at inference."""

    probability: float = option(0.2, pjreddie=0.5, minimum=0, maximum=1, training=True)
    dropblock: bool = option(False, only=ALEXEYAB, training=True)
    dropblock_size_rel: float = option(0.0, only=ALEXEYAB, training=True)
    dropblock_size_abs: float = option(0.0, only=ALEXEYAB, training=True)

    @property
    def rate(self) -> float:
        """Return the share of values that training drops, limited to 0 to 1."""
        return max(0.0, min(self.probability, 1.0))


@layer("empty", "silence", only=ALEXEYAB)
@dataclass(frozen=True, kw_only=True)
class Empty(LayerSpec):
    """The identity."""


@dataclass(frozen=True, kw_only=True)
class Loss(LayerSpec):
    """A layer that compares every value with a truth value in training."""

    binding = "compares them with a truth"

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the shape of a vector with all values."""
        return FlatShape.of(inputs[0].size)

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties of a flattened feature map."""
        return value_ties(inputs[0])

    def locks_inputs(self, inputs: Shapes) -> str:
        """Return the reason: the number of truth values is fixed."""
        return "a loss compares each value with a truth"


@layer("cost")
@dataclass(frozen=True, kw_only=True)
class Cost(Loss):
    """A training loss; at inference its output is zero, as in C, also in a trace."""

    kind: str = option("sse", key="type", training=True)
    scale: float = option(1.0, training=True)
    ratio: float = option(0.0, training=True)
    noobj: float = option(1.0, only=PJREDDIE, training=True)
    thresh: float = option(0.0, only=PJREDDIE, training=True)


@layer("contrastive", only=ALEXEYAB)
@dataclass(frozen=True, kw_only=True)
class Contrastive(Loss):
    """A training loss on embeddings; at inference its output is zero, as in C."""

    classes: int = option(1000, training=True)
    yolo_layer: int = option(0, training=True)
    temperature: float = option(1.0, training=True)
    cls_normalizer: float = option(1.0, training=True)
    max_delta: float = option(float("inf"), training=True)
    contrastive_neg_max: int = option(3, training=True)


@layer("history", only=ALEXEYAB)
@dataclass(frozen=True, kw_only=True)
class History(LayerSpec):
    """A buffer of `history_size` feature maps; one step of inference fills only the first."""

    binding = "keeps several of them, one per step"

    history_size: int = option(4, minimum=1)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """Return the input shape with `history_size` times the channels."""
        (x,) = inputs
        return Shape(x.c * self.history_size, x.h, x.w)

    def ties(self, inputs: Shapes) -> Ties:
        """Return the ties of all copies to the input, even those that are zero in a single step."""
        return np.tile(np.arange(inputs[0].c), self.history_size).reshape(-1, 1)
