"""Read-only arrays, and writable copies that take no memory until they are written to."""

import contextlib
import mmap
import os
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


class Handle:
    """An open file that is closed when nothing uses it any more."""

    def __init__(self, number: int) -> None:
        """Store a duplicate of a file descriptor."""
        self.number = os.dup(number)
        weakref.finalize(self, os.close, self.number)


class FileMap(mmap.mmap):
    """A whole file, mapped copy-on-write: nothing is read before it is used.

    Attributes:
        handle: the open file, from which it can be mapped again.
    """

    handle: Handle

    @classmethod
    def of(cls, handle: Handle) -> "FileMap":
        """Map a file into memory.

        Args:
            handle: the open file.

        Returns:
            The map of the whole file.

        Raises:
            OSError, ValueError: the file cannot be mapped.
        """
        made = cls(handle.number, 0, access=mmap.ACCESS_COPY)
        made.handle = handle
        return made

    def read_only(self) -> memoryview:
        """Return a view of the content through which nobody can write."""
        return memoryview(self).toreadonly()


class OwnMaps:
    """Gives writable copies of arrays that lie in mapped files, by mapping the files again.

    Each file is mapped once more for all its arrays. All maps of a file share the pages read from
    it; a page that is written to becomes the writer's own.
    """

    def __init__(self) -> None:
        """Start without maps."""
        self._maps: dict[int, tuple[int, npt.NDArray[np.uint8]]] = {}

    def find(self, array: Array) -> Array | None:
        """Return a writable array with the same values.

        Args:
            array: the read-only array.

        Returns:
            The array in another map of its file; None if it lies in no mapped file, or the file
                cannot be mapped again.
        """
        source = owner_of(array)
        if not isinstance(source, FileMap) or not array.flags.c_contiguous:
            return None
        with contextlib.suppress(OSError, ValueError):  # maps or file descriptors may run out
            begin, own = self._map(source)
            return np.ndarray(array.shape, array.dtype, own, address_of(array) - begin)
        return None

    def _map(self, source: FileMap) -> tuple[int, npt.NDArray[np.uint8]]:
        """Return the memory address of a map, and the content of another map of the same file."""
        if id(source) not in self._maps:
            begin = address_of(np.frombuffer(source, np.uint8))
            self._maps[id(source)] = begin, np.frombuffer(FileMap.of(source.handle), np.uint8)
        return self._maps[id(source)]


def frozen(array: npt.ArrayLike) -> Array:
    """Return a read-only, C-contiguous float32 array, copied only if the input is not one.

    The input itself becomes read-only together with everything that it is a view of, so it must
    belong to the caller. For an array that somebody else may write to, use `unchanging`. The
    returned array owns no memory, so numpy refuses to set its flag `writeable` again.

    Args:
        array: array of any shape, or nested sequences of numbers.
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
    """Return a read-only, C-contiguous float32 array; what somebody could write to is copied.

    Args:
        array: array of any shape, or nested sequences of numbers; it stays unchanged.
    """
    result = np.ascontiguousarray(array, dtype=np.float32)
    return result if is_frozen(result) else frozen(np.array(result))


def is_frozen(array: npt.NDArray[Any]) -> bool:
    """Return True if an array and everything that it is a view of are read-only.

    Args:
        array: array of any shape and dtype.
    """
    link: Any = array
    while isinstance(link, np.ndarray):
        if link.flags.writeable:
            return False
        link = _below(link)
    return link is None or isinstance(owner_of(array), (bytes, FileMap))


def owner_of(array: npt.NDArray[Any]) -> object:
    """Return the object that owns the memory of an array; the array itself if it owns it.

    Args:
        array: array of any shape and dtype.
    """
    link: Any = array
    while isinstance(link, np.ndarray) and link.base is not None:
        link = _below(link)
    return link


def _below(array: npt.NDArray[Any]) -> object:
    """Return the object that an array is a view of; None for an array with its own memory."""
    base = array.base
    return base.obj if isinstance(base, memoryview) else base


def address_of(array: npt.NDArray[Any]) -> int:
    """Return the memory address of an array's first value.

    Args:
        array: array of any shape and dtype.
    """
    address: int = array.ctypes.data
    return address
