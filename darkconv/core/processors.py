"""How many processors there are to compute with."""

import os


def count_processors() -> int:
    """Those that this process may use, which a container or taskset can make fewer."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
