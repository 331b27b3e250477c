"""Streaming mean and variance of many channels side by side."""

from typing import Self

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

ILL_CONDITIONED = 1 / 32
"""Share of the deviations in the sums of squares below which float32 sums are not trusted."""
RESOLUTION = 1e-11
"""Squares below this share of the squared mean are float32's own rounding."""


class Moments:
    """Merged in double precision from float32 sums; arrays are (channels,).

    Sums are taken of values less a shift, which can be zero until a channel proves to need
    one (Chan, Golub, LeVeque 1983).

    Attributes:
        positions: values of each channel in one picture.
        pictures: number of pictures.
        mean: of each channel.
        deviations: sum of squared deviations from the mean.
        squares: sum of squared shifted values.
    """

    def __init__(self, positions: Doubles) -> None:
        self.positions = positions
        self.pictures = 0
        self.mean = np.zeros_like(positions)
        self.deviations = np.zeros_like(positions)
        self.squares = np.zeros_like(positions)

    @np.errstate(invalid="ignore")
    def merged(self, shift: Doubles, sums: Doubles, squares: Doubles) -> Self:
        """These and further pictures'.

        Args:
            shift: (channels,) what was taken off all values.
            sums: (N, channels) sum over each picture's shifted values.
            squares: (N, channels) sum over the squares of them.
        """
        new = type(self)(self.positions)
        new.pictures = self.pictures + len(sums)
        share = len(sums) / new.pictures
        count = len(sums) * self.positions
        shifted = sums.sum(axis=0) / count
        total = squares.sum(axis=0)
        within = np.maximum(total - count * shifted**2, 0)
        gap = shift + shifted - self.mean
        between = gap**2 * self.positions * self.pictures * share
        new.mean = self.mean + gap * share
        new.deviations = self.deviations + within + between
        new.squares = self.squares + total
        return new

    @property
    def doubtful(self) -> npt.NDArray[np.bool_]:
        """(channels,) whether the squares are so large that rounding drowns the variance."""
        rounding = RESOLUTION * self.mean**2 * self.positions * self.pictures
        drowned = self.deviations < ILL_CONDITIONED * self.squares
        doubtful: npt.NDArray[np.bool_] = drowned & (self.squares > rounding)
        return doubtful
