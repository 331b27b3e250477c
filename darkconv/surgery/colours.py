"""swap_rgb: the same model for pictures whose colours come in the other order."""

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
"""(channels,) which old channel stands in each place now."""

SWAPPED = (2, 1, 0)


def swap_rgb(model: Model) -> Model:
    """A model that gives for BGR pictures what the original gives for RGB ones, or back.

    The first and third input channels are exchanged in the arrays of every layer that reads
    the colours, also behind layers that keep them apart ([crop], [batchnorm], a convolution
    with groups ...).

    Raises:
        PlanError: the input has not three channels, or a layer reads colours in a way that
            no exchange of array entries can undo.
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
    """How a layer's outputs stand after its inputs have been reordered.

    Raises:
        PlanError: the outputs are not the old ones in any order, and no array can mend it.
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
    """For the n-th output of each input channel the n-th output of its new content."""
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
    """Arrays that layers share must be reordered in the same way for all of them."""
    if layer.shared is None:
        return
    if not np.array_equal(inputs, inputs_of(network.layers[layer.shared], orders)):
        raise _bound_to_colours(network, layer)


def _reordered(array: Array, slot: Slot, layer: Layer, inputs: Order, outputs: Order) -> Array:
    changed = array
    for axis, order in ((slot.in_axis, inputs), (slot.out_axis, outputs)):
        if axis is None or _is_plain(order):
            continue
        block = array.shape[axis] // len(order)  # of flattened maps: the values of a channel
        index = (order[:, None] * block + np.arange(block)).ravel()
        changed = np.take(changed, index, axis=axis)
    return array if changed is array else frozen(changed)
