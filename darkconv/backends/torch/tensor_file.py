"""Reading safetensors files: a length, a JSON header, and arrays without gaps.

The header is checked against the size of the file before the first array is read.
"""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from darkconv.core.model import Array
from darkconv.core.unchanging import frozen
from darkconv.errors import DarkconvError, Where, shortened
from darkconv.files import PathLike

LENGTH = 8  # bytes of the number that gives the length of the header
MOST_HEADER = 100_000_000
"""Largest number of bytes of the header, a rule of the format."""
METADATA = "__metadata__"
FLOAT32 = "F32"
BITS = {"BOOL": 8, "F16": 16, "BF16": 16, "F32": 32, "F64": 64}
BITS |= {f"{sign}{bits}": bits for sign in "IU" for bits in (8, 16, 32, 64)}


@dataclass(frozen=True)
class Entry:
    """An array as the header describes it.

    Attributes:
        dtype: name of its type, such as "F32".
        shape: its shape.
        start, end: range of its bytes, counted from the end of the header.
    """

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int

    @property
    def size(self) -> int | None:
        """Number of bytes of its shape; None for unknown types."""
        bits = BITS.get(self.dtype)
        return math.prod(self.shape) * bits // 8 if bits else None


class TensorFile:
    """A safetensors file.

    Attributes:
        path: path of the file.
        metadata: texts by key.
        entries: the arrays of the file, by name.
    """

    def __init__(self, path: PathLike) -> None:
        """Read and check the header.

        Args:
            path: file to read.

        Raises:
            DarkconvError: the file cannot be read, is not a safetensors file, or is damaged.
        """
        self.path = Path(path)
        try:
            with self.path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                length = int.from_bytes(file.read(LENGTH), "little")
                if size < LENGTH or length > MOST_HEADER:
                    raise self._error("it has no header")
                if length > size - LENGTH:
                    raise self._error("its header is cut short")
                text = file.read(length)
        except OSError as error:
            raise DarkconvError(
                f"cannot read: {error.strerror}", where=Where(file=os.fspath(path))
            ) from error
        self._begin = LENGTH + length
        header = self._header(text)
        self.metadata = self._texts(header.pop(METADATA, {}))
        self.entries = {name: self._entry(name, value) for name, value in header.items()}
        self._check_layout(size - self._begin)

    def read(self, name: str, shape: tuple[int, ...]) -> Array:
        """Read a float32 array of a known shape, and make it read-only.

        Args:
            name: name of the array.
            shape: shape that it must have.

        Raises:
            DarkconvError: the array is missing, cut short, or of another dtype or shape.
        """
        entry = self.entries.get(name)
        if entry is None:
            raise self._error("it is missing", name)
        if entry.dtype != FLOAT32 or entry.shape != shape:
            raise DarkconvError(
                where=Where(file=os.fspath(self.path), option=name),
                expected=f"{FLOAT32} {shape}",
                found=f"{entry.dtype} {entry.shape}",
            )
        with self.path.open("rb") as file:
            file.seek(self._begin + entry.start)
            values = np.fromfile(file, "<f4", math.prod(shape))
        if values.size != math.prod(shape):
            raise self._error("it is cut short", name)
        return frozen(values.reshape(shape))

    def _header(self, text: bytes) -> dict[str, Any]:
        try:
            header = json.loads(text, object_pairs_hook=self._unique)
        except (ValueError, RecursionError) as error:
            raise self._error("its header is no JSON") from error
        if not isinstance(header, dict):
            raise self._error("its header is no JSON object")
        return header

    def _unique(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            raise self._error("its header names something twice")
        return content

    def _texts(self, metadata: Any) -> Mapping[str, str]:
        is_object = isinstance(metadata, dict)
        if not is_object or not all(isinstance(text, str) for text in metadata.values()):
            raise self._error("its metadata are no texts by name")
        texts: Mapping[str, str] = metadata
        return texts

    def _entry(self, name: str, value: Any) -> Entry:
        try:
            dtype, shape, (start, end) = value["dtype"], value["shape"], value["data_offsets"]
            if not all(type(n) is int and n >= 0 for n in (*shape, start, end)):
                raise ValueError
            entry = Entry(str(dtype), tuple(shape), start, end)
        except (KeyError, TypeError, ValueError) as error:
            raise self._error("its place in the header is damaged", name) from error
        if entry.size is not None and entry.size != end - start:
            raise self._error(
                f"{entry.dtype} {entry.shape} takes {entry.size} bytes, not {end - start}", name
            )
        return entry

    def _check_layout(self, size: int) -> None:
        """Check that the arrays follow each other without a gap and fill the file."""
        entries = sorted(self.entries.items(), key=lambda item: (item[1].start, item[1].end))
        end = entries[-1][1].end if entries else 0
        if end != size:
            raise DarkconvError(
                "cannot be read as safetensors: its arrays are cut short, or something follows",
                where=Where(file=os.fspath(self.path)),
                expected=f"{end} bytes behind the header",
                found=size,
            )
        if entries and entries[0][1].start:
            raise self._error("a gap lies before it", entries[0][0])
        for (_, before), (name, entry) in pairwise(entries):
            if entry.start != before.end:
                what = "a gap lies before it" if entry.start > before.end else "another overlaps it"
                raise self._error(what, name)

    def _error(self, message: str, name: str | None = None) -> DarkconvError:
        part = f"{shortened(name)}: " if name else ""
        return DarkconvError(
            f"cannot be read as safetensors: {part}{message}",
            where=Where(file=os.fspath(self.path)),
        )
