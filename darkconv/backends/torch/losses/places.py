"""Places: the anchors in the cells of a head's grid, where it predicts boxes."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GridPlaces:
    """One place for each picture, anchor, row and column of a batch, numbered from 0 in that order.

    Attributes:
        shape: (N, anchors, rows, columns).
        anchors: (anchors, 2) width and height.
    """

    shape: tuple[int, int, int, int]
    anchors: Tensor

    def places(self, images: Tensor, anchors: Tensor, points: Tensor) -> Tensor:
        """Return the numbers of the places whose cells hold points.

        Args:
            images: index of each point's picture.
            anchors: index of an anchor for each point.
            points: (..., 2) x and y relative to the picture, moved to the border if they lie
                outside; the other arguments broadcast with (...).
        """
        _, count, rows, columns = self.shape
        column = (points[..., 0] * columns).long().clamp(0, columns - 1)
        row = (points[..., 1] * rows).long().clamp(0, rows - 1)
        return ((images * count + anchors) * rows + row) * columns + column

    def cells(self, places: Tensor) -> Tensor:
        """Return column and row (k, 2) of places, as floating-point numbers.

        Args:
            places: (k,) numbers of places.
        """
        _, _, rows, columns = self.shape
        pair = torch.stack([places % columns, places // columns % rows], 1)
        return pair.to(self.anchors.dtype)

    def size(self) -> Tensor:
        """Return (columns, rows) as a tensor."""
        return self.anchors.new_tensor(self.shape[:1:-1])

    def anchors_at(self, places: Tensor) -> Tensor:
        """Return the anchor (k, 2) of each place.

        Args:
            places: (k,) numbers of places.
        """
        _, count, rows, columns = self.shape
        return self.anchors[places // (rows * columns) % count]
