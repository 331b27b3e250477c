"""Memory: asked about before it is asked for, as a cfg can name any size."""

import os
from pathlib import Path

from darkconv.errors import GraphError, Where
from darkconv.files.sizes import format_size

MEMORY_INFO = Path("/proc/meminfo")
GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def require_memory(size: int, *, what: str, where: Where) -> None:
    """Refuse work that cannot be done here.

    Args:
        size: bytes that it takes at least.
        what: takes them, for the message.
        where: the network.

    Raises:
        GraphError: there is less.
    """
    free = free_memory()
    if free is not None and size > free:
        raise GraphError(
            f"{what} takes {format_size(size)} of memory, more than there is",
            where=where,
            hint="a size in the cfg is too large, or this machine is too small for it",
        )


def free_memory() -> int | None:
    """Bytes that can be had without pushing others out; None where the system does not say."""
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
    """What a container may take."""
    try:
        text = GROUP_LIMIT.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None
