"""Read OIDv4 ToolKit's layout: a folder per split and class, with `Label/NAME.txt` in pixels."""

import os
from collections.abc import Iterator
from pathlib import Path

from darkconv.dataset.fit import Mark, fit_labels
from darkconv.dataset.label import Label, checked_label, parse_name, shown
from darkconv.dataset.paths import numbered_lines, read_text
from darkconv.dataset.reading import ReadingRecord
from darkconv.dataset.sample import Dataset
from darkconv.dataset.source import DatasetSource, Options
from darkconv.errors import DatasetError
from darkconv.pictures.image_file import is_picture

FORM = "OIDv4 ToolKit"
LABELS = "Label"
ROOTS = ("OID/Dataset", "Dataset", "")
SPLITS = ("train", "validation", "test")


def oidv4_source(path: Path, options: Options) -> DatasetSource | None:
    """Return the source of a folder of the OIDv4 ToolKit, or None if the folder is not one.

    Args:
        path: the tool's folder, `OID/Dataset`, or the folder of one split or class.
        options: the options of reading.
    """
    root = next(path / name for name in ROOTS if (path / name).is_dir())
    splits = tuple(name for name in SPLITS if _class_folders(root / name))
    if not splits and not _class_folders(root) and not _is_class_folder(root):
        return None

    def read(split: str | None) -> Dataset:
        reading = ReadingRecord(str(path))
        folders = [root / split] if split else [root / name for name in splits] or [root]
        return reading.dataset(
            [
                fit_labels(image, marks, None, reading)
                for folder in folders
                for image, marks in _pictures(folder, reading).items()
            ],
            options.names,
            form=FORM,
        )

    return DatasetSource(str(path), read, splits)


def _is_class_folder(folder: Path) -> bool:
    return (folder / LABELS).is_dir()


def _class_folders(folder: Path) -> list[Path]:
    """Return the class folders in a split's folder."""
    if not folder.is_dir():
        return []
    return [one for one in sorted(folder.iterdir()) if _is_class_folder(one)]


def _pictures(folder: Path, reading: ReadingRecord) -> dict[Path, list[Mark]]:
    """Return the pictures of a split with their labels.

    A picture that shows several classes lies in the folder of each, with only the boxes of that
    class; these are joined.
    """
    first: dict[str, Path] = {}
    found: dict[Path, list[Mark]] = {}
    own = [folder] if _is_class_folder(folder) else _class_folders(folder)
    for part in own:
        for image in sorted(path for path in part.iterdir() if is_picture(path)):
            known = first.setdefault(image.name, image)
            marks = _marks(part / LABELS / f"{image.stem}.txt", reading)
            have = found.setdefault(known, [])
            if known is not image:
                reading.change("merged", f"{image} is {known}")
            labels = {mark.label for mark in have}
            have += (mark for mark in marks if mark.label not in labels)
    return found


def _marks(path: Path, reading: ReadingRecord) -> Iterator[Mark]:
    """Yield the labels of a file, with `Name of a class x0 y0 x1 y1` on each line."""
    if not os.path.isfile(path):
        reading.skip(DatasetError("no such file of labels"), path)
        return
    reading.found_labels(path.parent)
    for number, line in numbered_lines(read_text(path)):
        try:
            yield Mark(parse_line(line), f"{path}:{number}")
        except DatasetError as error:
            reading.skip(error, path, number)


def parse_line(line: str) -> Label:
    """Parse a line `Name of a class x0 y0 x1 y1`.

    Args:
        line: the line of a label file.

    Returns:
        The label with its box xyxy in pixels.

    Raises:
        DatasetError: the line has another form, or the box is not valid.
    """
    words = line.rsplit(maxsplit=4)
    try:
        name, (x0, y0, x1, y1) = words[0], map(float, words[1:])
    except (IndexError, ValueError):
        expected = "the name of a class and four numbers"
        raise DatasetError(expected=expected, found=shown(line) or "an empty line") from None
    return checked_label(parse_name(name), (x0, y0, x1, y1))
