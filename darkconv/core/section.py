"""The text of a cfg as immutable data: what is not edited prints exactly as it was read."""

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
        raw: the text as read, with its line ending.
        offset: lines below the section's header, as read; 0 for a line that was added.
        key: what stands before the first `=`, all blanks removed; None for blank lines,
            comments and section headers.
        value: what stands after it, blanks removed, comment included as in C; None where
            there is no `=` or nothing behind it.
    """

    raw: str
    offset: int
    key: str | None = None
    value: str | None = None

    @classmethod
    def parse(cls, raw: str, offset: int) -> "Line":
        """Read an option, comment or blank line as Darknet's `read_option` does."""
        return cls.of_text(strip_blanks(raw), raw, offset)

    @classmethod
    def of_text(cls, text: str, raw: str, offset: int) -> "Line":
        """As `parse`, of a line whose `text` without blanks is known."""
        if not text or text[0] in "#;":
            return cls(raw, offset)
        key, _, value = text.partition("=")
        return cls(raw, offset, key, value or None)

    @property
    def is_dropped(self) -> bool:
        """True for `key=` with nothing behind it: C's read_option leaves such a line out."""
        return self.value is None and "=" in self.raw

    def with_value(self, value: str) -> "Line":
        """The same line, spacing and comment kept, with another value."""
        match = _EDITABLE_VALUE.match(self.raw)
        raw = f"{match[1]}{value}{match[3]}" if match else f"{self.key}={value}{self.ending}"
        return Line.parse(raw, self.offset)

    def ended(self, ending: str) -> "Line":
        """The same line, closed with `ending` if it was the last of a file without one."""
        return self if self.ending else self._replace(raw=self.raw + ending)

    @property
    def ending(self) -> str:
        """The line ending: a newline, carriage return and newline, or nothing."""
        return self.raw[len(self.raw.rstrip("\r\n")) :]


@dataclass(frozen=True)
class Section:
    """A `[header]` and the lines below it, blank lines and comments included.

    Attributes:
        name: between the brackets.
        number: the header's line in the file, counted from 1.
        header: its text.
        lines: below it, up to the next header.
    """

    name: str
    number: int
    header: Line
    lines: tuple[Line, ...]

    @property
    def text(self) -> tuple[str, tuple[Line, ...]]:
        """What equal sections have in common, wherever they stand."""
        return self.name, self.lines

    def options(self) -> Mapping[str, Line]:
        """The line of each key; of repeated keys the first with a value counts, as in Darknet."""
        return self._options

    @cached_property
    def _options(self) -> Mapping[str, Line]:
        found: dict[str, Line] = {}
        for line in self.lines:
            if line.key is not None and (line.key not in found or found[line.key].is_dropped):
                found[line.key] = line
        return found

    def repeated(self) -> list[tuple[Line, Line]]:
        """Lines that do not count, for their key has another value before, each behind that line.

        Comments behind values do not matter.
        """
        options = self.options()
        pairs = ((options[line.key], line) for line in self.lines if line.key is not None)
        return [(first, line) for first, line in pairs if _said(line) not in ("", _said(first))]

    def get(self, key: str) -> str | None:
        """The value of `key`, or None."""
        line = self.options().get(key)
        return line.value if line else None

    def set(self, values: Mapping[str, object]) -> "Section":
        """A section whose named options have new values; only their lines differ.

        A key that is not there is added behind the last option.
        """
        section = self
        for key, value in values.items():
            section = section._with_option(key, format_value(value))
        return section

    def without(self, keys: Collection[str]) -> "Section":
        """The section without the lines of some options."""
        return replace(self, lines=tuple(line for line in self.lines if line.key not in keys))

    def renamed(self, name: str) -> "Section":
        """The section under another type; blanks around the header stay."""
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
    """A whole cfg: the text before the first section, [net], and layer i as `sections[i + 1]`."""

    file: str | None
    lead: str
    sections: tuple[Section, ...]

    @cached_property
    def distinct_sections(self) -> tuple[Section, ...]:
        """One of each: networks are full of equal sections."""
        found: dict[object, Section] = {}
        for section in self.sections:
            found.setdefault(section.text, section)
        return tuple(found.values())

    def with_section(self, index: int, values: Mapping[str, object]) -> "Config":
        """A config in which options of `sections[index]` are set."""
        sections = list(self.sections)
        sections[index] = sections[index].set(values)
        return replace(self, sections=tuple(sections))


def _said(line: Line) -> str:
    """Return a line's value without the comment behind it."""
    return (line.value or "").partition("#")[0]


def strip_blanks(text: str) -> str:
    """Remove every space, tab, CR and LF, also inside, as Darknet's `strip` does."""
    return text.translate(_BLANKS)


def stripped_lines(text: str) -> list[str]:
    """The lines of a text, each without its blanks: quicker than line by line."""
    return text.translate(_BLANKS_IN_LINES).split("\n")


def format_value(value: object) -> str:
    """A value as it is written into a cfg: lists with commas, flags as 0 and 1."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, (tuple, list)):
        return ",".join(format_value(item) for item in value)
    return str(value)
