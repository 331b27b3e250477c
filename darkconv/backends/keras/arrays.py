"""Arrays of a Model <-> variables of a Keras model."""

import logging
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from darkconv.backends.keras.places import ArrayPlace, from_variable
from darkconv.backends.keras.registry import PLACES
from darkconv.core.model import Array, Arrays, Model, initial_array
from darkconv.core.network import Network
from darkconv.core.spec import Slot
from darkconv.errors import DarkconvError

logger = logging.getLogger("darkconv")


def variable_places(network: Network) -> dict[str, ArrayPlace]:
    """Return the variable of each array in the Keras model of a network.

    Args:
        network: network whose Keras model it is.

    Returns:
        Places by "<layer>.<array>", in file order; `part` is the whole name of the Keras layer.
    """
    places: dict[str, ArrayPlace] = {}
    for layer in network.layers:
        table = PLACES[layer](layer, network) if layer.slots else {}
        for slot in layer.slots:
            place = table[slot.name]
            name = layer.label + (f"_{place.part}" if place.part else "")
            places[f"{layer.index}.{slot.name}"] = place._replace(part=name)
    return places


def spare_arrays(kmodel: keras.Model, model: Model) -> dict[str, Array]:
    """Return the arrays of a model that its Keras model does not hold, by "<layer>.<array>".

    Args:
        kmodel: Keras model of the model, of any head.
        model: model with all arrays.
    """
    layers = {layer.name for layer in kmodel.layers}
    places = variable_places(model.network)
    return {key: model.arrays[key] for key, place in places.items() if place.part not in layers}


def unneeded_layers(network: Network) -> set[int]:
    """Return the indices of layers that no output depends on: a Keras model does not hold them.

    Args:
        network: network with its outputs.
    """
    return {layer.index for layer in network.layers} - {*network.needed_layers(network.outputs)}


def read_arrays(kmodel: keras.Model, network: Network, spare: Arrays) -> dict[str, Array]:
    """Copy the arrays that a Keras model holds now, in file order.

    Args:
        kmodel: Keras model of `to_keras`, or a clone of one.
        network: network that it was built from.
        spare: arrays that the Keras model does not hold. If those of a layer that no output depends
            on are missing, they get Darknet's initial values, with a warning.

    Returns:
        Read-only float32 arrays by "<layer>.<array>".

    Raises:
        DarkconvError: the model is not that of the network.
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
    """Check that Keras layers whose names have the index of a Darknet layer are parts of it.

    Args:
        layers: names of the Keras layers.
        network: network that they should come from.

    Raises:
        DarkconvError: the network has no layer of that index, or one of another type.
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
    """Convert a tensor of any Keras backend to an array, without a copy if it is on the CPU.

    `keras.ops.convert_to_numpy` is not used: it raises NumPy's deprecation warnings.

    Args:
        tensor: tensor of any shape and dtype, on any device.
    """
    plain = tensor.detach().cpu() if hasattr(tensor, "detach") else tensor
    array: Array = np.asarray(plain)
    return array


def _read(layers: dict[str, Any], place: ArrayPlace, slot: Slot, network: Network) -> Array:
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
