r"""Print everything that commands print, on stdout and stderr.

Names of classes and files may hold control characters that a terminal obeys: colours, cursor
movements, texts that run from right to left. All of them are written out, as `\x1b`, and so are
characters that the encoding of the stream lacks. No command prints in another way:
tests/test_printing.py checks that.
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
        text: the line.
        err: True to print on stderr.
        bold: True to print in bold letters.
    """
    _print(click.style(one_line(str(text)), bold=True) if bold else one_line(str(text)), err=err)


def echo_lines(text: str, *, err: bool = False, label: str = "", color: str = "") -> None:
    """Print a text of several lines.

    Args:
        text: lines in which names have been written out.
        err: True to print on stderr.
        label: text in front of the first line.
        color: colour of the label.
    """
    start = f"{click.style(label, fg=color, bold=True)} " if label else ""
    _print(start + printable(text), err=err)


def echo_table(headers: Sequence[str], rows: Sequence[Row], *, left: Sequence[int] = ()) -> None:
    """Print a table: see `format_table`.

    Args:
        headers: headings of the columns.
        rows: cells of each row.
        left: indices of the columns that are aligned to the left, from 0.
    """
    first, *others = format_table(headers, rows, left=left).split("\n")
    _print("\n".join([click.style(first, bold=True), *others]))


def echo_json(value: Any, *, default: Callable[[Any], Any] | None = None) -> None:
    """Print a value as JSON, in ASCII characters alone.

    Args:
        value: the value.
        default: converts objects that JSON cannot hold; None if there are none.
    """
    _print(json.dumps(value, indent=2, default=default))


def echo_json_line(value: Any) -> None:
    """Print a value as one line of JSON, and flush stdout.

    Args:
        value: the value.
    """
    _print(json.dumps(value))
    sys.stdout.flush()


def _print(text: str, *, err: bool = False) -> None:
    click.echo(text, err=err)


def write_out_what_streams_lack() -> None:
    """Let stdout and stderr write out characters that their encodings lack."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure and getattr(stream, "errors", None) in ("strict", "surrogateescape"):
            reconfigure(errors="backslashreplace")


@contextlib.contextmanager
def printable_usage() -> Iterator[None]:
    """Write out control characters in click's messages, which repeat the user's words.

    Yields:
        Nothing.
    """
    try:
        yield
    except click.ClickException as error:
        if isinstance(error, click.NoSuchOption):
            explain_option(error)
        error.message = printable(error.message)  # type: ignore[misc]
        raise
