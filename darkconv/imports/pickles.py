"""PyTorch's .pt and .pth files, read without unpickling: only arrays and plain values come out.

Arrays of numpy, which some programs save in place of tensors, are made of their bytes here.

What a pickle names is never imported. Each name becomes an inert record of what was asked for, so
that nothing of a file runs; any but PyTorch's own tensors and plain containers is refused.
"""

import pickle
import re
from dataclasses import dataclass, replace
from math import prod
from typing import IO, Any

import numpy as np

from darkconv.errors import WeightsError, Where, shortened

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
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
}
TENSORS = {"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_qtensor"}
TYPED = "_rebuild_tensor_v3"
"""Makes tensors of types that have no storage of their own, which stand behind the gradient."""
WITHOUT_VALUES = {"_rebuild_sparse_tensor": "sparse", "_rebuild_meta_tensor_no_storage": "meta"}
"""What makes tensors that are no plain arrays, and what they are called."""
TYPED_SIZES = {"uint16": 2, "uint32": 4, "uint64": 8}
"""Bytes of their numbers, where it is more than one."""
ARRAY_MAKERS = {(f"numpy{core}.multiarray", "_reconstruct") for core in (".core", "._core")}
BUFFER_MAKERS = {(f"numpy{core}.numeric", "_frombuffer") for core in (".core", "._core")}
"""What makes arrays of numpy, before its second version and since; the latter in protocol 5."""
NUMPY_CODE = re.compile(r"[fiubc][0-9]{1,2}")
"""Types of numpy that are numbers."""
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
    *((f"numpy{core}.multiarray", "scalar") for core in (".core", "._core")),
    ("numpy", "ndarray"),
    *(("argparse", "Namespace"), ("types", "SimpleNamespace"), ("easydict", "EasyDict")),
    *(("collections", name) for name in ("Counter", "deque")),
    *(("datetime", name) for name in ("date", "time", "datetime", "timedelta", "timezone")),
    *(
        (module, f"{kind}Path")
        for module in ("pathlib", "pathlib._local")
        for kind in ("", "Posix", "Windows", "PurePosix", "PureWindows")
    ),
    *(
        (module, "AttributeDict")
        for module in ("lightning.fabric.utilities.data", "pytorch_lightning.utilities.parsing")
    ),
}
"""What may be named beside tensors: plain values, which say nothing of the weights."""
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
    """A block of numbers, beside the pickle or in it.

    Attributes:
        key: its name in the file.
        dtype: of its numbers.
        count: how many the pickle says there are.
        data: the numbers, little-endian, where they stand in the pickle itself.
    """

    key: str
    dtype: str
    count: int
    data: bytes | None = None

    __setstate__ = Unchanging.__setstate__


@dataclass(frozen=True, slots=True)
class Tensor(Unchanging):
    """An array that is part of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    __setstate__ = Unchanging.__setstate__


class NumpyType:
    """Stands for a type of numbers of numpy, such as f4, whose order of bytes is set afterwards."""

    def __init__(self, code: Any, *_: Any) -> None:
        """Keep what numpy is told of it."""
        self.code = str(code)
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        """Take the order of its bytes."""
        if isinstance(state, tuple) and state[1:2] == (">",):
            self.order = ">"


class NumpyArray:
    """Stands for an array of numpy, whose numbers are set afterwards."""

    def __init__(self, *_: Any) -> None:
        """Begin without numbers."""
        self.tensor: Tensor | None = None

    def __setstate__(self, state: Any) -> None:
        """Take shape, type and numbers.

        Raises:
            UnpicklingError: they do not belong together.
        """
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("damaged array")
        _, shape, kind, is_by_column, data = state
        self.tensor = _numpy_tensor(data, kind, shape, is_by_column=bool(is_by_column))


def _numpy_tensor(data: Any, kind: Any, shape: Any, *, is_by_column: bool) -> Tensor | None:
    """Return the record of an array; None where it holds no numbers, such as texts or objects."""
    shape = _numbers(shape)
    is_plain = isinstance(kind, NumpyType) and NUMPY_CODE.fullmatch(kind.code)
    if not is_plain or not isinstance(data, (bytes, bytearray)):
        return None
    dtype = np.dtype(f"{kind.order}{kind.code}")
    if prod(shape) * dtype.itemsize != len(data):
        raise pickle.UnpicklingError("damaged array")
    ordered = np.frombuffer(data, dtype).astype(dtype.newbyteorder("<"), copy=False).tobytes()
    before = range(len(shape))
    strides = tuple(prod(shape[:i] if is_by_column else shape[i + 1 :]) for i in before)
    return Tensor(Storage("", dtype.name, prod(shape), ordered), 0, shape, strides)


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
        if module == "torch._utils" and name == TYPED:
            return _TypedTensorMaker()
        if module == "torch._utils" and name in WITHOUT_VALUES:
            return _ValuelessMaker(WITHOUT_VALUES[name])
        if module == "numpy" and name == "dtype":
            return NumpyType
        if (module, name) in ARRAY_MAKERS:
            return NumpyArray
        if (module, name) in BUFFER_MAKERS:
            return _BufferMaker()
        if (module, name) == ("_codecs", "encode"):
            return _BytesMaker()
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


class _TypedTensorMaker(_TensorMaker):
    """Stands for PyTorch's function of that task."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Tensor:
        """Return the record of a tensor of a type that is told behind gradient and hooks."""
        plain = super().__call__(storage, offset, shape, strides)
        kind = getattr(rest[2], "origin", ("", ""))[1] if len(rest) > 2 else ""
        count = plain.storage.count // TYPED_SIZES.get(kind, 1)
        return replace(plain, storage=replace(plain.storage, dtype=kind, count=count))


@dataclass(frozen=True, slots=True)
class _ValuelessMaker(Unchanging):
    """Stands for what makes tensors whose values are not read: sparse ones, and mere shapes."""

    kind: str

    __setstate__ = Unchanging.__setstate__

    def __call__(self, first: Any, second: Any, *_: Any) -> Tensor:
        """Return the record of a tensor of a kind whose numbers are not taken."""
        is_sparse = isinstance(second, tuple) and len(second) > 2 and self.kind == "sparse"
        shape = _numbers(second[2] if is_sparse else second)
        return Tensor(Storage("", self.kind, prod(shape)), 0, shape, (0,) * len(shape))


class _ParameterMaker(Unchanging):
    """Stands for PyTorch's function of that task."""

    __slots__ = ()

    def __call__(self, data: Any = None, *_: Any) -> Any:
        """Return the tensor."""
        return data


class _BufferMaker(Unchanging):
    """Stands for numpy's function of that task."""

    __slots__ = ()

    def __call__(self, data: Any, kind: Any, shape: Any, order: Any) -> NumpyArray:
        """Return the record of an array."""
        array = NumpyArray()
        array.tensor = _numpy_tensor(data, kind, shape, is_by_column=order == "F")
        return array


class _BytesMaker(Unchanging):
    """Stands for what makes bytes of a text, as old protocols keep them."""

    __slots__ = ()

    def __call__(self, text: Any, encoding: Any) -> bytes:
        """Return the bytes."""
        if not isinstance(text, str) or encoding != "latin1":
            raise pickle.UnpicklingError("unknown bytes")
        return text.encode("latin-1")


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
