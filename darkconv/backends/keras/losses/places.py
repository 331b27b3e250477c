"""Places: the anchors in the cells of a head's grid, where it predicts boxes in a picture."""

from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from darkconv.backends.keras.scope import Tensor
from darkconv.errors import UnsupportedError


@dataclass(frozen=True)
class GridPlaces:
    """One place for each row, column and anchor of a picture, numbered from 0 in that order.

    Attributes:
        rows: number of rows of the grid.
        columns: number of columns of the grid.
        anchors: (anchors, 2) width and height.
        dtype: dtype of the computations.
    """

    rows: int
    columns: int
    anchors: npt.NDArray[np.float64]
    dtype: str

    @property
    def count(self) -> int:
        """Number of places P of a picture."""
        return self.rows * self.columns * len(self.anchors)

    def constant(self, values: npt.ArrayLike) -> Tensor:
        """Return numbers as a tensor of the grid's dtype.

        Args:
            values: numbers of any shape.
        """
        return ops.convert_to_tensor(np.asarray(values), dtype=self.dtype)

    def cells(self) -> Tensor:
        """Return column and row (P, 2) of each place."""
        rows, columns = np.divmod(np.arange(self.rows * self.columns), self.columns)
        return self.constant(np.stack([columns, rows], 1).repeat(len(self.anchors), axis=0))

    def size(self) -> Tensor:
        """Return (columns, rows) as a tensor."""
        return self.constant([self.columns, self.rows])

    def every_anchor(self) -> Tensor:
        """Return the anchor (P, 2) of each place."""
        return self.constant(np.tile(self.anchors, (self.rows * self.columns, 1)))

    def places_of(self, points: Tensor) -> Tensor:
        """Return the numbers (N, T, anchors) of the places whose cells hold points.

        Args:
            points: (N, T, 2) x and y relative to the picture, moved to the border if they lie
                outside.
        """
        cells = cell_of(points, self.rows, self.columns)
        anchors = ops.arange(len(self.anchors), dtype="int32")
        return ops.expand_dims(cells * len(self.anchors), -1) + anchors

    def split(self, x: Tensor) -> Tensor:
        """Return the head's input by places: (N, P, entries), in float32 or better.

        Args:
            x: (N, H, W, anchors * entries) input of the head.
        """
        entries = x.shape[-1] // len(self.anchors)
        return ops.cast(ops.reshape(x, (-1, self.count, entries)), self.dtype)


def cell_of(points: Tensor, rows: int, columns: int) -> Tensor:
    """Return the number of the cell that holds a point, counted row by row from 0.

    Args:
        points: (..., 2) x and y relative to the picture, moved to the border if they lie outside.
        rows: number of rows of the grid.
        columns: number of columns of the grid.
    """
    # limited before the cast: a value that is too large for an integer has no defined result
    column = ops.cast(ops.clip(points[..., 0] * columns, 0, columns - 1), "int32")
    row = ops.cast(ops.clip(points[..., 1] * rows, 0, rows - 1), "int32")
    return row * columns + column


def grid_size(x: Tensor) -> tuple[int, int]:
    """Return (rows, columns) of a head's input.

    Args:
        x: (N, H, W, C) input of the head.

    Raises:
        UnsupportedError: height or width is not fixed.
    """
    _, rows, columns, _ = x.shape
    if rows is None or columns is None:
        raise UnsupportedError(
            "y_pred", expected="a fixed height and width", found=f"shape {tuple(x.shape)}"
        )
    return rows, columns


def computed_dtype(x: Tensor) -> str:
    """Return the dtype that the loss of a tensor is computed in: float64, otherwise float32.

    Args:
        x: tensor; for float64 it stays that, and for every other dtype it is float32.
    """
    return "float64" if keras.backend.standardize_dtype(x.dtype) == "float64" else "float32"
