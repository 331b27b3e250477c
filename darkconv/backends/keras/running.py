"""Calling Keras models with arrays in Darknet's order, recurrent state kept from call to call."""

from typing import Any

import keras

from darkconv.backends.keras.arrays import as_array
from darkconv.backends.keras.network import INPUT, is_cell_major
from darkconv.core.model import Array
from darkconv.core.network import Layer


class Runner:
    """A Keras model to be called again and again, eagerly and without training.

    What comes out as `003_lstm_h_out` goes in as `003_lstm_h_in` at the next call. State starts
    at zero, and starts anew with a batch of another size.
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
        self._state: dict[str, Any] = {}
        self._batch = 0

    def __call__(self, x: Array) -> Any:
        """Outputs for float32 x, (N, C, H, W) or (N, values), as the model gives them."""
        x = keras.ops.convert_to_tensor(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x)
        if not self._shapes:
            return self.kmodel(x, training=False)
        if x.shape[0] != self._batch:
            self._batch = x.shape[0]
            self._state = {
                name: keras.ops.zeros((self._batch, *shape)) for name, shape in self._shapes.items()
            }
        values = self.kmodel({INPUT: x, **self._state}, training=False)
        nexts = {name: values.pop(f"{name.removesuffix('_in')}_out") for name in self._shapes}
        self._state = nexts
        return values


def value_in_darknet(layer: Layer, value: Any) -> Array:
    """A layer's value as an array in the order of C's memory, batch first."""
    array = as_array(value)
    if array.ndim == 4 and not is_cell_major(layer):
        return array.transpose(0, 3, 1, 2)
    return array
