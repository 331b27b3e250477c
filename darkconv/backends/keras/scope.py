"""What builders append layers and operations with."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import keras
from keras import ops

from darkconv.backends.keras.places import Place, to_variable
from darkconv.core.model import Array
from darkconv.core.network import Layer, Network
from darkconv.core.shape import Shape
from darkconv.private_names import keras_operation

Tensor = Any
"""A symbolic tensor, `keras.KerasTensor`: Keras comes without types."""


KERAS, LITERT, WHOLE_NUMBERS = TARGETS = ("keras", "litert", "whole numbers")
"""Stock layers, operations that are one of LiteRT's each, or those that small devices have too."""


@dataclass
class Graph:
    """What the layers of one network have in common while it is built.

    Attributes:
        x: the network's input.
        states: the input that holds each part of recurrent state, by name.
        next_states: the value that each of them has at the next call.
        made: Keras layers with variables, by name: a borrower calls its lender's.
        target: what it is built for, of `TARGETS`.
    """

    x: Tensor
    states: dict[str, Tensor] = field(default_factory=dict)
    next_states: dict[str, Tensor] = field(default_factory=dict)
    made: dict[str, keras.Layer] = field(default_factory=dict)
    target: str = KERAS


class Scope:
    """Appends operations under a name, numbered as they come.

    Keras numbers operations over the whole process; names that depend on the network alone
    make files the same at every run.
    """

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph = graph
        self.name = name
        self._counts: dict[str, int] = {}

    def op(self, kind: str, *inputs: Any, **settings: Any) -> Tensor:
        """An operation of `keras.ops`, by its name there."""
        return self._named(attrgetter(kind)(ops)(*inputs, **settings), kind.replace(".", "_"))

    def take(self, x: Tensor, *key: Any) -> Tensor:
        """Numpy's indexing: x[key]."""
        return self._named(x[key], "slice")

    def channels(self, x: Tensor, start: int | None, end: int | None, step: int = 1) -> Tensor:
        """Some entries along the last axis."""
        return self.take(x, ..., slice(start, end, step))

    def reshape(self, x: Tensor, *shape: int) -> Tensor:
        """Another shape of each example; the batch stays free."""
        return x if tuple(x.shape[1:]) == shape else self.op("reshape", x, (-1, *shape))

    def concat(self, values: list[Tensor], axis: int = -1) -> Tensor:
        """End to end along an axis."""
        return values[0] if len(values) == 1 else self.op("concatenate", values, axis=axis)

    def softmax(self, x: Tensor) -> Tensor:
        """Along the last axis; of one value it is 1, about which Keras would warn."""
        return self.op("ones_like", x) if x.shape[-1] == 1 else self.op("softmax", x, axis=-1)

    def add(self, kind: Callable[..., keras.Layer], part: str, x: Any, **settings: Any) -> Tensor:
        """A Keras layer without arrays, called with x."""
        return kind(name=self._numbered(self.part(part)), **settings)(x)

    def finish(self, value: Tensor, part: str = "") -> Tensor:
        """The value under the scope's own name, or a part's."""
        return self.add(keras.layers.Identity, part, value)

    def part(self, part: str) -> str:
        """Name of a Keras layer of this scope."""
        return f"{self.name}_{part}" if part else self.name

    def _named(self, value: Any, kind: str) -> Any:
        first = value[0] if isinstance(value, (list, tuple)) else value
        keras_operation(first).name = self._numbered(f"{self.name}_{kind}")
        return value

    def _numbered(self, name: str) -> str:
        count = self._counts[name] = self._counts.get(name, 0) + 1
        return f"{name}_{count}" if count > 1 else name


class LayerScope(Scope):
    """A Darknet layer that is being built.

    Attributes:
        layer: it.
        network: that it belongs to.
        arrays: it computes with, by slot.
        places: of these arrays.
        inputs: values of the layers it reads: (N, H, W, C) or (N, values).
    """

    def __init__(
        self,
        graph: Graph,
        layer: Layer,
        network: Network,
        arrays: Mapping[str, Array],
        places: Mapping[str, Place],
        inputs: list[Tensor],
        *,
        name: str = "",
        owner: str = "",
    ) -> None:
        super().__init__(graph, name or layer.label)
        self.layer = layer
        self.network = network
        self.arrays = arrays
        self.places = places
        self.inputs = inputs
        self._owner = owner or self.name

    @property
    def x(self) -> Tensor:
        """The first input as it is."""
        return self.inputs[0]

    def map(self, index: int = 0) -> Tensor:
        """An input as (N, H, W, C)."""
        return self.as_map(self.inputs[index], self.layer.in_shapes[index])

    def flat(self, index: int = 0) -> Tensor:
        """An input as (N, values), in Darknet's order: channels, rows, columns."""
        return self.as_flat(self.inputs[index])

    def as_map(self, x: Tensor, shape: Shape) -> Tensor:
        """A vector in Darknet's order as a map."""
        if len(x.shape) == 4:
            return x
        if shape.h == shape.w == 1:
            return self.reshape(x, 1, 1, shape.c)
        return self.op("transpose", self.reshape(x, *shape), (0, 2, 3, 1))

    def as_flat(self, x: Tensor) -> Tensor:
        """A map as a vector in Darknet's order."""
        if len(x.shape) == 2:
            return x
        _, rows, columns, channels = x.shape
        if rows * columns > 1:
            x = self.op("transpose", x, (0, 3, 1, 2))
        return self.reshape(x, rows * columns * channels)

    def learn(
        self, kind: Callable[..., keras.Layer], x: Any, *, part: str = "", **settings: Any
    ) -> Tensor:
        """A Keras layer that holds arrays of the Darknet layer, called with x.

        A layer that borrows its arrays calls the lender's.
        """
        name = f"{self._owner}_{part}" if part else self._owner
        if name not in self.graph.made:
            layer = self.graph.made[name] = kind(name=name, **settings)
            with initialised(layer, self._values(part)):
                return layer(x)
        return self.graph.made[name](x)

    def constant(self, part: str, *shape: int) -> Tensor:
        """An array that is no kernel of a stock layer, as a tensor of the given shape.

        It is the only row of an Embedding, so that it stays a variable of the model; running
        statistics are none that training changes by a gradient.
        """
        count = self.arrays[self._slot(part)].size
        settings = {"output_dim": count, "trainable": not part.startswith("rolling")}
        start = (slice(None, 1), *(0,) * (len(self.graph.x.shape) - 1))
        index = self.op("zeros_like", self.take(self.graph.x, *start), dtype="int32")
        row = self.learn(keras.layers.Embedding, index, part=part, input_dim=1, **settings)
        return self.op("reshape", row, shape)

    def state(self, part: str, shape: tuple[int, ...]) -> Tensor:
        """Recurrent state as an input of the model."""
        name = f"{self.part(part)}_in"
        return self.graph.states.setdefault(name, keras.Input(shape, name=name))

    def keep(self, part: str, value: Tensor) -> None:
        """Hand recurrent state to the next call."""
        self.graph.next_states[f"{self.part(part)}_in"] = self.finish(value, f"{part}_out")

    def section(self, part: str) -> "LayerScope":
        """A scope for the same layer, its operations named after a part."""
        name = self.part(part)
        return LayerScope(self.graph, self.layer, self.network, {}, {}, self.inputs, name=name)

    def inner(
        self, name: str, layer: Layer, places: Mapping[str, Place], *x: Tensor
    ) -> "LayerScope":
        """The scope of a layer inside this one."""
        prefix = f"{name}."
        arrays = {
            slot.removeprefix(prefix): array
            for slot, array in self.arrays.items()
            if slot.startswith(prefix)
        }
        return LayerScope(
            self.graph, layer, self.network, arrays, places, list(x), name=self.part(name)
        )

    def _slot(self, part: str) -> str:
        return next(slot for slot, place in self.places.items() if place.part == part)

    def _values(self, part: str) -> dict[str, Array]:
        return {
            place.variable: to_variable(self.arrays[slot], place)
            for slot, place in self.places.items()
            if place.part == part
        }


@contextmanager
def initialised(layer: keras.Layer, values: Mapping[str, Array]) -> Iterator[None]:
    """Let a layer's variables begin with given values, and keep its own initializers on record.

    Assigning after the first call would fill large variables twice.
    """
    kept: dict[str, Any] = {}
    for variable, array in values.items():
        name = initializer_name(layer, variable)
        kept[name] = getattr(layer, name)
        setattr(layer, name, _given(array))
    try:
        yield
    finally:
        for name, initializer in kept.items():
            setattr(layer, name, initializer)


def initializer_name(layer: keras.Layer, variable: str) -> str:
    """The attribute that says how a variable begins."""
    if variable == "kernel" and hasattr(layer, "depthwise_initializer"):
        return "depthwise_initializer"
    return f"{variable}_initializer"


def _given(array: Array) -> Callable[..., Any]:
    def values(shape: tuple[int, ...], dtype: Any = None) -> Any:
        return array.reshape(shape)

    return values
