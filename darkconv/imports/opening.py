"""Open a file of another tool: recognise it by its content, and find the layers in it."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from darkconv.errors import DarkconvError, WeightsError, Where
from darkconv.files import PathLike
from darkconv.files.archive import ArchiveError, open_archive
from darkconv.imports.found import Checkpoint, FoundArray, Values
from darkconv.imports.hdf5 import open_hdf5
from darkconv.imports.keras import OURS, WEIGHTS, open_keras, open_weights
from darkconv.imports.onnx import open_onnx
from darkconv.imports.pickles import Storage
from darkconv.imports.tensorflow import open_tensorflow
from darkconv.imports.torch_files import found_arrays, read_legacy, read_zip, state_dict
from darkconv.imports.torch_names import name_units
from darkconv.libraries import telling_missing
from darkconv.loading.formats import ONE_WAY, is_checkpoint, suffix_of, tensorflow_prefix

HDF5 = b"\x89HDF\r\n\x1a\n"
MOST_HEADER = 100_000_000
"""The most bytes of a safetensors header, by the rules of the format."""
LEAST_LIMIT, GROWTH = 1 << 26, 2
"""The most bytes that an archive may take unpacked: LEAST_LIMIT, or GROWTH times the file."""


def is_foreign(path: PathLike) -> bool:
    """Return True if a file is of a kind that is imported, and darkconv has not written it.

    Args:
        path: the file, or the prefix or folder of a TensorFlow checkpoint.
    """
    suffix = suffix_of(path)
    if suffix in ONE_WAY or not is_checkpoint(path):
        return False
    if not (os.path.isfile(path) or tensorflow_prefix(path)):
        return False
    return not OWN[suffix](path) if suffix in OWN else True


def _own_safetensors(path: PathLike) -> bool:
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        text = stream.read(min(length, MOST_HEADER))
    try:
        header = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError):
        return True
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    is_own = isinstance(metadata, dict) and "cfg" in metadata
    return is_own or len(text) < length or not isinstance(header, dict)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a name occurs twice")
    return content


def _own_keras(path: PathLike) -> bool:
    try:
        most = max(LEAST_LIMIT, GROWTH * os.path.getsize(path))
        with open_archive(path, most=most) as archive:
            return OURS in archive.members or WEIGHTS not in archive.members
    except ArchiveError:
        return True


def _own_onnx(path: PathLike) -> bool:
    with telling_missing("reading ONNX files"):
        from darkconv.backends.onnx.graph_file import read_graph
    try:
        return any(entry.key == "cfg" for entry in read_graph(path).metadata_props)
    except DarkconvError:
        return True


OWN = {".safetensors": _own_safetensors, ".keras": _own_keras, ".onnx": _own_onnx}
"""The functions that return True for files of darkconv, and for damaged ones, by suffix."""


@contextmanager
def open_checkpoint(path: PathLike) -> Iterator[Checkpoint]:
    """Open a file of another tool; its arrays can be read until the block ends.

    Args:
        path: the file, or the prefix or folder of a TensorFlow checkpoint.

    Raises:
        WeightsError: the file is of no kind that is read, is damaged, or would run code.
        MissingDependencyError: the library for this kind of file is not installed.
    """
    file = os.fspath(path)
    where = Where(file=file)
    try:
        with ExitStack() as stack:
            yield _opened(path, stack)
    except FileNotFoundError:
        raise WeightsError("no such file", where=where) from None
    except OSError as error:
        raise WeightsError(f"cannot read: {error.strerror or error}", where=where) from error
    except ArchiveError as error:
        raise WeightsError(f"cannot be read: it {error}", where=where) from error


@contextmanager
def _stream(path: PathLike) -> Iterator[IO[bytes]]:
    with open(path, "rb") as stream:
        yield stream


def _opened(path: PathLike, stack: ExitStack) -> Checkpoint:
    file = os.fspath(path)
    prefix = tensorflow_prefix(path)
    if prefix:
        return open_tensorflow(prefix, path)
    if os.path.isdir(path):
        raise WeightsError(
            "is a folder without a checkpoint",
            where=Where(file=file),
            expected="one checkpoint of TensorFlow (.index and .data files) or a SavedModel",
        )
    with open(path, "rb") as stream:
        start = stream.read(64)
    suffix = Path(path).suffix.lower()
    if start.startswith(HDF5):
        return open_weights(open_hdf5(path, file, stack))
    if start.startswith(b"PK\x03\x04"):
        most = max(LEAST_LIMIT, GROWTH * os.path.getsize(path))
        archive = stack.enter_context(open_archive(path, most=most))
        if suffix == ".keras" or WEIGHTS in archive.members:
            return open_keras(archive, file, stack)
        tree, read = read_zip(archive, file)
        return torch_checkpoint(tree, read, file)
    if suffix == ".safetensors" or start[8:9] == b"{":
        return _safetensors(path, stack)
    if start[:1] == b"\x80":
        tree, read = read_legacy(stack.enter_context(_stream(path)), file)
        return torch_checkpoint(tree, read, file)
    if suffix == ".onnx":
        return open_onnx(path)
    raise WeightsError(
        "is no file of a kind that is imported, or is damaged",
        where=Where(file=file),
        expected="a file of PyTorch (.pt, .pth, .safetensors), Keras (.h5, .keras) or TensorFlow "
        "(.index beside .data), or .onnx",
        found=_recognised(start, os.path.getsize(path)),
    )


def _recognised(start: bytes, size: int) -> str | None:
    from darkconv.darknet.signatures import recognise

    known = recognise(start, size)
    return known.what if known else None


def torch_checkpoint(tree: Any, read: Callable[[Storage], bytes], file: str) -> Checkpoint:
    """Return the layers of a PyTorch checkpoint.

    Args:
        tree: the unpickled content: containers, values and `Tensor` records.
        read: returns the bytes of a storage.
        file: the file's name for messages.

    Raises:
        WeightsError: the checkpoint holds no state dict, or a damaged one.
    """
    state, path, others = state_dict(tree, file)
    found = found_arrays(state, read, file)
    notes = []
    if path:
        beside = f"; {', '.join(others)} beside it is left" if others else ""
        notes.append(f"the state dict under {path} was taken{beside}")
    return _named(found, "a PyTorch state dict", file, notes, is_ordered=True)


def _named(
    found: list[FoundArray], kind: str, file: str, notes: list[str], *, is_ordered: bool
) -> Checkpoint:
    named = name_units(found, is_ordered=is_ordered)
    naming = named.naming
    return Checkpoint(
        file,
        kind,
        naming.tool if naming else "",
        named.units,
        named.rule,
        spare=named.spare,
        program_epsilon=naming.epsilon if naming else None,
        decoding=naming.decodes if naming else "",
        ignores_scale=naming.ignores_scale if naming else "",
        reorg=naming.reorg if naming else "",
        notes=tuple(notes),
        adds_under_root=naming.adds_under_root if naming else True,
        pads_zeros=naming.pads_zeros if naming else False,
        floors_pools=naming.floors_pools if naming else False,
        has_plain_classes=naming.has_plain_classes if naming else False,
    )


def _safetensors(path: PathLike, stack: ExitStack) -> Checkpoint:
    """Return the layers of a safetensors file."""
    with telling_missing("reading safetensors files"):
        from safetensors import SafetensorError, safe_open
    file = os.fspath(path)
    try:
        reader = stack.enter_context(safe_open(path, framework="numpy"))
        names = getattr(reader, "offset_keys", reader.keys)()
        found = [_tensor(reader, path, name) for name in names]
    except (SafetensorError, OverflowError) as error:
        raise WeightsError(
            f"cannot be read as safetensors: {error}", where=Where(file=file)
        ) from error
    if "cfg" in (reader.metadata() or {}):
        raise DarkconvError(
            "is a file that darkconv wrote",
            where=Where(file=file),
            hint="give it alone, without a cfg",
        )
    plain = [one.name for one in found if one.dtype == "float32"]
    is_ordered = plain != sorted(plain)
    return _named(found, "a safetensors file", file, [], is_ordered=is_ordered)


TYPES = {"F16": "float16", "BF16": "bfloat16", "F32": "float32", "F64": "float64"}
TYPES |= {"I8": "int8", "U8": "uint8", "I16": "int16", "I32": "int32", "I64": "int64"}
"""The dtypes by safetensors' names."""


def _tensor(reader: Any, path: PathLike, name: str) -> FoundArray:
    part = reader.get_slice(name)
    kind = TYPES.get(part.get_dtype(), part.get_dtype())
    read = (
        partial(_bfloat16, path, name) if kind == "bfloat16" else partial(reader.get_tensor, name)
    )
    return FoundArray(name, tuple(part.get_shape()), kind, read)


def _bfloat16(path: PathLike, name: str) -> Values:
    """Return an array of a dtype that numpy does not have; safetensors has checked the header."""
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        entry = json.loads(stream.read(length))[name]
        start, end = entry["data_offsets"]
        stream.seek(8 + length + start)
        halves = np.frombuffer(stream.read(end - start), "<u2")
    values: Values = (halves.astype("<u4") << 16).view("<f4").reshape(entry["shape"])
    return values
