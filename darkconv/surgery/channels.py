"""Channel groups: channels of one or several layers that can only live or die together.

Every output channel of every layer is a variable. A layer either makes its own channels, or states
how its output channels are tied to its input channels. The variables connected by such ties form a
channel group; the code calls it a class. A group is locked if the meaning of one of its channels
depends on its index.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from darkconv.core.network import NETWORK_INPUT, Layer, Network

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Lock:
    """The reason why a channel group cannot be removed.

    Attributes:
        layer: index of the layer that causes it; -1 is the network input.
        reason: the reason, as text.
    """

    layer: int
    reason: str


@dataclass(frozen=True, eq=False)
class ChannelClasses:
    """The channel groups of a network, numbered from 0.

    Attributes:
        network: the network of the channels.
        labels: int64 (channels,) channel group of each channel: first the channels of the input,
            then those of each layer in order. Every value of a plain vector is a channel.
        locks: the reason for each locked group.
    """

    network: Network
    labels: Indices
    locks: Mapping[int, Lock]

    @cached_property
    def starts(self) -> Mapping[int, int]:
        """Return where the channels of each layer begin in `labels`; -1 is the network input."""
        return channel_starts(self.network)

    @property
    def count(self) -> int:
        """Return the number of channel groups."""
        return int(self.labels.max(initial=-1)) + 1

    def of(self, layer: int) -> Indices:
        """Return the channel groups of a layer's output channels.

        Args:
            layer: layer index, from 0; -1 is the network input.

        Returns:
            int64 (out_channels,).
        """
        start = self.starts[layer]
        shape = self.network.input_shape if layer < 0 else self.network.shapes[layer]
        return self.labels[start : start + shape.c]

    @cached_property
    def makers(self) -> tuple[Layer, ...]:
        """Return the layers that make their own channels."""
        return tuple(layer for layer in self.network.layers if makes_channels(layer))

    @cached_property
    def free(self) -> npt.NDArray[np.bool_]:
        """Return (groups,) True for groups that can be removed.

        Such a group is not locked, and some layer makes its channels.
        """
        made = np.zeros(self.count, bool)
        for layer in self.makers:
            made[self.of(layer.index)] = True
        made[list(self.locks)] = False
        free: npt.NDArray[np.bool_] = made
        return free

    def kept(self, removed: npt.NDArray[np.bool_]) -> dict[int, Indices]:
        """Return the output channels that remain, for every layer that loses some.

        Args:
            removed: boolean (groups,), True for removed ones.

        Returns:
            int64 channel indices (from 0) by layer index.
        """
        stays = {layer.index: ~removed[self.of(layer.index)] for layer in self.network.layers}
        return {index: np.flatnonzero(mask) for index, mask in stays.items() if not mask.all()}


def makes_channels(layer: Layer) -> bool:
    """Return True if a layer makes its own output channels.

    Args:
        layer: the layer to examine.
    """
    columns: int = layer.spec.ties(layer.in_shapes).shape[1]
    return columns == 0


def channel_starts(network: Network) -> dict[int, int]:
    """Return the number of each layer's first channel, when all channels are numbered in order.

    Args:
        network: the network whose channels are numbered.

    Returns:
        Channel numbers by layer index; the input has index -1 and comes first.
    """
    starts, position = {NETWORK_INPUT: 0}, network.input_shape.c
    for layer in network.layers:
        starts[layer.index] = position
        position += layer.out_shape.c
    return starts


def find_classes(network: Network) -> ChannelClasses:
    """Find the channel groups of a network from the ties of its layers.

    Args:
        network: the network to examine.
    """
    starts = channel_starts(network)
    total = starts[len(network.layers) - 1] + network.layers[-1].out_shape.c
    pairs = np.concatenate([np.empty((0, 2), np.int64), *_pairs(network, starts)])
    labels = components(total, pairs)
    classes = ChannelClasses(network, labels, {})
    locks: dict[int, Lock] = {}
    for source, lock in _locked_layers(network):
        for label in np.unique(classes.of(source)).tolist():
            locks.setdefault(label, lock)
    return ChannelClasses(network, labels, locks)


def _pairs(network: Network, starts: Mapping[int, int]) -> Iterator[Indices]:
    """Yield (n, 2) numbers of channels that belong together."""
    for layer in network.layers:
        inputs = input_numbers(layer, starts)
        outputs = np.arange(layer.out_shape.c) + starts[layer.index]
        ties = layer.spec.ties(layer.in_shapes)
        for column in ties.T:
            bound = column >= 0
            yield np.stack([outputs[bound], inputs[column[bound]]], axis=1)
        for first, *others in layer.spec.bound_inputs(layer.in_shapes):
            yield np.array([(inputs[first], inputs[other]) for other in others]).reshape(-1, 2)
        if layer.shared is not None:
            yield from _sharing_pairs(network, layer, network.layers[layer.shared], starts)


def input_numbers(layer: Layer, starts: Mapping[int, int]) -> Indices:
    """Return the numbers of a layer's input channels, those of all inputs concatenated.

    Args:
        layer: the layer that reads the channels.
        starts: see `channel_starts`.

    Returns:
        int64 (in_channels,).
    """
    parts = [
        np.arange(shape.c) + starts[source]
        for source, shape in zip(layer.sources, layer.in_shapes, strict=True)
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _sharing_pairs(
    network: Network, borrower: Layer, lender: Layer, starts: Mapping[int, int]
) -> Iterator[Indices]:
    """Yield pairs of channels of two layers with the same arrays, which lose the same channels."""
    channels = np.arange(borrower.out_shape.c)
    own, lent = (channels + starts[layer.index] for layer in (borrower, lender))
    yield np.stack([own, lent], axis=1)
    yield np.stack([input_numbers(layer, starts) for layer in (borrower, lender)], axis=1)


def components(total: int, pairs: Indices) -> Indices:
    """Return the connected component of each node of a graph, numbered from 0.

    Each round takes the smallest label over every edge and halves the paths.

    Args:
        total: number of nodes.
        pairs: int64 (edges, 2) node indices, from 0.

    Returns:
        int64 (total,).
    """
    labels = np.arange(total)
    while len(pairs):
        least = labels[pairs].min(axis=1)
        np.minimum.at(labels, labels[pairs[:, 0]], least)
        np.minimum.at(labels, labels[pairs[:, 1]], least)
        while (labels[labels] != labels).any():
            labels = labels[labels]
        pairs = pairs[labels[pairs[:, 0]] != labels[pairs[:, 1]]]
    return np.unique(labels, return_inverse=True)[1]


def _locked_layers(network: Network) -> Iterator[tuple[int, Lock]]:
    """Yield the layers of which no output channel can be removed, with the reason."""
    yield NETWORK_INPUT, Lock(NETWORK_INPUT, "they are the network's input")
    for index in network.outputs:
        yield index, Lock(index, "they are the network's result")
    for layer in network.layers:
        mixed = _mixing_activation(layer)
        outputs = layer.spec.locks_outputs() or mixed
        if outputs:
            yield layer.index, Lock(layer.index, outputs)
        inputs = layer.spec.locks_inputs(layer.in_shapes) or (
            "" if makes_channels(layer) else mixed
        )
        if inputs:
            yield from ((source, Lock(layer.index, inputs)) for source in layer.sources)


def _mixing_activation(layer: Layer) -> str:
    name = str(getattr(layer.spec, "activation", ""))
    return f"{name} divides channels by their sum" if name.startswith("normalize_channels") else ""
