"""Pictures on their way into a network: read and fitted ahead of the forward pass."""

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
"""Pictures: a source such as a folder, a data set, files and levels, or the levels of one."""


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
    return given_pictures(images), None


def given_pictures(images: Sequence[Image] | npt.NDArray[np.uint8]) -> Sequence[Image]:
    """Return pictures that are given one by one; an array of levels is one, of four axes several.

    Raises:
        DarkconvError: there is none.
    """
    if isinstance(images, np.ndarray) and images.ndim < 4:
        return [images]
    if not len(images):
        raise DarkconvError("images: there is no picture among them")
    return list(images) if isinstance(images, np.ndarray) else images


def own_share(processes: Processes, count: int, batch: int) -> list[int]:
    """Return the numbers of the pictures that are this process's part, in whole batches.

    A batch holds the same pictures however many processes there are, unless some would have none.

    Args:
        processes: that share the pictures.
        count: of all pictures.
        batch: pictures that are run together.
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
    """Pictures in batches, in order, read ahead.

    JPEG files are decoded the fast way: a grey level more or less is nothing to statistics.

    Args:
        network: what they are fitted to.
        images: files, or 8-bit levels (H, W, C).
        size: pictures in a batch; those that cannot be read leave their places empty.
        numbers: which pictures to take; all of them by default.
        resize: "stretch" or "letterbox"; by default what the network says.
        unreadable: "skip" names pictures that cannot be read, and goes on; "raise" raises.

    Raises:
        DatasetError: a picture cannot be read, and they are not skipped.
        DarkconvError: an option is wrong.
    """
    check_batches(size, unreadable)
    fit_of(network, (1, 1), resize)  # an unknown way of fitting is an error before anything is read

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
