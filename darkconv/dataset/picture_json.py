"""Read the JSON files that DarkMark and labelme write beside pictures, one for each picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from darkconv.dataset.fit import SHARES, Mark, outline
from darkconv.dataset.json_text import Json, read_json
from darkconv.dataset.label import Box, Label, Size, checked_label, parse_name, shown
from darkconv.dataset.reading import ReadingRecord
from darkconv.errors import DatasetError, Where

SUFFIXES = (".json", ".JSON")
MOST_BYTES = 1 << 28
"""The largest file that is read; labelme stores the picture itself in it."""
DARKMARK, LABELME = "DarkMark", "labelme"
_KEYS = {DARKMARK: ("mark", "image"), LABELME: ("shapes", "imagePath")}
"""The keys by which a tool's files are recognised among other JSON files beside pictures."""


@dataclass(frozen=True)
class Annotation:
    """The content of such a file.

    Attributes:
        tool: the tool that wrote it.
        marks: the labels.
        made_at: the picture size for which the boxes were made: see `fit_labels`.
        is_named: True if a label has a class name that is not in the list of class names.
    """

    tool: str
    marks: list[Mark]
    made_at: Size | None
    is_named: bool


def read_picture_json(
    path: Path, names: Sequence[str] | None, reading: ReadingRecord
) -> Annotation:
    """Return the labels in a JSON file beside a picture.

    DarkMark's labels have a class index, which counts if the list of names has it, and a name.

    Args:
        path: a file of a known tool: see `tool_of_file`.
        names: the class names; None if there are none.
        reading: the record to which unusable labels are reported.

    Raises:
        DatasetError: the file cannot be read.
    """
    content = read_json(path, most_bytes=MOST_BYTES)
    tool = tool_of(content)
    if tool is None:
        raise DatasetError("has changed while it was read", where=Where(file=str(path)))
    parse = partial(parse_mark, names=names) if tool == DARKMARK else parse_shape
    key, _ = _KEYS[tool]
    marks = []
    for number, entry in enumerate(content[key] or ()):
        part = f"{key}[{number}]"
        try:
            marks.append(Mark(parse(entry), f"{path}: {part}"))
        except DatasetError as error:
            reading.skip(error, path, part=part)
    made_at = SHARES if tool == DARKMARK else _size(content)
    is_named = any(mark.label.name not in (names or ()) for mark in marks)
    return Annotation(tool, marks, made_at, is_named)


def tool_of_file(path: Path) -> str | None:
    """Return the tool that wrote a file beside a picture; None if unknown or if the file is broken.

    Args:
        path: a JSON file of at most MOST_BYTES.
    """
    try:
        return tool_of(read_json(path, most_bytes=MOST_BYTES))
    except DatasetError:
        return None


def tool_of(content: Json) -> str | None:
    """Return the tool that writes files of such content, or None.

    Args:
        content: the parsed JSON, of any type.
    """
    for tool, (labels, other) in _KEYS.items():
        if isinstance(content, dict) and labels in content and other in content:
            return tool if isinstance(content[labels], list | None) else None
    return None


def parse_mark(entry: Json, names: Sequence[str] | None) -> Label:
    """Return a label of DarkMark: the bounding box of its points.

    Args:
        entry: an entry of `mark`.
        names: the class names; None if there are none.

    Returns:
        The label with its box xyxy in fractions of the picture.

    Raises:
        DatasetError: the entry has no class or no points, or the box has no area.
    """
    if not isinstance(entry, dict):
        raise DatasetError(expected="an object", found=shown(entry))
    number = entry.get("class_idx")
    if names and isinstance(number, int) and 0 <= number < len(names):
        name = names[number]
    else:
        name = parse_name(entry.get("name"))
    return checked_label(name, outline(_points(entry.get("points"), ("x", "y"))))


def parse_shape(entry: Json) -> Label:
    """Return a label of labelme: the bounding box of a shape.

    Args:
        entry: an entry of `shapes`.

    Returns:
        The label with its box xyxy in pixels.

    Raises:
        DatasetError: the entry has no class or no points, or the box has no area.
    """
    if not isinstance(entry, dict):
        raise DatasetError(expected="an object", found=shown(entry))
    name, points = parse_name(entry.get("label")), _points(entry.get("points"), (0, 1))
    is_circle = entry.get("shape_type") == "circle" and len(points) == 4
    return checked_label(name, _around(points) if is_circle else outline(points))


def _around(points: Sequence[float]) -> Box:
    """Return the bounding box of a circle, given by its centre and a point on it."""
    x, y, on_x, on_y = points
    radius = math.hypot(on_x - x, on_y - y)
    return x - radius, y - radius, x + radius, y + radius


def _points(points: Json, keys: Sequence[str | int]) -> list[float]:
    """Return a list of points as x0, y0, x1, y1 and so on.

    Raises:
        DatasetError: there are none, or one is not two numbers.
    """
    try:
        numbers = [point[key] for point in points for key in keys]
        if not numbers or any(not isinstance(n, int | float) for n in numbers):
            raise TypeError
        return list(map(float, numbers))
    except (TypeError, KeyError, IndexError, OverflowError):
        raise DatasetError(expected="points of two numbers", found=shown(points)) from None


def _size(content: Json) -> Size | None:
    width, height = content.get("imageWidth"), content.get("imageHeight")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None
