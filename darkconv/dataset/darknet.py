"""Darknet's labels: a text file per picture, `class x y width height` relative to the picture."""

import contextlib
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from darkconv.darknet.data import read_names
from darkconv.dataset.label import Label, Size, class_name, pixel_label, problem, shown
from darkconv.dataset.paths import Bounds, above, numbered_lines, picture_size, read_text
from darkconv.dataset.sample import Dataset, Sample, order_names
from darkconv.errors import DatasetError

PICTURE_FOLDERS = ("images", "JPEGImages")
LABEL_FOLDER = "labels"
ROUNDING = 1.0  # pixels: many label tools work on whole pixels, so an edge may be off by one


def read_pictures(
    images: Iterable[Path], names: Sequence[str] | None = None, *, source: str
) -> Dataset:
    """Pictures with the label files that belong to them; without one, a picture has no boxes.

    Args:
        images: picture files that exist.
        names: of the classes; without them a class is named by its index.
        source: what the user called them.
    """
    samples, problems = [], []
    bare = []
    for image in images:
        path = label_path(image)
        try:
            sample, skipped = read_sample(image, path, names)
        except DatasetError as error:
            problems.append(problem(error, image))
            continue
        samples.append(sample)
        problems += skipped
        if path is None:
            bare.append(image)
    if bare and len(bare) < len(samples):
        message = (
            f"no label file for {len(bare)} of {len(samples)} pictures, which count as empty, "
            f"the first is {bare[0]}"
        )
        problems.append(problem(DatasetError(message), source))
    return Dataset(tuple(samples), order_names(samples, names), source, tuple(problems))


def label_path(image: Path) -> Path | None:
    """The label file of a picture: in `labels` for `images`, as Darknet has it, or beside it."""
    for path in dict.fromkeys((image, image.absolute())):
        parts = path.parts
        for place in range(len(parts) - 2, -1, -1):
            if parts[place] in PICTURE_FOLDERS:
                moved = Path(*parts[:place], LABEL_FOLDER, *parts[place + 1 :])
                if os.path.isfile(moved.with_suffix(".txt")):
                    return moved.with_suffix(".txt")
    beside = image.with_suffix(".txt")
    return beside if os.path.isfile(beside) else None


def read_sample(
    image: Path, labels: Path | None, names: Sequence[str] | None
) -> tuple[Sample, list[str]]:
    """A picture with its boxes, and what was skipped. The picture is opened only for its size.

    Raises:
        DatasetError: there are labels, but they or the picture cannot be read.
    """
    lines = list(numbered_lines(read_text(labels))) if labels else []
    if labels is None or not lines:
        return Sample.of(image), []
    size = picture_size(image)
    found, problems = [], []
    for number, line in lines:
        try:
            found.append(parse_label(line, names, size))
        except DatasetError as error:
            problems.append(problem(error, labels, number))
    return Sample.of(image, found, size), problems


def parse_label(line: str, names: Sequence[str] | None, size: Size) -> Label:
    """A line of a label file, in pixels.

    Raises:
        DatasetError: not five finite numbers, an unknown class, a box without area, or one that
            leaves the picture by more than a pixel.
    """
    try:
        index, x, y, width, height = map(float, line.split())
    except ValueError:
        found = shown(line) if line else "an empty line"
        raise DatasetError(expected="a class and four numbers", found=found) from None
    if not all(map(math.isfinite, (index, x, y, width, height))):
        raise DatasetError(expected="finite numbers", found=shown(line))
    name = class_name(index, names)
    if width <= 0 or height <= 0:
        raise DatasetError(expected="a width and a height above 0", found=f"{width:g} {height:g}")
    (x0, x1), (y0, y1) = (
        (length * (centre - side / 2), length * (centre + side / 2))
        for length, centre, side in zip(size, (x, y), (width, height), strict=True)
    )
    if min(x0, y0) < -ROUNDING or x1 > size[0] + ROUNDING or y1 > size[1] + ROUNDING:
        raise DatasetError(
            expected="a box inside the picture, 0 to 1",
            found=f"{x:g} {y:g} {width:g} {height:g}",
        )
    return pixel_label(name, (x0, y0, x1, y1), size=size)


def read_list(path: Path, bases: Sequence[Path], bounds: Bounds) -> tuple[list[Path], list[str]]:
    """The pictures that a list file names, one a line, and what was skipped.

    Args:
        path: the list file.
        bases: folders that the names may be relative to, the first that has the file counts.
        bounds: where they may lead.

    Raises:
        DatasetError: the list cannot be read.
    """
    images, problems = [], []
    for number, line in numbered_lines(read_text(path)):
        try:
            if line:
                images.append(bounds.find(line, bases))
        except DatasetError as error:
            problems.append(problem(error, path, number))
    return images, problems


def names_near(folder: Path) -> tuple[str, ...] | None:
    """Names from the one .names file, or from `classes.txt`, in a folder or the one above it."""
    for place in (folder, above(folder)):
        listed = sorted(place.glob("*.names")) or sorted(place.glob("classes.txt"))
        if len(listed) == 1:
            with contextlib.suppress(DatasetError):
                return read_names(listed[0]).names
    return None
