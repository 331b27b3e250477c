"""LossParts: what a head costs, in parts."""

from dataclasses import dataclass
from typing import ClassVar, Self

from keras import ops

from darkconv.backends.keras.scope import Tensor


@dataclass(frozen=True)
class LossParts:
    """What each picture costs, (N,) all.

    Attributes:
        total: what to train by, the sum of the others; by the rule "darknet" it alone has a
            derivative.
        box: cost of matched boxes.
        objectness: of objectness where a truth is matched.
        no_object: of objectness elsewhere.
        classes: of class scores.
    """

    NAMES: ClassVar = ("box", "objectness", "no_object", "classes")

    total: Tensor
    box: Tensor
    objectness: Tensor
    no_object: Tensor
    classes: Tensor

    @classmethod
    def of(cls, box: Tensor, objectness: Tensor, no_object: Tensor, classes: Tensor) -> Self:
        """From the parts."""
        return cls(box + objectness + no_object + classes, box, objectness, no_object, classes)

    @classmethod
    def of_places(cls, box: Tensor, known: Tensor, claimed: Tensor, classes: Tensor) -> Self:
        """From costs of places.

        Args:
            box: (N, P, ...) of coordinates.
            known: (N, P) of objectness.
            claimed: (N, P) whether a truth is matched.
            classes: (N, P, classes).
        """
        return cls.of(
            summed(box),
            summed(ops.where(claimed, known, 0.0)),
            summed(ops.where(claimed, 0.0, known)),
            summed(classes),
        )

    @classmethod
    def of_classes(cls, total: Tensor) -> Self:
        """A cost (N,) of classes and nothing else."""
        none = ops.zeros_like(total)
        return cls(total, none, none, none, total)


def summed(values: Tensor) -> Tensor:
    """(N,) the sum of each picture's values (N, ...)."""
    return ops.sum(values, axis=tuple(range(1, len(values.shape))))
