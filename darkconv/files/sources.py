"""Files that a command keeps using: whether they are still what was opened.

A file that another one replaces by its name lives on for those who have it open. One that is
written to in place, as Darknet does with its backups, changes under their hands: then nothing that
was made from it may take a name.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Source(Protocol):
    """A file in use."""

    def check(self) -> None:
        """Raise a DarkconvError if it was written to."""


_watched: list[Source] | None = None


@contextmanager
def watching_sources() -> Iterator[None]:
    """Hold all files that are opened in this block to what they were, also when it ends.

    Raises:
        DarkconvError: one was written to.
    """
    global _watched
    before, _watched = _watched, []
    try:
        yield
        check_sources()
    finally:
        _watched = before


def watch(source: Source) -> None:
    """Tell of a file that was opened; outside of `watching_sources` nobody asks."""
    if _watched is not None:
        _watched.append(source)


def release_sources() -> None:
    """Check all files in use, and let them change: all that is needed of them is in memory."""
    check_sources()
    if _watched is not None:
        _watched.clear()


def check_sources() -> None:
    """Check all files in use.

    Raises:
        DarkconvError: one was written to.
    """
    for source in _watched or ():
        source.check()
