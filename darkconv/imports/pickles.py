"""Read PyTorch's .pt and .pth files without running code: only arrays and plain values come out.

What a pickle names is never imported. Each name becomes an inert record, so that nothing in a file
runs; names other than PyTorch's own tensors and plain containers are refused. Arrays of numpy,
which some programs save in place of tensors, are made from their bytes here.
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
"""The maker of tensors whose dtype has no storage class; the dtype follows the gradient flag."""
WITHOUT_VALUES = {"_rebuild_sparse_tensor": "sparse", "_rebuild_meta_tensor_no_storage": "meta"}
"""The makers of tensors that are no plain arrays, with the kind of the tensors."""
TYPED_SIZES = {"uint16": 2, "uint32": 4, "uint64": 8}
"""The bytes of a number by dtype, where it is more than one."""
ARRAY_MAKERS = {(f"numpy{core}.multiarray", "_reconstruct") for core in (".core", "._core")}
BUFFER_MAKERS = {(f"numpy{core}.numeric", "_frombuffer") for core in (".core", "._core")}
"""The makers of numpy's arrays, up to numpy 1 and since numpy 2; BUFFER_MAKERS in protocol 5."""
NUMPY_CODE = re.compile(r"[fiubc][0-9]{1,2}")
"""The codes of numpy's numeric dtypes."""
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
"""The other names that are accepted: plain values, which say nothing about the weights."""
REMEDY = (
    "save its state dict with the program that wrote it, if you trust the file:\n"
    "        model = torch.load({name!r}, weights_only=False)  # ['model'] where it is a dict\n"
    "        torch.save(model.state_dict(), 'state.pth')"
)


class PickledObject:
    """An inert record of something that a pickle names."""

    origin = ("", "")

    def __init__(self, *arguments: Any, **_: Any) -> None:
        """Keep the arguments that the pickle gives."""
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        """Ignore the state that the pickle gives."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Ignore an entry."""

    def append(self, value: Any) -> None:
        """Ignore an entry of a list.

        Args:
            value: ignored.
        """

    def extend(self, values: Any) -> None:
        """Ignore entries of a list.

        Args:
            values: ignored.
        """

    def add(self, value: Any) -> None:
        """Ignore an entry of a set.

        Args:
            value: ignored.
        """


class Unchanging:
    """The base class of records that a pickle cannot change after they are made."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        """Refuse the state that a pickle gives.

        Raises:
            UnpicklingError: always.
        """
        raise pickle.UnpicklingError("damaged tensor")


@dataclass(frozen=True, slots=True)
class Storage(Unchanging):
    """A block of numbers, in a file beside the pickle or in the pickle itself.

    Attributes:
        key: its name in the file.
        dtype: the dtype of its numbers.
        count: how many numbers the pickle states.
        data: the numbers, little-endian, if they stand in the pickle itself; otherwise None.
    """

    key: str
    dtype: str
    count: int
    data: bytes | None = None

    __setstate__ = Unchanging.__setstate__


@dataclass(frozen=True, slots=True)
class Tensor(Unchanging):
    """An array as a view of a storage; offset and strides count numbers, not bytes."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    __setstate__ = Unchanging.__setstate__


class NumpyType:
    """The record of a numpy dtype, such as f4, whose byte order is set afterwards."""

    def __init__(self, code: Any, *_: Any) -> None:
        """Keep the code of the dtype."""
        self.code = str(code)
        self.order = "<"

    def __setstate__(self, state: Any) -> None:
        """Keep the byte order."""
        if isinstance(state, tuple) and state[1:2] == (">",):
            self.order = ">"


class NumpyArray:
    """The record of a numpy array, whose numbers are set afterwards."""

    def __init__(self, *_: Any) -> None:
        """Begin without numbers."""
        self.tensor: Tensor | None = None

    def __setstate__(self, state: Any) -> None:
        """Take the shape, the dtype and the numbers.

        Raises:
            UnpicklingError: they do not belong together.
        """
        if not isinstance(state, tuple) or len(state) != 5:
            raise pickle.UnpicklingError("damaged array")
        _, shape, kind, is_by_column, data = state
        self.tensor = _numpy_tensor(data, kind, shape, is_by_column=bool(is_by_column))


def _numpy_tensor(data: Any, kind: Any, shape: Any, *, is_by_column: bool) -> Tensor | None:
    """Return the record of an array; None if it holds no numbers but texts or objects."""
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


class PickledDict(dict[Any, Any]):
    """The record of an OrderedDict; attributes that a pickle would set on it are ignored."""

    def __setstate__(self, state: Any) -> None:
        """Ignore the state that the pickle gives."""


class _Unpickler(pickle.Unpickler):
    """An unpickler that makes plain containers and records, and calls nothing that a file names."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream, encoding="latin-1")
        self.foreign: list[str] = []
        self.storages: dict[str, str] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return the record class for a name."""
        if (module, name) == ("collections", "OrderedDict"):
            return PickledDict
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
        return type("PickledObject", (PickledObject,), {"origin": (module, name)})

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
    """The record of PyTorch's function that rebuilds tensors; a pickle can set nothing on it."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
        """Return the record of a tensor."""
        shape, strides = (_numbers(values) for values in (shape, strides))
        if not isinstance(storage, Storage) or len(shape) != len(strides):
            raise pickle.UnpicklingError("damaged tensor")
        return Tensor(storage, _numbers([offset])[0], shape, strides)


class _TypedTensorMaker(_TensorMaker):
    """The record of PyTorch's function that rebuilds tensors of a separately stated dtype."""

    __slots__ = ()

    def __call__(self, storage: Any, offset: Any, shape: Any, strides: Any, *rest: Any) -> Tensor:
        """Return the record of a tensor whose dtype follows the gradient flag and the hooks."""
        plain = super().__call__(storage, offset, shape, strides)
        kind = getattr(rest[2], "origin", ("", ""))[1] if len(rest) > 2 else ""
        count = plain.storage.count // TYPED_SIZES.get(kind, 1)
        return replace(plain, storage=replace(plain.storage, dtype=kind, count=count))


@dataclass(frozen=True, slots=True)
class _ValuelessMaker(Unchanging):
    """The record of makers of tensors whose values are not read: sparse ones, and shapes alone."""

    kind: str

    __setstate__ = Unchanging.__setstate__

    def __call__(self, first: Any, second: Any, *_: Any) -> Tensor:
        """Return the record of a tensor of a kind that is not read."""
        is_sparse = isinstance(second, tuple) and len(second) > 2 and self.kind == "sparse"
        shape = _numbers(second[2] if is_sparse else second)
        return Tensor(Storage("", self.kind, prod(shape)), 0, shape, (0,) * len(shape))


class _ParameterMaker(Unchanging):
    """The record of PyTorch's function that rebuilds parameters."""

    __slots__ = ()

    def __call__(self, data: Any = None, *_: Any) -> Any:
        """Return the tensor of the parameter."""
        return data


class _BufferMaker(Unchanging):
    """The record of numpy's function that makes arrays of buffers."""

    __slots__ = ()

    def __call__(self, data: Any, kind: Any, shape: Any, order: Any) -> NumpyArray:
        """Return the record of an array."""
        array = NumpyArray()
        array.tensor = _numpy_tensor(data, kind, shape, is_by_column=order == "F")
        return array


class _BytesMaker(Unchanging):
    """The record of the function that makes bytes of a text, as old pickle protocols keep them."""

    __slots__ = ()

    def __call__(self, text: Any, encoding: Any) -> bytes:
        """Return the bytes."""
        if not isinstance(text, str) or encoding != "latin1":
            raise pickle.UnpicklingError("unknown bytes")
        return text.encode("latin-1")


def _numbers(values: Any) -> tuple[int, ...]:
    values = (
        values.arguments[0] if isinstance(values, PickledObject) and values.arguments else values
    )
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
"""The exceptions that reading a damaged pickle raises; unhashable keys are TypeErrors."""


def parse(stream: IO[bytes], file: str, storages: dict[str, str] | None = None) -> Any:
    """Read the next pickle of a stream: containers, values and `Tensor` records.

    Args:
        stream: the stream, which stands after the pickle afterwards.
        file: the file's name for messages.
        storages: a dict that receives the dtype of each storage by its key; None needs none.

    Returns:
        The object that the pickle holds.

    Raises:
        WeightsError: the pickle is damaged, or names classes whose code would have to run.
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
