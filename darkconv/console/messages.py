"""What a command says beside its results: its log on stderr, by -q, -v and --debug."""

import contextlib
import logging
import platform
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import click

from darkconv import __version__
from darkconv.console.options import titled
from darkconv.console.printing import echo_lines
from darkconv.logs import NOTE

F = TypeVar("F", bound=Callable[..., Any])

logger = logging.getLogger("darkconv")

LIBRARIES = ("numpy", "torch", "onnx", "onnxruntime", "keras", "tensorflow-cpu", "tensorflow")
"""Whose versions `--verbose` says, where they are installed."""


class MessageHandler(logging.Handler):
    """Warnings as plain lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one."""
        label = "" if record.levelno < logging.WARNING else "warning:"
        echo_lines(record.getMessage(), err=True, label=label, color="yellow")


def show_messages(ctx: click.Context) -> None:
    """Send darkconv's log to stderr until the command ends."""
    before = logger.handlers, logger.propagate, logger.level

    def restore() -> None:
        logger.handlers, logger.propagate = before[:2]
        logger.setLevel(before[2])

    logger.handlers = [MessageHandler()]
    logger.setLevel(NOTE)
    logger.propagate = False
    # what matters of a picture is told by darkconv; Pillow's own remarks are Python's warnings
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    ctx.call_on_close(restore)


def _set_level(level: int) -> Callable[[click.Context, click.Parameter, bool], None]:
    def callback(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        if not ctx.meta.get("darkconv.shows_messages"):
            show_messages(ctx)
            ctx.meta["darkconv.shows_messages"] = True
        if not value:
            return
        if ctx.meta.setdefault("darkconv.level", level) != level:
            raise click.UsageError("-q and -v exclude each other")
        logger.setLevel(level)
        if level == logging.INFO:
            logger.info("%s", versions())

    return callback


def versions() -> str:
    """Return which darkconv runs on which Python, with the versions of the libraries it uses."""
    from importlib.metadata import PackageNotFoundError, version

    found = [f"darkconv {__version__}", f"Python {platform.python_version()}"]
    for library in LIBRARIES:
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{library} {version(library)}")
    return ", ".join(found)


def _set_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta["darkconv.debug"] = value


common_options = titled(
    "Messages",
    click.option(
        "-q",
        "--quiet",
        is_flag=True,
        help="No warnings.",
        expose_value=False,
        callback=_set_level(logging.ERROR),
    ),
    click.option(
        "-v",
        "--verbose",
        is_flag=True,
        help="Say more: versions, and how files are read.",
        expose_value=False,
        callback=_set_level(logging.INFO),
    ),
    click.option(
        "--debug",
        is_flag=True,
        help="Show tracebacks.",
        expose_value=False,
        callback=_set_debug,
    ),
)
"""-q, -v and --debug."""
