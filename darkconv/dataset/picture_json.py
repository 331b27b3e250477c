"""JSON files beside pictures, as DarkMark and labelme write them: one for each picture."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from darkconv.dataset.fit import SHARES, Mark, outline
from darkconv.dataset.json_text import Json, read_json
from darkconv.dataset.label import Box, Label, Size, checked_label, parse_name, shown
from darkconv.dataset.reading import Reading
from darkconv.errors import DatasetError, Where

SUFFIXES = (".json", ".JSON")
MOST_BYTES = 1 << 28
"""Of a file: labelme puts the picture into it."""
DARKMARK, LABELME = "DarkMark", "labelme"
_KEYS = {DARKMARK: ("mark", "image"), LABELME: ("shapes", "imagePath")}
"""By which the files of a tool are known: other programs write other JSON beside pictures."""


@dataclass(frozen=True)
class Annotation:
    """What a file says of its picture.

    Attributes:
        tool: that wrote it.
        marks: the labels.
        made_at: size at which the boxes were made, see `fit_labels`.
        is_named: True if a label has a name that is not of the list of class names.
    """

    tool: str
    marks: list[Mark]
    made_at: Size | None
    is_named: bool


def read_picture_json(path: Path, names: Sequence[str] | None, reading: Reading) -> Annotation:
    """Return what a file says of its picture.

    DarkMark's labels have a number, which counts where the list of names has it, and a name.

    Args:
        path: a file of a tool that is known: see `tool_of_file`.
        names: of the classes.
        reading: where labels that cannot be used are reported.

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
    """Return the tool that wrote a file beside a picture; None also for a broken file."""
    try:
        return tool_of(read_json(path, most_bytes=MOST_BYTES))
    except DatasetError:
        return None


def tool_of(content: Json) -> str | None:
    """Return the tool that writes such files, or None."""
    for tool, (labels, other) in _KEYS.items():
        if isinstance(content, dict) and labels in content and other in content:
            return tool if isinstance(content[labels], list | None) else None
    return None


def parse_mark(entry: Json, names: Sequence[str] | None) -> Label:
    """Return a label of DarkMark: the box around its points, in shares of the picture.

    Raises:
        DatasetError: no class, no points, or no area.
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
    """Return a label of labelme: the box around a shape, in pixels.

    Raises:
        DatasetError: no name, no points, or no area.
    """
    if not isinstance(entry, dict):
        raise DatasetError(expected="an object", found=shown(entry))
    name, points = parse_name(entry.get("label")), _points(entry.get("points"), (0, 1))
    is_circle = entry.get("shape_type") == "circle" and len(points) == 4
    return checked_label(name, _around(points) if is_circle else outline(points))


def _around(points: Sequence[float]) -> Box:
    """Return the box around a circle, of which the centre and a point are told."""
    x, y, on_x, on_y = points
    radius = math.hypot(on_x - x, on_y - y)
    return x - radius, y - radius, x + radius, y + radius


def _points(points: Json, keys: Sequence[str | int]) -> list[float]:
    """Return x0, y0, x1, y1 ... of a list of points.

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
