"""Selection of truths by place and of places by truth, with shapes that do not depend on values."""

from dataclasses import dataclass
from typing import Self

from keras import ops

from darkconv.backends.keras.scope import Tensor


def rows_at(table: Tensor, index: Tensor) -> Tensor:
    """Return rows of a table by their numbers.

    Args:
        table: (N, T, ...) rows.
        index: (N, P) row numbers from 0; negative ones count as 0.

    Returns:
        A tensor (N, P, ...).
    """
    index = ops.maximum(index, 0)
    for _ in table.shape[2:]:
        index = ops.expand_dims(index, -1)
    return ops.take_along_axis(table, index, axis=1)


def placed(values: Tensor, places: Tensor, chosen: Tensor, count: int) -> Tensor:
    """Return values at their places (N, count), -1 at the others.

    Args:
        values: (N, ...) int32 values.
        places: (N, ...) int32 place of each value, from 0 and below `count`.
        chosen: (N, ...) True for values that count; those at one place are equal.
        count: number of places of a picture.
    """
    each = count + 1  # values that are not chosen go to an extra place
    images = ops.shape(places)[0]
    index = ops.reshape(ops.where(chosen, places, count), (images, -1))
    index = index + ops.expand_dims(ops.arange(images, dtype="int32") * each, 1)
    empty = ops.zeros((images * each,), dtype="int32") - 1
    flat = ops.reshape(index, (-1, 1)), ops.reshape(values, (-1,))
    filled = ops.scatter_update(empty, *flat)
    return ops.reshape(filled, (-1, each))[:, :count]


def is_class(classes: Tensor, count: int) -> Tensor:
    """Return a mask (..., count): True for the class.

    Args:
        classes: (...) int32 classes, from 0.
        count: number of classes.
    """
    return ops.expand_dims(classes, -1) == ops.arange(count, dtype="int32")


@dataclass(frozen=True)
class Matches:
    """The places that truths are matched with; a truth may have several of its cell.

    Attributes:
        wanted: (N, T, k) True for matches.
        places: (N, T, k) numbers of places.
        ranks: (N, T, k) number of earlier matches of the same place.
        is_last: (N, T, k) True if no later match has the same place.
    """

    wanted: Tensor
    places: Tensor
    ranks: Tensor
    is_last: Tensor

    @classmethod
    def of(cls, wanted: Tensor, places: Tensor) -> Self:
        """Build matches; equal places must stand in equal columns, which are compared alone.

        Args:
            wanted: (N, T, k) True for matches.
            places: (N, T, k) numbers of places.
        """
        order = ops.arange(ops.shape(wanted)[1], dtype="int32")
        is_before = (order[:, None] > order)[None, :, :, None]
        same = (places[:, :, None] == places[:, None]) & wanted[:, None]
        before = ops.sum(ops.cast(same & is_before, "int32"), axis=2)
        every = ops.sum(ops.cast(same, "int32"), axis=2)
        return cls(wanted, places, before, wanted & (every == before + 1))

    @property
    def rounds(self) -> Tensor:
        """Largest number of truths that one place has."""
        return ops.max(ops.where(self.wanted, self.ranks + 1, 0))

    def owners(self, chosen: Tensor, count: int) -> Tensor:
        """Return the truth at each place (N, count), of the chosen matches; -1 for none.

        Args:
            chosen: (N, T, k) True for matches that count.
            count: number of places of a picture.
        """
        order = ops.arange(ops.shape(self.wanted)[1], dtype="int32")[None, :, None]
        truths = order + ops.zeros_like(self.places)
        return placed(truths, self.places, chosen, count)

    def last(self, count: int) -> Tensor:
        """Return the last truth at each place (N, count); -1 for none.

        Args:
            count: number of places of a picture.
        """
        return self.owners(self.is_last, count)

    def round(self, number: Tensor, count: int) -> Tensor:
        """Return the truth of a given rank at each place (N, count); -1 for none.

        Args:
            number: rank, from 0.
            count: number of places of a picture.
        """
        return self.owners(self.wanted & (self.ranks == number), count)
