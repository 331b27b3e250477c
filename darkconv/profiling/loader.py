"""Pictures on their way into a network: read and fitted ahead of the forward pass."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array
from darkconv.core.network import Network
from darkconv.dataset.open import open_dataset
from darkconv.dataset.sample import Dataset
from darkconv.detection.picture import Fit, as_picture, resize_mode
from darkconv.errors import DarkconvError, DatasetError
from darkconv.files import PathLike
from darkconv.files.notice import tell_once

Image = PathLike | npt.NDArray[np.uint8]
Images = PathLike | Dataset | Sequence[Image]
"""Pictures: a source such as a folder, a data set, or files and levels."""
AHEAD = 2
"""Batches that are prepared while one is computed."""
WORKERS = 2


@dataclass(frozen=True, eq=False)
class Batch:
    """Some pictures as network input.

    Attributes:
        numbers: which of the pictures they are.
        x: (n, C, H, W) float32.
    """

    numbers: npt.NDArray[np.int64]
    x: Array


def picture_list(images: Images) -> tuple[Sequence[Image], str | None]:
    """Return the pictures of a source, which is one where it is a text, or those that are given.

    Returns: the pictures, and the name of the source if it is one.

    Raises:
        DatasetError: the source cannot be read, or has no picture.
        DarkconvError: there is none.
    """
    if isinstance(images, str | os.PathLike):
        images = open_dataset(images)
    if isinstance(images, Dataset):
        return [one.image for one in images.samples], images.source
    if not len(images):
        raise DarkconvError("images: there is no picture among them")
    return images, None


def load_batches(
    network: Network,
    images: Sequence[Image],
    *,
    size: int,
    numbers: Sequence[int] | None = None,
    resize: str | None = None,
) -> Iterator[Batch]:
    """Pictures in batches, in order; those that cannot be read are reported and left out.

    JPEG files are decoded the fast way: a grey level more or less is nothing to statistics.

    Args:
        network: what they are fitted to.
        images: files, or 8-bit levels (H, W, C).
        size: pictures in a batch.
        numbers: which pictures to take; all of them by default.
        resize: "stretch" or "letterbox"; by default what the network says.
    """
    letterbox = resize_mode(resize, default=network.options.letterboxes)
    wanted = list(range(len(images)) if numbers is None else numbers)
    groups = [wanted[start : start + size] for start in range(0, len(wanted), size)]
    with ThreadPoolExecutor(WORKERS) as pool:

        def submit(group: list[int]) -> list[Future[Array | None]]:
            return [pool.submit(_prepare, network, images[i], letterbox) for i in group]

        waiting: deque[tuple[list[int], list[Future[Array | None]]]] = deque()
        for group in groups:
            waiting.append((group, submit(group)))
            if len(waiting) > AHEAD:
                yield from _collected(*waiting.popleft())
        while waiting:
            yield from _collected(*waiting.popleft())


def _collected(group: list[int], parts: list[Future[Array | None]]) -> Iterator[Batch]:
    done = [(i, part.result()) for i, part in zip(group, parts, strict=True)]
    good = [(i, x) for i, x in done if x is not None]
    if good:
        yield Batch(np.array([i for i, _ in good]), np.stack([x for _, x in good]))


def _prepare(network: Network, image: Image, letterbox: bool) -> Array | None:
    shape = network.input_shape
    try:
        picture = as_picture(image, shape.c, exact=False)
    except DatasetError as error:
        tell_once(error, ": skipped")
        return None
    fit = Fit((picture.shape[1], picture.shape[0]), (shape.w, shape.h), letterbox)
    return fit.apply(picture)


def image_name(image: Image) -> str:
    """A picture's name for messages."""
    return "array" if isinstance(image, np.ndarray) else os.fspath(image)
