"""Places: where a head with anchors predicts boxes in a picture."""

from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from darkconv.backends.keras.scope import Tensor
from darkconv.errors import UnsupportedError


@dataclass(frozen=True)
class Places:
    """One for each row, column and anchor of a picture, numbered in that order.

    Attributes:
        rows: of the grid.
        columns: of the grid.
        anchors: (anchors, 2) width and height.
        dtype: what is computed in.
    """

    rows: int
    columns: int
    anchors: npt.NDArray[np.float64]
    dtype: str

    @property
    def count(self) -> int:
        """Places of a picture."""
        return self.rows * self.columns * len(self.anchors)

    def constant(self, values: npt.ArrayLike) -> Tensor:
        """Numbers as a tensor."""
        return ops.convert_to_tensor(np.asarray(values), dtype=self.dtype)

    def cells(self) -> Tensor:
        """(P, 2) column and row of each place."""
        rows, columns = np.divmod(np.arange(self.rows * self.columns), self.columns)
        return self.constant(np.stack([columns, rows], 1).repeat(len(self.anchors), axis=0))

    def size(self) -> Tensor:
        """(columns, rows)."""
        return self.constant([self.columns, self.rows])

    def every_anchor(self) -> Tensor:
        """(P, 2) anchor of each place."""
        return self.constant(np.tile(self.anchors, (self.rows * self.columns, 1)))

    def places_of(self, points: Tensor) -> Tensor:
        """(N, T, anchors) the places in the cells that hold the points (N, T, 2), relative."""
        cells = cell_of(points, self.rows, self.columns)
        anchors = ops.arange(len(self.anchors), dtype="int32")
        return ops.expand_dims(cells * len(self.anchors), -1) + anchors

    def split(self, x: Tensor) -> Tensor:
        """A head's input (N, H, W, anchors * entries) as (N, P, entries)."""
        entries = x.shape[-1] // len(self.anchors)
        return ops.cast(ops.reshape(x, (-1, self.count, entries)), self.dtype)


def cell_of(points: Tensor, rows: int, columns: int) -> Tensor:
    """(...) number of the cell, row by row, that holds a point (..., 2), relative."""
    # limited before they are integers: what is too large for one has no defined value
    column = ops.cast(ops.clip(points[..., 0] * columns, 0, columns - 1), "int32")
    row = ops.cast(ops.clip(points[..., 1] * rows, 0, rows - 1), "int32")
    return row * columns + column


def grid_size(x: Tensor) -> tuple[int, int]:
    """(rows, columns) of a head's input (N, H, W, C).

    Raises:
        UnsupportedError: they are not known before it runs.
    """
    _, rows, columns, _ = x.shape
    if rows is None or columns is None:
        raise UnsupportedError(
            "y_pred", expected="a fixed height and width", found=f"shape {tuple(x.shape)}"
        )
    return rows, columns


def computed_dtype(x: Tensor) -> str:
    """What the loss of a tensor is computed in: float32 or better."""
    return "float64" if keras.backend.standardize_dtype(x.dtype) == "float64" else "float32"
