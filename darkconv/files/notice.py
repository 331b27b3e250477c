"""Warnings about files: each is given once, however often the file is read."""

import logging
import os

from darkconv.errors import DarkconvError, Where

logger = logging.getLogger("darkconv")

MOST_KNOWN = 100_000  # then they are forgotten
_known: set[tuple[str, int, str]] = set()


def warn_once(where: Where, message: str) -> None:
    """Warn, unless this was said of this file before, as it is now."""
    _tell(where, f"{where}: {message}")


def tell_once(error: DarkconvError, what_follows: str) -> None:
    """Warn of an error that nothing ends with, likewise."""
    _tell(error.where, f"{error}{what_follows}")


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
