"""PictureCache: the pictures of a data set, decoded on demand, and cached while there is room."""

import contextlib
import logging
import mmap
import multiprocessing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from darkconv.dataset.label import Size
from darkconv.errors import DatasetError, Where
from darkconv.files.notice import tell_once
from darkconv.pictures.picture import Picture, read_picture

logger = logging.getLogger("darkconv")

CACHE = 1 << 30
"""Bytes of decoded pictures that are cached, over all processes of a host."""
SPARE = 2
"""Ratio of picture size to network input above which a picture is subsampled."""
BAD = -1


class Page(NamedTuple):
    """A picture that was read.

    Attributes:
        number: its number, from 0; another than the requested one if that one cannot be read.
        picture: (H, W, C) 8-bit levels, subsampled if it was very large.
        size: (width, height) of the file's picture in pixels.
    """

    number: int
    picture: Picture
    size: Size


class PictureCache:
    """Pictures by number, read on demand and cached.

    A picture that cannot be read is reported once, and replaced by the next good one. If processes
    are forked, as DataLoader does on Linux, all share one cache, so each file is decoded once for
    all of them. Otherwise each process has a part of the cache.
    """

    def __init__(
        self, files: Sequence[Path], *, channels: int, source: str, need: Size | None, cache: int
    ) -> None:
        """Create a cache with an empty cache.

        Args:
            files: files of the pictures.
            channels: 3 for RGB, 1 for grey.
            source: name of their source, for messages.
            need: (width, height) of the network input in training with augmentation: pictures more
                than `SPARE` times as large are subsampled, as Darknet's own resize does it. None
                for exactly the pixels that detection sees.
            cache: bytes of decoded pictures to cache.
        """
        self.files = tuple(files)
        self.channels = channels
        self.source = source
        self.need = need
        self.cache = cache
        self._shelf: Shelf | None = Shelf(len(self.files), cache)

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.files)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the cache, which only forked processes share."""
        return {**vars(self), "_shelf": None}

    @property
    def shelf(self) -> "Shelf":
        """The cache; a process that has inherited none gets its own."""
        if self._shelf is None:
            self._shelf = Shelf(len(self.files), self.cache // _sharers())
        return self._shelf

    def read(self, number: int) -> Page:
        """Read a picture, from the cache or its file.

        Args:
            number: number of the picture, from 0.

        Returns:
            The picture, or the next one that can be read.

        Raises:
            DatasetError: none of the pictures can be read.
            DarkconvError: pictures have 1 or 3 channels.
            MissingDependencyError: Pillow is not installed.
        """
        for place in range(len(self.files)):
            actual = (number + place) % len(self.files)
            page = self._read(actual)
            if page is not None:
                return page
        where = Where(file=self.source)
        raise DatasetError(f"not one of {len(self.files)} pictures can be read", where=where)

    def _read(self, number: int) -> Page | None:
        known = self.shelf.get(number)
        if known is not None:
            return known
        if self.shelf.is_bad(number):
            return None
        try:
            with muted() if self.shelf.has_met(number) else contextlib.nullcontext():
                picture = self._decoded(number)
        except DatasetError as error:
            if self.shelf.mark_bad(number):
                tell_once(error, "; another picture stands in for it")
            return None
        size = (picture.shape[1], picture.shape[0])
        page = Page(number, self._thinned(picture), size)
        self.shelf.put(page)
        return page

    def _decoded(self, number: int) -> Picture:
        return read_picture(self.files[number], channels=self.channels)

    def _thinned(self, picture: Picture) -> Picture:
        if self.need is None:
            return picture
        height, width, _ = picture.shape
        step = min(width // (SPARE * self.need[0]), height // (SPARE * self.need[1]))
        if step < 2:
            return picture
        return np.ascontiguousarray(picture[step // 2 :: step, step // 2 :: step])


@contextlib.contextmanager
def muted() -> Iterator[None]:
    """Hide warnings within a block: they were given when the file was first read.

    Yields:
        Nothing, while warnings are hidden.
    """

    def is_grave(record: logging.LogRecord) -> bool:
        return record.levelno > logging.WARNING

    logger.addFilter(is_grave)
    try:
        yield
    finally:
        logger.removeFilter(is_grave)


def _sharers() -> int:
    """Return the number of processes of PyTorch's DataLoader, of which this may be one."""
    try:
        from torch.utils.data import get_worker_info
    except ModuleNotFoundError:  # Keras's data sets do not need PyTorch
        return 1
    info = get_worker_info()
    return info.num_workers if info else 1


class Shelf:
    """A cache of pages in memory that forked processes share; pages are never removed."""

    def __init__(self, count: int, limit: int) -> None:
        """Create an empty cache.

        Args:
            count: number of pictures.
            limit: bytes of all cached pictures.
        """
        shape = (count + 1, 6)  # place + 1 or BAD, (H, W, C), width, height; last: bytes in use
        entries = int(np.prod(shape))
        self._index = np.frombuffer(mmap.mmap(-1, 8 * entries), np.int64).reshape(shape)
        self._bytes = _memory(limit)
        self._lock = multiprocessing.Lock()

    def get(self, number: int) -> Page | None:
        """Return a page; None if it is not cached.

        Args:
            number: number of the picture, from 0.
        """
        with self._lock:
            place, height, width, channels, *size = self._index[number].tolist()
        if place <= 0:
            return None
        shape = (height, width, channels)
        levels = self._bytes[place - 1 : place - 1 + height * width * channels]
        return Page(number, levels.reshape(shape), (size[0], size[1]))

    def put(self, page: Page) -> None:
        """Cache a page if there is room; otherwise only record that it was read.

        Args:
            page: page that was read.
        """
        levels = page.picture.reshape(-1)
        with self._lock:
            used = int(self._index[-1, 0])
            if self._index[page.number, 0]:
                return
            self._index[page.number, 1:] = (*page.picture.shape, *page.size)
            if used + len(levels) <= len(self._bytes):
                self._bytes[used : used + len(levels)] = levels
                self._index[page.number, 0] = used + 1
                self._index[-1, 0] = used + len(levels)

    def has_met(self, number: int) -> bool:
        """Return True if a picture was ever read.

        Args:
            number: number of the picture, from 0.
        """
        with self._lock:
            return bool(self._index[number, 1])

    def is_bad(self, number: int) -> bool:
        """Return True if a picture was marked as unreadable.

        Args:
            number: number of the picture, from 0.
        """
        with self._lock:
            return bool(self._index[number, 0] == BAD)

    def mark_bad(self, number: int) -> bool:
        """Mark a picture as unreadable.

        Args:
            number: number of the picture, from 0.

        Returns:
            True if it was not marked before.
        """
        with self._lock:
            new = bool(self._index[number, 0] != BAD)
            self._index[number, 0] = BAD
        return new


def _memory(limit: int) -> Picture:
    """Return shared memory of a number of bytes, used up only as it fills; none on failure."""
    try:
        return np.frombuffer(mmap.mmap(-1, limit), np.uint8) if limit else np.empty(0, np.uint8)
    except (OSError, ValueError):
        logger.warning("no room to keep %d bytes of pictures: they are read every time", limit)
        return np.empty(0, np.uint8)
