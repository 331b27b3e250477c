"""The scopes with which builders append layers and operations."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

import keras
from keras import ops

from darkconv.backends.keras.places import ArrayPlace, to_variable
from darkconv.core.model import Array
from darkconv.core.network import Layer, Network
from darkconv.core.shape import Shape
from darkconv.private_names import keras_operation

Tensor = Any
"""A symbolic tensor, `keras.KerasTensor`: Keras has no type annotations."""


KERAS, LITERT, WHOLE_NUMBERS = TARGETS = ("keras", "litert", "whole numbers")
"""Targets: stock layers, single operations of LiteRT, or operations that small devices have too."""


@dataclass
class GraphState:
    """State that the layers of one network share while it is built.

    Attributes:
        x: input of the network.
        states: input for each part of recurrent state, by name.
        next_states: value of each part of recurrent state after a call, by the name of its input.
        made: Keras layers with variables, by name: a layer that shares arrays calls the same one.
        target: what it is built for, one of `TARGETS`.
    """

    x: Tensor
    states: dict[str, Tensor] = field(default_factory=dict)
    next_states: dict[str, Tensor] = field(default_factory=dict)
    made: dict[str, keras.Layer] = field(default_factory=dict)
    target: str = KERAS


class Scope:
    """Appends operations whose names begin with that of the scope, numbered in their order.

    Keras numbers operations over the whole process; names that depend on the network alone make
    files the same in every run.

    Args:
        graph: graph to which the operations are appended.
        name: first part of the names.
    """

    def __init__(self, graph: GraphState, name: str) -> None:
        self.graph = graph
        self.name = name
        self._counts: dict[str, int] = {}

    def op(self, kind: str, *inputs: Any, **settings: Any) -> Tensor:
        """Append an operation of `keras.ops`.

        Args:
            kind: name of the operation in `keras.ops`, such as "add" or "image.resize".
            *inputs: positional arguments of the operation.
            **settings: keyword arguments of the operation.

        Returns:
            The value of the operation.
        """
        return self._named(attrgetter(kind)(ops)(*inputs, **settings), kind.replace(".", "_"))

    def take(self, x: Tensor, *key: Any) -> Tensor:
        """Select a part of a tensor by NumPy's indexing, x[key].

        Args:
            x: tensor whose first axis is the batch, or any constant.
            *key: index, slice or ellipsis of each axis.
        """
        return self._named(x[key], "slice")

    def channels(self, x: Tensor, start: int | None, end: int | None, step: int = 1) -> Tensor:
        """Select a range of entries along the last axis.

        Args:
            x: tensor whose entries are on the last axis.
            start: first index, from 0; None for the first.
            end: index after the last; None for the end.
            step: distance of the indices.
        """
        return self.take(x, ..., slice(start, end, step))

    def reshape(self, x: Tensor, *shape: int) -> Tensor:
        """Return a tensor with another shape of each example; the batch size stays open.

        Args:
            x: tensor (N, ...).
            *shape: axes after the batch.
        """
        return x if tuple(x.shape[1:]) == shape else self.op("reshape", x, (-1, *shape))

    def concat(self, values: list[Tensor], axis: int = -1) -> Tensor:
        """Join tensors along an axis.

        Args:
            values: tensors that agree on the other axes; a single one is returned as it is.
            axis: axis along which they are joined.
        """
        return values[0] if len(values) == 1 else self.op("concatenate", values, axis=axis)

    def softmax(self, x: Tensor) -> Tensor:
        """Compute a softmax along the last axis; a single value gives 1, without Keras's warning.

        Args:
            x: tensor of any shape.
        """
        return self.op("ones_like", x) if x.shape[-1] == 1 else self.op("softmax", x, axis=-1)

    def add(self, kind: Callable[..., keras.Layer], part: str, x: Any, **settings: Any) -> Tensor:
        """Append a Keras layer without arrays, and return its value.

        Args:
            kind: class of the layer.
            part: last part of its name, "" for the name of the scope.
            x: its input or inputs.
            **settings: its other arguments.

        Returns:
            The value of the layer.
        """
        return kind(name=self._numbered(self.part(part)), **settings)(x)

    def finish(self, value: Tensor, part: str = "") -> Tensor:
        """Return a value under the name of the scope, or of a part of it.

        Args:
            value: tensor that gets the name.
            part: last part of the name, "" for the name of the scope.
        """
        return self.add(keras.layers.Identity, part, value)

    def part(self, part: str) -> str:
        """Return the name of a Keras layer of this scope.

        Args:
            part: last part of the name, "" for the name of the scope.
        """
        return f"{self.name}_{part}" if part else self.name

    def _named(self, value: Any, kind: str) -> Any:
        first = value[0] if isinstance(value, (list, tuple)) else value
        keras_operation(first).name = self._numbered(f"{self.name}_{kind}")
        return value

    def _numbered(self, name: str) -> str:
        count = self._counts[name] = self._counts.get(name, 0) + 1
        return f"{name}_{count}" if count > 1 else name


class LayerScope(Scope):
    """The scope of a Darknet layer that is being built.

    Args:
        graph: graph to which the operations are appended.
        layer: the Darknet layer.
        network: network of the layer.
        arrays: arrays of the layer, by slot.
        places: places of these arrays, by slot.
        inputs: values of the layers that it reads.
        name: first part of the names; "" for the layer's label, such as `000_convolutional`.
        owner: label of the layer whose arrays it shares; "" for its own.

    Attributes:
        layer: the Darknet layer.
        network: network of the layer.
        arrays: arrays that the layer computes with, by slot.
        places: places of these arrays, by slot.
        inputs: values of the layers that it reads: (N, H, W, C) or (N, values).
    """

    def __init__(
        self,
        graph: GraphState,
        layer: Layer,
        network: Network,
        arrays: Mapping[str, Array],
        places: Mapping[str, ArrayPlace],
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
        """First input as it is."""
        return self.inputs[0]

    def map(self, index: int = 0) -> Tensor:
        """Return an input as a feature map (N, H, W, C).

        Args:
            index: index of the input, from 0.
        """
        return self.as_map(self.inputs[index], self.layer.in_shapes[index])

    def flat(self, index: int = 0) -> Tensor:
        """Return an input as vectors (N, values) in Darknet's order: channels, rows, columns.

        Args:
            index: index of the input, from 0.
        """
        return self.as_flat(self.inputs[index])

    def as_map(self, x: Tensor, shape: Shape) -> Tensor:
        """Convert vectors in Darknet's order to a feature map (N, H, W, C).

        Args:
            x: (N, values); a feature map is returned as it is.
            shape: channels, rows and columns of the feature map.
        """
        if len(x.shape) == 4:
            return x
        if shape.h == shape.w == 1:
            return self.reshape(x, 1, 1, shape.c)
        return self.op("transpose", self.reshape(x, *shape), (0, 2, 3, 1))

    def as_flat(self, x: Tensor) -> Tensor:
        """Convert a feature map to vectors (N, values) in Darknet's order.

        Args:
            x: (N, H, W, C); vectors are returned as they are.
        """
        if len(x.shape) == 2:
            return x
        _, rows, columns, channels = x.shape
        if rows * columns > 1:
            x = self.op("transpose", x, (0, 3, 1, 2))
        return self.reshape(x, rows * columns * channels)

    def learn(
        self, kind: Callable[..., keras.Layer], x: Any, *, part: str = "", **settings: Any
    ) -> Tensor:
        """Build a Keras layer that holds arrays of the Darknet layer, and return its value.

        If the Darknet layer shares the arrays of another, the Keras layer of that one is called.

        Args:
            kind: class of the Keras layer.
            x: its input.
            part: last part of its name, "" for the main layer.
            **settings: its other arguments.
        """
        name = f"{self._owner}_{part}" if part else self._owner
        if name not in self.graph.made:
            layer = self.graph.made[name] = kind(name=name, **settings)
            with initialised(layer, self._values(part)):
                return layer(x)
        return self.graph.made[name](x)

    def constant(self, part: str, *shape: int) -> Tensor:
        """Return an array that is not the kernel of a stock layer as a tensor.

        It is the only row of an Embedding, so that it stays a variable of the model. Running
        statistics are not trainable.

        Args:
            part: name of the array's Keras layer in the scope, such as "weights".
            *shape: shape of the tensor.
        """
        count = self.arrays[self._slot(part)].size
        settings = {"output_dim": count, "trainable": not part.startswith("rolling")}
        start = (slice(None, 1), *(0,) * (len(self.graph.x.shape) - 1))
        index = self.op("zeros_like", self.take(self.graph.x, *start), dtype="int32")
        row = self.learn(keras.layers.Embedding, index, part=part, input_dim=1, **settings)
        return self.op("reshape", row, shape)

    def state(self, part: str, shape: tuple[int, ...]) -> Tensor:
        """Return a part of the recurrent state as an input of the model.

        Args:
            part: name of the part: "h" for the hidden state, "c" for the cell.
            shape: its axes after the batch.
        """
        name = f"{self.part(part)}_in"
        return self.graph.states.setdefault(name, keras.Input(shape, name=name))

    def keep(self, part: str, value: Tensor) -> None:
        """Make a value the recurrent state of the next call.

        Args:
            part: name of the part: "h" for the hidden state, "c" for the cell.
            value: tensor of the state's shape.
        """
        self.graph.next_states[f"{self.part(part)}_in"] = self.finish(value, f"{part}_out")

    def section(self, part: str) -> "LayerScope":
        """Return a scope for the same layer whose operations are named after a part.

        Args:
            part: last part of the scope's name.
        """
        name = self.part(part)
        return LayerScope(self.graph, self.layer, self.network, {}, {}, self.inputs, name=name)

    def inner(
        self, name: str, layer: Layer, places: Mapping[str, ArrayPlace], *x: Tensor
    ) -> "LayerScope":
        """Return the scope of a layer inside this one.

        Args:
            name: name of the inner layer.
            layer: the inner layer.
            places: places of its arrays, by slot.
            *x: its inputs.
        """
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
    """Let the variables of a layer begin with given values, but keep its own initializers in files.

    Assigning the values after the first call would fill large variables twice.

    Args:
        layer: Keras layer that is called in the block for the first time.
        values: first values by the name of the variable.

    Yields:
        Nothing, while the initializers are replaced.
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
    """Return the name of the attribute with the initializer of a variable.

    Args:
        layer: Keras layer.
        variable: name of its variable, such as "kernel".
    """
    if variable == "kernel" and hasattr(layer, "depthwise_initializer"):
        return "depthwise_initializer"
    return f"{variable}_initializer"


def _given(array: Array) -> Callable[..., Any]:
    def values(shape: tuple[int, ...], dtype: Any = None) -> Any:
        return array.reshape(shape)

    return values
