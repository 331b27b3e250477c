"""One labelled box, checked; and the words in which a bad one is reported."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from darkconv.core.names import name_problem, on_one_line
from darkconv.errors import DatasetError, Where
from darkconv.files import PathLike

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1."""

Size = tuple[int, int]
"""(width, height) in pixels."""

MOST_CLASSES = 100_000
"""Without a list of their names."""
MOST_DIGITS = 10
SHOWN = 60  # characters of a foreign text that a message repeats


class Label(NamedTuple):
    """A box of a picture: class name, xyxy, and whether it is hard to see."""

    name: str
    box: Box
    difficult: bool = False


def checked_label(name: str, box: Box, *, difficult: bool = False) -> Label:
    """Return a label of a box as it is: it may leave the picture, or lie beside it.

    Raises:
        DatasetError: numbers that are not finite, or a box without area.
    """
    if not all(map(math.isfinite, box)):
        raise DatasetError(expected="finite numbers", found=numbers_of(box))
    x0, y0, x1, y1 = box
    if x0 >= x1 or y0 >= y1:
        raise DatasetError(expected="a box of some width and height", found=numbers_of(box))
    return Label(name, box, difficult)


def numbers_of(box: Sequence[float]) -> str:
    """Return the numbers of a box for a message, to a tenth of a pixel."""
    return ",".join(f"{round(value, 1):g}" for value in box)


class ClassNumberError(DatasetError):
    """A class has a number that is none, or has no name.

    Attributes:
        number: of the class.
    """

    number: float


def class_name(index: float, names: Sequence[str] | None) -> str:
    """The name of a class index; the index itself where there are no names.

    Raises:
        ClassNumberError: a fraction, or an index that has no name.
    """
    if index < 0 or not float(index).is_integer() or (names and index >= len(names)):
        limits = f"from 0 to {len(names) - 1}" if names else "from 0"
        error = ClassNumberError(expected=f"a class {limits}", found=f"{index:.10g}")
        error.number = index
        raise error
    return names[int(index)] if names else str(int(index))


def parse_count(text: str) -> int:
    """Return how many classes a text tells.

    Raises:
        DatasetError: no whole number above 0, or far too many.
    """
    if not text.isdecimal() or len(text) >= MOST_DIGITS or int(text) == 0:
        raise DatasetError(expected="a whole number above 0", found=shown(text) or "nothing")
    if int(text) > MOST_CLASSES:
        raise DatasetError(expected=f"at most {MOST_CLASSES:,}", found=f"{int(text):,}")
    return int(text)


def parse_name(text: object) -> str:
    """Return a class name as a names file holds it; bytes that were no UTF-8 are kept.

    Raises:
        DatasetError: no text, or one that no names file can hold, or that has lost characters.
    """
    name = on_one_line(text) if isinstance(text, str) else ""
    if name_problem(name) or "\ufffd" in name:
        found = "nothing" if text is None else shown(text) or "nothing"
        raise DatasetError(expected="a class name", found=found)
    return name


def shown(value: object) -> str:
    """A foreign text as a message repeats it: on one line, shortened."""
    text = " ".join(str(value)[: 4 * SHOWN].split())
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def problem(
    error: DatasetError, file: PathLike, line: int | None = None, *, part: str | None = None
) -> str:
    """The line that reports a skipped entry.

    Args:
        error: what is wrong; it has no hint.
        file: where.
        line: counted from 1.
        part: for a file whose lines say nothing: `images[3]`.
    """
    own = error.where.file  # an error of another file knows its place
    text = str(error if own else error.at(Where(file=str(file), line=line, option=part)))
    return text.replace("\n", "\\n")
