"""Inputs by hypothesis."""

import contextlib
import os
import tracemalloc

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from effort import share

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", 0))
MEMORY = 64 * 2**20
"""Bytes that reading an input of some kilobytes may take."""


def examples(count):
    """How many inputs: always the same ones unless the environment asks for a number."""
    return settings(
        derandomize=not EXAMPLES,
        max_examples=EXAMPLES or share(count),
        suppress_health_check=list(HealthCheck),
    )


def inputs(reader):
    """Mostly seeds with some damage."""
    damaged = st.randoms(use_true_random=False).map(reader.draw)
    return st.one_of(damaged, damaged, damaged, st.binary(max_size=300))


@contextlib.contextmanager
def little_memory():
    """Assert that Python and numpy ask for little memory inside."""
    tracemalloc.start()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY


def read(reader, data, folder):
    """Read an input, which may be refused."""
    with little_memory():
        reader.accepts(data, folder)
