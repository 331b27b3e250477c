"""Read zip archives and npz files from unknown sources, and check sizes before memory is allocated.

A member never unpacks to more bytes than the archive states, and the stated total is limited.
"""

import contextlib
import io
import math
import os
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from darkconv.files import PathLike
from darkconv.files.sizes import format_size

Values = npt.NDArray[Any]

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
UNREADABLE = 0x1 | 0x20 | 0x40  # a member's flags: encrypted, patched, strongly encrypted
UNPACKING = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(ValueError, NotImplementedError),  # where a member's own header differs from the directory
)
"""The exceptions that unpacking a damaged member raises."""
NPY_SUFFIX = ".npy"
NUMBERS_AND_TEXT = "biufU"
"""The dtype kinds of the arrays that are read; Python objects are never unpickled."""
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class ArchiveError(ValueError):
    """An archive's fault, as a text that does not name the file."""


class Archive:
    """An open zip archive.

    Attributes:
        members: the unpacked size in bytes of each member, by name.
    """

    def __init__(self, archive: zipfile.ZipFile, most: int) -> None:
        """Check the archive's directory; see `open_archive`."""
        infos = archive.infolist()
        for name, count in Counter(info.filename for info in infos).items():
            if count > 1:
                raise ArchiveError(f"has two members {name}")
        for info in infos:
            if info.flag_bits & UNREADABLE or info.compress_type not in METHODS:
                raise ArchiveError(f"its member {info.filename} is encrypted or packed oddly")
        total = sum(info.file_size for info in infos)
        if total > most:
            raise ArchiveError(
                f"would take {format_size(total)} unpacked, {format_size(most)} is the limit"
            )
        self.members = {info.filename: info.file_size for info in infos}
        self._archive = archive

    def read(self, name: str) -> bytes:
        """Return a member's bytes.

        Args:
            name: the member's path in the archive.

        Raises:
            ArchiveError: there is no such member, or it is damaged.
        """
        if name not in self.members:
            raise ArchiveError(f"has no member {name}")
        size = self.members[name]
        try:
            with self._archive.open(name) as member:
                data = member.read(size)
                member.read(1)  # the checksum is compared at the end
        except UNPACKING as error:
            raise ArchiveError(f"its member {name} is damaged") from error
        if len(data) != size:
            raise ArchiveError(f"its member {name} is cut short")
        return data

    def start(self, name: str, count: int) -> bytes:
        """Return the first bytes of a member.

        Args:
            name: the name of a member that exists.
            count: the bytes to read.

        Raises:
            ArchiveError: the member is damaged.
        """
        try:
            with self._archive.open(name) as member:
                return member.read(count)
        except UNPACKING as error:
            raise ArchiveError(f"its member {name} is damaged") from error

    def read_array(self, name: str) -> Values:
        """Return an array of an npz file, read-only.

        Args:
            name: the array's name, without .npy.

        Raises:
            ArchiveError: there is no such array, it is damaged, or it holds Python objects.
        """
        return parse_array(self.read(name + NPY_SUFFIX), name)


@contextlib.contextmanager
def open_archive(source: PathLike | IO[bytes], *, most: int) -> Iterator[Archive]:
    """Open a zip archive for the block.

    Args:
        source: the file's path, or an open binary file that can seek.
        most: the bytes that all members together may take unpacked.

    Yields:
        The open archive.

    Raises:
        OSError: the file cannot be opened.
        ArchiveError: the file is not a zip archive, is damaged, or would unpack to more bytes.
    """
    with contextlib.ExitStack() as stack:
        if isinstance(source, str | os.PathLike):
            file: IO[bytes] = stack.enter_context(open(source, "rb"))
        else:
            file = source
        if not file.seek(0, io.SEEK_END):
            raise ArchiveError("is empty")
        try:
            archive = stack.enter_context(zipfile.ZipFile(file))
        except (zipfile.BadZipFile, ValueError, OverflowError, struct.error) as error:
            raise ArchiveError("is no zip archive, or is cut short") from error
        except NotImplementedError as error:
            raise ArchiveError("is a zip archive of an unknown version") from error
        yield Archive(archive, most)


def parse_array(data: bytes, name: str) -> Values:
    """Return the array that an npy file holds, read-only.

    Args:
        data: the bytes of the file.
        name: the array's name in messages.

    Raises:
        ArchiveError: the bytes are no npy file, their count differs from the header's, or they hold
            Python objects.
    """
    stream = io.BytesIO(data)
    try:
        header = HEADERS[np.lib.format.read_magic(stream)]
        shape, is_fortran, dtype = header(stream)
    except (KeyError, ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ArchiveError(f"its array {name} is damaged") from error
    if dtype.hasobject:
        raise ArchiveError(f"its array {name} holds Python objects, which are never unpickled")
    if dtype.kind not in NUMBERS_AND_TEXT:
        raise ArchiveError(f"its array {name} holds neither numbers nor text")
    expected, found = math.prod(shape) * dtype.itemsize, len(data) - stream.tell()
    if min(shape, default=0) < 0 or expected != found or not dtype.itemsize:
        raise ArchiveError(f"its array {name} of {dtype} {shape} has {found} bytes")
    values = np.frombuffer(data, dtype, offset=stream.tell())
    return values.reshape(shape, order="F" if is_fortran else "C")
