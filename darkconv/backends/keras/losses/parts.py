"""LossParts: the loss of a head, in parts."""

from dataclasses import dataclass
from typing import ClassVar, Self

from keras import ops

from darkconv.backends.keras.scope import Tensor


@dataclass(frozen=True)
class LossParts:
    """The loss of each picture; all tensors are (N,).

    Attributes:
        total: the loss to train by, the sum of the others; by the rule "darknet" it alone has a
            derivative.
        box: loss of the boxes of assigned places.
        objectness: loss of objectness at assigned places.
        no_object: loss of objectness at the other places.
        classes: loss of class scores.
    """

    NAMES: ClassVar = ("box", "objectness", "no_object", "classes")

    total: Tensor
    box: Tensor
    objectness: Tensor
    no_object: Tensor
    classes: Tensor

    @classmethod
    def of(cls, box: Tensor, objectness: Tensor, no_object: Tensor, classes: Tensor) -> Self:
        """Build the loss from its parts; the total is their sum.

        Args:
            box: (N,) loss of boxes.
            objectness: (N,) loss of objectness at assigned places.
            no_object: (N,) loss of objectness at the other places.
            classes: (N,) loss of class scores.
        """
        return cls(box + objectness + no_object + classes, box, objectness, no_object, classes)

    @classmethod
    def of_places(cls, box: Tensor, known: Tensor, claimed: Tensor, classes: Tensor) -> Self:
        """Build the loss from the losses of places.

        Args:
            box: (N, P, ...) losses of coordinates.
            known: (N, P) losses of objectness.
            claimed: (N, P) True for places that are assigned to a truth.
            classes: (N, P, classes) losses of class scores.
        """
        return cls.of(
            summed(box),
            summed(ops.where(claimed, known, 0.0)),
            summed(ops.where(claimed, 0.0, known)),
            summed(classes),
        )

    @classmethod
    def of_classes(cls, total: Tensor) -> Self:
        """Build a loss of classes alone.

        Args:
            total: (N,) the loss.
        """
        none = ops.zeros_like(total)
        return cls(total, none, none, none, total)


def summed(values: Tensor) -> Tensor:
    """Sum the values of each picture: (N,).

    Args:
        values: (N, ...) values.
    """
    return ops.sum(values, axis=tuple(range(1, len(values.shape))))
