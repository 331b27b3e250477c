"""Warnings that are given once, however often their cause recurs."""

import contextlib
import logging
import os
from collections.abc import Iterator
from contextvars import ContextVar

from darkconv.errors import DarkconvError, Where, followed

logger = logging.getLogger("darkconv")

MOST_KNOWN = 100_000  # warnings to remember; beyond it all of them are forgotten
_known: set[tuple[str, int, str]] = set()
_told: ContextVar[set[str] | None] = ContextVar("told", default=None)


@contextlib.contextmanager
def telling_once() -> Iterator[None]:
    """Let `tell` give each warning once in this block; blocks inside it share its warnings.

    Yields:
        Nothing.
    """
    if _told.get() is not None:
        yield
        return
    token = _told.set(set())
    try:
        yield
    finally:
        _told.reset(token)


def tell(line: str, *, key: str | None = None) -> bool:
    """Warn, unless the block of `telling_once` has given this warning before.

    Args:
        line: the text of the warning.
        key: what identifies the warning where its text varies; None stands for the text.

    Returns:
        True if the warning was given now.
    """
    told = _told.get()
    if told is not None:
        if (key or line) in told:
            return False
        told.add(key or line)
    logger.warning("%s", line)
    return True


def warn_once(where: Where, message: str) -> None:
    """Warn, unless the same was said of this file before and the file has not changed since.

    Args:
        where: the place that the warning begins with; its file may be empty.
        message: the text of the warning.
    """
    _tell(where, f"{where}: {message}")


def tell_once(error: DarkconvError, what_follows: str) -> None:
    """Warn of an error that does not stop the run, once for each state of its file.

    Args:
        error: the error, whose place identifies the file.
        what_follows: what the run does instead, as the end of the text.
    """
    _tell(error.where, followed(error, what_follows))


def _tell(where: Where, text: str) -> None:
    path = os.path.abspath(where.file) if where.file else ""
    time = os.stat(path).st_mtime_ns if os.path.exists(path) else 0
    key = (path, time, text)
    if key in _known:
        return
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    _known.add(key)
    logger.warning("%s", text)
