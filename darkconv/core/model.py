"""Model = Network + arrays: the hub that everything is read into and written from."""

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
    """Start of a weights file.

    Attributes:
        major, minor, revision: version of the format, as the file has it.
        seen: pictures seen in training.
    """

    major: int
    minor: int
    revision: int
    seen: int = 0

    @classmethod
    def new(cls, dialect: Dialect) -> "Header":
        """What the dialect's program writes for a network that has seen nothing."""
        return cls(0, 2, dialect.revision)

    def seen_bytes(self, dialect: Dialect) -> int:
        """Width of the counter: 4 before version 0.2, 8 since (`load_weights_upto`)."""
        is_wide = 10 * self.major + self.minor >= 2
        if dialect.seen_width_tests_version:
            is_wide = is_wide and self.major < 1000 and self.minor < 1000
        return 8 if is_wide else 4

    def size(self, dialect: Dialect) -> int:
        """Bytes in the file: three 32-bit numbers and the counter."""
        return 12 + self.seen_bytes(dialect)

    @property
    def is_transposed(self) -> bool:
        """Whether matrices of connected layers are stored as [inputs][outputs]."""
        return self.major > 1000 or self.minor > 1000


class InitialArrays(Mapping[str, Array]):
    """Arrays as Darknet initialises them, made when asked for, the same at every time.

    `given` takes precedence: what a partial weights file holds.
    """

    def __init__(self, network: Network, given: Arrays | None = None) -> None:
        """For all slots of a network."""
        self._slots = {key: slot for key, _, slot in network.keyed_slots()}
        self._made = {key: unchanging(array) for key, array in (given or {}).items()}
        self._is_affordable = False
        self._file = network.file

    def __getitem__(self, key: str) -> Array:
        """The array under "<layer>.<array>"."""
        if key not in self._made:
            self._require_memory()
            self._made[key] = initial_array(key, self._slots[key])
        return self._made[key]

    def __deepcopy__(self, memo: object) -> "InitialArrays":
        """Return itself, as nothing in it changes."""
        return self

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what a pickle holds: arrays come out of it writable."""
        made = {key: frozen(array) for key, array in state["_made"].items()}
        vars(self).update(state, _made=made)

    def _require_memory(self) -> None:
        """Whoever asks for one array asks for all of them in the end."""
        if not self._is_affordable:
            missing = (slot for key, slot in self._slots.items() if key not in self._made)
            require_initial_memory(sum(slot.size for slot in missing), self._file)
            self._is_affordable = True

    def __iter__(self) -> Iterator[str]:
        """Keys in file order."""
        return iter(self._slots)

    def __len__(self) -> int:
        """Number of arrays."""
        return len(self._slots)


def require_initial_memory(count: int, file: str) -> None:
    """Raise GraphError where that many initial values of the network in `file` have no room."""
    size = count * np.dtype(np.float32).itemsize
    require_memory(size, what="making its initial arrays", where=Where(file=file))


def initial_array(key: str, slot: Slot) -> Array:
    """An array before training, drawn from a stream that belongs to its key."""
    start = slot.initial
    values = np.full(slot.shape, start.mean, np.float32)
    if start.noise != "none":
        stream = np.random.default_rng(zlib.crc32(key.encode()))
        uniform = start.noise == "uniform"
        noise = stream.uniform(-1, 1, slot.shape) if uniform else stream.normal(size=slot.shape)
        values += (start.spread * noise).astype(np.float32)
    return frozen(values)


class FrozenArrays(Mapping[str, Array]):
    """Arrays by key, none of which can be changed or exchanged for another."""

    def __init__(self, arrays: Arrays) -> None:
        """Take arrays; those that somebody could write to are copied."""
        self._arrays = {key: unchanging(array) for key, array in arrays.items()}

    def __getitem__(self, key: str) -> Array:
        """The array under "<layer>.<array>"."""
        return self._arrays[key]

    def __iter__(self) -> Iterator[str]:
        """Keys in file order."""
        return iter(self._arrays)

    def __len__(self) -> int:
        """Number of arrays."""
        return len(self._arrays)

    def __deepcopy__(self, memo: object) -> "FrozenArrays":
        """Return itself, as nothing in it changes."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what a pickle holds: the arrays alone."""
        return _unpickled, (self._arrays,)


def _unpickled(arrays: dict[str, Array]) -> FrozenArrays:
    return FrozenArrays({key: frozen(array) for key, array in arrays.items()})


@dataclass(frozen=True, eq=False, repr=False)
class Model(Shown):
    """A network with its learned numbers. Never changed in place.

    Attributes:
        network: layers, shapes, text.
        arrays: exactly the network's slots in file order, under "<layer>.<array>"; each
            float32, C-contiguous, read-only.
        header: of the weights file.
        names: class names; empty where there are none. A tuple of texts is checked, and taken.
        initial_layers: layers whose arrays hold initial values, since no file gave them.

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
        """Check names and arrays, and take copies of arrays that could change."""
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
        """Return how it is shown."""
        from darkconv.core import layer_table

        return View(layer_table.as_text, layer_table.as_html)

    @property
    def dialect(self) -> Dialect:
        """Whose rules hold."""
        return self.network.dialect

    def layer_arrays(self, layer: Layer) -> dict[str, Array]:
        """Arrays that a layer computes with, its own or borrowed, by slot name."""
        owner = layer if layer.shared is None else self.network.layers[layer.shared]
        return {slot.name: self.arrays[f"{owner.index}.{slot.name}"] for slot in owner.slots}

    @property
    def hidden(self) -> frozenset[int]:
        """Classes that `dont_show` in the names file keeps from being shown."""
        return self.names.hidden

    def class_name(self, index: int) -> str:
        """Name of a class, or its number where the model has no name for it."""
        return self.names[index] if index < len(self.names) else str(index)

    def in_memory(self) -> "Model":
        """The same model, its arrays copied out of the files that they are mapped from."""
        return replace(self, arrays={key: frozen(a.copy()) for key, a in self.arrays.items()})

    @checked
    def with_input_size(self, width: int, height: int) -> "Model":
        """The same model for pictures of another size: see `Network.with_input_size`."""
        return replace(self, network=self.network.with_input_size(width, height))


_FLOAT32 = np.dtype(np.float32)


def check_array(key: str, array: Array, slot: Slot) -> None:
    """Raise DarkconvError unless an array fits its slot."""
    if array.shape != slot.shape or array.dtype != _FLOAT32:
        raise DarkconvError(
            f"{key}: expected float32 {slot.shape}, found {array.dtype} {array.shape}"
        )


@checked
def replace_arrays(model: Model, arrays: Mapping[str, npt.ArrayLike]) -> Model:
    """A new model in which some arrays are others.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> other = dc.replace_arrays(model, {"0.biases": np.zeros(16, np.float32)})
        >>> other.arrays["0.biases"].max()
        np.float32(0.0)

    Args:
        model: is not changed.
        arrays: by "<layer>.<array>"; converted to float32, and copied unless they are read-only.

    Raises:
        DarkconvError: a key that the network does not have, another shape, or values that are no
            numbers of float32.
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
    """Return values as a read-only array, which nobody else writes to.

    Raises:
        DarkconvError: complex numbers, texts, or numbers too large for float32.
    """
    given = np.asarray(values)
    if given.dtype.kind not in "fiub":
        raise DarkconvError(key, expected="real numbers", found=given.dtype)
    with np.errstate(over="ignore"):
        array = unchanging(values)
    if given.dtype != np.float32 and (lost := np.isfinite(given) & ~np.isfinite(array)).any():
        raise DarkconvError(key, expected="numbers within float32", found=f"{given[lost][0]:.3g}")
    return array
