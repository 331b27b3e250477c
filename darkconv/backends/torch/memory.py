"""Memory of the CPU between one pass and the next."""

from functools import cache

import torch

LARGEST = 32 * 2**20 - 2**16
"""Bytes: about the largest block that malloc learns from."""


@cache
def keep_freed_memory() -> None:
    """Let malloc keep what a pass frees, up to 64 MiB, for the next one.

    glibc maps blocks anew that are larger than any freed before, and hands the free end of its
    heap back above twice that size (mallopt(3), M_MMAP_THRESHOLD). In a process that has freed
    small blocks alone each pass faults its pages in again, which is up to a third of the time of a
    small network. One block that is freed untouched raises both bounds; other allocators ignore it.
    """
    torch.empty(LARGEST, dtype=torch.uint8, device="cpu")
