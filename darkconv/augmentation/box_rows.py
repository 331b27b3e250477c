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
"""Rows (k, 5) of class and xyxy box."""

VISIBLE = 0.1
"""Smallest share of an object's area that must be left; Darknet keeps any that is a pixel wide."""
SMALLEST = 1.0
"""Smallest width and height of an object in pixels of the network input (AlexeyAB's rule)."""


class Rect(NamedTuple):
    """An area of whole pixels; right and bottom are excluded."""

    left: int
    top: int
    right: int
    bottom: int


def numbers_of(names: Sequence[str]) -> dict[str, int]:
    """Return the number of each class, by what all spellings of its name have in common.

    Args:
        names: class names in the network's order.
    """
    return {same_name(name): number for number, name in enumerate(distinct_names(names))}


def sample_rows(
    sample: Sample, classes: Mapping[str, int], size: Size, *, difficult: bool = False
) -> Rows:
    """Return the boxes of a sample that count, relative to the picture and clipped to it.

    Args:
        sample: sample with boxes in pixels.
        classes: numbers of the classes that count, see `numbers_of`.
        size: (width, height) of the picture in pixels.
        difficult: boxes marked difficult count too.
    """
    numbers = np.array([classes.get(same_name(name), -1) for name in sample.names], np.int64)
    counts = numbers >= 0
    if not difficult:
        counts &= ~sample.difficult
    boxes = (sample.boxes[counts] / (size * 2)).clip(0, 1)
    return np.column_stack([numbers[counts], boxes]).astype(np.float64)


def fitted(rows: Rows, inner: Size, size: Size) -> Rows:
    """Return boxes of a picture in pixels of a canvas, in whose middle the picture lies.

    Args:
        rows: (k, 5) boxes relative to the picture.
        inner: (width, height) of the picture on the canvas, in pixels.
        size: (width, height) of the canvas in pixels.
    """
    offset = (np.array(size) - inner) / 2
    return np.hstack([rows[:, :1], rows[:, 1:] * (inner * 2) + np.tile(offset, 2)])


def kept(rows: Rows, area: Rect) -> Rows:
    """Return the boxes of which enough lies within an area, clipped to it.

    Args:
        rows: (k, 5) boxes in pixels.
        area: area in pixels.
    """
    return clipped(rows[is_visible(rows, area)], area)


def clipped(rows: Rows, area: Rect) -> Rows:
    """Return boxes clipped to an area.

    Args:
        rows: (k, 5) boxes in pixels.
        area: area in pixels.
    """
    inside = rows.copy()
    inside[:, 1::2] = rows[:, 1::2].clip(area.left, area.right)
    inside[:, 2::2] = rows[:, 2::2].clip(area.top, area.bottom)
    return inside


def is_visible(rows: Rows, area: Rect) -> npt.NDArray[np.bool_]:
    """Return a mask (k,) of boxes of which enough lies within an area to learn from.

    `VISIBLE` and `SMALLEST` say what is enough.

    Args:
        rows: (k, 5) boxes in pixels.
        area: area in pixels.
    """
    inside = clipped(rows, area)
    sides = inside[:, 3:] - inside[:, 1:3]
    whole = (rows[:, 3:] - rows[:, 1:3]).prod(axis=1)
    enough: npt.NDArray[np.bool_] = sides.prod(axis=1) >= VISIBLE * whole
    return enough & (sides >= SMALLEST).all(axis=1)


def truths(rows: Rows, size: Size) -> npt.NDArray[np.float32]:
    """Return boxes as ground truth: class and xywh relative to the canvas, centre first, float32.

    Args:
        rows: (k, 5) class and xyxy box in pixels.
        size: (width, height) of the canvas in pixels.
    """
    corners = rows[:, 1:].reshape(-1, 2, 2) / np.array(size)
    centres, sides = corners.mean(axis=1), corners[:, 1] - corners[:, 0]
    return np.hstack([rows[:, :1], centres, sides]).astype(np.float32)
