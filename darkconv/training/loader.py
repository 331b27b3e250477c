"""Loading of batches, which other processes read while a network trains."""

from collections.abc import Callable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import default_collate

from darkconv.augmentation.sampler import Draw


def stacked(pictures: Sequence[Tensor]) -> Tensor:
    """Collect pictures in a batch (N, C, H, W), in channels-last memory.

    In a worker process of a DataLoader the batch lies in memory shared with the main process.

    Args:
        pictures: float32 tensors (C, H, W) of one size.
    """
    if len(pictures[0]) == 1:  # a single channel is first and last
        batch: Tensor = default_collate(list(pictures))
        return batch
    batch = default_collate([_interleaved(x) for x in pictures])
    return batch.permute(0, 3, 1, 2)


def _interleaved(x: Tensor) -> Tensor:
    """Return (C, H, W) as (H, W, C), plane by plane, in half the time of torch's `contiguous`."""
    out = np.empty((*x.shape[1:], len(x)), np.float32)
    for channel, plane in enumerate(x.numpy()):
        out[..., channel] = plane
    return torch.from_numpy(out)


T = TypeVar("T")


class TrainingSamples(Protocol):
    """A data set that gives a picture and its ground truth for each draw."""

    def __len__(self) -> int: ...
    def __getitem__(self, draw: Draw) -> Any: ...


class Batches(TorchDataset[T], Generic[T]):
    """Whole batches by the draws of their pictures."""

    def __init__(self, pictures: TrainingSamples, collate: Callable[[Sequence[Any]], T]) -> None:
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
