"""Read Darknet's labels: a text file per picture, `class x y width height` in fractions of it."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from darkconv.boxes import corners_of
from darkconv.dataset import picture_json
from darkconv.dataset.fit import SHARES, Mark, fit_labels, outline
from darkconv.dataset.label import ClassNumberError, Label, Size, checked_label, class_name, shown
from darkconv.dataset.locate import Locator
from darkconv.dataset.names import LABEL_FOLDER, NamesNear, holds_pictures, label_folders
from darkconv.dataset.paths import above, numbered_lines, read_text
from darkconv.dataset.reading import ReadingRecord
from darkconv.dataset.sample import Sample
from darkconv.errors import DatasetError, Where
from darkconv.files.outputs import is_no_file

LEAST_POINTS = 3  # the fewest points of a polygon
SUFFIXES = (".txt", ".TXT")
"""The suffixes of label files; on Windows they are the same."""


@dataclass(frozen=True)
class LabelFolders:
    """Folders with label files that Darknet itself would not find.

    Attributes:
        folders: the folders; a label file lies in one at its picture's path below `root`, or
            directly.
        root: the folder of the pictures.
        shared: the stems that several pictures below `root` have, whose label files are only
            distinguished by their folders.
    """

    folders: tuple[Path, ...]
    root: Path
    shared: frozenset[str]

    @classmethod
    def of(cls, folders: Iterable[Path], root: Path, images: Iterable[Path]) -> "LabelFolders":
        """Build the record for some pictures below a root.

        Args:
            folders: the folders with label files.
            root: the folder of the pictures.
            images: all pictures, by which shared stems are found.
        """
        counts = Counter(image.stem for image in images)
        return cls(tuple(folders), root, frozenset(one for one in counts if counts[one] > 1))

    def places(self, image: Path) -> Iterator[Path]:
        """Yield the possible paths of a picture's label file, still with the picture's suffix.

        Args:
            image: the picture; it may lie outside `root`.
        """
        for folder in self.folders:
            if image.is_relative_to(self.root):
                yield folder / image.relative_to(self.root)
            if image.stem not in self.shared:
                yield folder / image.name


def read_pictures(
    images: Iterable[Path],
    names_of: NamesNear,
    reading: ReadingRecord,
    *,
    elsewhere: LabelFolders | None = None,
    difficult: Mapping[Path, Path] | None = None,
    has_keypoints: bool = False,
) -> list[Sample]:
    """Return pictures with their labels; a picture without a label file has no boxes.

    Args:
        images: the picture files, which exist.
        names_of: finds the class names for a picture's labels.
        reading: the record to which problems and changes are reported.
        elsewhere: further folders in which label files may lie.
        difficult: label files with further boxes, which are difficult, by picture.
        has_keypoints: True if keypoints follow the four numbers of a box.

    Raises:
        DatasetError: a file of class names cannot be read.
    """
    samples: list[Sample] = []
    bare = []
    for image in images:
        path = find_labels(image, elsewhere)
        further = (difficult or {}).get(image)
        names = names_of(image, path) if path or further else None
        if path is not None:
            reading.label_files[path] = image
        try:
            marks, made_at = _read_labels(path, names, reading, has_keypoints=has_keypoints)
            if further is not None and further != path:
                known = {mark.label for mark in marks}
                others = read_marks(further, names, reading)
                marks += [mark.as_difficult() for mark in others if mark.label not in known]
            samples.append(fit_labels(image, marks, made_at, reading))
        except DatasetError as error:
            reading.skip(error, image)
            continue
        if path is None:
            bare.append(image)
        else:
            reading.found_labels(path.parent)
    _tell_of_counting_from_one(names_of, reading)
    if bare and len(bare) < len(samples):
        message = (
            f"no label file for {len(bare)} of {len(samples)} pictures, which count as empty, "
            f"the first is {bare[0]}"
        )
        reading.skip(DatasetError(message), reading.source)
    return samples


def _tell_of_counting_from_one(names_of: NamesNear, reading: ReadingRecord) -> None:
    """Add a note if classes seem to be counted from 1: none is 0, and the highest is one too high.

    Nothing is changed, because a class without boxes and a wrong index look the same.
    """
    names = names_of.all()
    if names_of.is_one_list and reading.beyond == {len(names)} and not reading.has_first_class:
        reading.note(
            f"{reading.source}: no label is of class 0 ({shown(names[0])}), and some are of class "
            f"{len(names)}, which has no name: its classes may be counted from 1"
        )


def find_labels(image: Path, elsewhere: LabelFolders | None = None) -> Path | None:
    """Return the file with a picture's labels, or what lies in its place; None if nothing does.

    This is Darknet's label file, or else a JSON file that a labelling tool wrote beside the
    picture.

    Args:
        image: the picture's path, whose stem is that of the label file.
        elsewhere: further folders in which label files may lie.
    """
    path = label_path(image, elsewhere)
    told = None if path else label_path(image, elsewhere, picture_json.SUFFIXES)
    if told is not None and picture_json.tool_of_file(told) is not None:
        return told
    return path or broken_label_path(image, elsewhere)


def _read_labels(
    path: Path | None, names: Sequence[str] | None, reading: ReadingRecord, *, has_keypoints: bool
) -> tuple[list[Mark], Size | None]:
    """Return the labels of a file, and the picture size for which they were made.

    Raises:
        DatasetError: the file cannot be read.
    """
    if path is None:
        return [], SHARES
    if path.suffix in picture_json.SUFFIXES:
        told = picture_json.read_picture_json(path, names, reading)
        reading.tools[told.tool] = None
        if told.is_named:
            reading.has_own_names = True
            reading.found_names(path.parent)
        return told.marks, told.made_at
    return read_marks(path, names, reading, has_keypoints=has_keypoints), SHARES


def label_path(
    image: Path, elsewhere: LabelFolders | None = None, suffixes: Sequence[str] = SUFFIXES
) -> Path | None:
    """Return the label file of a picture, or None.

    It lies in `labels` in place of `images`, as for Darknet, beside the picture, in `labels` beside
    the picture's folder, or in one of the further folders.

    Args:
        image: the picture's path, whose stem is that of the label file.
        elsewhere: further folders in which label files may lie.
        suffixes: the suffixes of label files.
    """
    return next(filter(os.path.isfile, _label_files(image, elsewhere, suffixes)), None)


def broken_label_path(image: Path, elsewhere: LabelFolders | None = None) -> Path | None:
    """Return what lies in the place of a picture's label file and is no file, such as a folder.

    Args:
        image: the picture's path, whose stem is that of the label file.
        elsewhere: further folders in which label files may lie.

    Returns:
        None if nothing lies there.
    """
    return next(filter(os.path.lexists, _label_files(image, elsewhere, SUFFIXES)), None)


def _label_files(
    image: Path, elsewhere: LabelFolders | None, suffixes: Sequence[str]
) -> Iterator[Path]:
    for place in _label_places(image, elsewhere):
        yield from (place.with_suffix(suffix) for suffix in suffixes)


def _label_places(image: Path, elsewhere: LabelFolders | None) -> Iterator[Path]:
    for path in dict.fromkeys((image, image.absolute())):
        parts = path.parts
        for place in range(len(parts) - 2, -1, -1):
            if holds_pictures(parts[place]):
                for word in label_folders(parts[place]):
                    yield Path(*parts[:place], word, *parts[place + 1 :])
    yield from (one / image.name for one in (image.parent, above(image.parent) / LABEL_FOLDER))
    if elsewhere is not None:
        yield from elsewhere.places(image)


def read_marks(
    labels: Path,
    names: Sequence[str] | None,
    reading: ReadingRecord,
    *,
    has_keypoints: bool = False,
) -> list[Mark]:
    """Return the labels of a label file, with the line of each.

    Args:
        labels: the label file; a pipe or a device is refused.
        names: the class names; None if classes have only indices.
        reading: the record to which problems and changes are reported.
        has_keypoints: True if keypoints follow the four numbers of a box.

    Returns:
        Labels with boxes xyxy in fractions of the picture.

    Raises:
        DatasetError: the file cannot be read.
    """
    if is_no_file(labels) and not os.path.isdir(labels):
        raise DatasetError("is a pipe or a device", where=Where(file=str(labels)))
    marks = []
    for number, line in numbered_lines(read_text(labels)):
        place = f"{labels}:{number}"
        try:
            label, shape = parse_shape(line, names, has_keypoints=has_keypoints)
        except DatasetError as error:
            reading.skip(error, labels, number)
            if isinstance(error, ClassNumberError):
                reading.beyond.add(error.number)
            continue
        if label.name == (names or ("0",))[0]:
            reading.has_first_class = True
        if shape:
            reading.change(shape, place)
        marks.append(Mark(label, place))
    return marks


def parse_label(line: str, names: Sequence[str] | None) -> Label:
    """Return the label of a line; see `parse_shape`.

    Args:
        line: a line of a label file.
        names: the class names; None if classes have only indices.

    Raises:
        DatasetError: the line is no valid label.
    """
    return parse_shape(line, names)[0]


def parse_shape(
    line: str, names: Sequence[str] | None, *, has_keypoints: bool = False
) -> tuple[Label, str | None]:
    """Return the label of a line, and its kind if it is no plain box.

    A class and at least three points are a polygon, whose bounding box counts.

    Args:
        line: a line of a label file.
        names: the class names; None if classes have only indices.
        has_keypoints: True if keypoints follow the four numbers of a box.

    Returns:
        The label with its box xyxy in fractions of the picture, and "polygons", "keypoints" or
        None.

    Raises:
        DatasetError: the numbers are no box, the class is unknown, or the box has no area.
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


def read_list(path: Path, locator: Locator, reading: ReadingRecord) -> dict[int, Path]:
    """Read a list file with a picture on each line, and return the pictures by position, from 0.

    Blank lines do not count. Lines whose picture is missing are reported.

    Args:
        path: the list file, with paths as the user wrote them.
        locator: finds the file of each path.
        reading: the record to which problems are reported.

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

    Each of its lines corresponds to the line of the list of pictures at the same position; its
    picture need not exist, only the labels.

    Args:
        path: the list `difficult =`.
        images: the pictures by position in the list of pictures, from 0.
        locator: finds the label files.

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
