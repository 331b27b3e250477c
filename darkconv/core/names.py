"""Class names: which names are valid, which classes are hidden, and the text of the names file."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Self

from darkconv.encodings import decoded, encoded
from darkconv.errors import DatasetError, Where

HIDDEN = "dont_show"
"""AlexeyAB's program computes a class with this mark before its name, but does not draw it."""
LONGEST_NAME = 1000
"""A class name has at most this number of characters."""
BYTE_ORDER_MARK = "\ufeff"
_BREAKS = re.compile(r"[\r\n]+")


class Names(tuple[str, ...]):
    """Class names in the order of the network's classes: a tuple of texts without marks.

    Every name can be written into a names file and read back unchanged.

    Attributes:
        hidden: indices (from 0) of the classes marked `dont_show`.
        text: text of the names file, marks included.
        encoding: the encoding in which the names were read; None if the user gave none.
    """

    hidden: frozenset[int]
    text: str
    encoding: str | None = None

    def __new__(
        cls, names: Iterable[str] = (), *, hidden: Iterable[int] = (), text: str | None = None
    ) -> Self:
        """Check the names.

        Args:
            names: class names without marks.
            hidden: indices (from 0) of the marked classes.
            text: text of the names file that the names come from, which is written back unchanged;
                None to compose it.

        Raises:
            DatasetError: a name could not be read back from a names file.
        """
        if isinstance(names, str):
            raise DatasetError("class names", expected="a list of names", found="one text")
        self = super().__new__(cls, names)
        self.hidden = frozenset(hidden)
        if text is None:
            for index, name in enumerate(self):
                if problem := name_problem(name):
                    raise DatasetError(f"class {index}: {problem}")
            marks = (f"{HIDDEN} " if i in self.hidden else "" for i in range(len(self)))
            text = "".join(f"{mark}{name}\n" for mark, name in zip(marks, self, strict=True))
        self.text = text
        return self

    def read_in(self, encoding: str | None) -> Self:
        """Return the same names with the encoding in which they were read.

        Args:
            encoding: name of the encoding; None if the user gave none.
        """
        same = type(self)(self, hidden=self.hidden, text=self.text)
        same.encoding = encoding
        return same

    @classmethod
    def of(cls, names: Iterable[str]) -> "Names":
        """Return `Names` as they are, marks included, and check and convert any other names.

        Args:
            names: `Names`, or texts without marks.

        Raises:
            DatasetError: a name could not be read back from a names file.
        """
        return names if isinstance(names, Names) else cls(names)

    @classmethod
    def parse(cls, text: str, *, file: str | None = None) -> Self:
        """Parse the text of a names file: one name per line; blank lines at the end do not count.

        Args:
            text: text of the names file.
            file: name of the file, used in messages.

        Raises:
            DatasetError: the text holds no name, or an invalid one.
        """
        # a text made by joining two files can have a byte order mark in the middle
        lines = [line.replace(BYTE_ORDER_MARK, "").strip() for line in text.split("\n")]
        while lines and not lines[-1]:
            lines.pop()
        if not lines:
            raise DatasetError("holds no class names", where=Where(file=file))
        hidden = frozenset(i for i, line in enumerate(lines) if line.startswith(HIDDEN))
        names = [_bare(line) or str(i) for i, line in enumerate(lines)]
        for number, name in enumerate(names, start=1):
            if problem := name_problem(name):
                raise DatasetError(problem, where=Where(file=file, line=number))
        return cls(names, hidden=hidden, text=text)

    @property
    def names(self) -> Self:
        """Return the names themselves."""
        return self

    @property
    def shown(self) -> tuple[int, ...]:
        """Return the indices of the classes without the mark `dont_show`."""
        return tuple(i for i in range(len(self)) if i not in self.hidden)


NO_NAMES = Names()


def name_problem(name: object) -> str | None:
    """Return why a class name could not be read back from a names file; None if it could.

    Args:
        name: the name to check; anything but a text is a problem.
    """
    if not isinstance(name, str):
        return f"the name is no text: {name!r}"
    if not name.strip():
        return "the name is blank"
    if len(name) > LONGEST_NAME:
        return f"the name has {len(name):,} characters, more than {LONGEST_NAME:,}"
    if any(c in name for c in "\n\r\0"):
        return f"the name has a line break, or a zero byte, in it: {name!r}"
    if name != name.strip() or BYTE_ORDER_MARK in name:
        return f"the name has blanks around it, or a byte order mark in it: {name!r}"
    if name.startswith(HIDDEN):
        return f"the name begins with {HIDDEN}, which marks a class as hidden: {name!r}"
    try:
        is_kept = decoded(b" " + encoded(name)) == " " + name
    except UnicodeEncodeError:
        is_kept = False
    return None if is_kept else f"the name is no text that UTF-8 can hold: {name!r}"


def _bare(line: str) -> str:
    """Return a line of a names file without its marks."""
    while line.startswith(HIDDEN):
        line = line.removeprefix(HIDDEN).strip()
    return line


def on_one_line(text: str) -> str:
    """Return a name without blanks around it, with one space in place of line breaks.

    Args:
        text: the name; other characters are kept.
    """
    return " ".join(filter(None, map(str.strip, _BREAKS.split(text))))


def same_name(name: str) -> str:
    """Return the form of a name by which names are compared: Unicode normalization form C (NFC).

    Two names are the same if these forms are equal. Names are written in their original form.

    Args:
        name: a class name in any form.
    """
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def distinct_names(names: Sequence[str]) -> tuple[str, ...]:
    """Return names that tell all classes apart; repeated names get their index: `zero:7`.

    Names that are already distinct stay as they are.

    Args:
        names: class names in class order.
    """
    counts = Counter(map(same_name, names))
    if len(counts) == len(names):
        return tuple(names)
    found = []
    for index, name in enumerate(names):
        own = name
        while counts[same_name(own)] > 1 or (own != name and same_name(own) in counts):
            own = f"{own}:{index}"
        found.append(own)
    return tuple(found)


def shared_names(names: Sequence[str]) -> dict[str, list[int]]:
    """Return the indices of the classes that share a name, for each name that several classes have.

    Args:
        names: class names in class order.

    Returns:
        Class indices (from 0) by the NFC form of the name.
    """
    places: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        places.setdefault(same_name(name), []).append(index)
    return {name: several for name, several in places.items() if len(several) > 1}


def split_names(text: str, known: Sequence[str] = ()) -> list[str]:
    """Split a list of names at its commas; a known name that contains commas stays whole.

    Args:
        text: the list, as the user typed it.
        known: names that may contain commas; the longest match wins.

    Returns:
        The names without blanks around them; empty ones are left out.
    """
    most = 1 + max((name.count(",") for name in known), default=0)
    words, found = text.split(","), []
    while words:
        joined = {n: ",".join(words[:n]).strip() for n in range(min(most, len(words)), 0, -1)}
        count = next((n for n, one in joined.items() if n == 1 or one in known), 1)
        found.append(joined[count])
        del words[:count]
    return list(filter(None, found))


def listed_names(names: Sequence[str], most: int = 10) -> str:
    """Return a list of names for a message; names that contain `,`, `+` or `=` are quoted.

    Args:
        names: the names to list.
        most: number of names to show; an ellipsis stands for the rest.
    """
    shown = (repr(one) if any(sign in one for sign in ",+=") else one for one in names[:most])
    return ", ".join(shown) + (", ..." if len(names) > most else "")


def find_name(names: Sequence[str], name: str) -> int | None:
    """Return the index of a class name in either Unicode form (NFC or NFD); None if there is none.

    A class that shares its name with others is found by its name from `distinct_names`.

    Args:
        names: class names in class order.
        name: the name to look for.

    Raises:
        DatasetError: several classes have the name.
    """
    if names.count(name) == 1:
        return names.index(name)
    wanted = same_name(name)
    places = [i for i, one in enumerate(names) if same_name(one) == wanted]
    if len(places) > 1:
        apart = distinct_names(names)
        numbers = ", ".join(map(str, places[:10]))
        raise DatasetError(
            f"{len(places)} classes are called {name!r}: {numbers}",
            hint=f"{', '.join(apart[i] for i in places[:10])} tell them apart",
        )
    if not places and ":" in name:
        apart = distinct_names(names)
        return apart.index(name) if name in apart else None
    return places[0] if places else None
