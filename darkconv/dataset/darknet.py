"""Darknet's labels: a text file per picture, `class x y width height` relative to the picture."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from darkconv.boxes import corners_of
from darkconv.dataset.fit import SHARES, Mark, fit_labels, outline
from darkconv.dataset.label import Label, checked_label, class_name, shown
from darkconv.dataset.locate import Locator
from darkconv.dataset.names import LABEL_FOLDER, PICTURE_FOLDERS, NamesNear
from darkconv.dataset.paths import above, numbered_lines, read_text
from darkconv.dataset.reading import Reading
from darkconv.dataset.sample import Sample
from darkconv.errors import DatasetError

LEAST_POINTS = 3  # of a polygon


def read_pictures(
    images: Iterable[Path],
    names_of: NamesNear,
    reading: Reading,
    *,
    label_folders: Sequence[Path] = (),
    difficult: Mapping[Path, Path] | None = None,
    has_keypoints: bool = False,
) -> list[Sample]:
    """Return pictures with the labels that belong to them; without a file a picture has no boxes.

    Args:
        images: picture files that exist.
        names_of: finds the names for a picture's labels.
        reading: where problems and changes are reported.
        label_folders: other folders in which label files may lie.
        difficult: label files of further boxes, which are difficult, by picture.
        has_keypoints: True if keypoints stand behind the four numbers of a box.

    Raises:
        DatasetError: a file of class names cannot be read.
    """
    samples: list[Sample] = []
    bare = []
    for image in images:
        path = label_path(image, label_folders) or broken_label_path(image, label_folders)
        further = (difficult or {}).get(image)
        names = names_of(image, path) if path or further else None
        try:
            marks = read_marks(path, names, reading, has_keypoints=has_keypoints)
            if further != path:
                known = {mark.label for mark in marks}
                others = read_marks(further, names, reading)
                marks += [mark.as_difficult() for mark in others if mark.label not in known]
            samples.append(fit_labels(image, marks, SHARES, reading))
        except DatasetError as error:
            reading.skip(error, image)
            continue
        if path is None:
            bare.append(image)
        else:
            reading.found_labels(path.parent)
    if bare and len(bare) < len(samples):
        message = (
            f"no label file for {len(bare)} of {len(samples)} pictures, which count as empty, "
            f"the first is {bare[0]}"
        )
        reading.skip(DatasetError(message), reading.source)
    return samples


def label_path(image: Path, folders: Sequence[Path] = ()) -> Path | None:
    """Return the label file of a picture, or None.

    It lies in `labels` for `images`, as Darknet has it, beside the picture, in `labels` beside
    the picture's folder, or in one of other folders.
    """
    return next(filter(os.path.isfile, _label_places(image, folders)), None)


def broken_label_path(image: Path, folders: Sequence[Path] = ()) -> Path | None:
    """Return what lies in the place of a picture's label file and is none, such as a folder."""
    return next((path for path in _label_places(image, folders) if os.path.lexists(path)), None)


def _label_places(image: Path, folders: Sequence[Path]) -> Iterator[Path]:
    for path in dict.fromkeys((image, image.absolute())):
        parts = path.parts
        for place in range(len(parts) - 2, -1, -1):
            if parts[place] in PICTURE_FOLDERS:
                moved = Path(*parts[:place], LABEL_FOLDER, *parts[place + 1 :])
                yield moved.with_suffix(".txt")
    name = image.with_suffix(".txt").name
    yield from (one / name for one in (image.parent, above(image.parent) / LABEL_FOLDER, *folders))


def read_marks(
    labels: Path | None,
    names: Sequence[str] | None,
    reading: Reading,
    *,
    has_keypoints: bool = False,
) -> list[Mark]:
    """Return the labels of a file.

    Raises:
        DatasetError: the file cannot be read.
    """
    if labels is None:
        return []
    marks = []
    for number, line in numbered_lines(read_text(labels)):
        place = f"{labels}:{number}"
        try:
            label, shape = parse_shape(line, names, has_keypoints=has_keypoints)
        except DatasetError as error:
            reading.skip(error, labels, number)
            continue
        if shape:
            reading.change(shape, place)
        marks.append(Mark(label, place))
    return marks


def parse_label(line: str, names: Sequence[str] | None) -> Label:
    """Return the label of a line; see `parse_shape`."""
    return parse_shape(line, names)[0]


def parse_shape(
    line: str, names: Sequence[str] | None, *, has_keypoints: bool = False
) -> tuple[Label, str | None]:
    """Return the label of a line, in shares of the picture, and what it is if it is no box.

    A class and three points or more are a polygon, of which the box around it counts.

    Args:
        line: of a label file.
        names: of the classes.
        has_keypoints: True if keypoints stand behind the four numbers of a box.

    Raises:
        DatasetError: numbers that are no box, an unknown class, or a box without area.
    """
    try:
        index, *numbers = map(float, line.split())
    except ValueError:
        numbers = []
    count = len(numbers)
    is_posed = has_keypoints and count > 4
    is_polygon = not is_posed and count >= 2 * LEAST_POINTS and count % 2 == 0
    if not is_posed and not is_polygon and count != 4:
        found = shown(line) if line else "an empty line"
        raise DatasetError(expected="a class and four numbers", found=found)
    if not all(value - value == 0 for value in (index, *numbers)):
        raise DatasetError(expected="finite numbers", found=shown(line))
    name = class_name(index, names)
    if is_polygon:
        return checked_label(name, outline(numbers)), "polygons"
    x, y, width, height = numbers[:4]
    if width <= 0 or height <= 0:
        raise DatasetError(expected="a width and a height above 0", found=f"{width:g} {height:g}")
    box = corners_of(x, y, width, height)
    return checked_label(name, box), "keypoints" if is_posed else None


def read_list(path: Path, locator: Locator, reading: Reading) -> dict[int, Path]:
    """Return the pictures that a list file names, one a line, by their places in the list.

    Blank lines do not count.

    Raises:
        DatasetError: the list cannot be read.
    """
    images = {}
    lines = ((number, line) for number, line in numbered_lines(read_text(path)) if line)
    for place, (number, line) in enumerate(lines):
        try:
            images[place] = locator.find(line)
        except DatasetError as error:
            reading.skip(error, path, number)
    return images


def read_difficult(path: Path, images: Mapping[int, Path], locator: Locator) -> dict[Path, Path]:
    """Return the files of difficult labels of a list `difficult =`, by picture.

    Its lines stand for those of the list of pictures; only their labels need to be there.

    Raises:
        DatasetError: the list cannot be read.
    """
    found = {}
    lines = (line for _, line in numbered_lines(read_text(path)) if line)
    for place, line in enumerate(lines):
        labels = locator.find_for(line, label_path) if place in images else None
        if labels is not None:
            found[images[place]] = labels
    return found
