"""Training pictures: a data set as network input, with augmentation and ground truth boxes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from darkconv.augmentation.augment import Augmentation, Painted
from darkconv.augmentation.box_rows import (
    Rect,
    Rows,
    clipped,
    fitted,
    is_visible,
    kept,
    numbers_of,
    sample_rows,
    truths,
)
from darkconv.augmentation.mosaic import Tile, draw_tiles
from darkconv.augmentation.picture_cache import CACHE, Page, PictureCache
from darkconv.augmentation.sampler import Draw
from darkconv.dataset import Dataset
from darkconv.dataset.label import Size
from darkconv.pictures.picture import PictureFit
from darkconv.training.loader import stacked

NOTHING = -1.0
"""Class of padding rows in a batch."""


class TrainingPictures(TorchDataset[tuple[Tensor, Tensor]]):
    """Pictures of a data set by `Draw`; the result depends on the seed and the draw alone.

    `pictures[draw]` is (x, truths): x float32 (C, H, W) in 0..1, truths float32 (k, 5), rows of
    class and centre x, centre y, width, height relative to the network input. Without augmentation
    x is exactly the network input of detection.

    Boxes are moved with the pixels and clipped to the canvas; those of which too little is left are
    dropped: see `darkconv.augmentation.box_rows`. A picture that cannot be read is reported once,
    and replaced by the next good one.
    """

    def __init__(
        self,
        dataset: Dataset,
        names: Sequence[str],
        size: Size,
        *,
        channels: int,
        letterbox: bool,
        augmentation: Augmentation,
        seed: int,
        difficult: bool = False,
        cache: int = CACHE,
    ) -> None:
        """Create the data set; pictures are read when they are drawn.

        Args:
            dataset: pictures with their boxes.
            names: class names in the network's order; boxes of other classes are left out.
            size: (width, height) of the network input, unless a draw has another.
            channels: channels of the network input, 1 or 3.
            letterbox: keep the aspect ratio of pictures; otherwise they are stretched.
            augmentation: random changes of pictures.
            seed: seed of all randomness.
            difficult: use boxes marked difficult too; Darknet's script for Pascal VOC leaves them
                out.
            cache: bytes of decoded pictures to cache.
        """
        self.samples = dataset.samples
        self.classes = numbers_of(names)
        self.size = size
        self.letterbox = letterbox
        self.augmentation = augmentation
        self.seed = seed
        self.difficult = difficult
        self.decoded = PictureCache(
            [sample.image for sample in self.samples],
            channels=channels,
            source=dataset.source,
            need=None if augmentation.is_none else size,
            cache=cache,
        )

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.samples)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """Return a picture and its boxes.

        Raises:
            DatasetError: no picture of the data set can be read.
        """
        size = draw.size or self.size
        if self.augmentation.is_none:
            x, rows = self._plain(draw.sample, size)
        else:
            rng = np.random.default_rng([self.seed, draw.turn])
            is_mosaic = self.augmentation.mosaic and rng.random() < 0.5
            x, rows = (self._mosaic if is_mosaic else self._single)(draw.sample, rng, size)
        return torch.from_numpy(x), torch.from_numpy(truths(rows, size))

    def _plain(self, number: int, size: Size) -> Painted:
        """Return a picture as detection sees it."""
        page = self.decoded.read(number)
        fit = PictureFit(page.size, size, self.letterbox)
        rows = fitted(self._rows(page), fit.inner, size)
        return Painted(fit.apply(page.picture), kept(rows, Rect(0, 0, *size)))

    def _single(self, number: int, rng: np.random.Generator, size: Size) -> Painted:
        """Return one picture with augmentation."""
        x, rows = self._paint(number, rng, size)
        return Painted(x, kept(rows, Rect(0, 0, *size)))

    def _mosaic(self, number: int, rng: np.random.Generator, size: Size) -> Painted:
        """Return a mosaic of four pictures, with this one at the top left."""
        x = np.empty((self.decoded.channels, size[1], size[0]), np.float32)
        numbers = [number, *rng.integers(len(self.samples), size=3).tolist()]
        found: list[Rows] = []
        for one, tile in zip(numbers, draw_tiles(rng, size), strict=True):
            left, top, right, bottom = tile.area
            x[:, top:bottom, left:right], rows = self._paint(one, rng, size, tile)
            rows = rows + np.array([0, left, top, left, top])
            limit = tile.area if self.augmentation.bound else Rect(0, 0, *size)
            found.append(clipped(rows[is_visible(rows, tile.area)], limit))
        return Painted(x, np.concatenate(found))

    def _paint(
        self, number: int, rng: np.random.Generator, size: Size, tile: Tile | None = None
    ) -> Painted:
        """Return a picture with augmentation, or the part that a tile of a mosaic shows of it."""
        page = self.decoded.read(number)
        view = self.augmentation.draw_view(rng, page.size, size, letterbox=self.letterbox)
        if tile is not None:
            view, size = tile.choose(rng, view, size), tile.size
        return self.augmentation.paint(rng, view, page.picture, self._rows(page), size)

    def _rows(self, page: Page) -> Rows:
        """Return the boxes that count, relative to the picture."""
        sample = self.samples[page.number]
        return sample_rows(sample, self.classes, page.size, difficult=self.difficult)


def collate(batch: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Collect pictures and boxes in a batch.

    Args:
        batch: pairs of a picture (C, H, W) and its boxes (k, 5).

    Returns:
        Pictures (N, C, H, W) in the network's memory order, and boxes (N, T, 5), with padding rows
        of class -1.
    """
    most = max(1, *(len(rows) for _, rows in batch))
    padded = torch.full((len(batch), most, 5), NOTHING)
    for place, (_, rows) in enumerate(batch):
        padded[place, : len(rows)] = rows
    return stacked([x for x, _ in batch]), padded
