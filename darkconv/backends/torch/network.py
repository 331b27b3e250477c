"""A network as a PyTorch module."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from darkconv.backends.torch.recurrent import Recurrent
from darkconv.backends.torch.registry import BUILDERS
from darkconv.core.model import Header
from darkconv.core.names import NO_NAMES
from darkconv.core.network import NETWORK_INPUT, Network

Step = tuple[int, nn.Module, tuple[int, ...], tuple[int, ...]]
"""Index of a layer, its module, indices of its inputs, and of the values not needed after it."""


@dataclass(frozen=True, eq=False)
class PartialNetwork:
    """The layers of a module that some values need, in the order in which they run.

    Attributes:
        wanted: indices of the layers whose values are returned; -1 is the network input.
        steps: layers that run, in order.
    """

    wanted: tuple[int, ...]
    steps: tuple[Step, ...]

    def run(self, x: Tensor) -> dict[int, Tensor]:
        """Compute the values of the wanted layers.

        Args:
            x: network input, (N, C, H, W) or (N, inputs).

        Returns:
            Values by layer index.
        """
        values: dict[int, Tensor] = {NETWORK_INPUT: x}
        for index, module, sources, done in self.steps:
            values[index] = run_layer(module, [values[i] for i in sources], x)
            for source in done:
                del values[source]
        return {index: values[index] for index in self.wanted}


class DarknetModule(nn.Module):
    """A Darknet network in PyTorch.

    `module(x)` takes float32 pictures (N, C, H, W), RGB in 0..1, or vectors (N, inputs). It returns
    a tuple with one tensor for each output of the network (its heads, or else its last layer),
    activated as in the C program: (N, C, H, W) or (N, values). Fully convolutional networks also
    take other sizes than the cfg's.

    `to_torch` builds it in evaluation mode, with parameters that take no gradient; the first
    `train()` makes them trainable.

    Args:
        network: network that it computes; the values of the parameters follow later.

    Attributes:
        network: network that it computes.
        layers: one module for each Darknet layer, by its index from 0.
        header: header of the weights file, for writing it again.
        names: class names.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.header = Header.new(network.dialect)
        self.names = NO_NAMES
        self.layers = nn.ModuleList(BUILDERS[layer](layer, network) for layer in network.layers)
        self._is_trainable = False
        self._whole = self._part(network.outputs)
        self._parts: dict[tuple[int, ...], PartialNetwork] = {}
        self._all_steps: tuple[Step, ...] = ()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the values of the network's outputs."""
        values = self._whole.run(x)
        return tuple(values[index] for index in self.network.outputs)

    def select(self, x: Tensor, wanted: Collection[int]) -> dict[int, Tensor]:
        """Compute the values of some layers; layers that none of them needs do not run.

        Args:
            x: network input, (N, C, H, W) or (N, inputs).
            wanted: indices of the layers as Darknet counts them, from 0; -1 is the network input.

        Returns:
            Values by layer index.
        """
        return self.part(wanted).run(x)

    def part(self, wanted: Collection[int]) -> PartialNetwork:
        """Return the layers that `select` runs.

        Args:
            wanted: indices of the layers whose values are needed; -1 is the network input.
        """
        key = tuple(sorted(wanted))
        if key not in self._parts:
            self._parts[key] = self._part(key)
        return self._parts[key]

    def _part(self, wanted: tuple[int, ...]) -> PartialNetwork:
        layers = [index for index in wanted if index != NETWORK_INPUT]
        return PartialNetwork(wanted, _plan(self.network, self.layers, layers, keep=wanted))

    def trace(self, x: Tensor) -> list[Tensor]:
        """Compute the value of every layer, and return them by index.

        Args:
            x: network input, (N, C, H, W) or (N, inputs).
        """
        return [value for _, value in self.walk(x)]

    def walk(self, x: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield the index and the value of each layer in turn, and keep it only while it is needed.

        Args:
            x: network input, (N, C, H, W) or (N, inputs).
        """
        if not self._all_steps:
            every = range(len(self.layers))
            self._all_steps = _plan(self.network, self.layers, every, keep=self.network.outputs)
        values: dict[int, Tensor] = {NETWORK_INPUT: x}
        for index, module, sources, done in self._all_steps:
            values[index] = run_layer(module, [values[i] for i in sources], x)
            yield index, values[index]
            for source in done:
                del values[source]

    def reset_state(self) -> None:
        """Let recurrent layers start from zero at the next call."""
        for layer in self.layers:
            if isinstance(layer, Recurrent):
                layer.reset_state()

    def channels_last(self) -> Self:
        """Lay out the weights of four axes in channels-last memory (NHWC).

        `to(memory_format=)` is not used: it takes the weights of [local], which have five axes, for
        those of a 3D convolution.

        Returns:
            The module itself.
        """
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return self

    def train(self, mode: bool = True) -> Self:
        """Switch between training and evaluation mode; training makes parameters trainable.

        The parameters then also move from the map of a file into PyTorch's own memory: the memory
        address of the weights decides the last bits of some products.

        Args:
            mode: True for training, False for evaluation.

        Returns:
            The module itself.
        """
        if mode and not self._is_trainable:
            self._is_trainable = True
            for parameter in self.parameters():
                if not parameter.data.untyped_storage().resizable():
                    parameter.data = parameter.data.clone()
                parameter.requires_grad_(True)
        return super().train(mode)


def run_layer(module: nn.Module, inputs: list[Tensor], x: Tensor) -> Tensor:
    """Return the value of a layer; a layer that reads no other gets the batch size.

    Args:
        module: module of the layer.
        inputs: values of the layers that it reads, batch first.
        x: network input, which tells the batch size.
    """
    out: Tensor = module(*inputs) if inputs else module(x.shape[0])
    return out


def _plan(
    network: Network, modules: nn.ModuleList, wanted: Iterable[int], *, keep: Iterable[int]
) -> tuple[Step, ...]:
    """Return the layers that those wanted need, each with the values not needed after it."""
    needed = network.needed_layers(wanted)
    last_reader = {source: index for index in needed for source in network.layers[index].sources}
    done: dict[int, list[int]] = {index: [] for index in needed}
    for source in last_reader.keys() - {*keep, NETWORK_INPUT}:
        done[last_reader[source]].append(source)
    modules_of = list(modules)
    return tuple(
        (index, modules_of[index], network.layers[index].sources, tuple(done[index]))
        for index in needed
    )
