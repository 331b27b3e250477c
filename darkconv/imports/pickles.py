"""PyTorch's .pt and .pth files, read without unpickling: only arrays and plain values come out.

What a pickle names is never imported. Each name becomes an inert record of what was asked for, so
that nothing of a file runs; any but PyTorch's own tensors and plain containers is refused.
"""

import io
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from math import prod
from typing import IO, Any

import numpy as np

from darkconv.errors import WeightsError, Where, shortened
from darkconv.files.archive import Archive, ArchiveError
from darkconv.imports.found import Found, Values

STORAGES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}
SIZES = {"bfloat16": 2}
"""Bytes of a number, of types that numpy does not have."""
TENSORS = {"_rebuild_tensor", "_rebuild_tensor_v2"}
PARAMETERS = {"_rebuild_parameter", "_rebuild_parameter_with_state", "Parameter"}
PLAIN = {
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("builtins", "set"),
    ("builtins", "dict"),
    ("builtins", "list"),
    ("builtins", "int"),
    ("builtins", "float"),
    ("__builtin__", "set"),
    ("torch", "Size"),
    ("torch", "device"),
    ("torch.serialization", "_get_layout"),
    ("_codecs", "encode"),
    *(
        (f"numpy{core}.multiarray", name)
        for core in (".core", "._core")
        for name in ("scalar", "_reconstruct")
    ),
    *(("numpy", name) for name in ("dtype", "ndarray")),
}
"""What may be named beside tensors: plain values, which say nothing of the weights."""
MAGIC = 0x1950A86A20F9469CFC6C
"""First number of files that PyTorch before 1.6 wrote."""
STATE_KEYS: tuple[str, ...] = (
    "ema",
    "model_ema",
    "ema_state_dict",
    "state_dict",
    "model_state_dict",
    "model",
)
STATE_KEYS += ("net", "network", "module", "params", "weights", "generator")
"""Where checkpoints keep their state dict, the averaged weights first."""
DEEPEST = 3
REMEDY = (
    "save its state dict with the program that wrote it, if you trust the file:\n"
    "        model = torch.load({name!r}, weights_only=False)  # ['model'] where it is a dict\n"
    "        torch.save(model.state_dict(), 'state.pth')"
)


class Named:
    """Stands for something that a pickle names; it does nothing."""

    origin = ("", "")

    def __init__(self, *arguments: Any, **_: Any) -> None:
        """Keep what it would have been made of."""
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        """Leave out what it would have held."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Leave it out."""

    def append(self, value: Any) -> None:
        """Leave it out."""

    def extend(self, values: Any) -> None:
        """Leave them out."""

    def add(self, value: Any) -> None:
        """Leave it out."""


class Unchanging:
    """What a pickle cannot change once it is made."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Refuse what a pickle would set.

        Raises:
            UnpicklingError: always.
        """
        raise pickle.UnpicklingError("damaged tensor")


@dataclass(frozen=True, slots=True)
class Storage(Unchanging):
    """A block of numbers beside the pickle.

    Attributes:
        key: its name in the file.
        dtype: of its numbers.
        count: how many the pickle says there are.
    """

    key: str
    dtype: str
    count: int

    __setstate__ = Unchanging.__setstate__


@dataclass(frozen=True, slots=True)
class Tensor(Unchanging):
    """An array that is part of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    __setstate__ = Unchanging.__setstate__


class Table(dict[Any, Any]):
    """Stands for an OrderedDict; what a pickle would set on the object is left out."""

    def __setstate__(self, state: Any) -> None:
        """Leave it out."""


class _Unpickler(pickle.Unpickler):
    """Makes plain containers and records, and calls nothing that a file names."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream, encoding="latin-1")
        self.foreign: list[str] = []
        self.storages: dict[str, str] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name."""
        if (module, name) == ("collections", "OrderedDict"):
            return Table
        if module == "torch._utils" and name in TENSORS:
            return _TensorMaker()
        if name in PARAMETERS and module in ("torch._utils", "torch.nn.parameter"):
            return _ParameterMaker()
        is_storage = module in ("torch", "torch.storage", "torch.cuda") and name in STORAGES
        is_type = module == "torch" and name.islower() and name.isidentifier()
        if not (is_storage or is_type or (module, name) in PLAIN):
            self.foreign.append(f"{module}.{name}")
        return type("Named", (Named,), {"origin": (module, name)})

    def persistent_load(self, pid: Any) -> Any:
        """Return the record of a storage."""
        if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] in ("storage", b"storage")):
            raise pickle.UnpicklingError("unknown storage")
        kind, key, count = getattr(pid[1], "origin", ("", ""))[1], pid[2], pid[4]
        if kind not in STORAGES or type(count) is not int or count < 0:
            raise pickle.UnpicklingError("unknown storage")
        self.storages[str(key)] = STORAGES[kind]
        return Storage(str(key), STORAGES[kind], count)


class _TensorMaker(Unchanging):
    """Stands for PyTorch's function of that task; unlike a function it has nothing to set."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
        """Return the record of a tensor."""
        shape, strides = (_numbers(values) for values in (shape, strides))
        if not isinstance(storage, Storage) or len(shape) != len(strides):
            raise pickle.UnpicklingError("damaged tensor")
        return Tensor(storage, _numbers([offset])[0], shape, strides)


class _ParameterMaker(Unchanging):
    """Stands for PyTorch's function of that task."""

    __slots__ = ()

    def __call__(self, data: Any = None, *_: Any) -> Any:
        """Return the tensor."""
        return data


def _numbers(values: Any) -> tuple[int, ...]:
    values = values.arguments[0] if isinstance(values, Named) and values.arguments else values
    if not isinstance(values, (tuple, list)) or not all(type(n) is int and n >= 0 for n in values):
        raise pickle.UnpicklingError("damaged tensor")
    return tuple(values)


FAILURES = (
    *(
        pickle.UnpicklingError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        KeyError,
    ),
    *(MemoryError, OverflowError, RecursionError, ImportError, UnicodeError),
)
"""What reading a damaged pickle raises; unhashable keys are TypeErrors."""


def parse(stream: IO[bytes], file: str, storages: dict[str, str] | None = None) -> Any:
    """Return what the next pickle of a stream holds: containers, values, `Tensor` records.

    Args:
        stream: stands behind the pickle afterwards.
        file: for messages.
        storages: gets the type of each storage by its key.

    Raises:
        WeightsError: it is damaged, or names classes that would have to be run.
    """
    reader = _Unpickler(stream)
    where = Where(file=file)
    try:
        tree = reader.load()
    except FAILURES as error:
        if reader.foreign:
            raise _refusal(reader.foreign, file) from error
        raise WeightsError(
            f"cannot be read as a PyTorch file: {shortened(str(error))}", where=where
        ) from error
    if reader.foreign:
        raise _refusal(reader.foreign, file)
    if storages is not None:
        storages |= reader.storages
    return tree


def _refusal(foreign: list[str], file: str) -> WeightsError:
    names = ", ".join(dict.fromkeys(foreign))
    return WeightsError(
        "holds pickled Python objects, which would run code when they are read, so it is not read",
        where=Where(file=file),
        expected="a state dict: arrays by name",
        found=shortened(names, 160),
        hint=REMEDY.format(name=file),
    )


def state_dict(tree: Any, file: str) -> tuple[dict[str, Tensor], str, tuple[str, ...]]:
    """Find the arrays by name in what a checkpoint holds.

    Returns:
        The arrays in their order, the keys that lead to them ("ema.model"), and the keys of
        other state dicts that were there too.

    Raises:
        WeightsError: there are none.
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
    arrays = {k: v for k, v in tree.items() if isinstance(k, str) and isinstance(v, Tensor)}
    if any(len(tensor.shape) > 1 for tensor in arrays.values()):
        yield path, arrays
        return
    for key, value in tree.items():
        if isinstance(key, str) and not key.startswith("optim"):
            yield from _states(value, (*path, key), seen)


def found_arrays(
    state: Mapping[str, Tensor], read: Callable[[Storage], bytes], file: str
) -> list[Found]:
    """Return the arrays of a state dict, to be read when they are asked for."""
    cached = lru_cache(maxsize=4)(read)
    found = []
    for name, tensor in state.items():
        check_tensor(name, tensor, file)
        get = partial(_values, tensor, cached)
        found.append(Found(name, tensor.shape, tensor.storage.dtype, get))
    return found


def check_tensor(name: str, tensor: Tensor, file: str) -> None:
    """Raise WeightsError where a tensor claims more than its storage holds."""
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
    """Return the bytes of a number."""
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
    """Return what a zip file of PyTorch holds, and a function that reads its storages.

    Raises:
        WeightsError: it is damaged, another kind of file, or names classes.
        ArchiveError: the archive is damaged.
    """
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
    """Return what a file of PyTorch before 1.6 holds, and a function that reads its storages.

    Raises:
        WeightsError: it is damaged, another kind of file, or names classes.
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
