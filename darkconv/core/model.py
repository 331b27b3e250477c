"""The model: a network and its arrays. All formats are read into it and written from it."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.arguments import checked
from darkconv.core.dialect import Dialect
from darkconv.core.memory import require_memory
from darkconv.core.names import NO_NAMES, Names
from darkconv.core.network import Layer, Network
from darkconv.core.spec import Slot
from darkconv.core.unchanging import Array as Array
from darkconv.core.unchanging import frozen, unchanging
from darkconv.core.views import Shown, View
from darkconv.errors import DarkconvError, Where

Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Header:
    """The start of a weights file.

    Attributes:
        major, minor, revision: version of the format, as the file states it.
        seen: number of pictures seen in training.
    """

    major: int
    minor: int
    revision: int
    seen: int = 0

    @classmethod
    def new(cls, dialect: Dialect) -> "Header":
        """Return the header that the dialect's program writes for a network that saw no picture.

        Args:
            dialect: the dialect whose revision the header gets.
        """
        return cls(0, 2, dialect.revision)

    def seen_bytes(self, dialect: Dialect) -> int:
        """Return the width of the image counter in bytes: 4 before version 0.2, 8 since.

        The rule is that of `load_weights_upto` in the C programs.

        Args:
            dialect: some dialects also test whether the version is 1000 or more.
        """
        is_wide = 10 * self.major + self.minor >= 2
        if dialect.seen_width_tests_version:
            is_wide = is_wide and self.major < 1000 and self.minor < 1000
        return 8 if is_wide else 4

    def size(self, dialect: Dialect) -> int:
        """Return the number of bytes of the header: three 32-bit numbers and the image counter.

        Args:
            dialect: the dialect whose rule gives the width of the counter.
        """
        return 12 + self.seen_bytes(dialect)

    @property
    def is_transposed(self) -> bool:
        """Return True if the matrices of connected layers are stored as [inputs][outputs]."""
        return self.major > 1000 or self.minor > 1000


class InitialArrays(Mapping[str, Array]):
    """Arrays as Darknet initialises them, computed on first use and always with the same values.

    The arrays in `given`, such as those of a partial weights file, take precedence.
    """

    def __init__(self, network: Network, given: Arrays | None = None) -> None:
        """Prepare the arrays for all slots of a network."""
        self._slots = {key: slot for key, _, slot in network.keyed_slots()}
        self._made = {key: unchanging(array) for key, array in (given or {}).items()}
        self._is_affordable = False
        self._file = network.file

    def __getitem__(self, key: str) -> Array:
        """Return the array with the key "<layer>.<array>"."""
        if key not in self._made:
            self._require_memory()
            self._made[key] = initial_array(key, self._slots[key])
        return self._made[key]

    def __deepcopy__(self, memo: object) -> "InitialArrays":
        """Return this object itself, as it never changes."""
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state from a pickle, whose arrays are writable, and make them read-only."""
        made = {key: frozen(array) for key, array in state["_made"].items()}
        vars(self).update(state, _made=made)

    def _require_memory(self) -> None:
        """Check once that there is memory for all missing arrays, as a reader of one reads all."""
        if not self._is_affordable:
            missing = (slot for key, slot in self._slots.items() if key not in self._made)
            require_initial_memory(sum(slot.size for slot in missing), self._file)
            self._is_affordable = True

    def __iter__(self) -> Iterator[str]:
        """Return an iterator over the keys in file order."""
        return iter(self._slots)

    def __len__(self) -> int:
        """Return the number of arrays."""
        return len(self._slots)


def require_initial_memory(count: int, file: str) -> None:
    """Raise an error if there is not enough memory for the initial values of a network.

    Args:
        count: number of float32 values.
        file: name of the cfg, used in the message.

    Raises:
        GraphError: there is not enough free memory.
    """
    size = count * np.dtype(np.float32).itemsize
    require_memory(size, what="making its initial arrays", where=Where(file=file))


def initial_array(key: str, slot: Slot) -> Array:
    """Return the initial values of an array, drawn from a random stream seeded by its key.

    Args:
        key: "<layer>.<array>"; the same key always gives the same values.
        slot: gives the shape and the distribution.

    Returns:
        Read-only float32 array of the slot's shape.
    """
    start = slot.initial
    values = np.full(slot.shape, start.mean, np.float32)
    if start.noise != "none":
        stream = np.random.default_rng(zlib.crc32(key.encode()))
        uniform = start.noise == "uniform"
        noise = stream.uniform(-1, 1, slot.shape) if uniform else stream.normal(size=slot.shape)
        values += (start.spread * noise).astype(np.float32)
    return frozen(values)


class FrozenArrays(Mapping[str, Array]):
    """A mapping of arrays by key in which no array can be changed or replaced."""

    def __init__(self, arrays: Arrays) -> None:
        """Take the arrays, and copy those that somebody could write to."""
        self._arrays = {key: unchanging(array) for key, array in arrays.items()}

    def __getitem__(self, key: str) -> Array:
        """Return the array with the key "<layer>.<array>"."""
        return self._arrays[key]

    def __iter__(self) -> Iterator[str]:
        """Return an iterator over the keys in file order."""
        return iter(self._arrays)

    def __len__(self) -> int:
        """Return the number of arrays."""
        return len(self._arrays)

    def __deepcopy__(self, memo: object) -> "FrozenArrays":
        """Return this object itself, as it never changes."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what a pickle holds: only the arrays."""
        return _unpickled, (self._arrays,)


def _unpickled(arrays: dict[str, Array]) -> FrozenArrays:
    return FrozenArrays({key: frozen(array) for key, array in arrays.items()})


@dataclass(frozen=True, eq=False, repr=False)
class Model(Shown):
    """A network with its learned arrays; it is never changed in place.

    Attributes:
        network: the layers, their shapes and the text of the cfg.
        arrays: exactly the network's slots in file order, with the keys "<layer>.<array>"; each
            array is float32, C-contiguous and read-only.
        header: the header of the weights file.
        names: class names; empty if there are none. A tuple of texts is checked and converted.
        initial_layers: indices of the layers whose arrays hold initial values, because no file
            contained them.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> model.arrays["0.weights"].shape, model.names[0]
        ((16, 3, 3, 3), 'zero')
    """

    network: Network
    arrays: Arrays
    header: Header
    names: Names = NO_NAMES
    initial_layers: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        """Check the names and arrays, and copy arrays that somebody could write to."""
        object.__setattr__(self, "names", Names.of(self.names))
        if isinstance(self.arrays, InitialArrays):
            return
        needed = list(self.network.keyed_slots())
        if list(self.arrays) != [key for key, _, _ in needed]:
            names = {key for key, _, _ in needed}
            raise DarkconvError(
                "the arrays are not the network's",
                expected=f"{sorted(names - set(self.arrays))[:3]} too",
                found=sorted(set(self.arrays) - names)[:3],
            )
        for key, _, slot in needed:
            check_array(key, self.arrays[key], slot)
        if not isinstance(self.arrays, FrozenArrays):
            object.__setattr__(self, "arrays", FrozenArrays(self.arrays))

    def _view(self) -> View:
        """Return the view by which the model is shown."""
        from darkconv.core import layer_table

        return View(layer_table.as_text, layer_table.as_html)

    @property
    def dialect(self) -> Dialect:
        """Return the dialect of the network."""
        return self.network.dialect

    def layer_arrays(self, layer: Layer) -> dict[str, Array]:
        """Return the arrays that a layer computes with, its own or those it shares, by slot name.

        Args:
            layer: one of the network's layers.
        """
        owner = layer if layer.shared is None else self.network.layers[layer.shared]
        return {slot.name: self.arrays[f"{owner.index}.{slot.name}"] for slot in owner.slots}

    @property
    def hidden(self) -> frozenset[int]:
        """Return the indices of the classes that the names file marks with `dont_show`."""
        return self.names.hidden

    def class_name(self, index: int) -> str:
        """Return the name of a class, or its index as text if the model has no name for it.

        Args:
            index: class index, from 0.
        """
        return self.names[index] if index < len(self.names) else str(index)

    def in_memory(self) -> "Model":
        """Return the same model with its arrays copied from the mapped files into memory."""
        return replace(self, arrays={key: frozen(a.copy()) for key, a in self.arrays.items()})

    @checked
    def with_input_size(self, width: int, height: int) -> "Model":
        """Return the same model for another input size; see `Network.with_input_size`.

        Args:
            width: width of the network input in pixels.
            height: height of the network input in pixels.

        Raises:
            GraphError: the layers do not fit together at this size, or an array would change its
                shape.
        """
        return replace(self, network=self.network.with_input_size(width, height))


_FLOAT32 = np.dtype(np.float32)


def check_array(key: str, array: Array, slot: Slot) -> None:
    """Raise an error unless an array has the shape of its slot and the dtype float32.

    Args:
        key: "<layer>.<array>", used in the message.
        array: the array to check.
        slot: the slot it has to fit.

    Raises:
        DarkconvError: the shape or the dtype differs.
    """
    if array.shape != slot.shape or array.dtype != _FLOAT32:
        raise DarkconvError(
            f"{key}: expected float32 {slot.shape}, found {array.dtype} {array.shape}"
        )


@checked
def replace_arrays(model: Model, arrays: Mapping[str, npt.ArrayLike]) -> Model:
    """Return a new model in which some arrays are replaced.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> other = dc.replace_arrays(model, {"0.biases": np.zeros(16, np.float32)})
        >>> other.arrays["0.biases"].max()
        np.float32(0.0)

    Args:
        model: the original model, which stays unchanged.
        arrays: the new arrays with the keys "<layer>.<array>"; they are converted to float32, and
            copied unless they are read-only.

    Raises:
        DarkconvError: the network has no array with such a key, a shape differs, or values are not
            numbers that float32 can hold.
    """
    known = {key: slot for key, _, slot in model.network.keyed_slots()}
    changed = dict(model.arrays)
    for key, values in arrays.items():
        if key not in known:
            raise DarkconvError(f"the network has no array {key!r}")
        array = _as_float32(key, values)
        check_array(key, array, known[key])
        changed[key] = array
    return replace(model, arrays=changed)


def _as_float32(key: str, values: npt.ArrayLike) -> Array:
    """Return values as a read-only float32 array that nobody else can write to.

    Raises:
        DarkconvError: the values are complex numbers, texts, or too large for float32.
    """
    given = np.asarray(values)
    if given.dtype.kind not in "fiub":
        raise DarkconvError(key, expected="real numbers", found=given.dtype)
    with np.errstate(over="ignore"):
        array = unchanging(values)
    if given.dtype != np.float32 and (lost := np.isfinite(given) & ~np.isfinite(array)).any():
        raise DarkconvError(key, expected="numbers within float32", found=f"{given[lost][0]:.3g}")
    return array
