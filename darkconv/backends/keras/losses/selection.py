"""From truths to places and back, with shapes that do not depend on the values."""

from dataclasses import dataclass
from typing import Self

from keras import ops

from darkconv.backends.keras.scope import Tensor


def rows_at(table: Tensor, index: Tensor) -> Tensor:
    """Rows (N, P, ...) of a table (N, T, ...) by their numbers (N, P); below 0 means the first."""
    index = ops.maximum(index, 0)
    for _ in table.shape[2:]:
        index = ops.expand_dims(index, -1)
    return ops.take_along_axis(table, index, axis=1)


def placed(values: Tensor, places: Tensor, chosen: Tensor, count: int) -> Tensor:
    """Values at their places (N, count), -1 where there is none.

    Args:
        values: (N, ...) int32.
        places: (N, ...) int32, numbers below `count`.
        chosen: (N, ...) which of them count; those at one place have equal values.
        count: places of a picture.
    """
    each = count + 1  # those not chosen go to a place of their own
    images = ops.shape(places)[0]
    index = ops.reshape(ops.where(chosen, places, count), (images, -1))
    index = index + ops.expand_dims(ops.arange(images, dtype="int32") * each, 1)
    empty = ops.zeros((images * each,), dtype="int32") - 1
    flat = ops.reshape(index, (-1, 1)), ops.reshape(values, (-1,))
    filled = ops.scatter_update(empty, *flat)
    return ops.reshape(filled, (-1, each))[:, :count]


def is_class(classes: Tensor, count: int) -> Tensor:
    """(..., count) whether each class is the one of (...)."""
    return ops.expand_dims(classes, -1) == ops.arange(count, dtype="int32")


@dataclass(frozen=True)
class Matches:
    """Which places truths are matched with; a truth may want several of its cell.

    Attributes:
        wanted: (N, T, k) whether.
        places: (N, T, k) numbers of places.
        ranks: (N, T, k) how many matches come before at the same place.
        is_last: (N, T, k) whether none comes after.
    """

    wanted: Tensor
    places: Tensor
    ranks: Tensor
    is_last: Tensor

    @classmethod
    def of(cls, wanted: Tensor, places: Tensor) -> Self:
        """Equal places stand in equal columns: [:, :, j] of two truths are compared alone."""
        order = ops.arange(ops.shape(wanted)[1], dtype="int32")
        is_before = (order[:, None] > order)[None, :, :, None]
        same = (places[:, :, None] == places[:, None]) & wanted[:, None]
        before = ops.sum(ops.cast(same & is_before, "int32"), axis=2)
        every = ops.sum(ops.cast(same, "int32"), axis=2)
        return cls(wanted, places, before, wanted & (every == before + 1))

    @property
    def rounds(self) -> Tensor:
        """How many truths the place that most want has."""
        return ops.max(ops.where(self.wanted, self.ranks + 1, 0))

    def owners(self, chosen: Tensor, count: int) -> Tensor:
        """(N, count) the truth at each place, of those chosen (N, T, k); -1 for none."""
        order = ops.arange(ops.shape(self.wanted)[1], dtype="int32")[None, :, None]
        truths = order + ops.zeros_like(self.places)
        return placed(truths, self.places, chosen, count)

    def last(self, count: int) -> Tensor:
        """(N, count) the last truth at each place."""
        return self.owners(self.is_last, count)

    def round(self, number: Tensor, count: int) -> Tensor:
        """(N, count) the truth at each place that has the given rank there."""
        return self.owners(self.wanted & (self.ranks == number), count)
