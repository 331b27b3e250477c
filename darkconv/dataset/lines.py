"""Lists with the boxes in them: `image xmin,ymin,xmax,ymax,label xmin,ymin,...`, in pixels."""

import re
from collections.abc import Sequence
from pathlib import Path

from darkconv.dataset.label import Label, class_name, parse_name, pixel_label, problem, shown
from darkconv.dataset.paths import Bounds, numbered_lines, read_text
from darkconv.dataset.sample import Dataset, Sample, order_names
from darkconv.detection.image_file import SUFFIXES
from darkconv.errors import DatasetError

_SUFFIXES = "|".join(map(re.escape, sorted(SUFFIXES)))
_LINE = re.compile(rf"(?P<image>.*?(?:{_SUFFIXES}))(?:\s+(?P<boxes>.*))?", re.IGNORECASE)


def has_boxes(text: str) -> bool:
    """Whether a list of pictures has boxes behind any of them: the commas tell."""
    return any("," in split_line(line)[1] for _, line in numbered_lines(text))


def split_line(line: str) -> tuple[str, str]:
    """The picture's path, which may hold blanks, and the text behind it."""
    match = _LINE.fullmatch(line)
    return (match["image"], match["boxes"] or "") if match else (line, "")


def read_lines(
    path: Path,
    names: Sequence[str] | None,
    *,
    bases: Sequence[Path],
    bounds: Bounds,
    source: str,
) -> Dataset:
    """Read such a list; lines of the same picture are put together, a line may have no box.

    Args:
        path: the list.
        names: of the classes, for labels that are numbers.
        bases: folders that picture names may be relative to.
        bounds: where they may lead.
        source: what the user called it.

    Raises:
        DatasetError: the list cannot be read.
    """
    labels: dict[Path, list[Label]] = {}
    problems = []
    for number, line in numbered_lines(read_text(path)):
        image, boxes = split_line(line)
        try:
            own = labels.setdefault(bounds.find(image, bases), []) if line else []
        except DatasetError as error:
            problems.append(problem(error, path, number))
            continue
        for entry in split_boxes(boxes):
            try:
                own.append(parse_box(entry, names))
            except DatasetError as error:
                problems.append(problem(error, path, number))
    samples = tuple(Sample.of(image, own) for image, own in labels.items())
    return Dataset(samples, order_names(samples, names), source, tuple(problems))


def split_boxes(text: str) -> list[str]:
    """The entries behind a picture; words without a comma belong to the name before them."""
    entries: list[str] = []
    for word in text.split():
        if "," in word or not entries:
            entries.append(word)
        else:
            entries[-1] += f" {word}"
    return entries


def parse_box(text: str, names: Sequence[str] | None) -> Label:
    """`xmin,ymin,xmax,ymax,label`; the label is an index or a name.

    A name with blanks is taken only if `names` has it: elsewhere the blank is a broken entry.

    Raises:
        DatasetError: another form, a class that does not exist, or a bad box.
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
    return pixel_label(name, (x0, y0, x1, y1), size=None)
