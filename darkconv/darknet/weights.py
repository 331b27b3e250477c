"""Weights file <-> header and arrays.

A file is a header and float32 arrays, little endian, layer after layer in cfg order without
separators (golden/DIALECTS.md §3). Its size therefore follows from the cfg and is checked
before the first array is looked at.
"""

import logging
import os
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.core.dialect import Dialect
from darkconv.core.model import (
    FrozenArrays,
    Header,
    InitialArrays,
    Model,
    initial_array,
    require_initial_memory,
)
from darkconv.core.network import Network
from darkconv.core.spec import Slot
from darkconv.core.unchanging import Array, FileMap, Handle, address_of, frozen
from darkconv.darknet.mismatch import explain_size
from darkconv.darknet.signatures import recognise
from darkconv.errors import DarkconvError, WeightsError, Where
from darkconv.files import PathLike, write_bytes
from darkconv.files.outputs import note_input
from darkconv.files.sources import watch

logger = logging.getLogger("darkconv")

CUTOFF_NAME = re.compile(r"\.conv\.(\d+)$")
VERSION_LIMIT = 10_000
"""Programs write versions such as 0.2.5, and 1000 more for transposed matrices."""
_VERSION = struct.Struct("<iii")


class WeightsFile:
    """A weights file, mapped copy-on-write: nothing is read before it is used."""

    def __init__(self, path: PathLike) -> None:
        """Open the file, and look at its start.

        Raises:
            WeightsError: it cannot be opened, or is recognisably something else.
        """
        self.path = os.fspath(path)
        note_input(self.path)
        try:
            with Path(self.path).open("rb") as file:
                self._status = os.fstat(file.fileno())
                self.size = self._status.st_size
                self._start = file.read(512)
                self.version = self._checked_version()
                self._handle = Handle(file.fileno())
        except OSError as error:
            raise self.error(f"cannot read: {error.strerror}") from error
        watch(self)

    def _checked_version(self) -> tuple[int, int, int]:
        found = recognise(self._start, self.size)
        if found:
            raise self.error(f"is {found.what}, not a weights file", hint=found.hint)
        major, minor, revision = _VERSION.unpack_from(self._start)
        if not all(0 <= number < VERSION_LIMIT for number in (major, minor, revision)):
            raise self.error(
                "the version in its header",
                expected="numbers such as 0.2.5",
                found=f"{major}.{minor}.{revision}",
                hint="the file is damaged, or it is something else than Darknet's weights",
            )
        return major, minor, revision

    @cached_property
    def data(self) -> FileMap:
        """The whole file; its size is to be checked before."""
        try:
            return FileMap.of(self._handle)
        except OSError as error:
            raise self.error(f"cannot read: {error.strerror}") from error

    @property
    def cutoff(self) -> int | None:
        """The number of layers that the name says: 74 for `darknet53.conv.74`."""
        match = CUTOFF_NAME.search(self.path)
        return int(match[1]) if match else None

    @property
    def unread_header(self) -> Header:
        """The version, without the counter, whose width the dialect decides."""
        return Header(*self.version)

    def header(self, dialect: Dialect) -> Header:
        """The header as a dialect's program reads it."""
        header = self.unread_header
        width = header.seen_bytes(dialect)
        if self.size < 12 + width:
            raise self.error("is too short for a header", expected=12 + width, found=self.size)
        seen = int.from_bytes(self._start[12 : 12 + width], "little")
        return replace(header, seen=seen)

    def offset_of(self, array: npt.NDArray[Any]) -> int | None:
        """Where in the file the bytes of an array stand; None if they do not, as they are."""
        offset = address_of(array) - address_of(np.frombuffer(self.data, np.uint8))
        is_inside = offset >= 0 and offset + array.nbytes <= self.size
        return offset if is_inside and array.flags.c_contiguous else None

    @property
    def real_path(self) -> Path:
        """Absolute, with all links followed."""
        return Path(self.path).resolve()

    @property
    def is_unchanged(self) -> bool:
        """Whether the path still leads to the file that was opened, not written to since."""
        try:
            now = os.stat(self.path)
        except OSError:
            return False
        return os.path.samestat(now, self._status) and self._is_like(now)

    def check(self) -> None:
        """Raise if the mapped bytes were written to; another file of the name does not matter."""
        if not self._is_like(os.fstat(self._handle.number)):
            raise self.error(
                "was overwritten while it was in use",
                hint="run the command again; a file that is renamed over it would not disturb",
            )

    def _is_like(self, now: os.stat_result) -> bool:
        return (now.st_size, now.st_mtime_ns) == (self.size, self._status.st_mtime_ns)

    def error(self, message: str, **parts: object) -> WeightsError:
        """A WeightsError that names this file."""
        return WeightsError(message, where=Where(file=self.path), **parts)  # type: ignore[arg-type]


class FileArrays(FrozenArrays):
    """The arrays of a weights file, by key; a changed selection of them is not one.

    Attributes:
        file: that they come from, most of them as views of it.
    """

    def __init__(self, file: WeightsFile, arrays: Mapping[str, Array]) -> None:
        """Take arrays that are frozen already."""
        self._arrays = dict(arrays)
        self.file = file


def file_size(
    network: Network, header: Header, *, cutoff: int | None = None, absent: Collection[int] = ()
) -> int:
    """Bytes of a weights file for the first `cutoff` layers, or for all, but for those absent."""
    counts = sum(
        slot.stored_size
        for _, layer, slot in network.keyed_slots()
        if (cutoff is None or layer.index < cutoff) and layer.index not in absent
    )
    return header.size(network.dialect) + 4 * counts


def weights_size(model: Model) -> int:
    """Return the bytes of the weights file that a model is written as."""
    return file_size(model.network, model.header)


def read_weights(path: PathLike, network: Network, *, cutoff: int | None = None) -> Model:
    """Read the arrays of a network.

    Args:
        path: the weights file; it stays mapped, and must not be cut short while in use.
        network: what to read it as.
        cutoff: read a file that holds only layers below this; found from names such as
            `darknet53.conv.74`.

    Raises:
        WeightsError: the file is not one, or not of exactly the size that the cfg requires.
    """
    return map_weights(WeightsFile(path), network, cutoff=cutoff)


def map_weights(file: WeightsFile, network: Network, *, cutoff: int | None = None) -> Model:
    """As `read_weights`, of a file that is already open."""
    header = file.header(network.dialect)
    if cutoff is None:
        cutoff = file.cutoff
    if cutoff is not None and not 0 < cutoff <= len(network.layers):
        raise file.error("cutoff", expected=f"1 to {len(network.layers)} layers", found=cutoff)
    absent = _absent_layers(file, network, header, cutoff)
    read = [
        (key, layer.index, slot)
        for key, layer, slot in network.keyed_slots()
        if cutoff is None or layer.index < cutoff
    ]
    partial = [slot for _, _, slot in read if slot.stored is not None]
    require_initial_memory(sum(slot.size - slot.stored_size for slot in partial), network.file)
    arrays: dict[str, Array] = {}
    whole = frozen(np.frombuffer(file.data.read_only(), "<f4", offset=header.size(network.dialect)))
    start = 0
    for key, index, slot in read:
        if index in absent:
            arrays[key] = frozen(np.full(slot.shape, slot.initial.mean, np.float32))
            continue
        end = start + slot.stored_size
        values = whole[start:end]
        if slot.order != "plain" or slot.stored is not None:
            values = _from_file_order(key, values, slot, header)
        arrays[key] = values if len(slot.shape) == 1 else values.reshape(slot.shape)
        start = end
    if cutoff is None:
        found = FileArrays(file, arrays)
        return Model(network, found, header, initial_layers=tuple(sorted(absent)))
    left = {layer.index for key, layer, _ in network.keyed_slots() if key not in arrays} | absent
    logger.warning(
        "%s: gave layers 0 to %d; %d layers with arrays behind them keep initial values",
        file.path,
        cutoff - 1,
        len(left),
    )
    return Model(
        network, InitialArrays(network, arrays), header, initial_layers=tuple(sorted(left))
    )


def _absent_layers(
    file: WeightsFile, network: Network, header: Header, cutoff: int | None
) -> frozenset[int]:
    """The layers that a file lacks because their own program never saves them.

    Raises:
        WeightsError: the file has neither the size with them nor that without.
    """
    if file.size == file_size(network, header, cutoff=cutoff):
        return frozenset()
    kinds = {layer.index: layer for layer in network.layers if layer.spec.is_unsaved}
    absent = frozenset(index for index in kinds if cutoff is None or index < cutoff)
    if not absent or file.size != file_size(network, header, cutoff=cutoff, absent=absent):
        raise explain_size(file.path, file.size, network, header, cutoff)
    logger.warning(
        "%s: lacks the arrays of its %s layers, as %s's own .weights do: they have no effect until "
        "they are trained or taken from its checkpoint",
        file.path,
        " and ".join(sorted({f"[{kinds[index].type}]" for index in absent})),
        network.dialect,
    )
    return absent


def write_weights(model: Model, path: PathLike) -> None:
    """Write the file that `read_weights` reads back as the same arrays."""
    write_bytes(path, weights_chunks(model))


def weights_chunks(model: Model) -> Iterator[bytes | memoryview]:
    """The bytes of a weights file, in pieces."""
    yield header_bytes(model.header, model.dialect)
    for key, _, slot in model.network.keyed_slots():
        if slot.stored_size:
            stored = model.arrays[key][: slot.stored]
            yield _to_file_order(stored, slot, model.header).data.cast("B")
    if isinstance(model.arrays, FileArrays):
        model.arrays.file.check()


def header_bytes(header: Header, dialect: Dialect) -> bytes:
    """The start of a weights file."""
    width = header.seen_bytes(dialect)
    version = _VERSION.pack(header.major, header.minor, header.revision)
    try:
        return version + header.seen.to_bytes(width, "little")
    except OverflowError:
        raise DarkconvError(
            f"seen={header.seen} does not fit the {width}-byte counter of version "
            f"{header.major}.{header.minor}"
        ) from None


def _is_turned(slot: Slot, header: Header) -> bool:
    """Whether the file holds the transposed matrix."""
    return slot.order == "flipped" or (slot.order == "dense" and header.is_transposed)


def _from_file_order(key: str, values: Array, slot: Slot, header: Header) -> Array:
    if not slot.stored_size and slot.size:
        return initial_array(key, slot)
    if _is_turned(slot, header):
        values = np.ascontiguousarray(values.reshape(-1, slot.stored_shape[0]).T)
    values = values.reshape(slot.stored_shape)
    if slot.stored is not None:
        values = np.concatenate([values, initial_array(key, slot)[slot.stored :]])
    return frozen(values)


def _to_file_order(values: Array, slot: Slot, header: Header) -> Array:
    if _is_turned(slot, header):
        values = values.reshape(slot.stored_shape[0], -1).T
    return np.ascontiguousarray(values, dtype="<f4")
