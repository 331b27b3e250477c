"""The inverse transforms of JPEG's blocks of 8 by 8, exactly as both decoders compute them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

Levels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

SIDE = 8
ONE_THREAD = 1 << 18  # multiplications up to which OpenBLAS uses a single thread


def multiplied(rows: npt.NDArray[Any], matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the matrix product of two arrays, computed by one thread.

    Further threads would compete with those of the network for the processors.

    Args:
        rows: (n, k).
        matrix: (k, m).

    Returns:
        (n, m), in the dtype of `rows`.
    """
    count = ONE_THREAD // matrix.size
    whole = len(rows) - len(rows) % count
    product = np.empty((len(rows), matrix.shape[1]), rows.dtype)
    np.matmul(
        rows[:whole].reshape(-1, count, rows.shape[1]),
        matrix,
        out=product[:whole].reshape(-1, count, matrix.shape[1]),
    )
    np.matmul(rows[whole:], matrix, out=product[whole:])
    return product


@dataclass(frozen=True, eq=False)
class Inverse:
    """The inverse transform of a decoder in integers: first the columns, then the rows.

    Attributes:
        matrix: (8, 8) the transform along one axis, (place, frequency).
        shifts: the bits that are dropped after the columns and after the rows.
    """

    matrix: npt.NDArray[np.float64]
    shifts: tuple[int, int]

    @classmethod
    def of(cls, upper: tuple[tuple[int, ...], ...], shifts: tuple[int, int]) -> "Inverse":
        """Build the transform from the upper half of its matrix.

        Even waves are symmetric, odd ones antisymmetric, which gives the lower half.

        Args:
            upper: 4 rows of 8 integers.
            shifts: the bits that are dropped after the columns and after the rows.
        """
        half = np.array(upper, np.float64)
        lower = half[::-1] * np.where(np.arange(SIDE) % 2, -1, 1)
        return cls(np.concatenate([half, lower]), shifts)

    def __call__(self, coefficients: Floats) -> Levels:
        """Return the levels of blocks, (n, 64) uint8, from their coefficients, (n, 64)."""
        # float64 holds all sums of the integers exactly
        columns = self._matrices[0] @ coefficients.reshape(-1, SIDE, SIDE).astype(np.float64)
        columns += 0.5
        np.floor(columns, out=columns)
        rows = multiplied(columns.reshape(-1, SIDE), self._matrices[1].T)
        rows += 128 + 0.5
        return rows.clip(0, 255).astype(np.uint8).reshape(-1, SIDE * SIDE)

    @cached_property
    def _matrices(self) -> list[npt.NDArray[np.float64]]:
        """Return the matrices of columns and rows, scaled by powers of 2, which keep them exact."""
        return [self.matrix * 2.0**-bits for bits in self.shifts]


STB = Inverse.of(
    (
        (4096, 5683, 5352, 4816, 4096, 3219, 2217, 1131),
        (4096, 4816, 2217, -1129, -4096, -5681, -5350, -3218),
        (4096, 3219, -2217, -5681, -4096, 1132, 5350, 4816),
        (4096, 1131, -5352, -3218, 4096, 4816, -2217, -5680),
    ),
    (10, 17),
)
LIBJPEG = Inverse.of(
    (
        (8192, 11363, 10703, 9633, 8192, 6437, 4433, 2260),
        (8192, 9633, 4433, -2259, -8192, -11362, -10704, -6436),
        (8192, 6437, -4433, -11362, -8192, 2261, 10704, 9633),
        (8192, 2260, -10703, -6436, 8192, 9633, -4433, -11363),
    ),
    (11, 18),
)


def _waves() -> Floats:
    """Return the orthonormal cosine transform of a block, (64, 64)."""
    place = np.arange(SIDE)
    one = np.cos((2 * place + 1) * place[:, None] * np.pi / (2 * SIDE)) / 2
    one[0] /= np.sqrt(2)
    return np.kron(one, one).astype(np.float32)


WAVES = _waves()
