"""NaN among what a network gives: no box is read from it, so it is counted and told."""

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
    """How many output values of a job's pictures are NaN.

    Attributes:
        missing: values that are NaN.
        values: of all pictures.
        touched: pictures with at least one.
        empty: pictures with half of their values missing or more, in which nothing is found.
        pictures: that were looked at.

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
        """Count the outputs of one picture, in which so many objects were found."""
        total = sum(one.size for one in outputs)
        missing = sum(map(count_nan, outputs))
        self.missing += missing
        self.values += total
        self.touched += missing > 0
        self.empty += 0 < total <= 2 * missing and not found
        self.pictures += 1

    def warn(self, file: str) -> None:
        """Say how many values were NaN, and in how many pictures; nothing where none was."""
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
        """Warn as `warn` does.

        Raises:
            DarkconvError: nothing was found, for all pictures are `empty`.
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
    """Return how many values are NaN; a sum of squares tells quickly that none is."""
    if values.dtype.kind != "f":
        return 0
    flat = values.ravel()
    with np.errstate(all="ignore"):
        is_sound = not np.isnan(np.dot(flat, flat))
    return 0 if is_sound else int(np.count_nonzero(np.isnan(flat)))
