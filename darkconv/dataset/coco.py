"""COCO: one JSON file with pictures, classes and boxes."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from darkconv.dataset.label import Box, Label, Size, parse_name, pixel_label, problem, shown
from darkconv.dataset.paths import Bounds, above, read_text
from darkconv.dataset.sample import Dataset, Sample, order_names
from darkconv.errors import DatasetError, Where

T = TypeVar("T")
Id = int | str

PREFIX = "instances_"
"""Of the original's file names: `instances_val2017.json` lies beside or above `val2017/`."""


@dataclass(frozen=True)
class Picture:
    """An entry of `images`: the file's name, and (width, height) if the entry tells."""

    name: str
    size: Size | None


def read_coco(
    path: Path, names: Sequence[str] | None = None, *, outside: bool = False, source: str
) -> Dataset:
    """Pictures and boxes of a COCO file; crowds count as difficult, masks are not read.

    Pictures are looked for beside the file, in `images`, and in the folder that bears the
    file's name; then in the same places one folder up.

    Args:
        path: the file.
        names: classes to put before those of the file's own list.
        outside: whether picture names may lead outside the folder above the file's.
        source: what the user called it.

    Raises:
        DatasetError: the file cannot be read or is not of this form.
    """
    file = _File(path, read_json(path), [])
    classes = file.collect("categories", parse_category)
    pictures = file.collect("images", parse_picture)
    samples = file.samples(pictures, file.labels(pictures, classes), outside=outside)
    own = (*(names or ()), *classes.values())
    return Dataset(samples, order_names(samples, own), source, tuple(file.problems))


def read_json(path: Path) -> dict[str, Any]:
    """The content of a COCO file.

    Raises:
        DatasetError: broken JSON, or no list of images.
    """
    where = Where(file=str(path))
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DatasetError(f"is not well-formed JSON: {error}", where=where) from None
    except RecursionError:
        raise DatasetError("is JSON that is nested too deeply", where=where) from None
    except ValueError:  # Python reads no more than 4300
        raise DatasetError("is JSON with a number of too many digits", where=where) from None
    if not isinstance(content, dict) or "images" not in content:
        found = list(content) if isinstance(content, dict) else type(content).__name__
        raise DatasetError(
            where=where, expected="a COCO file: images, annotations, categories", found=shown(found)
        )
    return content


def picture_folders(path: Path) -> list[Path]:
    """Where the pictures of a COCO file may lie."""
    own = path.stem.removeprefix(PREFIX)
    below = ("", "images", own, f"images/{own}")
    folders = (folder / name for folder in (path.parent, above(path.parent)) for name in below)
    return list(filter(os.path.isdir, folders))


@dataclass(frozen=True)
class _File:
    """A file while it is read: bad entries are added to `problems`."""

    path: Path
    content: dict[str, Any]
    problems: list[str]

    def entries(self, key: str) -> Iterator[tuple[str, Any]]:
        """(`images[3]`, entry) for each entry of a list, which may be absent."""
        entries = self.content.get(key, [])
        if not isinstance(entries, list):
            where, found = Where(file=str(self.path), option=key), type(entries).__name__
            raise DatasetError(where=where, expected="a list", found=found)
        return ((f"{key}[{i}]", entry) for i, entry in enumerate(entries))

    def collect(self, key: str, parse: Callable[[Any], tuple[Id, T]]) -> dict[Id, T]:
        """The entries of a list by their ids."""
        found: dict[Id, T] = {}
        for place, entry in self.entries(key):
            try:
                number, value = parse(entry)
                if number in found:
                    raise DatasetError(expected="an id of its own", found=shown(number))
                found[number] = value
            except DatasetError as error:
                self.problems.append(problem(error, self.path, part=place))
        return found

    def labels(self, pictures: dict[Id, Picture], classes: dict[Id, str]) -> dict[Id, list[Label]]:
        """The labels of each picture."""
        found: dict[Id, list[Label]] = {key: [] for key in pictures}
        for place, entry in self.entries("annotations"):
            try:
                key, label = parse_annotation(entry, pictures, classes)
                found[key].append(label)
            except DatasetError as error:
                self.problems.append(problem(error, self.path, part=place))
        return found

    def samples(
        self, pictures: dict[Id, Picture], labels: dict[Id, list[Label]], *, outside: bool
    ) -> tuple[Sample, ...]:
        """The pictures whose files are there."""
        found = []
        bounds, folders = Bounds.around(self.path, outside=outside), picture_folders(self.path)
        for key, picture in pictures.items():
            try:
                image = bounds.find(picture.name, folders)
                found.append(Sample.of(image, labels[key], picture.size))
            except DatasetError as error:
                self.problems.append(problem(error, self.path))
        return tuple(found)


def parse_category(entry: Any) -> tuple[Id, str]:
    """The id and the name of a class.

    Raises:
        DatasetError: one is missing.
    """
    return _id(entry, "id"), parse_name(entry.get("name"))


def parse_picture(entry: Any) -> tuple[Id, Picture]:
    """The id, the file's name and the size of a picture.

    Raises:
        DatasetError: the id or the name is missing.
    """
    key, name = _id(entry, "id"), entry.get("file_name")
    if not isinstance(name, str) or not name:
        raise DatasetError(expected="a file_name", found=shown(name))
    width, height = entry.get("width"), entry.get("height")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return key, Picture(name, (width, height))
    return key, Picture(name, None)


def parse_annotation(
    entry: Any, pictures: dict[Id, Picture], classes: dict[Id, str]
) -> tuple[Id, Label]:
    """The id of the picture and the label.

    Raises:
        DatasetError: an unknown picture or class, or a bad box.
    """
    key, category = _id(entry, "image_id"), _id(entry, "category_id")
    if key not in pictures:
        raise DatasetError(expected="an image_id of images", found=shown(key))
    if category not in classes:
        raise DatasetError(expected="a category_id of categories", found=shown(category))
    bbox, difficult = entry.get("bbox"), entry.get("iscrowd") == 1
    try:
        size = pictures[key].size
        return key, pixel_label(classes[category], parse_bbox(bbox), size=size, difficult=difficult)
    except DatasetError as error:
        error.found = shown(bbox)  # as it stands in the file
        raise


def parse_bbox(bbox: Any) -> Box:
    """[x, y, width, height] -> xyxy.

    Raises:
        DatasetError: not four numbers.
    """
    try:
        if any(not isinstance(value, int | float) for value in bbox):
            raise TypeError
        x, y, width, height = map(float, bbox)
    except (TypeError, ValueError, OverflowError):
        raise DatasetError(expected="a bbox of four numbers", found=shown(bbox)) from None
    return x, y, x + width, y + height


def _id(entry: Any, key: str) -> Id:
    if not isinstance(entry, dict):
        raise DatasetError(expected="an object", found=shown(entry))
    value = entry.get(key)
    if not isinstance(value, int | str):
        raise DatasetError(expected=f"{key} as a number or a text", found=shown(value))
    return value
