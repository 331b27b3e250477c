"""Places: where a head with anchors predicts boxes."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Places:
    """One for each image, anchor, row and column of a batch, numbered in that order.

    Attributes:
        shape: (images, anchors, rows, columns).
        anchors: (anchors, 2) width and height.
    """

    shape: tuple[int, int, int, int]
    anchors: Tensor

    def places(self, images: Tensor, anchors: Tensor, points: Tensor) -> Tensor:
        """Numbers of the places whose cells hold the points (..., 2), relative."""
        _, count, rows, columns = self.shape
        column = (points[..., 0] * columns).long().clamp(0, columns - 1)
        row = (points[..., 1] * rows).long().clamp(0, rows - 1)
        return ((images * count + anchors) * rows + row) * columns + column

    def cells(self, places: Tensor) -> Tensor:
        """(k, 2) column and row."""
        _, _, rows, columns = self.shape
        pair = torch.stack([places % columns, places // columns % rows], 1)
        return pair.to(self.anchors.dtype)

    def size(self) -> Tensor:
        """(columns, rows)."""
        return self.anchors.new_tensor(self.shape[:1:-1])

    def anchors_at(self, places: Tensor) -> Tensor:
        """(k, 2) anchor of each place."""
        _, count, rows, columns = self.shape
        return self.anchors[places // (rows * columns) % count]
