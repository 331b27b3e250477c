"""Writing files so that a killed run leaves the old one or the new one, nothing between."""

import contextlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from darkconv.errors import DarkconvError

PathLike = str | os.PathLike[str]


@contextlib.contextmanager
def replacing(path: PathLike) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it at the end; removed if the block fails.

    Raises:
        DarkconvError: the folder does not exist or cannot be written.
    """
    target = Path(path)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    except OSError as error:
        raise DarkconvError(f"{target}: cannot write: {error.strerror}") from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    except OSError as error:
        raise DarkconvError(f"{target}: cannot write: {error.strerror}") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: PathLike, chunks: Iterable[bytes | memoryview]) -> None:
    """Write a file as a whole."""
    with replacing(path) as temporary:
        write_chunks(temporary, chunks)


def write_chunks(path: Path, chunks: Iterable[bytes | memoryview]) -> None:
    """Fill an empty file that nobody else knows yet.

    It is not opened to be cut ("wb"): of a file that was cut, even of an empty one, ext4 sends all
    to the disk when it is closed, which takes as long as writing it does.
    """
    with path.open("r+b") as file:
        for chunk in chunks:
            file.write(chunk)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
