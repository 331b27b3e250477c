"""Reading and writing of cfg files, byte for byte.

The rules are documented in golden/DIALECTS.md §1. Reading is more tolerant than the original
program, for example of CRLF line endings and a byte order mark.
"""

import os
import re
from itertools import pairwise
from pathlib import Path

from darkconv.core.section import Config, Line, Section, strip_blanks, stripped_lines
from darkconv.darknet.signatures import SIGNATURE, Recognised, recognise_foreign
from darkconv.errors import CfgError, Where, shortened
from darkconv.files.outputs import note_input

BYTE_ORDER_MARK = "\ufeff"
HEADER = re.compile(r"\n[ \t\r]*\[")
COMMENTS = ("", "#", ";")
"""The possible first characters of a line without an option."""
NET_SECTIONS = ("net", "network")
SIZE_LIMIT = 1_000_000
"""A cfg has at most this number of bytes; the longest one in circulation has 20 kB."""
LAYER_LIMIT = 10_000
"""A network has at most this number of layers; the largest one in circulation has 600."""


def read_cfg(path: str | os.PathLike[str]) -> Config:
    """Read a cfg file.

    Args:
        path: path of the file; it is decoded as UTF-8, and other bytes are kept.

    Raises:
        CfgError: the file cannot be read, or is not a cfg.
    """
    file = os.fspath(path)
    note_input(file)
    try:
        with Path(file).open("rb") as stream:
            data = stream.read(SIZE_LIMIT + 1)
            size = os.fstat(stream.fileno()).st_size
    except OSError as error:
        raise CfgError(f"cannot read: {error.strerror}", where=Where(file=file)) from error
    if len(data) > SIZE_LIMIT:
        raise _too_long(data, size, file)
    return parse_cfg(data.decode("utf-8", "surrogateescape"), file=file)


def cfg_bytes(config: Config) -> bytes:
    """Return the content of a cfg file: `read_cfg` reads it back as the same config.

    Args:
        config: the text of the cfg, as data.
    """
    return format_cfg(config).encode("utf-8", "surrogateescape")


def parse_cfg(text: str, *, file: str | None = None) -> Config:
    """Parse the text of a cfg into sections.

    Args:
        text: the text of the whole cfg.
        file: name of the file, used in messages.

    Raises:
        CfgError: the text has no section, does not begin with [net], has no layers or too many, is
            too long, or has a section header without `]`.
    """
    if len(text) > SIZE_LIMIT:
        raise _too_long(text.encode("utf-8", "surrogateescape"), len(text), file)
    lead, sections = _split(text, file)
    if not sections:
        raise _no_cfg(text, Where(file=file))
    first = sections[0]
    if first.name not in NET_SECTIONS:
        if recognise_foreign(text.encode("utf-8", "surrogateescape")):
            raise _no_cfg(text, Where(file=file))
        raise CfgError(
            where=Where(file=file, line=first.number),
            expected="the first section to be [net]",
            found=f"[{shortened(first.name)}]",
            hint=_ONLY_RETURNS if "\r" in first.header.raw.strip() else None,
        )
    if len(sections) == 1:
        raise CfgError("the network has no layers", where=Where(file=file))
    if len(sections) > LAYER_LIMIT + 1:
        raise CfgError(
            where=Where(file=file),
            expected=f"at most {LAYER_LIMIT} layers",
            found=len(sections) - 1,
        )
    for section in sections:
        _check_header(section, file)
    return Config(file, lead, sections)


def format_cfg(config: Config) -> str:
    """Return the text of a cfg: `format_cfg(parse_cfg(text)) == text`.

    Args:
        config: the text of the cfg, as data.
    """
    lines = [line for section in config.sections for line in (section.header, *section.lines)]
    return config.lead + "".join(line.raw for line in lines)


def _split(text: str, file: str | None) -> tuple[str, tuple[Section, ...]]:
    """Return the text before the first section, and the sections; equal ones share their lines."""
    mark = BYTE_ORDER_MARK if text.startswith(BYTE_ORDER_MARK) else ""
    headers = HEADER.finditer("\n" + text[len(mark) :])
    starts = [len(mark) + match.start() for match in headers]
    lead = text[: starts[0]] if starts else text
    for number, line in enumerate(lead[len(mark) :].split("\n"), start=1):
        if strip_blanks(line)[:1] not in COMMENTS:
            raise _no_cfg(text, Where(file=file, line=number))
    known: dict[str, tuple[str, Line, tuple[Line, ...]]] = {}
    sections = []
    number = 1 + lead.count("\n")
    for start, end in pairwise([*starts, len(text)]):
        block = text[start:end]
        parsed = known.get(block)
        if parsed is None:
            known[block] = parsed = _parse_section(block)
        name, header, lines = parsed
        sections.append(Section(name, number, header, lines))
        number += 1 + len(lines)
    return lead, tuple(sections)


def _parse_section(text: str) -> tuple[str, Line, tuple[Line, ...]]:
    """Return name, header and remaining lines of a section."""
    header, *lines = zip(_lines(text), stripped_lines(text), strict=False)
    parsed = [Line.of_text(line, raw, offset) for offset, (raw, line) in enumerate(lines, start=1)]
    return _section_name(header[1]), Line(header[0], 0), tuple(parsed)


def _lines(text: str) -> list[str]:
    """Return the lines with their endings; only a line feed ends a line, as in C's fgets."""
    parts = text.split("\n")
    lines = [part + "\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines


def _section_name(text: str) -> str:
    return text[1:-1] if text.endswith("]") else text[1:]


def _check_header(section: Section, file: str | None) -> None:
    if "]" not in section.header.raw:
        raise CfgError(
            where=Where(file=file, line=section.number),
            expected="a section header that ends with ]",
            found=shortened(strip_blanks(section.header.raw)),
        )


_ONLY_RETURNS = "its lines end with carriage returns alone: write it with line feeds"


def _no_cfg(text: str, where: Where) -> CfgError:
    """Return the error for a file that is no cfg; it names the format if its start reveals it."""
    found = recognise_foreign(text.encode("utf-8", "surrogateescape"))
    start = text.lstrip(BYTE_ORDER_MARK + " \t\r\n")
    if found is None:
        found = Recognised(repr(shortened(start.split("\n")[0].rstrip())))
        if not start:
            found = Recognised("an empty file")
        elif start[0] in "#;":
            found = Recognised("nothing but comments")
    return CfgError(
        where=where,
        expected="a Darknet cfg that begins with [net]",
        found=found.what,
        hint=found.hint,
    )


def _too_long(data: bytes, size: int, file: str | None) -> CfgError:
    where = Where(file=file)
    if recognise_foreign(data):
        return _no_cfg(data[:SIGNATURE].decode("utf-8", "surrogateescape"), where)
    return CfgError(
        where=where,
        expected=f"a Darknet cfg, of {SIZE_LIMIT:,} bytes at most",
        found=f"{max(size, len(data)):,}",
    )
