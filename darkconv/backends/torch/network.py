"""DarknetModule: a network as an nn.Module, and its arrays in and out."""

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
"""Layer, its module, the layers it reads, and those that nobody reads afterwards."""


@dataclass(frozen=True, eq=False)
class Part:
    """The layers of a module that some values need, in order.

    Attributes:
        wanted: numbers of the layers whose values are given; -1 is the input itself.
        steps: the layers that run.
    """

    wanted: tuple[int, ...]
    steps: tuple[Step, ...]

    def run(self, x: Tensor) -> dict[int, Tensor]:
        """The values, by number."""
        values: dict[int, Tensor] = {NETWORK_INPUT: x}
        for index, module, sources, done in self.steps:
            values[index] = run_layer(module, [values[i] for i in sources], x)
            for source in done:
                del values[source]
        return {index: values[index] for index in self.wanted}


class DarknetModule(nn.Module):
    """A Darknet network in PyTorch.

    `module(x)` takes float32 pictures (N, C, H, W), RGB in 0..1, or vectors (N, inputs), and
    returns a tuple: one tensor for each output of the network (its heads, else its last
    layer), activated as the C program does, (N, C, H, W) or (N, values). Fully convolutional
    networks take other sizes than the cfg's.

    Built by `to_torch`, the module is in evaluation mode and its parameters take no gradient; the
    first `train()` makes them trainable.

    Attributes:
        network: what it was built from.
        layers: one module per Darknet layer, by Darknet's numbers.
        header: of the weights file, for writing back.
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
        self._parts: dict[tuple[int, ...], Part] = {}
        self._all_steps: tuple[Step, ...] = ()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Values of the network's outputs."""
        values = self._whole.run(x)
        return tuple(values[index] for index in self.network.outputs)

    def select(self, x: Tensor, wanted: Collection[int]) -> dict[int, Tensor]:
        """Values of some layers, by Darknet's numbers; layers that none of them needs do not run.

        -1 is the input itself.
        """
        return self.part(wanted).run(x)

    def part(self, wanted: Collection[int]) -> Part:
        """What `select` runs."""
        key = tuple(sorted(wanted))
        if key not in self._parts:
            self._parts[key] = self._part(key)
        return self._parts[key]

    def _part(self, wanted: tuple[int, ...]) -> Part:
        layers = [index for index in wanted if index != NETWORK_INPUT]
        return Part(wanted, _plan(self.network, self.layers, layers, keep=wanted))

    def trace(self, x: Tensor) -> list[Tensor]:
        """Values of every layer."""
        return [value for _, value in self.walk(x)]

    def walk(self, x: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Each layer and its value in turn, kept no longer than other layers read it."""
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
        """Let channels come last in the memory of weights of four axes.

        `to(memory_format=)` takes weights of five axes, as [local] has them, for those of volumes.
        """
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        return self

    def train(self, mode: bool = True) -> Self:
        """Switch mode; the first switch to training makes parameters trainable.

        Then they also move from a file's map into torch's own memory: where weights begin in memory
        decides the last bits of some products.
        """
        if mode and not self._is_trainable:
            self._is_trainable = True
            for parameter in self.parameters():
                if not parameter.data.untyped_storage().resizable():
                    parameter.data = parameter.data.clone()
                parameter.requires_grad_(True)
        return super().train(mode)


def run_layer(module: nn.Module, inputs: list[Tensor], x: Tensor) -> Tensor:
    """Call a layer; one that reads nothing is told the batch size."""
    out: Tensor = module(*inputs) if inputs else module(x.shape[0])
    return out


def _plan(
    network: Network, modules: nn.ModuleList, wanted: Iterable[int], *, keep: Iterable[int]
) -> tuple[Step, ...]:
    """The layers that those wanted need, each with what can be forgotten behind it."""
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
