"""Channel classes: which channels, over several layers, can only live or die together.

Every channel of every layer's output is a variable. Layers either make channels of their own or
say how their outputs are bound to their inputs; united along these ties, the variables fall into
classes. A class is locked where a channel in it has a meaning by its number.
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
    """Why a class cannot go.

    Attributes:
        layer: whose doing it is; -1 is the network's input.
        reason: in words.
    """

    layer: int
    reason: str


@dataclass(frozen=True, eq=False)
class ChannelClasses:
    """The classes of a network, numbered from 0.

    Attributes:
        network: whose channels they are.
        labels: (channels,) class of each channel; the input's channels first, then each
            layer's in order. Of plain vectors every value counts.
        locks: for each locked class, why.
    """

    network: Network
    labels: Indices
    locks: Mapping[int, Lock]

    @cached_property
    def starts(self) -> Mapping[int, int]:
        """Where the channels of each layer, and of the input, begin in `labels`."""
        return channel_starts(self.network)

    @property
    def count(self) -> int:
        """Number of classes."""
        return int(self.labels.max(initial=-1)) + 1

    def of(self, layer: int) -> Indices:
        """(out_channels,) classes of a layer's channels."""
        start = self.starts[layer]
        shape = self.network.input_shape if layer < 0 else self.network.shapes[layer]
        return self.labels[start : start + shape.c]

    @cached_property
    def makers(self) -> tuple[Layer, ...]:
        """The layers that make channels of their own."""
        return tuple(layer for layer in self.network.layers if makes_channels(layer))

    @cached_property
    def free(self) -> npt.NDArray[np.bool_]:
        """(classes,) whether a class can go: not locked, and some layer makes its channels."""
        made = np.zeros(self.count, bool)
        for layer in self.makers:
            made[self.of(layer.index)] = True
        made[list(self.locks)] = False
        free: npt.NDArray[np.bool_] = made
        return free

    def kept(self, removed: npt.NDArray[np.bool_]) -> dict[int, Indices]:
        """Output channels that stay, for every layer that loses some.

        Args:
            removed: (classes,) which classes go.
        """
        stays = {layer.index: ~removed[self.of(layer.index)] for layer in self.network.layers}
        return {index: np.flatnonzero(mask) for index, mask in stays.items() if not mask.all()}


def makes_channels(layer: Layer) -> bool:
    """Whether a layer's output channels are its own."""
    columns: int = layer.spec.ties(layer.in_shapes).shape[1]
    return columns == 0


def channel_starts(network: Network) -> dict[int, int]:
    """First number of each layer's channels; the input's come first."""
    starts, position = {NETWORK_INPUT: 0}, network.input_shape.c
    for layer in network.layers:
        starts[layer.index] = position
        position += layer.out_shape.c
    return starts


def find_classes(network: Network) -> ChannelClasses:
    """Unite the channels of a network along the ties of its layers."""
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
    """(n, 2) numbers of channels that belong together."""
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
    """Numbers of a layer's input channels, its inputs laid end to end."""
    parts = [
        np.arange(shape.c) + starts[source]
        for source, shape in zip(layer.sources, layer.in_shapes, strict=True)
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _sharing_pairs(
    network: Network, borrower: Layer, lender: Layer, starts: Mapping[int, int]
) -> Iterator[Indices]:
    """Layers with the same arrays lose the same rows and columns."""
    channels = np.arange(borrower.out_shape.c)
    own, lent = (channels + starts[layer.index] for layer in (borrower, lender))
    yield np.stack([own, lent], axis=1)
    yield np.stack([input_numbers(layer, starts) for layer in (borrower, lender)], axis=1)


def components(total: int, pairs: Indices) -> Indices:
    """Label of each of `total` nodes: equal where edges join them, 0 upwards.

    Each round takes the smallest label over every edge and halves the paths.
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
    """Layers none of whose output channels can go, with the reason."""
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
