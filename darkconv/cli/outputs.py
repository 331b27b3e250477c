"""Outputs of a command, looked at before it begins: a run must not fail where it would end."""

import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from darkconv.cli.params import SAVED_MODEL_SUFFIX, Output
from darkconv.errors import DarkconvError


def check_outputs(outputs: Iterable[Output], suffixes: Sequence[str]) -> None:
    """Check that models can be written.

    Args:
        outputs: where to.
        suffixes: of the formats of one file.

    Raises:
        DarkconvError: an unknown format, a file that is given twice or cannot be written.
    """
    paths: list[Path] = []
    for output in outputs:
        if output.weights is None and output.suffix not in suffixes:
            raise DarkconvError(
                f"{output.path}: unknown format",
                expected=f"OUT.cfg OUT.weights, or a name that ends in {', '.join(suffixes)}",
            )
        if output.suffix != SAVED_MODEL_SUFFIX or not output.path.is_dir():
            check_writable(output.path)
        paths += [output.path, *([output.weights] if output.weights else [])]
        if output.weights:
            check_writable(output.weights)
    places = [path.resolve() for path in paths]
    for path, place in zip(paths, places, strict=True):
        if places.count(place) > 1:
            raise DarkconvError(f"{path}: is to be written twice")


def check_writable(path: Path) -> None:
    """Check that a file can be written, as far as can be known before.

    Raises:
        DarkconvError: there is no such folder, it is closed to the user, or no file is there.
    """
    if path.exists() and not path.is_file():
        raise DarkconvError(f"{path}: cannot write: it is there, and is no file")
    folder = path.parent
    reason = None
    if not folder.exists():
        reason = errno.ENOENT
    elif not folder.is_dir():
        reason = errno.ENOTDIR
    elif not os.access(folder, os.W_OK):
        reason = errno.EACCES
    if reason:
        raise DarkconvError(f"{path}: cannot write: {os.strerror(reason)}")
