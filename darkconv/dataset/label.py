"""A label, which is one box of one class: its checks, and the messages about bad ones."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from darkconv.core.names import name_problem, on_one_line
from darkconv.errors import DatasetError, Where
from darkconv.files import PathLike

Box = tuple[float, float, float, float]
"""xyxy: x0, y0, x1, y1."""

Size = tuple[int, int]
"""(width, height) in pixels."""

MOST_CLASSES = 100_000
"""The most classes of a data set that states only their number."""
MOST_DIGITS = 10
SHOWN = 60  # characters of a file's text that a message repeats


class Label(NamedTuple):
    """A box of a picture: class name, box (xyxy), and whether it is marked as difficult."""

    name: str
    box: Box
    difficult: bool = False


def checked_label(name: str, box: Box, *, difficult: bool = False) -> Label:
    """Return a label after checking its box, which may lie partly or wholly outside the picture.

    Args:
        name: the class name; it is not checked here.
        box: xyxy, in any unit.
        difficult: the box is marked as hard to see.

    Raises:
        DatasetError: a number is not finite, or the box has no area.
    """
    if not all(map(math.isfinite, box)):
        raise DatasetError(expected="finite numbers", found=numbers_of(box))
    x0, y0, x1, y1 = box
    if x0 >= x1 or y0 >= y1:
        raise DatasetError(expected="a box of some width and height", found=numbers_of(box))
    return Label(name, box, difficult)


def numbers_of(box: Sequence[float]) -> str:
    """Return the numbers of a box as text for a message, rounded to tenths.

    Args:
        box: xyxy, or any other numbers.
    """
    return ",".join(f"{round(value, 1):g}" for value in box)


class ClassNumberError(DatasetError):
    """The error that a class index is not valid, or has no name.

    Attributes:
        number: the class index.
    """

    number: float


def class_name(index: float, names: Sequence[str] | None) -> str:
    """Return the name of a class index, or the index as text if there are no names.

    Args:
        index: the class index, from 0, as a number of the file.
        names: the class names; None if there are none.

    Raises:
        ClassNumberError: the index is negative or a fraction, or has no name.
    """
    if index < 0 or not float(index).is_integer() or (names and index >= len(names)):
        limits = f"from 0 to {len(names) - 1}" if names else "from 0"
        error = ClassNumberError(expected=f"a class {limits}", found=f"{index:.10g}")
        error.number = index
        raise error
    return names[int(index)] if names else str(int(index))


def parse_count(text: str) -> int:
    """Parse a number of classes.

    Args:
        text: the text of the file.

    Returns:
        At least 1.

    Raises:
        DatasetError: the text is not a whole number above 0, or is above MOST_CLASSES.
    """
    if not text.isdecimal() or len(text) >= MOST_DIGITS or int(text) == 0:
        raise DatasetError(expected="a whole number above 0", found=shown(text) or "nothing")
    if int(text) > MOST_CLASSES:
        raise DatasetError(expected=f"at most {MOST_CLASSES:,}", found=f"{int(text):,}")
    return int(text)


def parse_name(text: object) -> str:
    """Parse a class name as a names file holds it; bytes that are not UTF-8 are kept.

    Args:
        text: the value in the file.

    Returns:
        The name on one line.

    Raises:
        DatasetError: the value is not a text, or a name that no names file can hold, or has lost
            characters in an earlier conversion.
    """
    name = on_one_line(text) if isinstance(text, str) else ""
    if name_problem(name) or "\ufffd" in name:
        found = "nothing" if text is None else shown(text) or "nothing"
        raise DatasetError(expected="a class name", found=found)
    return name


def shown(value: object) -> str:
    """Return a file's value as a message repeats it: on one line, and shortened.

    Args:
        value: a text or any other value of the file.
    """
    text = " ".join(str(value)[: 4 * SHOWN].split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def problem(
    error: DatasetError, file: PathLike, line: int | None = None, *, part: str | None = None
) -> str:
    """Return the line that reports a skipped entry.

    Args:
        error: the fault; it has no hint.
        file: the file; an error that knows its file keeps that.
        line: the line number, from 1; None if unknown.
        part: the place in a file without meaningful lines, such as `images[3]`.
    """
    own = error.where.file  # an error about another file has its own place
    text = str(error if own else error.at(Where(file=str(file), line=line, option=part)))
    return text.replace("\n", "\\n")
