"""Checks whether there is enough memory before it is allocated, since a cfg can name any size."""

import os
from pathlib import Path

from darkconv.errors import GraphError, Where
from darkconv.files.sizes import format_size

MEMORY_INFO = Path("/proc/meminfo")
GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def require_memory(size: int, *, what: str, where: Where) -> None:
    """Raise an error if a piece of work needs more memory than is free.

    Args:
        size: number of bytes that the work needs at least.
        what: name of the work, used in the message.
        where: place of the network, used in the message.

    Raises:
        GraphError: there is less free memory than that.
    """
    free = free_memory()
    if free is not None and size > free:
        raise GraphError(
            f"{what} takes {format_size(size)} of memory, more than there is",
            where=where,
            hint="a size in the cfg is too large, or this machine is too small for it",
        )


def free_memory() -> int | None:
    """Return the number of bytes of free memory, or None if the system does not tell.

    A container's limit counts too. Memory is free if no other program has to be swapped out for it.
    """
    known = [size for size in (_available(), _group_limit()) if size is not None]
    return min(known, default=None)


def _available() -> int | None:
    try:
        lines = MEMORY_INFO.read_text().splitlines()
    except OSError:
        return _installed()
    found = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return next((int(count) * 1024 for count in found), None)


def _installed() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _group_limit() -> int | None:
    """Return the memory limit of the container in bytes, or None if there is none."""
    try:
        text = GROUP_LIMIT.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
