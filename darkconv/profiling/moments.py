"""Streaming mean and variance of many channels side by side."""

from typing import Self

import numpy as np
import numpy.typing as npt

Doubles = npt.NDArray[np.float64]

ILL_CONDITIONED = 1 / 32
"""Ratio of squared deviations to squares below which float32 sums are not accurate enough."""
RESOLUTION = 1e-11
"""Share of the squared mean below which squares are rounding errors of float32."""


class Moments:
    """Moments of channels, merged in double precision from float32 sums; arrays are (channels,).

    Sums are computed of values minus a shift, which is zero until a channel needs another (Chan,
    Golub, LeVeque 1983, "Algorithms for computing the sample variance").

    Attributes:
        positions: number of values of each channel in one picture.
        pictures: number of pictures.
        mean: mean of each channel.
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
        """Return new moments with further pictures included.

        Args:
            shift: (channels,) value that was subtracted from all values.
            sums: (N, channels) sum over each picture's shifted values.
            squares: (N, channels) sum over the squares of these values.
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
        """True for channels whose squares are so large that rounding hides the variance."""
        rounding = RESOLUTION * self.mean**2 * self.positions * self.pictures
        drowned = self.deviations < ILL_CONDITIONED * self.squares
        doubtful: npt.NDArray[np.bool_] = drowned & (self.squares > rounding)
        return doubtful
