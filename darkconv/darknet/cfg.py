"""cfg text <-> Config, byte for byte.

Rules of reading: golden/DIALECTS.md §1, more tolerant where the original stumbles (a CRLF
file, a byte order mark).
"""

import os
from pathlib import Path

from darkconv.core.section import Config, Line, Section, strip_blanks
from darkconv.errors import CfgError, Where

BYTE_ORDER_MARK = "\ufeff"
NET_SECTIONS = ("net", "network")


def read_cfg(path: str | os.PathLike[str]) -> Config:
    """Read a cfg file.

    Raises:
        CfgError: the file cannot be read, or is not a cfg.
    """
    file = os.fspath(path)
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        raise CfgError(f"cannot read: {error.strerror}", where=Where(file=file)) from error
    return parse_cfg(data.decode("utf-8", "surrogateescape"), file=file)


def cfg_bytes(config: Config) -> bytes:
    """The file that `read_cfg` would read as `config`."""
    return format_cfg(config).encode("utf-8", "surrogateescape")


def parse_cfg(text: str, *, file: str | None = None) -> Config:
    """Split the text of a cfg into sections.

    Raises:
        CfgError: there is no section, the first one is not [net], or options stand before it.
    """
    lead, sections = _split(text, file)
    if not sections:
        raise CfgError(
            where=Where(file=file),
            expected="a Darknet cfg that begins with [net]",
            found=_describe(text),
        )
    if sections[0].name not in NET_SECTIONS:
        raise CfgError(
            where=Where(file=file, line=sections[0].number),
            expected="the first section to be [net]",
            found=f"[{sections[0].name}]",
        )
    if len(sections) == 1:
        raise CfgError("the network has no layers", where=Where(file=file))
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
    for number, raw in enumerate(_lines(text), start=1):
        stripped = strip_blanks(raw.removeprefix(BYTE_ORDER_MARK) if number == 1 else raw)
        if stripped.startswith("["):
            headers.append(Line(raw, number))
            bodies.append([])
        elif bodies:
            bodies[-1].append(Line.parse(raw, number))
        elif stripped and stripped[0] not in "#;":
            raise CfgError(
                where=Where(file=file, line=number),
                expected="a Darknet cfg that begins with [net]",
                found=_describe(text),
            )
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


def _describe(text: str) -> str:
    start = text.lstrip(BYTE_ORDER_MARK + " \t\r\n")[:200].lower()
    if not start:
        return "an empty file"
    if start.startswith(("<!doctype", "<html", "<?xml")):
        return "an HTML page"
    if "\0" in text[:1000]:
        return "a binary file"
    return repr(_shorten(text.strip().splitlines()[0]))


def _shorten(text: str, limit: int = 60) -> str:
    return text if len(text) <= limit else text[:limit] + "..."
