"""Mosaic: four pictures that meet at a random point (AlexeyAB's rule)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from darkconv.augmentation.box_rows import Rect
from darkconv.augmentation.placement import CanvasView
from darkconv.dataset.label import Size

EDGE = 0.2
"""Smallest distance of that point from the canvas's edges, as a share of the canvas."""


@dataclass(frozen=True)
class Tile:
    """A corner of a mosaic.

    Attributes:
        area: its area in pixels of the canvas.
        right: it is on the right.
        bottom: it is at the bottom.
    """

    area: Rect
    right: bool
    bottom: bool

    @property
    def size(self) -> Size:
        """Size (width, height) in pixels."""
        return self.area.right - self.area.left, self.area.bottom - self.area.top

    def choose(self, rng: np.random.Generator, view: CanvasView, canvas: Size) -> CanvasView:
        """Choose the part of a view that the tile shows.

        The view would fill the canvas. The tile at the top left shows the bottom right of it, and
        so on, but no border beside the picture as long as there is another choice. Every other view
        is moved first, until the canvas has the tile's own corner in common with the picture.

        Args:
            rng: random generator of this draw.
            view: view of a picture.
            canvas: (width, height) of the canvas in pixels.

        Returns:
            The part of the view.
        """
        if rng.random() < 0.5:
            view = view.aligned(right=self.right, bottom=self.bottom)
        left, top, right, bottom = view.borders()
        width, height = self.size[0] / canvas[0], self.size[1] / canvas[1]
        x = min(left, 1 - width) if self.right else max(1 - width - right, 0.0)
        y = min(top, 1 - height) if self.bottom else max(1 - height - bottom, 0.0)
        return view.part(x, y, x + width, y + height)


def draw_tiles(rng: np.random.Generator, canvas: Size) -> Iterator[Tile]:
    """Draw the tiles of a mosaic.

    Args:
        rng: random generator of this draw.
        canvas: (width, height) in pixels, at least 2 each.

    Yields:
        The tiles top left, top right, bottom left, bottom right.
    """
    x, y = (min(max(round(rng.uniform(EDGE, 1 - EDGE) * side), 1), side - 1) for side in canvas)
    for bottom in (False, True):
        for right in (False, True):
            area = Rect(
                x if right else 0,
                y if bottom else 0,
                canvas[0] if right else x,
                canvas[1] if bottom else y,
            )
            yield Tile(area, right, bottom)
