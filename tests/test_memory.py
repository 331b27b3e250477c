"""Memory that is kept from one pass to the next."""

import os
import subprocess
import sys

import pytest

MANY = 40 * 2**20
"""Bytes of a block: beyond the largest for which glibc's heap is meant."""
FAULTS = f"""
import resource
import numpy as np
from darkconv.core.memory import keep_freed_memory

def fill():
    for _ in range(3):
        np.zeros({MANY} // 8).fill(1)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

fill()
before = faults()
fill()
usual = faults() - before
keep_freed_memory()
fill()
before = faults()
fill()
print(usual, faults() - before)
"""

pytestmark = pytest.mark.skipif(
    "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", ()), reason="needs glibc"
)


def page_faults(**environment):
    """Of three blocks that are filled and freed, as they are and with their memory kept."""
    told = subprocess.run(
        [sys.executable, "-c", FAULTS],
        check=True,
        capture_output=True,
        env={**os.environ, **environment},
    )
    return map(int, told.stdout.split())


def test_kept_memory_is_not_faulted_in_again():
    usual, kept = page_faults()
    assert usual > 50
    assert kept < usual / 10


def test_who_has_tuned_malloc_is_left_alone():
    usual, kept = page_faults(MALLOC_ARENA_MAX="1")
    assert kept > usual / 2 > 25


HELD = f"""
import resource
from pathlib import Path
import numpy as np
from darkconv.core.memory import holding_freed_memory, return_freed_memory

def fill():
    for _ in range(3):
        [np.zeros({MANY}).fill(1) for _ in range(3)]

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])

start = resident()
with holding_freed_memory():
    fill()
    before = faults()
    fill()
    inside, held = faults() - before, resident() - start
    return_freed_memory()
    returned = resident() - start
    fill()
left = resident() - start
before = faults()
fill()
print(inside, held, returned, left, faults() - before)
"""


def test_held_memory_is_kept_until_it_is_returned():
    """Blocks of 300 MB, which glibc maps anew each time, and its pages of 4 KiB."""
    told = subprocess.run([sys.executable, "-c", HELD], check=True, capture_output=True)
    inside, held, returned, left, faults = map(int, told.stdout.split())
    block = 8 * MANY // 4096
    assert inside < block / 10
    assert held > block / 2
    assert returned < block / 10
    assert left < block / 10
    assert faults > 100
