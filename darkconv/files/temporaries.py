"""Temporary files and folders beside what they will replace.

They are called `.NAME.0.tmp`, or have a higher number if another process is writing NAME too; of a
NAME that leaves no room for that, the start and a checksum stand for it. Each
is locked by the process that fills it, and such a lock ends with its process, however that ends: so
what a killed run has left is known as such, and makes room for the next file of that name. On
Windows there are no such locks, numbers begin with the process's own, and nothing is made room for.
"""

import contextlib
import itertools
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

from darkconv.files.signals import undisturbed

if sys.platform != "win32":
    import fcntl

SUFFIX = ".tmp"
LONGEST_NAME = 255
"""Bytes of a file's name, where the system does not say how many it takes."""
SHOWN = 20  # characters, of up to 4 bytes each, that a shortened name begins with


@contextlib.contextmanager
def temporary_file(target: Path) -> Iterator[Path]:
    """An empty file, removed at the end unless it has another name by then.

    Nobody may read it who may not read what it will replace.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    with _made(target, is_folder=False) as path:
        yield path


@contextlib.contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """An empty folder, removed at the end with what is left in it.

    Raises:
        OSError: as for `temporary_file`.
    """
    with _made(target, is_folder=True) as path:
        yield path


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Wait until no other process is in this block for the same folder.

    Where folders cannot be locked, as on Windows and some network file systems, nothing waits.
    """
    handle = None
    try:
        if sys.platform != "win32":
            with contextlib.suppress(OSError):
                handle = os.open(folder, os.O_RDONLY)
                fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        if handle is not None:
            os.close(handle)


@contextlib.contextmanager
def _made(target: Path, *, is_folder: bool) -> Iterator[Path]:
    """Make a new path, locked until it is removed at the end."""
    made = None
    try:
        with undisturbed():
            made = _first_free(target, is_folder=is_folder)
        yield made[0]
    finally:
        if made:
            with undisturbed():
                _remove(*made, is_folder=is_folder)


def _remove(path: Path, handle: int, *, is_folder: bool) -> None:
    """Remove what is left under a temporary name, and let its lock go."""
    try:
        if is_folder:
            shutil.rmtree(path, ignore_errors=True)
        elif _is_at(path, handle):
            path.unlink(missing_ok=True)
    finally:
        os.close(handle)


def _first_free(target: Path, *, is_folder: bool) -> tuple[Path, int]:
    mode = _mode_of(target, is_folder=is_folder)
    for number in itertools.count(os.getpid() if sys.platform == "win32" else 0):
        path = _named(target, number)
        handle = _make(path, mode, is_folder=is_folder)
        if handle is None and _remove_stale(path):
            handle = _make(path, mode, is_folder=is_folder)
        if handle is not None:
            return path, handle
    raise AssertionError("numbers do not end")


def _named(target: Path, number: int) -> Path:
    """The path of a temporary; systems limit names, most of them to 255 bytes."""
    path = target.with_name(f".{target.name}.{number}{SUFFIX}")
    try:
        longest = os.pathconf(target.parent, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # not on Windows, nor of all folders
        longest = LONGEST_NAME
    if len(os.fsencode(path.name)) <= longest:
        return path
    mark = f"{crc32(os.fsencode(target.name)):08x}"
    return target.with_name(f".{target.name[:SHOWN]}-{mark}.{number}{SUFFIX}")


def _mode_of(target: Path, *, is_folder: bool) -> int:
    """Return the permissions to ask for: no more than those of what will be replaced."""
    try:
        return stat.S_IMODE(target.stat().st_mode) & 0o777 | stat.S_IRWXU
    except OSError:
        return 0o777 if is_folder else 0o666


def _make(path: Path, mode: int, *, is_folder: bool) -> int | None:
    """Make and lock; None if the path is another process's."""
    try:
        if is_folder:
            path.mkdir(mode)
        else:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode & 0o666))
    except FileExistsError:
        return None
    if sys.platform == "win32":  # where an open file cannot be renamed
        return os.open(os.devnull, os.O_RDONLY)
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    if _holds(path, handle) is not False:
        return handle
    os.close(handle)
    return None


def _remove_stale(path: Path) -> bool:
    """Remove what no process holds any more; False if one does, or nobody can say."""
    if sys.platform == "win32":
        return False
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        if not _holds(path, handle):
            return False
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def _holds(path: Path, handle: int) -> bool | None:
    """Lock; False if another process has the lock or the path, None if there are no locks."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return _is_at(path, handle)


def _is_at(path: Path, handle: int) -> bool:
    """Whether a path still leads to what was opened: it may be another process's by now."""
    if sys.platform == "win32":
        return True
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(handle))
    except OSError:
        return False
