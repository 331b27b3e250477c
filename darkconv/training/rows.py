"""Boxes of training pictures as rows: a class and four numbers each."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from darkconv.core.names import distinct_names, same_name
from darkconv.dataset import Sample
from darkconv.dataset.label import Size

Floats = npt.NDArray[np.float64]
Rows = Floats
"""(k, 5): class, then xyxy."""

VISIBLE = 0.1
"""Share of an object's area that must be left of it. Darknet keeps any that is a pixel wide."""
SMALLEST = 1.0
"""Pixels of the network input that an object must be wide and high (AlexeyAB's rule)."""


class Rect(NamedTuple):
    """Whole pixels, the last ones excluded."""

    left: int
    top: int
    right: int
    bottom: int


def numbers_of(names: Sequence[str]) -> dict[str, int]:
    """Return the number of each class, by what all forms of its name have in common."""
    return {same_name(name): number for number, name in enumerate(distinct_names(names))}


def sample_rows(
    sample: Sample, classes: Mapping[str, int], size: Size, *, difficult: bool = False
) -> Rows:
    """Boxes of a sample that count, relative to the picture and clipped to it.

    Args:
        sample: its boxes are in pixels.
        classes: numbers of the classes that count: see `numbers_of`.
        size: (width, height) of the picture.
        difficult: those marked so count too.
    """
    numbers = np.array([classes.get(same_name(name), -1) for name in sample.names], np.int64)
    counts = numbers >= 0
    if not difficult:
        counts &= ~sample.difficult
    boxes = (sample.boxes[counts] / (size * 2)).clip(0, 1)
    return np.column_stack([numbers[counts], boxes]).astype(np.float64)


def fitted(rows: Rows, inner: Size, size: Size) -> Rows:
    """Boxes relative to a picture -> in pixels of a canvas, in whose middle the picture lies.

    Args:
        rows: relative.
        inner: (width, height) that the picture takes.
        size: of the canvas.
    """
    offset = (np.array(size) - inner) / 2
    return np.hstack([rows[:, :1], rows[:, 1:] * (inner * 2) + np.tile(offset, 2)])


def kept(rows: Rows, area: Rect) -> Rows:
    """Boxes of which enough lies within an area, clipped to it."""
    return clipped(rows[is_visible(rows, area)], area)


def clipped(rows: Rows, area: Rect) -> Rows:
    """Boxes as far as they lie within an area."""
    inside = rows.copy()
    inside[:, 1::2] = rows[:, 1::2].clip(area.left, area.right)
    inside[:, 2::2] = rows[:, 2::2].clip(area.top, area.bottom)
    return inside


def is_visible(rows: Rows, area: Rect) -> npt.NDArray[np.bool_]:
    """Whether enough of a box lies within an area to learn from: `VISIBLE` and `SMALLEST`."""
    inside = clipped(rows, area)
    sides = inside[:, 3:] - inside[:, 1:3]
    whole = (rows[:, 3:] - rows[:, 1:3]).prod(axis=1)
    enough: npt.NDArray[np.bool_] = sides.prod(axis=1) >= VISIBLE * whole
    return enough & (sides >= SMALLEST).all(axis=1)


def truths(rows: Rows, size: Size) -> npt.NDArray[np.float32]:
    """Class and xyxy in pixels -> class and xywh relative to (width, height), the centre first."""
    corners = rows[:, 1:].reshape(-1, 2, 2) / np.array(size)
    centres, sides = corners.mean(axis=1), corners[:, 1] - corners[:, 0]
    return np.hstack([rows[:, :1], centres, sides]).astype(np.float32)
