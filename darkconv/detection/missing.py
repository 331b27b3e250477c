"""NaN in a network's outputs: no box is decoded from it, so it is counted and reported."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.errors import DarkconvError, Where

logger = logging.getLogger("darkconv")

CAUSE = "the training has diverged, or the file is damaged"


@dataclass
class MissingValues:
    """The count of output values that are NaN, over the pictures of a job.

    Attributes:
        missing: the number of values that are NaN.
        values: the number of values of all pictures.
        touched: the number of pictures with at least one NaN.
        empty: the number of pictures in which at least half of the values are NaN, and nothing was
            found.
        pictures: the number of pictures that were counted.

    Example:
        >>> import numpy as np
        >>> found = MissingValues()
        >>> found.add([np.array([1.0, 2.0, np.nan], np.float32)], found=0)
        >>> found.missing, found.values, found.touched, found.empty
        (1, 3, 1, 0)
    """

    missing: int = 0
    values: int = 0
    touched: int = 0
    empty: int = 0
    pictures: int = 0

    def add(self, outputs: Sequence[npt.NDArray[Any]], *, found: int = 0) -> None:
        """Count the outputs of one picture.

        Args:
            outputs: the outputs for the picture.
            found: the number of objects that were found in the picture.
        """
        total = sum(one.size for one in outputs)
        missing = sum(map(count_nan, outputs))
        self.missing += missing
        self.values += total
        self.touched += missing > 0
        self.empty += 0 < total <= 2 * missing and not found
        self.pictures += 1

    def warn(self, file: str) -> None:
        """Warn of the number of NaN values and of the pictures with them, if there are any.

        Args:
            file: the model's file, for the message.
        """
        if self.missing:
            logger.warning(
                "%s: %s of %s output values are NaN, in %d of %d pictures: no box or class is "
                "read from them; %s",
                file,
                f"{self.missing:,}",
                f"{self.values:,}",
                self.touched,
                self.pictures,
                CAUSE,
            )

    def check(self, file: str) -> None:
        """Warn as `warn` does, or raise an error if all pictures are `empty`.

        Args:
            file: the model's file, for the message.

        Raises:
            DarkconvError: all pictures are `empty`.
        """
        if 0 < self.pictures == self.empty:
            where = "the picture" if self.pictures == 1 else f"all {self.pictures} pictures"
            many = f"{self.missing:,} of" if self.missing < self.values else "all"
            raise DarkconvError(
                f"{many} {self.values:,} output values are NaN in {where}: nothing can be found",
                where=Where(file=file),
                hint=CAUSE,
            )
        self.warn(file)


def count_nan(values: npt.NDArray[Any]) -> int:
    """Return the number of values that are NaN.

    Args:
        values: an array of any shape and dtype.
    """
    if values.dtype.kind != "f":
        return 0
    flat = values.ravel()
    with np.errstate(all="ignore"):  # a sum of squares quickly tells that there is none
        is_sound = not np.isnan(np.dot(flat, flat))
    return 0 if is_sound else int(np.count_nonzero(np.isnan(flat)))
