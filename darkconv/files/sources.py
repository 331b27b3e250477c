"""Input files that a command keeps open: check that they did not change meanwhile.

If another process replaces a file by renaming a new one, the old file remains for those who have it
open. If the process writes to the file in place, as Darknet does with its backups, the contents
change: then nothing that was made from it may be written under its final name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class FileInUse(Protocol):
    """A file that is in use."""

    def check(self) -> None:
        """Raise DarkconvError if the file was written to since it was opened."""


_watched: list[FileInUse] | None = None


@contextmanager
def watching_sources() -> Iterator[None]:
    """Check all files that are opened in this block for changes, also when the block ends.

    Yields:
        Nothing.

    Raises:
        DarkconvError: a file was written to.
    """
    global _watched
    before, _watched = _watched, []
    try:
        yield
        check_sources()
    finally:
        _watched = before


def watch(source: FileInUse) -> None:
    """Register a file that was opened; outside of `watching_sources` nothing happens.

    Args:
        source: the file, which can check itself.
    """
    if _watched is not None:
        _watched.append(source)


def release_sources() -> None:
    """Check all files in use, and forget them: everything needed from them is in memory.

    Raises:
        DarkconvError: a file was written to.
    """
    check_sources()
    if _watched is not None:
        _watched.clear()


def check_sources() -> None:
    """Check that no file in use has changed.

    Raises:
        DarkconvError: a file was written to.
    """
    for source in _watched or ():
        source.check()
