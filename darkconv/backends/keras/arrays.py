"""Arrays of a Model <-> variables of a Keras model."""

import logging
from typing import Any

import keras
import numpy as np

from darkconv.backends.keras.places import Place, from_variable
from darkconv.backends.keras.registry import PLACES
from darkconv.backends.keras.scope import layer_name
from darkconv.core.model import Array, Arrays, initial_array
from darkconv.core.network import Network
from darkconv.core.spec import Slot
from darkconv.errors import DarkconvError

logger = logging.getLogger("darkconv")


def variable_places(network: Network) -> dict[str, Place]:
    """Key of each array, in file order -> its place, `part` being the Keras layer's whole name."""
    places: dict[str, Place] = {}
    for layer in network.layers:
        table = PLACES[layer](layer, network) if layer.slots else {}
        for slot in layer.slots:
            place = table[slot.name]
            name = layer_name(layer) + (f"_{place.part}" if place.part else "")
            places[f"{layer.index}.{slot.name}"] = place._replace(part=name)
    return places


def spare_layers(network: Network) -> tuple[int, ...]:
    """Layers with arrays that no output depends on: they have no place in a Keras model."""
    needed = {*network.needed_layers(network.outputs)}
    return tuple(x.index for x in network.layers if x.slots and x.index not in needed)


def read_arrays(kmodel: keras.Model, network: Network, spare: Arrays) -> dict[str, Array]:
    """The arrays that a Keras model holds now, in file order: copies.

    Args:
        kmodel: the Keras model.
        network: of its origin.
        spare: arrays of layers that the Keras model leaves out; where they are missing, the
            arrays hold Darknet's initial values, with a warning.

    Raises:
        DarkconvError: the model is not this network's.
    """
    layers = {layer.name: layer for layer in kmodel.layers}
    places, left_out = variable_places(network), spare_layers(network)
    arrays: dict[str, Array] = {}
    for key, layer, slot in network.keyed_slots():
        if layer.index not in left_out:
            arrays[key] = _read(layers, places[key], slot, network)
            continue
        if key not in spare:
            logger.warning(
                "%s: no output depends on it, so the Keras model does not hold its arrays: %s "
                "gets initial values",
                network.where(layer.index),
                slot.name,
            )
        arrays[key] = spare[key] if key in spare else initial_array(key, slot)
    return arrays


def as_array(tensor: Any) -> Array:
    """A tensor of any Keras backend as an array, without copying where it lies on the CPU.

    `keras.ops.convert_to_numpy` raises numpy's deprecation warnings.
    """
    plain = tensor.detach().cpu() if hasattr(tensor, "detach") else tensor
    array: Array = np.asarray(plain)
    return array


def _read(layers: dict[str, Any], place: Place, slot: Slot, network: Network) -> Array:
    variable = getattr(layers.get(place.part), place.variable, None)
    if variable is None:
        raise DarkconvError(
            f"the Keras model is not that of {network.file}",
            expected=f"a layer {place.part} with a variable {place.variable}",
            found="no such layer" if place.part not in layers else "none",
        )
    value = as_array(variable.value)
    if value.size != slot.count:
        raise DarkconvError(
            f"the Keras model is not that of {network.file}",
            expected=f"{slot.count} values in {place.variable} of {place.part}",
            found=value.size,
        )
    return from_variable(value, place, slot)
