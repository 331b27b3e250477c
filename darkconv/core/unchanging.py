"""Arrays that never change, and memory of one's own that costs nothing before it is written to."""

import contextlib
import mmap
import os
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


class Handle:
    """An open file, closed when nothing uses it any more."""

    def __init__(self, number: int) -> None:
        """Keep a duplicate of a file descriptor."""
        self.number = os.dup(number)
        weakref.finalize(self, os.close, self.number)


class FileMap(mmap.mmap):
    """A whole file, mapped copy-on-write: nothing is read before it is used.

    Attributes:
        handle: of the file, to map it again.
    """

    handle: Handle

    @classmethod
    def of(cls, handle: Handle) -> "FileMap":
        """Map a file.

        Raises:
            OSError, ValueError: it cannot be mapped.
        """
        made = cls(handle.number, 0, access=mmap.ACCESS_COPY)
        made.handle = handle
        return made

    def read_only(self) -> memoryview:
        """Return the content as nobody can write to it."""
        return memoryview(self).toreadonly()


class OwnMaps:
    """Gives the arrays of mapped files in maps of their own, which may be written to.

    A file is mapped once more for all its arrays. All maps of it share the pages that were read
    from it; one that is written to becomes the writer's own.
    """

    def __init__(self) -> None:
        """Map nothing yet."""
        self._maps: dict[int, tuple[int, npt.NDArray[np.uint8]]] = {}

    def find(self, array: Array) -> Array | None:
        """Return a writable array of equal values; None for one that lies in no mapped file."""
        source = owner_of(array)
        if not isinstance(source, FileMap) or not array.flags.c_contiguous:
            return None
        with contextlib.suppress(OSError, ValueError):  # no more maps or descriptors
            begin, own = self._map(source)
            return np.ndarray(array.shape, array.dtype, own, address_of(array) - begin)
        return None

    def _map(self, source: FileMap) -> tuple[int, npt.NDArray[np.uint8]]:
        """Return where a map begins in memory, and the content of another one."""
        if id(source) not in self._maps:
            begin = address_of(np.frombuffer(source, np.uint8))
            self._maps[id(source)] = begin, np.frombuffer(FileMap.of(source.handle), np.uint8)
        return self._maps[id(source)]


def frozen(array: npt.ArrayLike) -> Array:
    """Return a read-only, C-contiguous float32 array; a copy only where the input is none.

    The input becomes read-only with all that it is a view of, so it must be the caller's own. For
    an array that somebody else may write to see `unchanging`. What is returned owns no memory, so
    that numpy lets nobody set its flag `writeable` again.
    """
    result = np.ascontiguousarray(array, dtype=np.float32)
    link: Any = result
    while isinstance(link, np.ndarray):
        link.flags.writeable = False
        link = _below(link)
    if result.base is not None or not result.size:
        return result
    return np.ndarray(result.shape, result.dtype, result.data)


def unchanging(array: npt.ArrayLike) -> Array:
    """Return a read-only, C-contiguous float32 array; a copy of what somebody could write to."""
    result = np.ascontiguousarray(array, dtype=np.float32)
    return result if is_frozen(result) else frozen(np.array(result))


def is_frozen(array: npt.NDArray[Any]) -> bool:
    """Return True if an array and all that it is a view of are read-only."""
    link: Any = array
    while isinstance(link, np.ndarray):
        if link.flags.writeable:
            return False
        link = _below(link)
    return link is None or isinstance(owner_of(array), (bytes, FileMap))


def owner_of(array: npt.NDArray[Any]) -> object:
    """Return what the memory of an array belongs to; an array that has its own gives itself."""
    link: Any = array
    while isinstance(link, np.ndarray) and link.base is not None:
        link = _below(link)
    return link


def _below(array: npt.NDArray[Any]) -> object:
    """Return what an array is a view of; None for one that has its own memory."""
    base = array.base
    return base.obj if isinstance(base, memoryview) else base


def address_of(array: npt.NDArray[Any]) -> int:
    """Return where in memory an array begins."""
    address: int = array.ctypes.data
    return address
