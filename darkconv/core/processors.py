"""The number of processors to compute with."""

import os


def count_processors() -> int:
    """Return the number of processors that this process may use.

    A container or taskset can limit it to fewer than the machine has.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
