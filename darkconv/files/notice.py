"""Warnings about files: each is given once, however often the file is read."""

import contextlib
import logging
import os
from collections.abc import Iterator
from contextvars import ContextVar

from darkconv.errors import DarkconvError, Where, followed

logger = logging.getLogger("darkconv")

MOST_KNOWN = 100_000  # then they are forgotten
_known: set[tuple[str, int, str]] = set()
_told: ContextVar[set[str] | None] = ContextVar("told", default=None)


@contextlib.contextmanager
def telling_once() -> Iterator[None]:
    """Let `tell` say each line once for as long as a job lasts; jobs inside it share its lines."""
    if _told.get() is not None:
        yield
        return
    token = _told.set(set())
    try:
        yield
    finally:
        _told.reset(token)


def tell(line: str, *, key: str | None = None) -> bool:
    """Warn, unless the job has said so before: see `telling_once`.

    Args:
        line: what is said.
        key: what is the same each time, where the line is not.

    Returns:
        True if it was said now.
    """
    told = _told.get()
    if told is not None:
        if (key or line) in told:
            return False
        told.add(key or line)
    logger.warning("%s", line)
    return True


def warn_once(where: Where, message: str) -> None:
    """Warn, unless this was said of this file before, as it is now."""
    _tell(where, f"{where}: {message}")


def tell_once(error: DarkconvError, what_follows: str) -> None:
    """Warn of an error that nothing ends with, likewise."""
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
