"""Pictures on their way into a network: they are read and fitted ahead of the forward pass."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array
from darkconv.core.network import Network
from darkconv.core.processes import Processes
from darkconv.dataset.open import open_dataset
from darkconv.dataset.sample import Dataset
from darkconv.detection.detect import fit_of, fitted_picture
from darkconv.detection.stream import check_batches, read_batches
from darkconv.errors import DarkconvError, DatasetError
from darkconv.files import PathLike
from darkconv.files.notice import tell_once

Image = PathLike | npt.NDArray[np.uint8]
Images = PathLike | Dataset | Sequence[Image] | npt.NDArray[np.uint8]
"""Pictures: a source such as a folder, a data set, files and arrays, or one picture's array."""


@dataclass(frozen=True, eq=False)
class Batch:
    """Some pictures as network input.

    Attributes:
        numbers: (n,) numbers of the pictures, from 0.
        x: (n, C, H, W) float32 input.
    """

    numbers: npt.NDArray[np.int64]
    x: Array


def picture_list(images: Images) -> tuple[Sequence[Image], str | None]:
    """Return the pictures of a source or data set, or the pictures that are given.

    Args:
        images: a path is a source; a data set; or files and arrays of 8-bit levels.

    Returns:
        The pictures, and the name of their source; None without one.

    Raises:
        DatasetError: the source cannot be read, or has no picture.
        DarkconvError: no picture is given.
    """
    if isinstance(images, str | os.PathLike):
        images = open_dataset(images)
    if isinstance(images, Dataset):
        return [one.image for one in images.samples], images.source
    return given_pictures(images), None


def given_pictures(images: Sequence[Image] | npt.NDArray[np.uint8]) -> Sequence[Image]:
    """Return pictures that are given one by one.

    Args:
        images: files and 8-bit levels; an array (H, W, C) is one picture, (N, H, W, C) several.

    Raises:
        DarkconvError: no picture is given.
    """
    if isinstance(images, np.ndarray) and images.ndim < 4:
        return [images]
    if not len(images):
        raise DarkconvError("images: there is no picture among them")
    return list(images) if isinstance(images, np.ndarray) else images


def own_share(processes: Processes, count: int, batch: int) -> list[int]:
    """Return the numbers of the pictures of this process, in whole batches.

    A batch holds the same pictures however many processes there are, unless some would have none.

    Args:
        processes: processes that share the pictures.
        count: number of all pictures.
        batch: number of pictures that are run together.
    """
    return processes.share(count, min(batch, -(-count // processes.world)))


def load_batches(
    network: Network,
    images: Sequence[Image],
    *,
    size: int,
    numbers: Sequence[int] | None = None,
    resize: str | None = None,
    unreadable: str = "skip",
) -> Iterator[Batch]:
    """Iterate over pictures in batches, in order, and read ahead.

    JPEG files are decoded the fast way: differences of one grey level do not matter to statistics.

    Args:
        network: network whose input size the pictures are fitted to.
        images: files, or 8-bit levels (H, W, C).
        size: number of pictures in a batch; pictures that cannot be read make it smaller.
        numbers: numbers of the pictures to take, from 0; None for all.
        resize: "stretch" or "letterbox"; None for what the network says.
        unreadable: "skip" names pictures that cannot be read, and goes on; "raise" raises.

    Yields:
        Batches of pictures; none without a readable picture.

    Raises:
        DatasetError: a picture cannot be read, and `unreadable` is "raise".
        DarkconvError: an option has an unknown value.
    """
    check_batches(size, unreadable)
    fit_of(network, (1, 1), resize)  # an unknown resize raises before anything is read

    def prepare(number: int) -> Array | None:
        try:
            picture, fit = fitted_picture(network, images[number], resize)
        except DatasetError as error:
            if unreadable == "raise":
                raise
            tell_once(error, ": skipped")
            return None
        return fit.apply(picture)

    wanted = list(range(len(images)) if numbers is None else numbers)
    for group in read_batches(prepare, wanted, batch=size):
        good = [(wanted[place], x) for place, x in group if x is not None]
        if good:
            yield Batch(np.array([number for number, _ in good]), np.stack([x for _, x in good]))
