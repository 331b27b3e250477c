"""encode_truths: boxes of pictures as the one array that Keras takes for a batch."""

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from darkconv.errors import DarkconvError

logger = logging.getLogger("darkconv")
NO_TRUTH = -1.0
"""Class of padding rows."""


def encode_truths(
    boxes: Sequence[npt.ArrayLike], most: int | None = None
) -> npt.NDArray[np.float32]:
    """Return the ground truth boxes of pictures, padded to one length.

    Args:
        boxes: for each picture (boxes, 5): rows of class index from 0, centre x, centre y, width,
            height, relative to the picture; an empty list for a picture without boxes.
        most: number of rows of each picture; further boxes are dropped with a warning. None for the
            number of the picture with most boxes. One number for all batches saves Keras a
            compilation for each.

    Returns:
        A float32 array (pictures, rows, 5); padding rows have class -1.

    Raises:
        DarkconvError: boxes have another shape, or `most` is negative.
    """
    arrays = [_rows(given, number) for number, given in enumerate(boxes)]
    longest = max(map(len, arrays), default=0)
    count = longest if most is None else most
    if count < 0:
        raise DarkconvError("most", expected="a number of rows", found=most)
    encoded = np.zeros((len(arrays), count, 5), np.float32)
    encoded[:, :, 0] = NO_TRUTH
    for row, array in zip(encoded, arrays, strict=True):
        row[: len(array)] = array[:count]
    dropped = sum(max(len(array) - count, 0) for array in arrays)
    if dropped:
        logger.warning(
            "%d boxes dropped: a picture has %d, and most=%d are kept", dropped, longest, count
        )
    return encoded


def _rows(given: npt.ArrayLike, number: int) -> npt.NDArray[np.float32]:
    try:
        array = np.asarray(given, np.float32)
    except (TypeError, ValueError):
        raise DarkconvError(
            f"truths of picture {number}", expected="numbers, five in a row", found=repr(given)
        ) from None
    if not array.size and array.ndim < 3:
        return array.reshape(0, 5)
    if array.ndim != 2 or array.shape[1] != 5:
        raise DarkconvError(
            f"truths of picture {number}",
            expected="shape (boxes, 5): class, centre x, centre y, width, height",
            found=array.shape,
        )
    return array
