"""Read lists that include boxes: `image xmin,ymin,xmax,ymax,label xmin,ymin,...`, in pixels."""

import re
from collections.abc import Sequence
from pathlib import Path

from darkconv.dataset.fit import Mark, fit_labels
from darkconv.dataset.label import Label, checked_label, class_name, parse_name, shown
from darkconv.dataset.locate import Locator
from darkconv.dataset.names import NamesNear
from darkconv.dataset.paths import numbered_lines, read_text
from darkconv.dataset.reading import ReadingRecord
from darkconv.dataset.sample import Sample
from darkconv.errors import DatasetError
from darkconv.pictures.image_file import SUFFIXES

_SUFFIXES = "|".join(map(re.escape, sorted(SUFFIXES)))
_LINE = re.compile(rf"(?P<image>.*?(?:{_SUFFIXES}))(?:\s+(?P<boxes>.*))?", re.IGNORECASE)
_WORD = re.compile(r"([ \t]*)([^ \t]+)")


def has_boxes(text: str) -> bool:
    """Return True if a list of pictures has boxes after any of them; commas mark these.

    Args:
        text: the text of the list.
    """
    return any("," in split_line(line)[1] for _, line in numbered_lines(text))


def split_line(line: str) -> tuple[str, str]:
    """Split a line in the picture's path, which may hold blanks, and the text after it.

    Args:
        line: a line of the list.

    Returns:
        The path and the text, which is "" if there is none.
    """
    match = _LINE.fullmatch(line)
    return (match["image"], match["boxes"] or "") if match else (line, "")


def read_lines(
    path: Path, names_of: NamesNear, locator: Locator, reading: ReadingRecord
) -> list[Sample]:
    """Read a list with boxes; lines of the same picture are joined, and a line may have no box.

    Args:
        path: the list file.
        names_of: finds the class names, for labels that are indices.
        locator: finds the file of each path.
        reading: the record to which problems and changes are reported.

    Raises:
        DatasetError: the list cannot be read.
    """
    found: dict[Path, list[Mark]] = {}
    names = names_of(path)
    for number, line in numbered_lines(read_text(path)):
        image, boxes = split_line(line)
        try:
            own = found.setdefault(locator.find(image), []) if line else []
        except DatasetError as error:
            reading.skip(error, path, number)
            continue
        for entry in split_boxes(boxes):
            try:
                own.append(Mark(parse_box(entry, names), f"{path}:{number}"))
            except DatasetError as error:
                reading.skip(error, path, number)
    return [fit_labels(image, marks, None, reading) for image, marks in found.items()]


def split_boxes(text: str) -> list[str]:
    """Split the text after a picture in entries; words without a comma belong to the entry before.

    Args:
        text: the text after the picture's path.
    """
    entries: list[str] = []
    for blanks, word in _WORD.findall(text):
        if "," in word or not entries:
            entries.append(word)
        else:
            entries[-1] += blanks + word
    return entries


def parse_box(text: str, names: Sequence[str] | None) -> Label:
    """Parse an entry `xmin,ymin,xmax,ymax,label`, whose label is a class index or a class name.

    A name with blanks is only accepted if `names` has it; otherwise a blank means a broken entry.

    Args:
        text: an entry of `split_boxes`.
        names: the class names; None if there are none.

    Returns:
        The label with its box xyxy in pixels.

    Raises:
        DatasetError: the entry has another form, the class does not exist, or the box is not valid.
    """
    fields = text.split(",", 4)
    try:
        x0, y0, x1, y1 = map(float, fields[:4])
        label = parse_name(fields[4])
        if " " in label and label not in (names or ()):
            raise ValueError
    except (ValueError, IndexError):
        raise DatasetError(expected="xmin,ymin,xmax,ymax,label", found=shown(text)) from None
    is_index = re.fullmatch(r"-?\d+", label, re.ASCII)
    name = class_name(float(label), names) if is_index else label
    return checked_label(name, (x0, y0, x1, y1))
