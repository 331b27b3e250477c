"""PictureBatches: a data set as `keras.Model.fit` takes it."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from darkconv.augmentation.box_rows import Rect, Rows, fitted, kept, numbers_of, sample_rows, truths
from darkconv.augmentation.picture_cache import CACHE, PictureCache
from darkconv.augmentation.sampler import Order
from darkconv.backends.keras.losses import encode_truths
from darkconv.core.model import Array, Model
from darkconv.dataset import Dataset
from darkconv.pictures.picture import PictureFit

Change = Callable[[Array, Rows, np.random.Generator], tuple[Array, Rows]]
"""Takes a picture (H, W, C) in 0..1, its boxes and a random generator; returns both, changed.

Boxes are rows of class and xyxy in pixels of the picture.
"""


class PictureBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of a data set: `batches[number]` is (x, y).

    x is float32 (N, H, W, C) in 0..1, fitted as the network's detection does it. y is what
    `head_loss` takes, (N, T, 5); for several heads a tuple with one for each. Boxes of other
    classes and boxes marked difficult are left out. A picture that cannot be read is reported once,
    and replaced by the next good one.

    Each epoch has every picture once, in an order that depends on the seed and the epoch; the last
    pictures that do not fill a batch are the first of the next epoch.
    """

    def __init__(
        self,
        dataset: Dataset,
        model: Model,
        *,
        batch: int = 16,
        change: Change | None = None,
        seed: int = 0,
        cache: int = CACHE,
        **options: Any,
    ) -> None:
        """Create the data set; pictures are read when a batch is taken.

        Args:
            dataset: pictures with their boxes.
            model: model whose input size and class names are used.
            batch: number of pictures in a batch.
            change: changes each picture at random; None for no change.
            seed: seed of all randomness.
            cache: bytes of decoded pictures to cache.
            options: options of `keras.utils.PyDataset`.
        """
        super().__init__(**options)
        self.dataset = dataset
        self.network = model.network
        self.classes = numbers_of(model.names)
        self.batch = batch
        self.change = change
        self.seed = seed
        self.epoch = 0
        shape = self.network.input_shape
        self.size = shape.w, shape.h
        files = [sample.image for sample in dataset.samples]
        self.decoded = PictureCache(
            files, channels=shape.c, source=dataset.source, need=self.size, cache=cache
        )
        self.order = Order(len(files), batch, seed)
        self.most = max((len(sample.names) for sample in dataset.samples), default=0)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return max(1, len(self.dataset) // self.batch)

    def on_epoch_end(self) -> None:
        """Go on to the next epoch's pictures: Keras calls this."""
        self.epoch += 1

    def __getitem__(self, number: int) -> tuple[Array, Any]:
        """Return a batch of this epoch.

        Raises:
            DatasetError: no picture of the data set can be read.
        """
        draws = self.order.step(self.epoch * len(self) + number)
        pairs = [self._picture(draw.sample, draw.turn) for draw in draws]
        y = encode_truths([truths(rows, self.size) for _, rows in pairs], self.most)
        heads = len(self.network.heads)
        return np.stack([x for x, _ in pairs]), y if heads == 1 else (y,) * heads

    def _picture(self, number: int, turn: int) -> tuple[Array, Rows]:
        page = self.decoded.read(number)
        fit = PictureFit(page.size, self.size, self.network.options.letterboxes)
        rows = sample_rows(self.dataset.samples[page.number], self.classes, page.size)
        x, rows = fit.apply(page.picture).transpose(1, 2, 0), fitted(rows, fit.inner, self.size)
        if self.change:
            x, rows = self.change(x, rows, np.random.default_rng([self.seed, turn]))
        return x, kept(rows, Rect(0, 0, *self.size))
