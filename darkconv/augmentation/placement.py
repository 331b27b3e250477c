"""Views: where the pixels and boxes of a picture go when a window of it fills a canvas."""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from darkconv.augmentation.box_rows import Rect, Rows
from darkconv.pictures.picture import Picture

NARROWEST = 0.05
"""Smallest side of a window in sides of the picture; with jitter from 0.5 it could be negative."""


class CropWindow(NamedTuple):
    """The part of a picture that fills a canvas, in shares of its width and height from 0 to 1.

    It may be larger than the picture.
    """

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Width in widths of the picture."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Height in heights of the picture."""
        return self.bottom - self.top

    def widened(self) -> "CropWindow":
        """Return this window, widened to sides of at least `NARROWEST`."""
        across = max(0.0, NARROWEST - self.width) / 2
        down = max(0.0, NARROWEST - self.height) / 2
        return CropWindow(
            self.left - across, self.top - down, self.right + across, self.bottom + down
        )

    def moved(self, across: float, down: float) -> "CropWindow":
        """Return this window shifted.

        Args:
            across: shift to the right, in widths of the picture.
            down: shift downwards, in heights of the picture.
        """
        return CropWindow(
            self.left + across, self.top + down, self.right + across, self.bottom + down
        )


@dataclass(frozen=True)
class CanvasView:
    """A window, and whether the canvas shows it mirrored.

    Attributes:
        window: part of the picture.
        flip: the canvas shows it mirrored.
    """

    window: CropWindow
    flip: bool = False

    def part(self, left: float, top: float, right: float, bottom: float) -> Self:
        """Return the view of a part of the canvas.

        Args:
            left: left edge of the part, in widths of the canvas.
            top: top edge, in heights of the canvas.
            right: right edge, in widths of the canvas.
            bottom: bottom edge, in heights of the canvas.
        """
        if self.flip:
            left, right = 1 - right, 1 - left
        x, y, _, _ = self.window
        width, height = self.window.width, self.window.height
        part = CropWindow(
            x + left * width, y + top * height, x + right * width, y + bottom * height
        )
        return replace(self, window=part)

    def borders(self) -> tuple[float, float, float, float]:
        """Return the margins of the canvas that the picture does not cover.

        Returns:
            Left, top, right and bottom margin, in shares of the canvas.
        """
        x0, y0, x1, y1 = self.window
        width, height = self.window.width, self.window.height
        left, right = max(0.0, -x0 / width), max(0.0, (x1 - 1) / width)
        top, bottom = max(0.0, -y0 / height), max(0.0, (y1 - 1) / height)
        return (right, top, left, bottom) if self.flip else (left, top, right, bottom)

    def aligned(self, *, right: bool, bottom: bool) -> Self:
        """Return this view shifted so that canvas and picture have a corner in common.

        Args:
            right: a corner on the right of the canvas; otherwise on the left.
            bottom: a corner at the bottom of the canvas; otherwise at the top.
        """
        x0, y0, x1, y1 = self.window
        across = 1 - x1 if right != self.flip else -x0
        down = 1 - y1 if bottom else -y0
        return replace(self, window=self.window.moved(across, down))


@dataclass(frozen=True)
class Patch:
    """A view in whole pixels, from which the places of pixels and boxes follow.

    Attributes:
        source: area of the picture.
        target: area of the canvas.
        flip: the target is a mirror image.
        picture: (width, height) of the picture in pixels.
    """

    source: Rect
    target: Rect
    flip: bool
    picture: tuple[int, int]

    @classmethod
    def of(
        cls, view: CanvasView, picture: tuple[int, int], canvas: tuple[int, int]
    ) -> "Patch | None":
        """Build the patch of a view; None if nothing of the picture is seen.

        Args:
            view: the view.
            picture: (width, height) of the picture in pixels.
            canvas: (width, height) of the canvas in pixels.
        """
        x0, y0, x1, y1 = view.window
        across = _fit(x0, x1, picture[0], canvas[0])
        down = _fit(y0, y1, picture[1], canvas[1])
        if across is None or down is None:
            return None
        (left, right, start, end), (top, bottom, first, last) = across, down
        if view.flip:
            start, end = canvas[0] - end, canvas[0] - start
        return cls(
            Rect(left, top, right, bottom), Rect(start, first, end, last), view.flip, picture
        )

    def paint(self, picture: Picture, canvas: npt.NDArray[np.uint8]) -> None:
        """Copy the source to the target, with bilinear interpolation as in Darknet.

        Args:
            picture: (H, W, C) 8-bit levels.
            canvas: (C, h, w) 8-bit levels, which are changed.
        """
        import torch
        from torch.nn import functional

        left, top, right, bottom = self.source
        start, first, end, last = self.target
        part = torch.from_numpy(picture[top:bottom, left:right]).permute(2, 0, 1)[None]
        size = (last - first, end - start)
        if size != part.shape[2:]:
            part = functional.interpolate(part, size, mode="bilinear", align_corners=False)
        resized = part[0].numpy()
        canvas[:, first:last, start:end] = resized[:, :, ::-1] if self.flip else resized

    def move(self, rows: Rows) -> Rows:
        """Return boxes of the picture in pixels of the canvas, not clipped.

        Args:
            rows: (k, 5) class and xyxy box, relative to the picture.
        """
        left, top, right, bottom = self.source
        start, first, end, last = self.target
        moved = rows.copy()
        across, down = (end - start) / (right - left), (last - first) / (bottom - top)
        moved[:, 1::2] = start + (rows[:, 1::2] * self.picture[0] - left) * across
        moved[:, 2::2] = first + (rows[:, 2::2] * self.picture[1] - top) * down
        if self.flip:
            moved[:, [1, 3]] = start + end - moved[:, [3, 1]]
        return moved


def _fit(low: float, high: float, length: int, room: int) -> tuple[int, int, int, int] | None:
    """Return, for one axis, the pixels of a picture that are seen, and the canvas pixels they fill.

    Args:
        low: first edge of the window, in lengths of the picture.
        high: last edge.
        length: length of the picture in pixels.
        room: length of the canvas in pixels.

    Returns:
        First and last pixel of the picture, then of the canvas; last pixels are excluded. None if
        nothing is seen.
    """
    seen_low, seen_high = max(low, 0.0), min(high, 1.0)
    if seen_high <= seen_low:
        return None
    scale = room / (high - low)
    start, end = round((seen_low - low) * scale), round((seen_high - low) * scale)
    if end <= start:
        return None
    first = min(round(seen_low * length), length - 1)
    last = max(round(seen_high * length), first + 1)
    return first, last, start, end
