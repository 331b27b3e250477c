"""Zip archives and npz files of strangers: sizes are checked before memory is asked for.

What a member inflates to is never more than the archive says of it, and what it says is limited.
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
UNREADABLE = 0x1 | 0x20 | 0x40  # flags of a member: encrypted, patched, strongly encrypted
UNPACKING = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(ValueError, NotImplementedError),  # of a second header, that differs from the first
)
"""What unpacking a damaged member raises."""
NPY_SUFFIX = ".npy"
NUMBERS_AND_TEXT = "biufU"
"""Kinds of arrays that are read; of Python objects nothing is."""
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


class ArchiveError(ValueError):
    """What is wrong with an archive, without its name."""


class Archive:
    """An open archive.

    Attributes:
        members: bytes of each member once inflated, by name.
    """

    def __init__(self, archive: zipfile.ZipFile, most: int) -> None:
        """Check what the archive says of itself; see `open_archive`."""
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
        """A member's bytes.

        Raises:
            ArchiveError: there is none, or it is damaged.
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
        """The first bytes of a member, which is there."""
        try:
            with self._archive.open(name) as member:
                return member.read(count)
        except UNPACKING as error:
            raise ArchiveError(f"its member {name} is damaged") from error

    def read_array(self, name: str) -> Values:
        """An array of an npz file; read-only.

        Raises:
            ArchiveError: there is none, it is damaged, or holds Python objects.
        """
        return parse_array(self.read(name + NPY_SUFFIX), name)


@contextlib.contextmanager
def open_archive(source: PathLike | IO[bytes], *, most: int) -> Iterator[Archive]:
    """Open an archive.

    Args:
        source: a file, or its bytes.
        most: bytes that its members may take unpacked.

    Raises:
        OSError: the file cannot be opened.
        ArchiveError: it is no archive, damaged, or larger than that.
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
    """An npy file as an array; read-only.

    Raises:
        ArchiveError: it is none, its size is not what it says, or it holds Python objects.
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
