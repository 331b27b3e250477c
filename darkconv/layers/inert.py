"""dropout, cost, empty, contrastive, history: little or nothing to do at inference."""

from dataclasses import dataclass

import numpy as np

from darkconv.core.dialect import ALEXEYAB, PJREDDIE
from darkconv.core.options import option
from darkconv.core.shape import FlatShape, Shape, Shapes
from darkconv.core.spec import LayerSpec, Ties, layer, value_ties


@layer("dropout")
@dataclass(frozen=True, kw_only=True)
class Dropout(LayerSpec):
    """Identity at inference."""

    probability: float = option(0.2, pjreddie=0.5, minimum=0, maximum=1, training=True)
    dropblock: bool = option(False, only=ALEXEYAB, training=True)
    dropblock_size_rel: float = option(0.0, only=ALEXEYAB, training=True)
    dropblock_size_abs: float = option(0.0, only=ALEXEYAB, training=True)

    @property
    def rate(self) -> float:
        """Share of values that training drops, within 0..1 whatever the cfg says."""
        return max(0.0, min(self.probability, 1.0))


@layer("empty", "silence", only=ALEXEYAB)
@dataclass(frozen=True, kw_only=True)
class Empty(LayerSpec):
    """Identity."""


@dataclass(frozen=True, kw_only=True)
class Loss(LayerSpec):
    """A layer that compares every value with a truth in training."""

    binding = "compares them with a truth"

    def infer_shape(self, inputs: Shapes) -> Shape:
        """A vector."""
        return FlatShape.of(inputs[0].size)

    def ties(self, inputs: Shapes) -> Ties:
        """Value by value."""
        return value_ties(inputs[0])

    def locks_inputs(self, inputs: Shapes) -> str:
        """The truth has as many values."""
        return "a loss compares each value with a truth"


@layer("cost")
@dataclass(frozen=True, kw_only=True)
class Cost(Loss):
    """A training loss. At inference C leaves its output at zero, and so does a trace."""

    kind: str = option("sse", key="type", training=True)
    scale: float = option(1.0, training=True)
    ratio: float = option(0.0, training=True)
    noobj: float = option(1.0, only=PJREDDIE, training=True)
    thresh: float = option(0.0, only=PJREDDIE, training=True)


@layer("contrastive", only=ALEXEYAB)
@dataclass(frozen=True, kw_only=True)
class Contrastive(Loss):
    """A training loss on embeddings. At inference C leaves its output at zero."""

    classes: int = option(1000, training=True)
    yolo_layer: int = option(0, training=True)
    temperature: float = option(1.0, training=True)
    cls_normalizer: float = option(1.0, training=True)
    max_delta: float = option(float("inf"), training=True)
    contrastive_neg_max: int = option(3, training=True)


@layer("history", only=ALEXEYAB)
@dataclass(frozen=True, kw_only=True)
class History(LayerSpec):
    """Room for `history_size` maps, of which one step of inference fills the first."""

    binding = "keeps several of them, one per step"

    history_size: int = option(4, minimum=1)

    def infer_shape(self, inputs: Shapes) -> Shape:
        """history_size times the channels."""
        (x,) = inputs
        return Shape(x.c * self.history_size, x.h, x.w)

    def ties(self, inputs: Shapes) -> Ties:
        """Every copy follows the input, also those that are zero in a single step."""
        return np.tile(np.arange(inputs[0].c), self.history_size).reshape(-1, 1)
