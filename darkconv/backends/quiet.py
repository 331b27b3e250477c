"""Keeping libraries from writing to the terminal."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress Python warnings, and everything that is written to stderr, within a `with` block.

    TensorFlow has settings against most of its messages, but not against those that it writes
    before it reads them. Errors still arrive as exceptions.

    Yields:
        None.
    """
    kept = os.dup(2)
    with warnings.catch_warnings(), Path(os.devnull).open("wb") as nowhere:
        warnings.simplefilter("ignore")
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
