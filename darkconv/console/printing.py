r"""Everything that the commands print, on stdout and stderr.

Names of classes and files may hold what a terminal obeys: colours, cursor movements, texts that run
from right to left. All of it is written out, as `\x1b`, and what the encoding of the stream lacks
likewise. No command prints in another way: tests/test_printing.py says so.
"""

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from darkconv.console.suggestions import explain_option
from darkconv.console.table import Row, format_table
from darkconv.errors import one_line, printable


def echo(text: object = "", *, err: bool = False, bold: bool = False) -> None:
    """Print one line: a line break in the text is written out too.

    Args:
        text: of the line.
        err: print on stderr.
        bold: print it in bold letters.
    """
    _print(click.style(one_line(str(text)), bold=True) if bold else one_line(str(text)), err=err)


def echo_lines(text: str, *, err: bool = False, label: str = "", color: str = "") -> None:
    """Print a text of several lines.

    Args:
        text: made of lines in which names have been written out.
        err: print on stderr.
        label: stands before it.
        color: of the label.
    """
    start = f"{click.style(label, fg=color, bold=True)} " if label else ""
    _print(start + printable(text), err=err)


def echo_table(headers: Sequence[str], rows: Sequence[Row], *, left: Sequence[int] = ()) -> None:
    """Print a table: see `format_table`."""
    first, *others = format_table(headers, rows, left=left).split("\n")
    _print("\n".join([click.style(first, bold=True), *others]))


def echo_json(value: Any, *, default: Callable[[Any], Any] | None = None) -> None:
    """Print a value as JSON, which has ASCII characters alone."""
    _print(json.dumps(value, indent=2, default=default))


def echo_json_line(value: Any) -> None:
    """Print a value as one line of JSON, at once."""
    _print(json.dumps(value))
    sys.stdout.flush()


def _print(text: str, *, err: bool = False) -> None:
    click.echo(text, err=err)


def write_out_what_streams_lack() -> None:
    """Let stdout and stderr write out characters that their encodings do not have."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure and getattr(stream, "errors", None) in ("strict", "surrogateescape"):
            reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def printable_usage() -> Iterator[None]:
    """Write out control characters in what click says of the words that it was given."""
    try:
        yield
    except click.ClickException as error:
        if isinstance(error, click.NoSuchOption):
            explain_option(error)
        error.message = printable(error.message)  # type: ignore[misc]
        raise
