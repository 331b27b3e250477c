"""Training pictures for classifiers, each with one class."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from darkconv.augmentation.augment import Augmentation
from darkconv.augmentation.colour import distort
from darkconv.augmentation.picture_cache import CACHE, PictureCache
from darkconv.augmentation.sampler import Draw
from darkconv.dataset.label import Size
from darkconv.pictures.crop import centre_crop
from darkconv.training.loader import stacked


class ClassifiedPictures(TorchDataset[tuple[Tensor, Tensor]]):
    """Pictures by `Draw`; the result depends on the seed and the draw alone.

    `pictures[draw]` is (x, truth): x float32 (C, H, W) in 0..1, truth float32 (classes,), 1 for the
    picture's class and 0 for the others. Without augmentation x is the centre crop. A picture that
    cannot be read is reported once, and replaced by the next good one.
    """

    def __init__(
        self,
        samples: Sequence[tuple[Path, int]],
        classes: int,
        size: Size,
        *,
        channels: int,
        augmentation: Augmentation,
        seed: int,
        cache: int = CACHE,
    ) -> None:
        """Create the data set; pictures are read when they are drawn.

        Args:
            samples: files, with the class of each, from 0.
            classes: number of classes of the network.
            size: (width, height) of the network input, unless a draw has another.
            channels: channels of the network input, 1 or 3.
            augmentation: random changes of pictures.
            seed: seed of all randomness.
            cache: bytes of decoded pictures to cache.
        """
        self.numbers = tuple(number for _, number in samples)
        self.classes = classes
        self.size = size
        self.augmentation = augmentation
        self.seed = seed
        self.decoded = PictureCache(
            [path for path, _ in samples],
            channels=channels,
            source=str(samples[0][0].parent) if samples else "",
            need=None if augmentation.is_none else size,
            cache=cache,
        )

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.numbers)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """Return a picture and its class.

        Raises:
            DatasetError: no picture can be read.
        """
        page = self.decoded.read(draw.sample)
        size = draw.size or self.size
        if self.augmentation.is_none:
            x = centre_crop(page.picture, size)
        else:
            rng = np.random.default_rng([self.seed, draw.turn])
            shape = (page.picture.shape[1], page.picture.shape[0])
            crop = self.augmentation.crop.draw(rng, shape, size)
            flip = self.augmentation.flip and bool(rng.random() < 0.5)
            change = self.augmentation.colours.draw(rng)
            x = distort(crop.apply(page.picture, flip=flip), change)
        truth = torch.zeros(self.classes)
        truth[self.numbers[page.number]] = 1.0
        return torch.from_numpy(x), truth


def collate_classified(batch: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Collect pictures and classes in a batch.

    Args:
        batch: pairs of a picture (C, H, W) and its truth (classes,).

    Returns:
        Pictures (N, C, H, W) in the network's memory order, and truths (N, classes).
    """
    return stacked([x for x, _ in batch]), torch.stack([t for _, t in batch])
