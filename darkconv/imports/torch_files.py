"""PyTorch's .pt and .pth files: find the state dict in them, and read its numbers."""

import io
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from math import prod
from typing import IO, Any

import numpy as np

from darkconv.errors import WeightsError, Where, shortened
from darkconv.files.archive import Archive, ArchiveError
from darkconv.imports.found import FoundArray, Values
from darkconv.imports.pickles import NumpyArray, Storage, Tensor, parse

SIZES = {"bfloat16": 2}
"""The bytes of a number for dtypes that numpy does not have."""
MAGIC = 0x1950A86A20F9469CFC6C
"""The first number in files of PyTorch before 1.6."""
STATE_KEYS: tuple[str, ...] = (
    "ema",
    "model_ema",
    "ema_state_dict",
    "state_dict",
    "model_state_dict",
    "model",
)
STATE_KEYS += ("net", "network", "module", "params", "weights", "generator")
"""The keys under which checkpoints keep their state dict, averaged weights (EMA) first."""
DEEPEST = 3


def state_dict(tree: Any, file: str) -> tuple[dict[str, Tensor], str, tuple[str, ...]]:
    """Find the state dict in the content of a checkpoint.

    Args:
        tree: the unpickled content: containers, values and `Tensor` records.
        file: the file's name for messages.

    Returns:
        The arrays by name in their order, the keys that lead to them ("ema.model"), and the keys of
        the other state dicts in the file.

    Raises:
        WeightsError: the content has no state dict.
    """
    states = list(_states(tree, (), set()))
    if not states:
        held = ", ".join(map(str, tree)) if isinstance(tree, dict) else type(tree).__name__
        raise WeightsError(
            "holds no state dict",
            where=Where(file=file),
            expected="arrays by name, or a dict that has them under " + ", ".join(STATE_KEYS[:6]),
            found=shortened(held),
        )
    path, state = min(states, key=lambda one: _rank(one[0]))
    others = tuple(".".join(other) for other, _ in states if other != path)
    return state, ".".join(path), others


def _rank(path: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(STATE_KEYS.index(key) if key in STATE_KEYS else len(STATE_KEYS) for key in path)


def _states(
    tree: Any, path: tuple[str, ...], seen: set[int]
) -> Iterator[tuple[tuple[str, ...], dict[str, Tensor]]]:
    if not isinstance(tree, dict) or id(tree) in seen or len(path) > DEEPEST:
        return
    seen.add(id(tree))
    values = {k: v.tensor if isinstance(v, NumpyArray) else v for k, v in tree.items()}
    arrays = {k: v for k, v in values.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if any(len(tensor.shape) > 1 for tensor in arrays.values()):
        yield path, arrays
        return
    for key, value in tree.items():
        if isinstance(key, str) and not key.startswith("optim"):
            yield from _states(value, (*path, key), seen)


def found_arrays(
    state: Mapping[str, Tensor], read: Callable[[Storage], bytes], file: str
) -> list[FoundArray]:
    """Return the arrays of a state dict, whose values are read on demand.

    Args:
        state: the tensors by name, as `state_dict` finds them.
        read: returns the bytes of a storage.
        file: the file's name for messages.

    Raises:
        WeightsError: a tensor states more values than its storage holds.
    """
    cached = lru_cache(maxsize=4)(partial(_stored, read))
    found = []
    for name, tensor in state.items():
        check_tensor(name, tensor, file)
        get = partial(_values, tensor, cached)
        found.append(FoundArray(name, tensor.shape, tensor.storage.dtype, get))
    return found


def _stored(read: Callable[[Storage], bytes], storage: Storage) -> bytes:
    return read(storage) if storage.data is None else storage.data


def check_tensor(name: str, tensor: Tensor, file: str) -> None:
    """Raise WeightsError if a tensor states more values than its storage holds.

    Args:
        name: the tensor's name for messages.
        tensor: the record of the tensor.
        file: the file's name for messages.

    Raises:
        WeightsError: the tensor reaches beyond its storage.
    """
    last = tensor.offset + sum(
        (n - 1) * stride for n, stride in zip(tensor.shape, tensor.strides, strict=True) if n
    )
    size = prod(tensor.shape)
    if size and (last >= tensor.storage.count or size > tensor.storage.count):
        raise WeightsError(
            "claims more values than the file has for it",
            where=Where(file=file, option=name),
            expected=f"at most {tensor.storage.count}",
            found=f"{tensor.shape}, which takes {max(size, last + 1)}",
        )


def item_size(dtype: str) -> int:
    """Return the bytes of a number.

    Args:
        dtype: the dtype's name, such as "bfloat16".
    """
    return SIZES.get(dtype) or np.dtype(dtype).itemsize


def _values(tensor: Tensor, read: Callable[[Storage], bytes]) -> Values:
    data, dtype = read(tensor.storage), tensor.storage.dtype
    if dtype == "bfloat16":
        flat: Values = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    else:
        flat = np.frombuffer(data, np.dtype(dtype).newbyteorder("<"))
    size = prod(tensor.shape)
    plain = np.empty(tensor.shape, np.uint8).strides
    if tensor.strides == plain or size <= 1:
        return flat[tensor.offset : tensor.offset + size].reshape(tensor.shape)
    steps = tuple(stride * flat.itemsize for stride in tensor.strides)
    shifted = flat[tensor.offset :]
    return np.lib.stride_tricks.as_strided(shifted, tensor.shape, steps, writeable=False).copy()


def read_zip(archive: Archive, file: str) -> tuple[Any, Callable[[Storage], bytes]]:
    """Return the content of a PyTorch zip file, and a function that reads its storages.

    Args:
        archive: the open zip file, as PyTorch has written it since 1.6.
        file: the file's name for messages.

    Raises:
        WeightsError: the file is damaged, of another kind, or names classes whose code would run.
        ArchiveError: the archive is damaged.
    """
    if any(name.rpartition("/")[2] == "archive_format" for name in archive.members):
        raise WeightsError(
            "is an exported program (.pt2), which is run, not read",
            where=Where(file=file),
            hint="in PyTorch: torch.save(torch.export.load(FILE).state_dict, 'state.pth')",
        )
    roots = [n.removesuffix("data.pkl") for n in archive.members if n.endswith("data.pkl")]
    if len(roots) != 1:
        raise ArchiveError("is a zip archive without a PyTorch pickle in it")
    (root,) = roots
    if f"{root}constants.pkl" in archive.members:
        raise WeightsError(
            "is a TorchScript program, which is run, not read",
            where=Where(file=file),
            hint="in PyTorch: torch.save(torch.jit.load(FILE).state_dict(), 'state.pth')",
        )
    if f"{root}byteorder" in archive.members and archive.read(f"{root}byteorder") != b"little":
        raise ArchiveError("has its numbers in big-endian order")

    def read(storage: Storage) -> bytes:
        name, size = f"{root}data/{storage.key}", storage.count * item_size(storage.dtype)
        if archive.members.get(name, -1) < size:
            raise ArchiveError(
                f"its array {storage.key} of {size} bytes has {archive.members.get(name, 0)}"
            )
        return archive.read(name)

    return parse(io.BytesIO(archive.read(f"{root}data.pkl")), file), read


def read_legacy(stream: IO[bytes], file: str) -> tuple[Any, Callable[[Storage], bytes]]:
    """Return the content of a file of PyTorch before 1.6, and a function that reads its storages.

    Args:
        stream: the open file, at its start.
        file: the file's name for messages.

    Raises:
        WeightsError: the file is damaged, of another kind, or names classes whose code would run.
    """
    first = parse(stream, file)
    if first != MAGIC:
        raise WeightsError("is a Python pickle, and none of PyTorch", where=Where(file=file))
    types: dict[str, str] = {}
    parse(stream, file)
    system, tree, keys = parse(stream, file), parse(stream, file, types), parse(stream, file)
    damaged = WeightsError("its arrays are damaged or cut short", where=Where(file=file))
    is_swapped = isinstance(system, dict) and system.get("little_endian") is False
    if is_swapped or not isinstance(keys, list) or {str(key) for key in keys} != set(types):
        raise damaged
    places, begin = {}, stream.tell()
    most = stream.seek(0, 2)
    stream.seek(begin)
    for key in keys:
        size = int.from_bytes(stream.read(8), "little") * item_size(types[str(key)])
        places[str(key)] = (stream.tell(), size)
        if stream.tell() + size > most:
            raise damaged
        stream.seek(size, 1)

    def read(storage: Storage) -> bytes:
        start, size = places.get(storage.key, (0, -1))
        if size < storage.count * item_size(storage.dtype):
            raise damaged
        stream.seek(start)
        return stream.read(size)

    return tree, read
