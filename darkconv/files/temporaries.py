"""Temporary files and folders beside the files that they will replace.

They are called `.NAME.0.tmp`, with a higher number if another process is writing NAME too. If NAME
is too long for that, its start and a checksum stand for it. The process that fills a temporary file
holds a lock on it, and the lock ends with the process, however the process ends. So the leftovers
of killed runs are recognised, and replaced by the next file of that name. On Windows there are no
such locks: there the numbers begin with the process id, and leftovers stay.
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
"""The most bytes of a file's name, where the system does not state its limit."""
SHOWN = 20  # characters, of up to 4 bytes each, that a shortened name begins with


@contextlib.contextmanager
def temporary_file(target: Path) -> Iterator[Path]:
    """Make an empty file, which is removed at the end unless it was renamed by then.

    Its permissions are no wider than those of the file that it will replace.

    Args:
        target: the file that it will replace; the temporary file lies beside it.

    Yields:
        The path of the temporary file.

    Raises:
        OSError: the folder does not exist or is write-protected.
    """
    with _made(target, is_folder=False) as path:
        yield path


@contextlib.contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """Make an empty folder, which is removed at the end with everything that is left in it.

    Args:
        target: the file or folder that it will replace; the temporary folder lies beside it.

    Yields:
        The path of the temporary folder.

    Raises:
        OSError: the folder around it does not exist or is write-protected.
    """
    with _made(target, is_folder=True) as path:
        yield path


@contextlib.contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Wait until no other process is in this block for the same folder.

    Where folders cannot be locked, as on Windows and some network file systems, nothing waits.

    Args:
        folder: the folder to lock, which exists.

    Yields:
        Nothing.
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
    """Make a new path that stays locked until it is removed at the end."""
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
    """Remove what is left under a temporary name, and release its lock."""
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
    """Return the path of a temporary file, shortened to the system's limit, mostly 255 bytes."""
    path = target.with_name(f".{target.name}.{number}{SUFFIX}")
    try:
        longest = os.pathconf(target.parent, "PC_NAME_MAX")
    except (AttributeError, OSError, ValueError):  # Windows and some file systems do not state it
        longest = LONGEST_NAME
    if len(os.fsencode(path.name)) <= longest:
        return path
    mark = f"{crc32(os.fsencode(target.name)):08x}"
    return target.with_name(f".{target.name[:SHOWN]}-{mark}.{number}{SUFFIX}")


def _mode_of(target: Path, *, is_folder: bool) -> int:
    """Return the permissions to ask for: no more than those of the file that will be replaced."""
    try:
        return stat.S_IMODE(target.stat().st_mode) & 0o777 | stat.S_IRWXU
    except OSError:
        return 0o777 if is_folder else 0o666


def _make(path: Path, mode: int, *, is_folder: bool) -> int | None:
    """Make a path and lock it; return None if the path is another process's."""
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
    """Remove a path whose process has ended; return False if it has not, or nobody can say."""
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
    """Lock a file; return False if another process has it, None if there are no locks."""
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
    """Return True if a path still leads to the open file, and not to another process's."""
    if sys.platform == "win32":
        return True
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(handle))
    except OSError:
        return False
