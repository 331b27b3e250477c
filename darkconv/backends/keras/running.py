"""Calling Keras models with arrays in Darknet's order; recurrent state is kept between calls."""

from typing import Any

import keras

from darkconv.backends.keras.arrays import as_array
from darkconv.backends.keras.network import INPUT, Outputs, is_cell_major, producer_name
from darkconv.core.model import Array
from darkconv.core.network import Network


class Runner:
    """A Keras model that is called again and again, eagerly and in inference mode.

    The output `003_lstm_h_out` of one call is the input `003_lstm_h_in` of the next. State starts
    at zero, also when the batch size changes.

    Args:
        kmodel: Keras model of `to_keras`.

    Attributes:
        kmodel: Keras model that is called.
        next_names: for each input of state the output that it gets at the next call.
    """

    def __init__(self, kmodel: keras.Model) -> None:
        self.kmodel = kmodel
        self._shapes: dict[str, tuple[int, ...]] = {}
        if isinstance(kmodel.input, dict):
            self._shapes = {
                name: tuple(value.shape[1:])
                for name, value in kmodel.input.items()
                if name != INPUT
            }
        self.next_names = {name: f"{name.removesuffix('_in')}_out" for name in self._shapes}
        self._state: dict[str, Any] = {}
        self._batch = 0

    def __call__(self, x: Array) -> Any:
        """Return the outputs for a batch as the model gives them.

        Args:
            x: float32 batch (N, C, H, W) or (N, values).
        """
        x = keras.ops.convert_to_tensor(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)
        if not self._shapes:
            return self.kmodel(x, training=False)
        if x.shape[0] != self._batch:
            self._batch = x.shape[0]
            self._state = {
                name: keras.ops.zeros((self._batch, *shape)) for name, shape in self._shapes.items()
            }
        values = self.kmodel({INPUT: x, **self._state}, training=False)
        self._state = {name: values.pop(out) for name, out in self.next_names.items()}
        return values


class FileRunner:
    """The Keras model of a file, as a `GraphRunner`.

    Args:
        kmodel: Keras model that was read from the file.
        network: network that the file describes.

    Attributes:
        outputs: names of the outputs that are not recurrent state.
    """

    def __init__(self, kmodel: keras.Model, network: Network) -> None:
        self._run = Runner(kmodel)
        self._cell_major = cell_major_names(network)
        names = named_outputs(kmodel.output)
        self.outputs = [name for name in names if name not in self._run.next_names.values()]

    def __call__(self, x: Array, **_: Array) -> list[Array]:
        """Run the model once, and return its outputs in Darknet's order.

        Args:
            x: float32 batch (N, C, H, W) or (N, values).
            **_: other inputs of a `GraphRunner`, which are ignored.
        """
        values = self._run(x)
        if isinstance(values, dict):
            values = [values[name] for name in self.outputs]
        elif not isinstance(values, list):
            values = [values]
        return [
            in_darknet(as_array(value), is_cell_major=name in self._cell_major)
            for name, value in zip(self.outputs, values, strict=True)
        ]


def named_outputs(outputs: Outputs) -> dict[str, Any]:
    """Return the outputs by the names that files have for them, in the order of the files.

    Args:
        outputs: outputs of a Keras model; a dict is sorted by name, as Keras does.
    """
    if isinstance(outputs, dict):
        return dict(sorted(outputs.items()))
    values = outputs if isinstance(outputs, list) else [outputs]
    return {producer_name(value): value for value in values}


def cell_major_names(network: Network) -> set[str]:
    """Return the names of the layers whose values have the same memory order in C and in Keras.

    Args:
        network: network with its layers.
    """
    return {layer.label for layer in network.layers if is_cell_major(layer)}


def in_darknet(value: Array, *, is_cell_major: bool) -> Array:
    """Return a value in the order and shape of C's memory, batch first.

    Args:
        value: value of a Keras layer, (N, H, W, C) or (N, values).
        is_cell_major: True if C's memory has the same order although the layer reports the shape
            (C, H, W): see `darkconv.backends.keras.network.is_cell_major`.
    """
    if value.ndim != 4:
        return value
    if not is_cell_major:
        return value.transpose(0, 3, 1, 2)
    batch, rows, columns, channels = value.shape
    return value.reshape(batch, channels, rows, columns)
