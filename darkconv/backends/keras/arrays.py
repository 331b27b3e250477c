"""Arrays of a Model <-> variables of a Keras model."""

import logging
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from darkconv.backends.keras.places import Place, from_variable
from darkconv.backends.keras.registry import PLACES
from darkconv.core.model import Array, Arrays, Model, initial_array
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
            name = layer.label + (f"_{place.part}" if place.part else "")
            places[f"{layer.index}.{slot.name}"] = place._replace(part=name)
    return places


def spare_arrays(kmodel: keras.Model, model: Model) -> dict[str, Array]:
    """Those of a model's arrays that its Keras model does not hold."""
    layers = {layer.name for layer in kmodel.layers}
    places = variable_places(model.network)
    return {key: model.arrays[key] for key, place in places.items() if place.part not in layers}


def unneeded_layers(network: Network) -> set[int]:
    """Layers that no output depends on: they have no place in a Keras model."""
    return {layer.index for layer in network.layers} - {*network.needed_layers(network.outputs)}


def read_arrays(kmodel: keras.Model, network: Network, spare: Arrays) -> dict[str, Array]:
    """The arrays that a Keras model holds now, in file order: copies.

    Args:
        kmodel: the Keras model.
        network: of its origin.
        spare: arrays that the Keras model does not hold; where those of a layer that no output
            depends on are missing, they get Darknet's initial values, with a warning.

    Raises:
        DarkconvError: the model is not this network's.
    """
    layers = {layer.name: layer for layer in kmodel.layers}
    check_names(layers, network)
    places, left_out = variable_places(network), unneeded_layers(network)
    arrays: dict[str, Array] = {}
    for key, layer, slot in network.keyed_slots():
        place = places[key]
        if place.part not in layers and key in spare:
            arrays[key] = spare[key]
        elif place.part not in layers and layer.index in left_out:
            logger.warning(
                "%s: no output depends on it, so the Keras model does not hold its arrays: %s "
                "gets initial values",
                network.where(layer.index),
                slot.name,
            )
            arrays[key] = initial_array(key, slot)
        else:
            arrays[key] = _read(layers, place, slot, network)
    return arrays


def check_names(layers: Iterable[str], network: Network) -> None:
    """Check that Keras layers which bear the number of a Darknet layer are parts of it.

    Raises:
        DarkconvError: the network has no such layer, or one of another type.
    """
    known = [layer.label for layer in network.layers]
    for name in layers:
        number = name.partition("_")[0]
        if not number.isdecimal():
            continue
        owner = known[int(number)] if int(number) < len(known) else None
        if owner is None or not f"{name}_".startswith(f"{owner}_"):
            raise DarkconvError(
                f"the Keras model is not that of {network.file}",
                expected=owner or f"{len(known)} layers",
                found=f"a layer {name}",
            )


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
    if value.size != slot.size:
        raise DarkconvError(
            f"the Keras model is not that of {network.file}",
            expected=f"{slot.size} values in {place.variable} of {place.part}",
            found=value.size,
        )
    return from_variable(value, place, slot)
