"""Reading and writing of weights files.

A weights file is a header and float32 arrays in little-endian byte order, layer after layer in cfg
order without separators (golden/DIALECTS.md §3). Its size therefore follows from the cfg, and is
checked before the first array is read.
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
"""Programs write version numbers such as 0.2.5, and add 1000 for transposed matrices."""
_VERSION = struct.Struct("<iii")


class WeightsFile:
    """A weights file, mapped copy-on-write: nothing is read before it is used.

    Attributes:
        path: path of the file, as given.
        size: size of the file in bytes.
        version: (major, minor, revision) from its header.
    """

    def __init__(self, path: PathLike) -> None:
        """Open the file and examine its start.

        Raises:
            WeightsError: the file cannot be opened, or its start shows that it is something else.
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
        """Return the map of the whole file; its size must be checked before.

        Raises:
            WeightsError: the file cannot be mapped.
        """
        try:
            return FileMap.of(self._handle)
        except OSError as error:
            raise self.error(f"cannot read: {error.strerror}") from error

    @property
    def cutoff(self) -> int | None:
        """Return the number of layers that the file name states: 74 for `darknet53.conv.74`."""
        match = CUTOFF_NAME.search(self.path)
        return int(match[1]) if match else None

    @property
    def unread_header(self) -> Header:
        """Return the header without the image counter, whose width depends on the dialect."""
        return Header(*self.version)

    def header(self, dialect: Dialect) -> Header:
        """Return the header as the program of a dialect reads it.

        Args:
            dialect: decides the width of the image counter.

        Raises:
            WeightsError: the file is too short for a header.
        """
        header = self.unread_header
        width = header.seen_bytes(dialect)
        if self.size < 12 + width:
            raise self.error("is too short for a header", expected=12 + width, found=self.size)
        seen = int.from_bytes(self._start[12 : 12 + width], "little")
        return replace(header, seen=seen)

    def offset_of(self, array: npt.NDArray[Any]) -> int | None:
        """Return the offset of an array in the file, in bytes; None if it is not part of the file.

        Args:
            array: any array; only a C-contiguous view of the mapped file has an offset.
        """
        offset = address_of(array) - address_of(np.frombuffer(self.data, np.uint8))
        is_inside = offset >= 0 and offset + array.nbytes <= self.size
        return offset if is_inside and array.flags.c_contiguous else None

    @property
    def real_path(self) -> Path:
        """Return the absolute path with all links resolved."""
        return Path(self.path).resolve()

    @property
    def is_unchanged(self) -> bool:
        """Return True if the path still leads to the opened file, not written to since."""
        try:
            now = os.stat(self.path)
        except OSError:
            return False
        return os.path.samestat(now, self._status) and self._is_like(now)

    def check(self) -> None:
        """Raise an error if the mapped file was written to.

        Another file that replaced it under its name does not matter.

        Raises:
            WeightsError: the file was written to.
        """
        if not self._is_like(os.fstat(self._handle.number)):
            raise self.error(
                "was overwritten while it was in use",
                hint="run the command again; a file that is renamed over it would not disturb",
            )

    def _is_like(self, now: os.stat_result) -> bool:
        return (now.st_size, now.st_mtime_ns) == (self.size, self._status.st_mtime_ns)

    def error(self, message: str, **parts: object) -> WeightsError:
        """Return a WeightsError that names this file.

        Args:
            message: text of the error.
            parts: further arguments of `WeightsError`, such as `expected`, `found` and `hint`.
        """
        return WeightsError(message, where=Where(file=self.path), **parts)  # type: ignore[arg-type]


class FileArrays(FrozenArrays):
    """The unchanged arrays of a weights file, by key.

    Attributes:
        file: the weights file; most of the arrays are views of it.
    """

    def __init__(self, file: WeightsFile, arrays: Mapping[str, Array]) -> None:
        """Take arrays that are already frozen."""
        self._arrays = dict(arrays)
        self.file = file


def file_size(
    network: Network, header: Header, *, cutoff: int | None = None, absent: Collection[int] = ()
) -> int:
    """Return the size of a weights file in bytes.

    Args:
        network: the network of the file.
        header: its header, whose size counts too.
        cutoff: number of layers that the file holds; None for all.
        absent: indices of layers whose arrays the file lacks.
    """
    counts = sum(
        slot.stored_size
        for _, layer, slot in network.keyed_slots()
        if (cutoff is None or layer.index < cutoff) and layer.index not in absent
    )
    return header.size(network.dialect) + 4 * counts


def weights_size(model: Model) -> int:
    """Return the size in bytes of the weights file that a model is written as.

    Args:
        model: the model to measure.
    """
    return file_size(model.network, model.header)


def read_weights(path: PathLike, network: Network, *, cutoff: int | None = None) -> Model:
    """Read the arrays of a network from a weights file.

    Args:
        path: path of the weights file; it stays mapped, and must not be truncated while in use.
        network: the network that the file belongs to.
        cutoff: number of layers that the file holds; None for all, or what a name such as
            `darknet53.conv.74` states.

    Returns:
        The model. Layers that the file does not hold keep Darknet's initial values.

    Raises:
        WeightsError: the file is no weights file, or does not have exactly the size that the cfg
            requires.
    """
    return map_weights(WeightsFile(path), network, cutoff=cutoff)


def map_weights(file: WeightsFile, network: Network, *, cutoff: int | None = None) -> Model:
    """Read the arrays of a network from an open weights file; see `read_weights`.

    Args:
        file: the open weights file.
        network: the network that the file belongs to.
        cutoff: number of layers that the file holds; None for all, or what its name states.

    Raises:
        WeightsError: the file does not have exactly the size that the cfg requires, or the cutoff
            exceeds the network.
        GraphError: there is not enough memory for the initial values.
    """
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
    """Return the layers that a file lacks because their own program never saves them.

    Raises:
        WeightsError: the file has neither the size with these layers nor that without.
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
    """Write a weights file that `read_weights` reads back as the same arrays.

    Args:
        model: the model to write.
        path: path of the weights file.

    Raises:
        DarkconvError: the image counter does not fit the header's version.
        WeightsError: the file from which the model was read has been written to.
    """
    write_bytes(path, weights_chunks(model))


def weights_chunks(model: Model) -> Iterator[bytes | memoryview]:
    """Iterate over the bytes of a weights file in pieces.

    Args:
        model: the model to write.

    Returns:
        The header, then the stored values of each array as float32 in little-endian byte order.

    Raises:
        DarkconvError: the image counter does not fit the header's version.
        WeightsError: the file from which the model was read has been written to.
    """
    yield header_bytes(model.header, model.dialect)
    for key, _, slot in model.network.keyed_slots():
        if slot.stored_size:
            stored = model.arrays[key][: slot.stored]
            yield _to_file_order(stored, slot, model.header).data.cast("B")
    if isinstance(model.arrays, FileArrays):
        model.arrays.file.check()


def header_bytes(header: Header, dialect: Dialect) -> bytes:
    """Return the bytes of a weights header: three int32 numbers and the counter, little-endian.

    Args:
        header: the header to write.
        dialect: decides the width of the image counter.

    Raises:
        DarkconvError: the image counter does not fit its width.
    """
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
    """Return True if the file holds the transposed matrix."""
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
