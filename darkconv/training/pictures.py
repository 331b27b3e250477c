"""Training pictures: a data set as network input, changed at random, with true boxes."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from darkconv.dataset import Dataset
from darkconv.dataset.label import Size
from darkconv.pictures.picture import Fit
from darkconv.training.album import CACHE, Album, Page
from darkconv.training.augment import Augmentation, Painted
from darkconv.training.batch import stacked
from darkconv.training.mosaic import Tile, draw_tiles
from darkconv.training.order import Draw
from darkconv.training.rows import (
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

NOTHING = -1.0
"""Class of the rows that fill a batch's truths up."""


class TrainingPictures(TorchDataset[tuple[Tensor, Tensor]]):
    """Pictures of a data set by `Draw`: what comes depends on the seed and the draw alone.

    `pictures[draw]` is (x, truths): x float32 (C, H, W) in 0..1, truths (k, 5) float32, class and
    centre x, centre y, width, height relative to the network input. Where nothing is changed at
    random, x is exactly what detection makes of the picture.

    Boxes are moved with the pixels and clipped to the canvas; those of which too little is left
    are dropped: see `darkconv.training.rows`. A picture that cannot be read is told once, and the
    next good one stands in for it.
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
        """Pictures that are read later.

        Args:
            dataset: pictures and their boxes.
            names: classes in the network's order; boxes of others do not count.
            size: (width, height) of the network input where a draw says nothing else.
            channels: of the network input.
            letterbox: how pictures are fitted.
            augmentation: how they are changed.
            seed: of all randomness.
            difficult: learn from boxes marked difficult too; Darknet's script for Pascal VOC
                leaves them out.
            cache: bytes of decoded pictures to keep.
        """
        self.samples = dataset.samples
        self.classes = numbers_of(names)
        self.size = size
        self.letterbox = letterbox
        self.augmentation = augmentation
        self.seed = seed
        self.difficult = difficult
        self.album = Album(
            [sample.image for sample in self.samples],
            channels=channels,
            source=dataset.source,
            need=None if augmentation.is_none else size,
            cache=cache,
        )

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.samples)

    def __getitem__(self, draw: Draw) -> tuple[Tensor, Tensor]:
        """A picture and its boxes.

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
        """A picture as detection sees it."""
        page = self.album.read(number)
        fit = Fit(page.size, size, self.letterbox)
        rows = fitted(self._rows(page), fit.inner, size)
        return Painted(fit.apply(page.picture), kept(rows, Rect(0, 0, *size)))

    def _single(self, number: int, rng: np.random.Generator, size: Size) -> Painted:
        """A picture, changed."""
        x, rows = self._paint(number, rng, size)
        return Painted(x, kept(rows, Rect(0, 0, *size)))

    def _mosaic(self, number: int, rng: np.random.Generator, size: Size) -> Painted:
        """Four pictures, this one at the top left."""
        x = np.empty((self.album.channels, size[1], size[0]), np.float32)
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
        """A picture, changed; or what a tile of a mosaic shows of it, in the tile's pixels."""
        page = self.album.read(number)
        view = self.augmentation.draw_view(rng, page.size, size, letterbox=self.letterbox)
        if tile is not None:
            view, size = tile.choose(rng, view, size), tile.size
        return self.augmentation.paint(rng, view, page.picture, self._rows(page), size)

    def _rows(self, page: Page) -> Rows:
        """Boxes that count, relative to the picture."""
        sample = self.samples[page.number]
        return sample_rows(sample, self.classes, page.size, difficult=self.difficult)


def collate(batch: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Pictures (N, C, H, W), stored as the network reads them, and truths (N, T, 5).

    Truths are filled up with rows of class -1.
    """
    most = max(1, *(len(rows) for _, rows in batch))
    padded = torch.full((len(batch), most, 5), NOTHING)
    for place, (_, rows) in enumerate(batch):
        padded[place, : len(rows)] = rows
    return stacked([x for x, _ in batch]), padded
