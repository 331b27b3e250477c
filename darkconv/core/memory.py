"""Memory: asked about before it is asked for, as a cfg can name any size, and kept for later."""

import contextlib
import ctypes
import os
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from darkconv.errors import GraphError, Where
from darkconv.files.sizes import format_size

MEMORY_INFO = Path("/proc/meminfo")
GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
TUNED = ("MALLOC_", "GLIBC_TUNABLES")
"""How names of the environment variables begin that malloc heeds."""
MIB = 2**20
KEPT = 256 * MIB
"""Bytes of freed memory that malloc keeps."""
MALLOC = {
    -3: 32 * MIB,  # M_MMAP_THRESHOLD: larger blocks may get maps of their own; glibc's greatest
    -2: KEPT,  # M_TOP_PAD: how much more the heap grows than it must, and what a trim leaves
    -1: 2 * KEPT,  # M_TRIM_THRESHOLD: from which on the free end of the heap is trimmed
}
"""Parameters of mallopt(3) and their values."""
HOLDING = {
    -4: 0,  # M_MMAP_MAX: blocks with maps of their own
    -1: -1,  # M_TRIM_THRESHOLD: never
}
"""Parameters with which nothing is handed back."""
MOST_MAPS = {-4: 65536}
"""glibc's own."""
HUGE = 32 * MIB - 2**16
"""Bytes of a block that still lies in the heap."""


@cache
def keep_freed_memory() -> None:
    """Let malloc keep up to 256 MiB of what one pass frees for the next.

    glibc maps large blocks anew each time, and hands the free end of its heap back: every pass
    faults its pages in again, a third of the time of a small network, a sixth of that of YOLOv3,
    and half of that of resizing a picture. What is kept has huge pages where Linux leaves that to
    programs: NumPy asks for them (madvise(2), MADV_HUGEPAGE), here for blocks that are freed
    untouched. Other allocators are left alone, and so is one that the user has tuned.
    """
    if _malloc() is None:
        return
    _tune(MALLOC)
    blocks = [np.empty(HUGE, np.uint8) for _ in range(KEPT // HUGE)]
    del blocks


@contextlib.contextmanager
def holding_freed_memory() -> Iterator[None]:
    """Let malloc keep all that is freed, for work that takes as much again and again.

    Large blocks come from the heap, too, and none of it is handed back before the end. Else a step
    of training may, in some processes, map a layer's values anew each time, for 20 ms of 400.
    """
    _tune(HOLDING)
    try:
        yield
    finally:
        _tune(MOST_MAPS | MALLOC)
        return_freed_memory()


def return_freed_memory() -> None:
    """Hand back what malloc holds and nobody uses, wherever in its heap it lies."""
    library = _malloc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _malloc() -> ctypes.CDLL | None:
    """The library that has glibc's malloc, unless the user has tuned that."""
    is_glibc = "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", ())
    is_tuned = any(name.startswith(TUNED) for name in os.environ)
    return ctypes.CDLL(None) if is_glibc and not is_tuned else None


def _tune(values: Mapping[int, int]) -> None:
    library = _malloc()
    if library is not None:
        for parameter, value in values.items():
            library.mallopt(parameter, value)


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
