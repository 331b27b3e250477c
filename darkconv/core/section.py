"""The text of a cfg as immutable data: what is not edited is written exactly as it was read."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

_BLANKS = str.maketrans("", "", " \t\r\n")
_BLANKS_IN_LINES = str.maketrans("", "", " \t\r")
_EDITABLE_VALUE = re.compile(r"^([^=]*=[ \t]*)([^#\r\n]*?)([ \t]*(?:#[^\r\n]*)?[\r\n]*)$")


class Line(NamedTuple):
    """One line of a cfg.

    Attributes:
        raw: the text as read, including its line ending.
        offset: number of lines below the section's header, as read; 0 for an added line.
        key: the text before the first `=` without any blanks; None for blank lines, comments and
            section headers.
        value: the text after the first `=` without any blanks, including a comment, as in C; None
            if there is no `=` or nothing after it.
    """

    raw: str
    offset: int
    key: str | None = None
    value: str | None = None

    @classmethod
    def parse(cls, raw: str, offset: int) -> "Line":
        """Parse an option, comment or blank line by the rules of Darknet's `read_option`.

        Args:
            raw: the text of the line, including its line ending.
            offset: number of lines below the section's header.
        """
        return cls.of_text(strip_blanks(raw), raw, offset)

    @classmethod
    def of_text(cls, text: str, raw: str, offset: int) -> "Line":
        """Parse a line whose text without blanks is already known; see `parse`.

        Args:
            text: the line without any blanks.
            raw: the text of the line, including its line ending.
            offset: number of lines below the section's header.
        """
        if not text or text[0] in "#;":
            return cls(raw, offset)
        key, _, value = text.partition("=")
        return cls(raw, offset, key, value or None)

    @property
    def is_dropped(self) -> bool:
        """Return True for `key=` without a value, which C's `read_option` ignores."""
        return self.value is None and "=" in self.raw

    def with_value(self, value: str) -> "Line":
        """Return the same line with another value; spacing and comment are kept.

        Args:
            value: the new value as text.
        """
        match = _EDITABLE_VALUE.match(self.raw)
        raw = f"{match[1]}{value}{match[3]}" if match else f"{self.key}={value}{self.ending}"
        return Line.parse(raw, self.offset)

    def ended(self, ending: str) -> "Line":
        """Return the same line, with a line ending added if it has none.

        Args:
            ending: the line ending to add.
        """
        return self if self.ending else self._replace(raw=self.raw + ending)

    @property
    def ending(self) -> str:
        r"""Return the line ending: "\n", "\r\n", or "" at the end of a file."""
        return self.raw[len(self.raw.rstrip("\r\n")) :]


@dataclass(frozen=True)
class Section:
    """A `[header]` and the lines below it, including blank lines and comments.

    Attributes:
        name: the text between the brackets.
        number: line number of the header in the file, from 1.
        header: the line of the header.
        lines: the lines below it, up to the next header.
    """

    name: str
    number: int
    header: Line
    lines: tuple[Line, ...]

    def __repr__(self) -> str:
        """Return one line that says which section this is."""
        return f"<Section [{self.name}], line {self.number}>"

    @property
    def text(self) -> tuple[str, tuple[Line, ...]]:
        """Return name and lines, which are the same for equal sections at different places."""
        return self.name, self.lines

    def options(self) -> Mapping[str, Line]:
        """Return the line of each key; of repeated keys the first with a value, as in Darknet."""
        return self._options

    @cached_property
    def _options(self) -> Mapping[str, Line]:
        found: dict[str, Line] = {}
        for line in self.lines:
            if line.key is not None and (line.key not in found or found[line.key].is_dropped):
                found[line.key] = line
        return found

    def repeated(self) -> list[tuple[Line, Line]]:
        """Return lines that Darknet ignores because their key has another value before.

        Comments after values make no difference.

        Returns:
            Pairs of the line that counts and the ignored line.
        """
        options = self.options()
        pairs = ((options[line.key], line) for line in self.lines if line.key is not None)
        return [(first, line) for first, line in pairs if _said(line) not in ("", _said(first))]

    def get(self, key: str) -> str | None:
        """Return the value of an option as text, or None if it has none.

        Args:
            key: name of the option.
        """
        line = self.options().get(key)
        return line.value if line else None

    def set(self, values: Mapping[str, object]) -> "Section":
        """Return a section with new values for some options; only their lines change.

        Args:
            values: new values by option name; an option that does not exist is added after the last
                one.
        """
        section = self
        for key, value in values.items():
            section = section._with_option(key, format_value(value))
        return section

    def without(self, keys: Collection[str]) -> "Section":
        """Return the section without the lines of some options.

        Args:
            keys: names of the options to leave out.
        """
        return replace(self, lines=tuple(line for line in self.lines if line.key not in keys))

    def renamed(self, name: str) -> "Section":
        """Return the section with another type; blanks around the header are kept.

        Args:
            name: the new section name, without brackets.
        """
        raw = self.header.raw.replace(f"[{self.name}]", f"[{name}]")
        return replace(self, name=name, header=self.header._replace(raw=raw))

    def _with_option(self, key: str, text: str) -> "Section":
        lines = list(self.lines)
        places = [i for i, line in enumerate(lines) if line.key == key]
        if not places:
            return self._with_added(key, text)
        at = next((i for i in places if not lines[i].is_dropped), places[0])
        lines[at] = lines[at].with_value(text)
        return replace(self, lines=tuple(lines))

    def _with_added(self, key: str, text: str) -> "Section":
        ending = self.header.ending or "\n"
        last = max((i for i, line in enumerate(self.lines) if line.key is not None), default=-1)
        above, below = self.lines[: last + 1], self.lines[last + 1 :]
        header = self.header if above else self.header.ended(ending)
        if above:
            above = (*above[:-1], above[-1].ended(ending))
        added = Line.parse(f"{key}={text}{ending}", 0)
        return replace(self, header=header, lines=(*above, added, *below))


@dataclass(frozen=True)
class Config:
    """A whole cfg: the text before the first section, [net], and layer i as `sections[i + 1]`.

    Attributes:
        file: name of the cfg for messages; None if it was not read from a file.
        lead: text before the first section.
        sections: [net] and the sections of the layers.
    """

    file: str | None
    lead: str
    sections: tuple[Section, ...]

    def __repr__(self) -> str:
        """Return one line with the cfg's name and the number of its sections."""
        return f"<Config {self.file or '<cfg>'}: {len(self.sections)} sections>"

    @cached_property
    def distinct_sections(self) -> tuple[Section, ...]:
        """Return one of each group of equal sections, which are common in networks."""
        found: dict[object, Section] = {}
        for section in self.sections:
            found.setdefault(section.text, section)
        return tuple(found.values())

    def with_section(self, index: int, values: Mapping[str, object]) -> "Config":
        """Return a config in which some options of one section have new values.

        Args:
            index: index of the section, from 0: 0 is [net], and layer i has index i + 1.
            values: new values by option name.
        """
        sections = list(self.sections)
        sections[index] = sections[index].set(values)
        return replace(self, sections=tuple(sections))


def _said(line: Line) -> str:
    """Return a line's value without the comment after it."""
    return (line.value or "").partition("#")[0]


def strip_blanks(text: str) -> str:
    """Return a text without spaces, tabs, CR and LF, also inside, as Darknet's `strip` does.

    Args:
        text: one line.
    """
    return text.translate(_BLANKS)


def stripped_lines(text: str) -> list[str]:
    """Return the lines of a text without spaces, tabs and CR; faster than stripping line by line.

    Args:
        text: the text of a whole cfg.
    """
    return text.translate(_BLANKS_IN_LINES).split("\n")


def format_value(value: object) -> str:
    """Format a value for a cfg: lists with commas, booleans as 0 and 1.

    Args:
        value: a text, number, boolean, or a tuple or list of them.
    """
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, (tuple, list)):
        return ",".join(format_value(item) for item in value)
    return str(value)
