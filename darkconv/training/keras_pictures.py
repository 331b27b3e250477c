"""PictureBatches: a data set as `keras.Model.fit` takes it."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from darkconv.backends.keras.losses import encode_truths
from darkconv.core.model import Array, Model
from darkconv.dataset import Dataset
from darkconv.pictures.picture import Fit
from darkconv.training.album import CACHE, Album
from darkconv.training.order import Order
from darkconv.training.rows import Rect, Rows, fitted, kept, numbers_of, sample_rows, truths

Change = Callable[[Array, Rows, np.random.Generator], tuple[Array, Rows]]
"""(picture (H, W, C) in 0..1, boxes, stream) -> both, changed; boxes are rows of class and xyxy in
pixels of the picture."""


class PictureBatches(keras.utils.PyDataset):  # type: ignore[misc]
    """Batches of a data set: `batches[number]` is (x, y).

    x is float32 (N, H, W, C) in 0..1, fitted as the network's detection does it. y is what
    `head_loss` takes, (N, T, 5), and a tuple of as many as there are heads for several. Boxes of
    other classes do not count, nor do those marked difficult. A picture that cannot be read is
    told once, and the next good one stands in for it.

    Each epoch has every picture once, in an order that the seed and the epoch decide; the last
    pictures that do not fill a batch open the next epoch.
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
        """Pictures that are read later.

        Args:
            dataset: pictures and their boxes.
            model: whose input the pictures are fitted to, and whose names the classes have.
            batch: pictures of a batch.
            change: changes each picture at random.
            seed: of all randomness.
            cache: bytes of decoded pictures to keep.
            options: of `keras.utils.PyDataset`.
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
        self.album = Album(
            files, channels=shape.c, source=dataset.source, need=self.size, cache=cache
        )
        self.order = Order(len(files), batch, seed)
        self.most = max((len(sample.names) for sample in dataset.samples), default=0)

    def __len__(self) -> int:
        """Batches of an epoch."""
        return max(1, len(self.dataset) // self.batch)

    def on_epoch_end(self) -> None:
        """Go on to the next epoch's pictures: Keras calls this."""
        self.epoch += 1

    def __getitem__(self, number: int) -> tuple[Array, Any]:
        """A batch of this epoch.

        Raises:
            DatasetError: no picture of the data set can be read.
        """
        draws = self.order.step(self.epoch * len(self) + number)
        pairs = [self._picture(draw.sample, draw.turn) for draw in draws]
        y = encode_truths([truths(rows, self.size) for _, rows in pairs], self.most)
        heads = len(self.network.heads)
        return np.stack([x for x, _ in pairs]), y if heads == 1 else (y,) * heads

    def _picture(self, number: int, turn: int) -> tuple[Array, Rows]:
        page = self.album.read(number)
        fit = Fit(page.size, self.size, self.network.options.letterboxes)
        rows = sample_rows(self.dataset.samples[page.number], self.classes, page.size)
        x, rows = fit.apply(page.picture).transpose(1, 2, 0), fitted(rows, fit.inner, self.size)
        if self.change:
            x, rows = self.change(x, rows, np.random.default_rng([self.seed, turn]))
        return x, kept(rows, Rect(0, 0, *self.size))
