"""Memory that is kept from one pass to the next."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MANY = 40 * 2**20
"""Bytes of a block: beyond the largest for which glibc's heap is meant."""
FAULTS = f"""
import resource
import numpy as np
from darkconv.console.allocator import keep_freed_memory

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


@pytest.mark.parametrize("length", range(0, 400, 40))
def test_kept_memory_is_not_faulted_in_again(length):
    """Whatever small things lie in the heap before: paths of modules do."""
    usual, kept = page_faults(PYTHONPATH=f"{ROOT}:/{'x' * length}")
    assert usual > 50
    assert kept < usual / 10


def test_who_has_tuned_malloc_is_left_alone():
    usual, kept = page_faults(MALLOC_ARENA_MAX="1")
    assert kept > usual / 2 > 25


LIBRARY = f"""
import ctypes, resource
import numpy as np
import darkconv as dc
from darkconv.assets import digits10_folder
from darkconv.pictures.picture import resize

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        np.zeros({MANY} // 8).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
folder = digits10_folder()
dc.to_torch(dc.load(folder / "digits10.cfg", folder / "digits10.weights"))
resize(np.zeros((400, 400, 3), np.uint8), 96, 96)
print(before, faults())
"""


def test_the_library_leaves_the_allocator_alone():
    pytest.importorskip("torch")
    told = subprocess.run([sys.executable, "-c", LIBRARY], check=True, capture_output=True)
    # Both depend on how many huge pages the maps' places allow; memory that is kept has none.
    assert all(int(count) > 25 for count in told.stdout.split())
