"""malloc of the command line's own process, which keeps what one pass frees for the next.

The library leaves the allocator of the program that imports it alone.
"""

import ctypes
import os

TUNED = ("MALLOC_", "GLIBC_TUNABLES")
"""How names of the environment variables begin that malloc heeds."""
MIB, PAGE = 2**20, 4096
KEPT = 256 * MIB
"""Bytes of freed memory that malloc keeps."""
SETTINGS = {
    -3: 32 * MIB,  # M_MMAP_THRESHOLD: larger blocks may get maps of their own; glibc's greatest
    -2: KEPT,  # M_TOP_PAD: how much more the heap grows than it must, and what a trim leaves
    -1: 2 * KEPT,  # M_TRIM_THRESHOLD: from which on the free end of the heap is trimmed
}
"""Parameters of mallopt(3) and their values."""
BLOCK = 16 * MIB
"""Bytes of a block that lies in the heap."""
HUGE_PAGES = 14
"""MADV_HUGEPAGE of madvise(2)."""


def keep_freed_memory() -> None:
    """Let malloc keep up to 256 MiB of what one pass frees for the next.

    glibc maps large blocks anew each time, and hands the free end of its heap back: every pass
    faults its pages in again, a third of the time of a small network, a sixth of that of YOLOv3,
    and half of that of resizing a picture. What is kept has huge pages where Linux leaves that to
    programs. Other allocators are left alone, and so is one that the user has tuned.
    """
    is_glibc = "CS_GNU_LIBC_VERSION" in getattr(os, "confstr_names", ())
    if is_glibc and not any(name.startswith(TUNED) for name in os.environ):
        library = ctypes.CDLL(None)
        for parameter, value in SETTINGS.items():
            library.mallopt(parameter, value)
        _ask_for_huge_pages(library)


def _ask_for_huge_pages(library: ctypes.CDLL) -> None:
    """Advise on blocks that are freed untouched."""
    library.aligned_alloc.restype = ctypes.c_void_p
    length = ctypes.c_size_t(BLOCK)
    sizes = (ctypes.c_size_t(PAGE), length)
    blocks = [library.aligned_alloc(*sizes) for _ in range(KEPT // BLOCK)]
    for block in map(ctypes.c_void_p, blocks):
        if block:
            library.madvise(block, length, HUGE_PAGES)
            library.free(block)
