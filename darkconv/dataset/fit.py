"""Fit annotations to their picture: to its size, its borders and its orientation."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from darkconv.dataset.label import Box, Label, Size, numbers_of, problem
from darkconv.dataset.paths import PictureSize, measure_picture
from darkconv.dataset.reading import ReadingRecord
from darkconv.dataset.sample import Sample
from darkconv.errors import DatasetError

Floats = npt.NDArray[np.float64]

SHARES: Size = (1, 1)
"""The size that stands for fractions of the picture, as in Darknet's labels."""

ROUNDING = 1.0
"""The pixels by which a box may leave its picture without being clipped: VOC counts from 1."""

_HUGE = 1e300
_CENTRE = 1e-6  # the fraction by which rounding may move a centre beyond the border


class Mark(NamedTuple):
    """A label as an annotation has it, and its place in the file, such as `a.txt:2`."""

    label: Label
    place: str

    def as_difficult(self) -> "Mark":
        """Return the same label, marked as difficult."""
        return self._replace(label=self.label._replace(difficult=True))


def fit_labels(
    image: Path, marks: Sequence[Mark], made_at: Size | None, reading: ReadingRecord
) -> Sample:
    """Return a picture with its boxes in pixels, clipped at its borders.

    Boxes that were made for another size are scaled, and boxes whose centre lies outside are left
    out; each such change is reported. The picture is opened for its size only if it has labels.

    Args:
        image: the picture's path.
        marks: the labels, with boxes xyxy in the coordinates of the annotation.
        made_at: (width, height) that the annotation states; `SHARES` for fractions of the picture;
            None if it states none, in which case boxes are taken as pixels of the picture.
        reading: the record to which changes are reported.

    Returns:
        The picture with boxes xyxy in pixels of the upright picture.

    Raises:
        DatasetError: the labels are fractions of the picture, and the picture cannot be read.
        MissingDependencyError: Pillow is not installed.
    """
    known = None if made_at == SHARES else made_at
    labels = [mark.label for mark in marks]
    if not marks:
        return Sample.of(image, labels, known)
    try:
        measured = measure_picture(image)
    except DatasetError:
        if made_at == SHARES:
            raise
        return Sample.of(image, labels, known)  # whoever reads the picture reports the error
    boxes = np.array([label.box for label in labels], np.float64)
    boxes = _to_pixels(image, boxes, made_at, measured, reading)
    return _inside(image, marks, boxes, measured.size, reading)


def _to_pixels(
    image: Path, boxes: Floats, made_at: Size | None, measured: PictureSize, reading: ReadingRecord
) -> Floats:
    """Return boxes in pixels of the upright picture."""
    size = measured.size
    if made_at is None or made_at == size:
        return boxes
    if made_at == SHARES:
        with np.errstate(over="ignore", invalid="ignore"):
            return boxes * np.array(size * 2, np.float64)
    error = DatasetError(expected=times(made_at), found=times(size))
    if measured.is_turned and made_at == size[::-1]:
        reading.change("turned", problem(error, image))
        return _turned(boxes, made_at, measured.orientation)
    if made_at == size[::-1]:
        reading.change("swapped", problem(error, image))
        return boxes
    reading.change("size", problem(error, image))
    return boxes * (np.array(size * 2, np.float64) / np.array(made_at * 2, np.float64))


def _turned(boxes: Floats, lying: Size, orientation: int) -> Floats:
    """Return boxes of a picture as stored, turned by EXIF's orientations 5 to 8."""
    width, height = lying
    x0, y0, x1, y1 = boxes.T
    across = (height - y1, height - y0) if orientation in (6, 7) else (y0, y1)
    down = (width - x1, width - x0) if orientation in (7, 8) else (x0, x1)
    return np.stack([across[0], down[0], across[1], down[1]], axis=1)


def _inside(
    image: Path, marks: Sequence[Mark], boxes: Floats, size: Size, reading: ReadingRecord
) -> Sample:
    """Return the picture with the boxes whose centre lies in it.

    Only boxes that leave it by more than rounding are clipped: others stay as other tools read
    them.
    """
    limits = np.array(size * 2, np.float64)
    clipped = boxes.clip(0, limits)
    finite = boxes.clip(-_HUGE, _HUGE)
    centres = (finite[:, :2] / 2 + finite[:, 2:] / 2) / limits[:2]
    in_reach = (centres >= -_CENTRE) & (centres <= 1 + _CENTRE) & (clipped[:, :2] < clipped[:, 2:])
    is_inside = np.logical_and.reduce(in_reach, axis=1)
    beyond = (boxes < -ROUNDING) | (boxes > limits + ROUNDING)
    leaves = np.logical_or.reduce(beyond, axis=1)
    kept = []
    for mark, box, cut, inside, leaving in zip(
        marks, boxes.tolist(), clipped.tolist(), is_inside.tolist(), leaves.tolist(), strict=True
    ):
        if inside:
            kept.append(mark.label._replace(box=tuple(cut if leaving else box)))
        if leaving or not inside:
            found = f"{mark.label.name} {numbers_of(box)}"
            error = DatasetError(expected=f"a box inside {times(size)}", found=found)
            reading.change("outside" if inside else "beyond", f"{mark.place}: {error}")
    return Sample.of(image, kept, size)


def times(size: Size) -> str:
    """Return a size as text: `640x480`.

    Args:
        size: (width, height) in pixels.
    """
    return f"{size[0]}x{size[1]}"


def outline(points: Sequence[float]) -> Box:
    """Return the bounding box of a polygon, xyxy.

    Args:
        points: x0, y0, x1, y1 and so on.
    """
    xs, ys = points[::2], points[1::2]
    return min(xs), min(ys), max(xs), max(ys)
