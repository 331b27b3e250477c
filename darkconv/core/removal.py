"""Removal of channels: each array is indexed once along its output and input axes.

The caller decides which channels to remove for the layers that make channels. What the other layers
lose follows from their ties.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array, Model
from darkconv.core.network import NETWORK_INPUT, Layer, Network
from darkconv.core.section import Config
from darkconv.core.spec import Slot
from darkconv.core.unchanging import frozen
from darkconv.errors import PlanError

Channels = npt.NDArray[np.int64]


def keep_channels(
    model: Model,
    kept: Mapping[int, Channels],
    *,
    options: Mapping[int, Mapping[str, object]] | None = None,
) -> Model:
    """Return a model whose layers keep only some of their output channels, in the given order.

    Args:
        model: the original model, which stays unchanged.
        kept: indices (from 0) of the output channels to keep, by layer index, for layers that make
            their own channels; for plain vectors, indices of the values. Layers not named keep all.
        options: further options to edit, by layer index: those that a head needs for other
            channels.

    Raises:
        PlanError: a layer does not make its channels, an index does not exist, or channels that
            belong together would be separated.
        GraphError: a head would lose channels without further options for it.
    """
    network = model.network
    channels = surviving_channels(network, kept)
    arrays = dict(model.arrays)
    for layer in network.layers:
        outputs, inputs = channels[layer.index], inputs_of(layer, channels)
        for slot in layer.slots:
            key = f"{layer.index}.{slot.name}"
            arrays[key] = _cut(arrays[key], slot, layer, outputs, inputs)
    counts = {index: len(stay) for index, stay in channels.items()}
    return replace(model, network=resized(network, counts, options=options), arrays=arrays)


def resized(
    network: Network,
    counts: Mapping[int, int],
    *,
    options: Mapping[int, Mapping[str, object]] | None = None,
) -> Network:
    """Return the network with other numbers of output channels.

    Args:
        network: the original network.
        counts: number of output channels of every layer, by layer index.
        options: further options to edit, by layer index.
    """
    config = network.config
    for layer in network.layers:
        config = _edited(config, layer, counts[layer.index])
        config = config.with_section(layer.index + 1, (options or {}).get(layer.index, {}))
    return network.with_config(config)


def surviving_channels(network: Network, kept: Mapping[int, Channels]) -> dict[int, Channels]:
    """Return the output channels of each layer that are kept, in their new order.

    Args:
        network: the original network.
        kept: indices (from 0) of the output channels to keep, by layer index; see `keep_channels`.

    Returns:
        int64 arrays of channel indices by layer index; -1 is the network input.

    Raises:
        PlanError: see `keep_channels`.
    """
    channels = {NETWORK_INPUT: np.arange(network.input_shape.c)}
    for layer in network.layers:
        ties = layer.spec.ties(layer.in_shapes)
        if ties.shape[1] == 0:
            channels[layer.index] = _own_channels(network, layer, kept.get(layer.index))
        elif layer.index in kept:
            raise PlanError("does not make its channels", where=network.where(layer.index))
        else:
            channels[layer.index] = _tied_channels(network, layer, inputs_of(layer, channels))
        _check_bound(network, layer, channels)
    return channels


def _check_bound(network: Network, layer: Layer, channels: Mapping[int, Channels]) -> None:
    """Raise an error if a removal separates channels that are bound but share no output."""
    bound = layer.spec.bound_inputs(layer.in_shapes)
    if layer.shared is None and not bound.size:
        return
    inputs = inputs_of(layer, channels)
    stays = np.isin(bound, inputs)
    if (stays.any(axis=1) != stays.all(axis=1)).any():
        raise PlanError(
            "its slices would be of unlike length",
            where=network.where(layer.index, "groups"),
        )
    if layer.shared is None:
        return
    lender = network.layers[layer.shared]
    same = np.array_equal(channels[layer.index], channels[lender.index])
    if not same or not np.array_equal(inputs, inputs_of(lender, channels)):
        raise PlanError(
            f"shares arrays with layer {lender.index}, which would keep other channels",
            where=network.where(layer.index, "share_index"),
        )


def inputs_of(layer: Layer, channels: Mapping[int, Channels]) -> Channels:
    """Return the input channels of a layer that are kept.

    Args:
        layer: the layer that reads the channels.
        channels: kept output channels by layer index; -1 is the network input.

    Returns:
        int64 indices (from 0) into the channels of all inputs, concatenated.
    """
    starts = np.cumsum([0, *(shape.c for shape in layer.in_shapes)])
    parts = [channels[s] + start for s, start in zip(layer.sources, starts[:-1], strict=True)]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _own_channels(network: Network, layer: Layer, kept: Channels | None) -> Channels:
    total = layer.out_shape.c
    if kept is None:
        return np.arange(total)
    known = kept[(kept >= 0) & (kept < total)]
    if not len(kept) or np.count_nonzero(np.bincount(known, minlength=total)) < len(kept):
        raise PlanError(
            where=network.where(layer.index),
            expected=f"different channels from 0 to {total - 1}, at least one",
            found=kept.tolist()[:10] or "none",
        )
    return kept


def _tied_channels(network: Network, layer: Layer, inputs: Channels) -> Channels:
    """Return the output channels that keep all their input channels, in the order of the inputs."""
    ties = layer.spec.ties(layer.in_shapes)
    place = np.full(sum(shape.c for shape in layer.in_shapes) + 1, -1)
    place[inputs] = np.arange(len(inputs))
    is_bound = ties >= 0
    stays = is_bound & (place[ties] >= 0)
    whole = (stays == is_bound).all(axis=1)
    if (stays.any(axis=1) & ~whole).any():
        split = int(np.flatnonzero(stays.any(axis=1) & ~whole)[0])
        raise PlanError(
            f"channel {split} needs input channels of which only some stay",
            where=network.where(layer.index),
        )
    outputs = np.flatnonzero(whole)
    if (np.diff(inputs) > 0).all():
        return outputs
    outputs = outputs[np.argsort(place[ties[outputs, 0]], kind="stable")]
    if not is_bound[outputs].all() or (np.diff(place[ties[outputs]], axis=0) < 0).any():
        raise PlanError("cannot reorder channels", where=network.where(layer.index))
    return outputs


def _edited(config: Config, layer: Layer, outputs: int) -> Config:
    if outputs == layer.out_shape.c:
        return config
    return config.with_section(layer.index + 1, layer.spec.count_options(outputs))


def _cut(array: Array, slot: Slot, layer: Layer, outputs: Channels, inputs: Channels) -> Array:
    """Return an array without the entries of removed channels."""
    changed = array
    if slot.out_axis is not None:
        changed = _taken(changed, slot.out_axis, outputs, layer.out_shape.c)
    if slot.in_axis is not None:
        total = sum(shape.c for shape in layer.in_shapes)
        changed = _taken(changed, slot.in_axis, inputs, total)
    return array if changed is array else frozen(changed)


def _taken(array: Array, axis: int, kept: Channels, total: int) -> Array:
    """Return the entries of the kept channels; for a flattened feature map, the block of each."""
    if np.array_equal(kept, np.arange(total)):
        return array
    block = array.shape[axis] // total
    index = (kept[:, None] * block + np.arange(block)).ravel()
    taken: Array = np.take(array, index, axis=axis)
    return taken
