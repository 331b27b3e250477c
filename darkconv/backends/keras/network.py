"""A network as a functional Keras model."""

from collections.abc import Iterable

import keras

from darkconv.backends.keras.registry import BUILDERS, PLACES
from darkconv.backends.keras.scope import KERAS, WHOLE_NUMBERS, Graph, LayerScope, Tensor
from darkconv.core.model import Model
from darkconv.core.network import NETWORK_INPUT, Layer
from darkconv.core.shape import Shape
from darkconv.layers import head
from darkconv.private_names import keras_operation

INPUT = "input"
NAME = "darknet"

Outputs = Tensor | list[Tensor] | dict[str, Tensor]
"""One value, several, or several by name."""


class NetworkGraph:
    """A network's layers as Keras layers.

    Attributes:
        model: what is built.
        graph: what its layers share.
        scopes: of the layers that have been built, by index.
        values: of the layers that have been built, by index: (N, H, W, C) or (N, values).
    """

    def __init__(self, model: Model, target: str = KERAS) -> None:
        """For a model.

        Args:
            model: what is built.
            target: what it is built for, of `darkconv.backends.keras.scope.TARGETS`; for devices
                without floats it takes one picture at a time.
        """
        self.model = model
        batch = 1 if target == WHOLE_NUMBERS else None
        axes = axes_of(model.network.input_shape)
        self.graph = Graph(keras.Input(axes, batch_size=batch, name=INPUT), target=target)
        self.scopes: dict[int, LayerScope] = {}
        self.values = {NETWORK_INPUT: self.graph.x}

    def build(self, wanted: Iterable[int]) -> None:
        """Append the layers that those wanted need.

        Raises:
            UnsupportedError: a layer that is not expressed in Keras.
        """
        for index in self.model.network.needed_layers(wanted, known=self.values):
            if index not in self.values:
                self._append(self.model.network.layers[index])

    def give(self, index: int) -> Tensor:
        """Let a layer's value be an input of the model, which is returned."""
        shape = self.model.network.layers[index].out_shape
        self.values[index] = keras.Input(axes_of(shape))
        return self.values[index]

    def _append(self, layer: Layer) -> None:
        network = self.model.network
        owner = layer if layer.shared is None else network.layers[layer.shared]
        places = PLACES[layer](owner, network) if owner.slots else {}
        scope = LayerScope(
            self.graph,
            layer,
            network,
            self.model.layer_arrays(layer),
            places,
            [self._read(index) for index in layer.sources],
            owner=owner.label,
        )
        self.scopes[layer.index] = scope
        self.values[layer.index] = BUILDERS[layer](scope)

    def _read(self, index: int) -> Tensor:
        """A layer's value as its readers see it, in the meaning of the shape that it reports."""
        if index == NETWORK_INPUT or not is_cell_major(self.model.network.layers[index]):
            return self.values[index]
        scope, shape = self.scopes[index], self.model.network.layers[index].out_shape
        return scope.as_map(scope.reshape(self.values[index], shape.size), shape)

    def finish(self, outputs: Outputs) -> keras.Model:
        """The model: dicts of inputs and outputs where there is recurrent state."""
        graph = self.graph
        if not graph.states:
            return keras.Model(graph.x, outputs, name=NAME)
        values = outputs if isinstance(outputs, list) else [outputs]
        named = outputs if isinstance(outputs, dict) else {producer_name(v): v for v in values}
        nexts = {producer_name(value): value for value in graph.next_states.values()}
        return keras.Model({INPUT: graph.x, **graph.states}, {**named, **nexts}, name=NAME)


def is_cell_major(layer: Layer) -> bool:
    """Whether the value is (N, H, W, C) where C's memory holds it behind a shape (C, H, W)."""
    return isinstance(layer.spec, head.Region) and layer.spec.dialect.region_is_cell_major


def axes_of(shape: Shape) -> tuple[int, ...]:
    """A value's axes behind the batch."""
    return (shape.h, shape.w, shape.c) if shape.is_map else (shape.size,)


def producer_name(value: Tensor) -> str:
    """Name of the Keras layer that gives a value."""
    return str(keras_operation(value).name)
