"""Walking through networks layer by layer, with the feature maps of all pictures at hand."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from darkconv.backends.torch import DarknetModule
from darkconv.backends.torch.network import run_layer
from darkconv.core.network import Layer, Network
from darkconv.core.processes import Processes
from darkconv.core.spreading import evenly_spread
from darkconv.errors import DatasetError
from darkconv.layers.conv import Convolutional
from darkconv.profiling.loader import Batch, Image, load_batches, own_share

logger = logging.getLogger("darkconv")

POSITIONS = 60_000
"""Output pixels, over all pictures, that a layer's equations are about."""
MOST_VALUES = 1 << 26
"""Values of the windows at these pixels, at most: wide layers take fewer pixels."""
MEMORY = 2 << 30
"""Bytes of feature maps that are held at a time."""
RIDGE = 1e-3
"""How much change of a weight costs, as a share of the inputs' mean variance."""
BATCH = 8


def affordable(network: Network, images: Sequence[Image], memory: int) -> Sequence[Image]:
    """As many of the pictures as can be held, evenly spread."""
    count = max(1, memory // (8 * _most_alive(network)))
    if count < len(images):
        logger.info("refitting on %d of %d pictures, for want of memory", count, len(images))
    return evenly_spread(images, count)


def last_readers(network: Network) -> dict[int, int]:
    """The last layer that reads each layer, or the input (-1)."""
    return {source: layer.index for layer in network.layers for source in layer.sources}


def _most_alive(network: Network) -> int:
    """Values of one picture that layers still to come can read, at most."""
    last = last_readers(network)
    alive, most = {-1: network.input_shape.size}, 0
    for layer in network.layers:
        alive[layer.index] = layer.out_shape.size
        most = max(most, sum(alive.values()))
        alive = {i: size for i, size in alive.items() if last.get(i, -1) > layer.index}
    return most


@dataclass(frozen=True)
class Sampling:
    """Which output pixels of a layer count.

    Attributes:
        positions: at most so many over all pictures.
        seed: of the choice.
    """

    positions: int
    seed: int

    def draw(self, layer: Layer, pictures: int) -> Tensor:
        """(pictures, k) numbers of pixels of the layer's own convolution, row by row.

        Args:
            layer: whose output it is.
            pictures: how many all processes have together.
        """
        spec = layer.spec
        assert isinstance(spec, Convolutional)
        height, width = _unblurred(layer)
        wanted = min(self.positions, MOST_VALUES // (layer.in_shapes[0].c * spec.size**2))
        count = min(height * width, max(1, wanted // pictures))
        stream = torch.Generator().manual_seed(self.seed * 1_000_003 + layer.index)
        noise = torch.rand(pictures, height * width, generator=stream)
        return noise.argsort(1)[:, :count]


def _unblurred(layer: Layer) -> tuple[int, int]:
    """Height and width of a convolution's map, before the blur of `antialiasing`."""
    spec, shape = layer.spec, layer.in_shapes[0]
    assert isinstance(spec, Convolutional)
    if not spec.antialiasing:
        return layer.out_shape.h, layer.out_shape.w
    grown = 2 * spec.border - spec.size + 1
    return shape.h + grown, shape.w + grown


@dataclass(frozen=True, eq=False)
class Share:
    """The pictures of this process, among those of all that work together.

    Attributes:
        x: (n, C, H, W) as network input, then their mirror images.
        rows: (n,) their places among the pictures of all processes.
        total: how many these are.
        processes: that work together.
    """

    x: Tensor
    rows: Tensor
    total: int
    processes: Processes

    @classmethod
    def of(
        cls, batches: Sequence[Batch], network: Network, processes: Processes, *, mirror: bool
    ) -> "Share":
        """Return the share of a process that has read some pictures.

        Raises:
            DatasetError: no process could read any.
        """
        numbers = np.concatenate([np.empty(0, np.int64), *(one.numbers for one in batches)])
        every = np.sort(np.concatenate(processes.gather(numbers)))
        if not len(every):
            raise DatasetError("no picture could be read")
        empty = torch.empty(0, *network.input_shape)
        x = torch.cat([empty, *(torch.from_numpy(one.x) for one in batches)])
        rows = torch.from_numpy(np.searchsorted(every, numbers))
        if mirror:
            x, rows = torch.cat([x, x.flip(3)]), torch.cat([rows, rows + len(every)])
        return cls(x, rows, len(every) * (2 if mirror else 1), processes)

    def summed(self, own: Tensor) -> Tensor:
        """Return the sum of what the processes have; all must call it."""
        if self.processes.world == 1:
            return own
        distributed = torch.distributed
        place = own.device if distributed.get_backend() == "nccl" else torch.device("cpu")
        total = own.to(place, copy=True)
        distributed.all_reduce(total)
        return total.to(own.device)


def read_share(
    network: Network,
    images: Sequence[Image],
    processes: Processes,
    *,
    mirror: bool,
    memory: int,
    batch: int,
    resize: str | None,
    unreadable: str,
) -> Share:
    """Read this process's share of as many pictures as memory suffices for.

    Args:
        network: that the pictures are fitted to.
        images: of all processes.
        processes: that work together.
        mirror: whether each picture's mirror image is used too.
        memory: see `MEMORY`.
        batch: pictures that are run together.
        resize: see `load_batches`.
        unreadable: see there.

    Raises:
        DatasetError: no picture could be read.
    """
    chosen = affordable(network, images, memory // (2 if mirror else 1))
    mine = own_share(processes, len(chosen), min(batch, 2 * len(chosen)))
    parts = load_batches(
        network,
        chosen,
        size=min(batch, 2 * len(chosen)),
        numbers=mine,
        resize=resize,
        unreadable=unreadable,
    )
    return Share.of(list(parts), network, processes, mirror=mirror)


def run_batched(
    side: DarknetModule, layer: Layer, inputs: Sequence[Tensor], x: Tensor, batch: int
) -> Tensor:
    """A layer's values for all pictures of this process."""
    module, done = side.layers[layer.index], []
    for start in range(0, max(len(x), 1), batch):
        side.reset_state()
        some = [value[start : start + batch] for value in inputs]
        done.append(run_layer(module, some, x[start : start + batch]))
    return torch.cat(done)
