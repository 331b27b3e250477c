"""Batches that other processes read while a network trains."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

from torch.utils.data import Dataset as TorchDataset

from darkconv.training.order import Draw

T = TypeVar("T")


class Pictures(Protocol):
    """A data set that gives a picture and its ground truth for each draw."""

    def __len__(self) -> int: ...
    def __getitem__(self, draw: Draw) -> Any: ...


class Batches(TorchDataset[T], Generic[T]):
    """Whole batches by the draws of their pictures."""

    def __init__(self, pictures: Pictures, collate: Callable[[Sequence[Any]], T]) -> None:
        """Create the data set; pictures are read when a batch is taken.

        Args:
            pictures: data set of the pictures.
            collate: makes a batch of pictures.
        """
        self.pictures = pictures
        self.collate = collate

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.pictures)

    def __getitems__(self, draws: Sequence[Draw]) -> T:
        """Return a batch.

        Raises:
            DatasetError: no picture of the data set can be read.
        """
        return self.collate([self.pictures[draw] for draw in draws])


def as_it_is(batch: T) -> T:
    """Return a batch unchanged: a DataLoader of `Batches` gets whole batches.

    Args:
        batch: batch of `Batches`.
    """
    return batch
