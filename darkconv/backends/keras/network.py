"""A network as a functional Keras model."""

from collections.abc import Iterable

import keras

from darkconv.backends.keras.registry import BUILDERS, PLACES
from darkconv.backends.keras.scope import KERAS, WHOLE_NUMBERS, GraphState, LayerScope, Tensor
from darkconv.core.model import Model
from darkconv.core.network import NETWORK_INPUT, Layer
from darkconv.core.shape import Shape
from darkconv.layers import head
from darkconv.private_names import keras_operation

INPUT = "input"
NAME = "darknet"

Outputs = Tensor | list[Tensor] | dict[str, Tensor]
"""One value, several values, or several values by name."""


class NetworkGraph:
    """The layers of a network as Keras layers.

    Attributes:
        model: model that is built.
        graph: what its layers have in common.
        scopes: scopes of the layers that are built, by index from 0.
        values: values of the layers that are built, by index: (N, H, W, C) or (N, values); -1 is
            the network input.
    """

    def __init__(self, model: Model, target: str = KERAS) -> None:
        """Start with the input of a model's network.

        Args:
            model: model that is built.
            target: what it is built for, one of `darkconv.backends.keras.scope.TARGETS`; for
                devices without floats the batch size is 1.
        """
        self.model = model
        batch = 1 if target == WHOLE_NUMBERS else None
        axes = axes_of(model.network.input_shape)
        self.graph = GraphState(keras.Input(axes, batch_size=batch, name=INPUT), target=target)
        self.scopes: dict[int, LayerScope] = {}
        self.values = {NETWORK_INPUT: self.graph.x}

    def build(self, wanted: Iterable[int]) -> None:
        """Build the layers that are wanted, and the layers that they need.

        Args:
            wanted: indices of layers, from 0.

        Raises:
            UnsupportedError: a layer cannot be expressed in Keras.
        """
        for index in self.model.network.needed_layers(wanted, known=self.values):
            if index not in self.values:
                self._append(self.model.network.layers[index])

    def give(self, index: int) -> Tensor:
        """Make the value of a layer an input of the model, and return this input.

        Args:
            index: index of the layer, from 0.

        Returns:
            A symbolic tensor (N, H, W, C) or (N, values).
        """
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
        """Return the value of a layer as its readers see it, in the shape that it reports."""
        if index == NETWORK_INPUT or not is_cell_major(self.model.network.layers[index]):
            return self.values[index]
        scope, shape = self.scopes[index], self.model.network.layers[index].out_shape
        return scope.as_map(scope.reshape(self.values[index], shape.size), shape)

    def finish(self, outputs: Outputs) -> keras.Model:
        """Build the Keras model; its inputs and outputs are dicts if there is recurrent state.

        Args:
            outputs: values that the model returns.
        """
        graph = self.graph
        if not graph.states:
            return keras.Model(graph.x, outputs, name=NAME)
        values = outputs if isinstance(outputs, list) else [outputs]
        named = outputs if isinstance(outputs, dict) else {producer_name(v): v for v in values}
        nexts = {producer_name(value): value for value in graph.next_states.values()}
        return keras.Model({INPUT: graph.x, **graph.states}, {**named, **nexts}, name=NAME)


def is_cell_major(layer: Layer) -> bool:
    """Return True if the value is (N, H, W, C), although the layer reports the shape (C, H, W).

    In C the memory of such a layer has the order of (H, W, C) too.

    Args:
        layer: layer of the network.
    """
    return isinstance(layer.spec, head.Region) and layer.spec.dialect.region_is_cell_major


def axes_of(shape: Shape) -> tuple[int, ...]:
    """Return the axes of a value after the batch: (H, W, C) or (values,).

    Args:
        shape: shape of the layer's output.
    """
    return (shape.h, shape.w, shape.c) if shape.is_map else (shape.size,)


def producer_name(value: Tensor) -> str:
    """Return the name of the Keras layer that produces a value.

    Args:
        value: symbolic tensor.
    """
    return str(keras_operation(value).name)
