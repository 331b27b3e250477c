"""cfg text <-> Config, byte for byte.

Rules of reading: golden/DIALECTS.md §1, more tolerant where the original stumbles (a CRLF
file, a byte order mark).
"""

import os
from pathlib import Path

from darkconv.core.section import Config, Line, Section, strip_blanks, stripped_lines
from darkconv.darknet.signatures import SIGNATURE, Recognised, recognise_foreign
from darkconv.errors import CfgError, Where, shortened

BYTE_ORDER_MARK = "\ufeff"
NET_SECTIONS = ("net", "network")
SIZE_LIMIT = 1_000_000
"""Bytes of a cfg; the longest in circulation has 20 kB."""
LAYER_LIMIT = 10_000
"""The longest in circulation has 600 layers."""


def read_cfg(path: str | os.PathLike[str]) -> Config:
    """Read a cfg file.

    Raises:
        CfgError: the file cannot be read, or is not a cfg.
    """
    file = os.fspath(path)
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
    """The file that `read_cfg` would read as `config`."""
    return format_cfg(config).encode("utf-8", "surrogateescape")


def parse_cfg(text: str, *, file: str | None = None) -> Config:
    """Split the text of a cfg into sections.

    Raises:
        CfgError: there is no section, the first one is not [net], or options stand before it;
            a section header has no end; there are more layers than any network has.
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
    """The text of a cfg: `format_cfg(parse_cfg(text)) == text`."""
    lines = list(config.lead)
    for section in config.sections:
        lines += (section.header, *section.lines)
    return "".join(line.raw for line in lines)


def _split(text: str, file: str | None) -> tuple[tuple[Line, ...], tuple[Section, ...]]:
    lead: list[Line] = []
    headers: list[Line] = []
    bodies: list[list[Line]] = []
    texts = stripped_lines(text.removeprefix(BYTE_ORDER_MARK))
    for number, (raw, stripped) in enumerate(zip(_lines(text), texts, strict=False), start=1):
        if stripped.startswith("["):
            headers.append(Line(raw, number))
            body: list[Line] = []
            bodies.append(body)
        elif bodies:
            body.append(Line.of_text(stripped, raw, number))
        elif stripped and stripped[0] not in "#;":
            raise _no_cfg(text, Where(file=file, line=number))
        else:
            lead.append(Line(raw, number))
    sections = tuple(
        Section(_section_name(header.raw), header, tuple(body))
        for header, body in zip(headers, bodies, strict=True)
    )
    return tuple(lead), sections


def _lines(text: str) -> list[str]:
    """Lines with their endings; only a line feed ends one, as for C's fgets."""
    parts = text.split("\n")
    lines = [part + "\n" for part in parts[:-1]]
    return [*lines, parts[-1]] if parts[-1] else lines


def _section_name(raw: str) -> str:
    text = strip_blanks(raw.removeprefix(BYTE_ORDER_MARK))
    return text[1:-1] if text.endswith("]") else text[1:]


def _check_header(section: Section, file: str | None) -> None:
    header = strip_blanks(section.header.raw)
    if "]" not in header:
        raise CfgError(
            where=Where(file=file, line=section.number),
            expected="a section header that ends with ]",
            found=shortened(header),
        )


_ONLY_RETURNS = "its lines end with carriage returns alone: write it with line feeds"


def _no_cfg(text: str, where: Where) -> CfgError:
    """The error for a file that is something else, and says so at its start."""
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
