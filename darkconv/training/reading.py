"""Batches that other processes read while a network trains."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from torch.utils.data import Dataset as TorchDataset

from darkconv.training.order import Draw

T = TypeVar("T")


class Pictures(Protocol):
    """What a task reads: a picture and its truth by draw."""

    def __len__(self) -> int: ...
    def __getitem__(self, draw: Draw) -> Any: ...


class Batches(TorchDataset[T], Generic[T]):
    """Whole batches by the draws of their pictures."""

    def __init__(self, pictures: Pictures, collate: Callable[[Sequence[Any]], T]) -> None:
        """Batches that are read later.

        Args:
            pictures: to read.
            collate: makes a batch of them.
        """
        self.pictures = pictures
        self.collate = collate

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.pictures)

    def __getitems__(self, draws: Sequence[Draw]) -> T:
        """A batch.

        Raises:
            DatasetError: no picture of the data set can be read.
        """
        return self.collate([self.pictures[draw] for draw in draws])


def as_it_is(batch: T) -> T:
    """For a DataLoader of `Batches`, which are made already."""
    return batch
