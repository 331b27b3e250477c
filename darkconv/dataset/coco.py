"""Read COCO: one JSON file with pictures, classes and boxes."""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from darkconv.core.names import shared_names
from darkconv.dataset.fit import Mark, fit_labels, outline
from darkconv.dataset.json_text import read_json
from darkconv.dataset.label import Box, Label, Size, checked_label, parse_name, shown
from darkconv.dataset.locate import Moved, PicturesBelow
from darkconv.dataset.paths import Bounds, above, folders_in
from darkconv.dataset.reading import ReadingRecord
from darkconv.dataset.sample import Dataset, Sample
from darkconv.dataset.source import DatasetSource, Options
from darkconv.errors import DatasetError, Where

T = TypeVar("T")
Id = int | str
_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")

FORM = "COCO"
PICTURE_FOLDERS = ("images", "data")
"""The folders of pictures beside the file, in lower case."""
LOCAL_FILES = "/data/local-files/?d="
"""The start of the paths that Label Studio writes for pictures of its own machine."""
_LOOK = 1 << 16
_KEYS = ((b'"images"',), (b'"image_id"', b'"category_id"'))
"""The groups of keys; all keys of one group together identify a COCO file."""
_MARKS = b"\xef\xbb\xbf\xff\xfe"  # byte order marks
PREFIX = "instances_"
"""The start of COCO's file names: `instances_val2017.json` lies beside or above `val2017/`."""


@dataclass(frozen=True)
class Picture:
    """An entry of `images`: the file's name, and (width, height) in pixels or None."""

    name: str
    size: Size | None


def coco_source(path: Path, options: Options) -> DatasetSource:
    """Return the source of a COCO file.

    Args:
        path: the JSON file, which is read when the source is opened.
        options: the options of reading.
    """
    return DatasetSource(str(path), lambda _: read_coco(path, options, ReadingRecord(str(path))))


def read_coco(path: Path, options: Options, reading: ReadingRecord) -> Dataset:
    """Read the pictures and boxes of a COCO file; crowds become difficult boxes.

    Masks are not read.
    Pictures are searched beside the file, in `images` and `data`, and in the folder that has the
    file's name; then in the same places one folder up. If a path leads nowhere, as Label Studio's
    do, its last parts are searched.

    Args:
        path: the JSON file.
        options: the options of reading; their class names come first.
        reading: the record to which problems and changes are reported.

    Returns:
        The data set; boxes are xyxy in pixels.

    Raises:
        DatasetError: the file cannot be read, or is not a COCO file.
    """
    file = _File(path, read_content(path), reading)
    classes = file.collect("categories", parse_category)
    pictures = file.collect("images", parse_picture)
    samples = file.samples(pictures, file.marks(pictures, classes), options)
    used = file.used(classes)
    own = (*(options.names or ()), *used.values())
    for places in shared_names([*used.values()]).values():
        numbers = ", ".join(_shown_id([*used][place]) for place in places[:10])
        name = shown([*used.values()][places[0]])
        reading.change("namesakes", f"{path}: the categories {numbers} are all {name}")
    if classes:
        reading.found_names(path)
    return reading.dataset(samples, own, form=FORM)


def is_coco_file(path: Path) -> bool:
    """Return True if a file looks like COCO, judged by its first and last bytes.

    Args:
        path: the file, which exists.
    """
    with path.open("rb") as file:
        start = file.read(_LOOK)
        file.seek(max(path.stat().st_size - _LOOK, 0))
        text = start + file.read(_LOOK)
    text = text.lstrip(_MARKS).replace(b"\0", b"")  # UTF-16 has zero bytes between letters
    return text.lstrip().startswith(b"{") and any(all(map(text.count, keys)) for keys in _KEYS)


def read_content(path: Path) -> dict[str, Any]:
    """Return the content of a COCO file.

    Args:
        path: the JSON file, of which `images` is required.

    Raises:
        DatasetError: the JSON is broken, or has no list of images.
    """
    where = Where(file=str(path))
    content = read_json(path)
    if not isinstance(content, dict) or "images" not in content:
        found = list(content) if isinstance(content, dict) else type(content).__name__
        raise DatasetError(
            where=where, expected="a COCO file: images, annotations, categories", found=shown(found)
        )
    return content


def picture_folders(path: Path) -> list[Path]:
    """Return the folders in which the pictures of a COCO file may lie.

    Args:
        path: the JSON file, whose folder and name give the places.
    """
    own = path.stem.removeprefix(PREFIX)
    found: list[Path] = []
    for folder in (path.parent, above(path.parent)):
        named = folders_in(folder, PICTURE_FOLDERS)
        found += [folder, *named, folder / own, *(one / own for one in named)]
    return list(filter(os.path.isdir, found))


@dataclass(frozen=True)
class _File:
    """A file while it is read; bad entries are reported and skipped."""

    path: Path
    content: dict[str, Any]
    reading: ReadingRecord

    def entries(self, key: str) -> Iterator[tuple[str, Any]]:
        """Return (`images[3]`, entry) for each entry of a list, which may be missing."""
        entries = self.content.get(key, [])
        if not isinstance(entries, list):
            where, found = Where(file=str(self.path), option=key), type(entries).__name__
            raise DatasetError(where=where, expected="a list", found=found)
        return ((f"{key}[{i}]", entry) for i, entry in enumerate(entries))

    def collect(self, key: str, parse: Callable[[Any], tuple[Id, T]]) -> dict[Id, T]:
        """Return the entries of a list by their ids."""
        found: dict[Id, T] = {}
        for place, entry in self.entries(key):
            try:
                number, value = parse(entry)
                if number in found:
                    raise DatasetError(expected="an id of its own", found=_shown_id(number))
                found[number] = value
            except DatasetError as error:
                self.reading.skip(error, self.path, part=place)
        return found

    def marks(
        self, pictures: Mapping[Id, Picture], classes: Mapping[Id, str]
    ) -> dict[Id, list[Mark]]:
        """Return the labels of each picture."""
        found: dict[Id, list[Mark]] = {key: [] for key in pictures}
        for place, entry in self.entries("annotations"):
            try:
                key, label = parse_annotation(entry, pictures, classes)
                found[key].append(Mark(label, f"{self.path}: {place}"))
                if entry.get("bbox") is None:
                    self.reading.change("polygons", f"{self.path}: {place}")
            except DatasetError as error:
                self.reading.skip(error, self.path, part=place)
        return found

    def used(self, classes: Mapping[Id, str]) -> dict[Id, str]:
        """Return the classes without those that only group others, as Roboflow's category 0."""
        above = {
            entry.get("supercategory")
            for entry in self.content.get("categories", [])
            if isinstance(entry, dict)
            and isinstance(entry.get("supercategory"), str)
            and entry.get("supercategory") != entry.get("name")
        }
        labelled = {
            _as_id(entry.get("category_id"))
            for entry in self.content.get("annotations", [])
            if isinstance(entry, dict)
        }
        return {
            key: name
            for key, name in classes.items()
            if key in labelled or key != 0 or name not in above
        }

    def samples(
        self,
        pictures: Mapping[Id, Picture],
        marks: Mapping[Id, list[Mark]],
        options: Options,
    ) -> list[Sample]:
        """Return the pictures whose files exist, each once."""
        found: dict[Path, tuple[list[Mark], Size | None]] = {}
        find = self._finder(options)
        for key, picture in pictures.items():
            try:
                image = find(picture.name)
            except DatasetError as error:
                self.reading.skip(error, self.path)
                continue
            if image not in found:
                found[image] = list(marks[key]), picture.size
                continue
            self.reading.change("merged", f"{self.path}: {shown(picture.name)}")
            own, _ = found[image]
            known = {mark.label for mark in own}
            own += [mark for mark in marks[key] if mark.label not in known]
        return list(self._fitted(found))

    def _fitted(self, pictures: Mapping[Path, tuple[list[Mark], Size | None]]) -> Iterator[Sample]:
        """Yield pictures with their boxes; pictures that cannot be read are reported."""
        for image, (marks, size) in pictures.items():
            try:
                yield fit_labels(image, marks, size, self.reading)
            except DatasetError as error:
                self.reading.skip(error, self.path)
            else:
                if marks:
                    self.reading.found_labels(self.path)

    def _finder(self, options: Options) -> Callable[[str], Path]:
        """Return a function that finds the file of a picture.

        It raises DatasetError if there is no such file, or if it lies outside.
        """
        bounds = Bounds.around(self.path, outside=options.outside)
        folders = picture_folders(self.path)
        moved = Moved(folders, bounds)
        below = None if options.images is None else PicturesBelow(options.images)

        def find(name: str) -> Path:
            bare = name.partition(LOCAL_FILES)[2] or name
            if below is not None:
                return below.find(bare)
            try:
                return bounds.find(bare, folders)
            except DatasetError as error:
                found = moved.find(bare)
                if found is None:
                    error.hint = None
                    raise
                self.reading.change("moved", f"{self.path}: {shown(name)} is {found}")
                return found

        return find


def parse_category(entry: Any) -> tuple[Id, str]:
    """Return the id and the name of a class.

    Args:
        entry: an entry of `categories`.

    Raises:
        DatasetError: one of them is missing.
    """
    return _id(entry, "id"), parse_name(entry.get("name"))


def parse_picture(entry: Any) -> tuple[Id, Picture]:
    """Return the id of a picture, with its file's name and its size.

    Args:
        entry: an entry of `images`.

    Raises:
        DatasetError: the id or the name is missing.
    """
    key, name = _id(entry, "id"), entry.get("file_name")
    if not isinstance(name, str) or not name:
        raise DatasetError(expected="a file_name", found=shown(name))
    width, height = _as_id(entry.get("width")), _as_id(entry.get("height"))
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return key, Picture(name, (width, height))
    return key, Picture(name, None)


def parse_annotation(
    entry: Any, pictures: Mapping[Id, Picture], classes: Mapping[Id, str]
) -> tuple[Id, Label]:
    """Return the id of the picture, and the label with its box in pixels.

    Args:
        entry: an entry of `annotations`.
        pictures: the known pictures by id.
        classes: the known class names by id.

    Raises:
        DatasetError: the picture or the class is unknown, or the box is not valid.
    """
    key, category = _id(entry, "image_id"), _id(entry, "category_id")
    if key not in pictures:
        raise DatasetError(expected="an image_id of images", found=_shown_id(key))
    if category not in classes:
        raise DatasetError(expected="a category_id of categories", found=_shown_id(category))
    bbox, difficult = entry.get("bbox"), entry.get("iscrowd") in (1, "1")
    try:
        box = around_polygons(entry.get("segmentation")) if bbox is None else parse_bbox(bbox)
        return key, checked_label(classes[category], box, difficult=difficult)
    except DatasetError as error:
        error.found = shown(bbox)  # as it stands in the file
        raise


def parse_bbox(bbox: Any) -> Box:
    """Return COCO's [x, y, width, height] as xyxy.

    Args:
        bbox: the value in the file, in pixels.

    Raises:
        DatasetError: the value is not four numbers.
    """
    try:
        if any(not isinstance(value, int | float) for value in bbox):
            raise TypeError
        x, y, width, height = map(float, bbox)
    except (TypeError, ValueError, OverflowError):
        raise DatasetError(expected="a bbox of four numbers", found=shown(bbox)) from None
    return x, y, x + width, y + height


def around_polygons(segmentation: Any) -> Box:
    """Return the bounding box of polygons, for annotations without a bbox.

    Args:
        segmentation: the polygons [x0, y0, x1, y1 ...], in pixels.

    Returns:
        xyxy in pixels.

    Raises:
        DatasetError: there are no polygons, or they are not lists of numbers.
    """
    try:
        points = [list(map(float, polygon)) for polygon in segmentation]
        if not points or any(len(polygon) % 2 for polygon in points):
            raise ValueError
        return outline([value for polygon in points for value in polygon])
    except (TypeError, ValueError, OverflowError):
        raise DatasetError(expected="a bbox of four numbers", found="nothing") from None


def _id(entry: Any, key: str) -> Id:
    if not isinstance(entry, dict):
        raise DatasetError(expected="an object", found=shown(entry))
    value = _as_id(entry.get(key))
    if value is None:
        raise DatasetError(expected=f"{key} as a number or a text", found=shown(entry.get(key)))
    return value


def _as_id(value: Any) -> Id | None:
    """Return an id as an integer if it is one in any spelling: 5, 5.0 and "5" are the same."""
    if isinstance(value, str):
        return int(value) if _NUMBER.fullmatch(value) else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _shown_id(value: Id) -> str:
    return shown(repr(value))
