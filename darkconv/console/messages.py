"""Show darkconv's log on stderr, as -q, -v and --debug ask for it."""

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
"""Libraries whose versions `--verbose` shows, where they are installed."""


class MessageHandler(logging.Handler):
    """A handler that prints messages as plain lines on stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one message."""
        label = "" if record.levelno < logging.WARNING else "warning:"
        echo_lines(record.getMessage(), err=True, label=label, color="yellow")


def show_messages(ctx: click.Context) -> None:
    """Send darkconv's log to stderr until the command ends.

    Args:
        ctx: context of the command.
    """
    before = logger.handlers, logger.propagate, logger.level

    def restore() -> None:
        logger.handlers, logger.propagate = before[:2]
        logger.setLevel(before[2])

    logger.handlers = [MessageHandler()]
    logger.setLevel(NOTE)
    logger.propagate = False
    # darkconv reports problems of a picture itself; Pillow's own remarks are Python's warnings
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
    """Return the versions of darkconv, of Python and of the installed libraries, in one line."""
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
        help="No warnings, and no line that begins with `next:`.",
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
"""A decorator that adds -q, -v and --debug."""
