"""Keeping libraries from writing to the terminal by themselves."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings, and without what C++ code writes to stderr; errors are exceptions.

    TensorFlow has settings against most of its notes, not against those before they are read.
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
