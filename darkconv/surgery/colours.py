"""swap_rgb: the same model for pictures whose colour channels are in the opposite order."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array, Model, replace_arrays
from darkconv.core.network import NETWORK_INPUT, Layer, Network
from darkconv.core.removal import inputs_of
from darkconv.core.spec import Slot
from darkconv.core.unchanging import frozen
from darkconv.errors import PlanError
from darkconv.surgery.channels import makes_channels

Order = npt.NDArray[np.int64]
"""int64 (channels,): the old channel that is now at each place."""

SWAPPED = (2, 1, 0)


def swap_rgb(model: Model) -> Model:
    """Return a model that gives for BGR pictures what the original gives for RGB, or vice versa.

    The first and third input channels are exchanged in the arrays of every layer that reads the
    colours, also after layers that keep them apart ([crop], [batchnorm], a convolution with groups
    ...).

    Args:
        model: a model with three input channels; it stays unchanged.

    Raises:
        PlanError: the input does not have three channels, or a layer depends on the order of the
            colours in a way that no exchange of array entries can undo.
    """
    network = model.network
    if not network.input_shape.is_map or network.input_shape.c != len(SWAPPED):
        raise PlanError(
            f"{network.file}: colours can only be swapped in pictures",
            expected="an input of 3 channels",
            found=str(network.input_shape),
        )
    orders: dict[int, Order] = {NETWORK_INPUT: np.array(SWAPPED)}
    changed: dict[str, Array] = {}
    for layer in network.layers:
        inputs = inputs_of(layer, orders)
        _check_shared(network, layer, inputs, orders)
        orders[layer.index] = _output_order(network, layer, inputs)
        for slot in layer.slots:
            key = f"{layer.index}.{slot.name}"
            array = _reordered(model.arrays[key], slot, layer, inputs, orders[layer.index])
            if array is not model.arrays[key]:
                changed[key] = array
    for index in network.outputs:
        if not _is_plain(orders[index]):
            raise _bound_to_colours(network, network.layers[index])
    return replace_arrays(model, changed)


def _is_plain(order: Order) -> bool:
    return np.array_equal(order, np.arange(len(order)))


def _output_order(network: Network, layer: Layer, inputs: Order) -> Order:
    """Return the order of a layer's outputs after its inputs have been reordered.

    Raises:
        PlanError: the outputs are not a permutation of the old ones, and no array can correct that.
    """
    plain = np.arange(layer.out_shape.c)
    if _is_plain(inputs):
        return plain
    if makes_channels(layer):
        if not any(slot.in_axis is not None for slot in layer.slots):
            raise _bound_to_colours(network, layer)
        return plain
    ties = layer.spec.ties(layer.in_shapes)
    if layer.spec.locks_inputs(layer.in_shapes) or ties.shape[1] > 1:
        raise _bound_to_colours(network, layer)
    return _partners(network, layer, ties[:, 0], inputs)


def _partners(network: Network, layer: Layer, sources: Order, inputs: Order) -> Order:
    """Return for the n-th output of each input channel the n-th output of its new content."""
    outputs = {source: np.flatnonzero(sources == source) for source in set(sources.tolist())}
    order = np.empty(len(sources), np.int64)
    for source, own in outputs.items():
        partners = outputs.get(int(inputs[source]), own[:0])
        if source < 0 or len(partners) != len(own):
            raise _bound_to_colours(network, layer)
        order[own] = partners
    return order


def _bound_to_colours(network: Network, layer: Layer) -> PlanError:
    return PlanError(
        "its values depend on the order of the input's colours in a way that no array can mend",
        where=network.where(layer.index),
        hint="swap the colours of the pictures",
    )


def _check_shared(
    network: Network, layer: Layer, inputs: Order, orders: Mapping[int, Order]
) -> None:
    """Raise an error unless layers that share arrays need the same new order."""
    if layer.shared is None:
        return
    if not np.array_equal(inputs, inputs_of(network.layers[layer.shared], orders)):
        raise _bound_to_colours(network, layer)


def _reordered(array: Array, slot: Slot, layer: Layer, inputs: Order, outputs: Order) -> Array:
    changed = array
    for axis, order in ((slot.in_axis, inputs), (slot.out_axis, outputs)):
        if axis is None or _is_plain(order):
            continue
        block = array.shape[axis] // len(order)  # values per channel of a flattened map
        index = (order[:, None] * block + np.arange(block)).ravel()
        changed = np.take(changed, index, axis=axis)
    return array if changed is array else frozen(changed)
