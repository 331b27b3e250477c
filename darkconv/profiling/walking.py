"""Running networks layer by layer, with the feature maps of all pictures in memory."""

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
"""Number of output pixels, over all pictures, in the equations of a layer."""
MOST_VALUES = 1 << 26
"""Largest number of values in the windows at these pixels: wide layers take fewer pixels."""
MEMORY = 2 << 30
"""Bytes of feature maps that are held at a time."""
RIDGE = 1e-3
"""Penalty on a squared change of a weight, as a share of the inputs' mean variance."""
BATCH = 8


def affordable(network: Network, images: Sequence[Image], memory: int) -> Sequence[Image]:
    """Return as many of the pictures as fit in memory, evenly spread.

    Args:
        network: network whose feature maps are held.
        images: all pictures.
        memory: bytes for the feature maps, in two networks.
    """
    count = max(1, memory // (8 * _most_alive(network)))
    if count < len(images):
        logger.info("refitting on %d of %d pictures, for want of memory", count, len(images))
    return evenly_spread(images, count)


def last_readers(network: Network) -> dict[int, int]:
    """Return the index of the last layer that reads each layer, or the input (-1).

    Args:
        network: network whose layers they are.
    """
    return {source: layer.index for layer in network.layers for source in layer.sources}


def _most_alive(network: Network) -> int:
    """Return the largest number of values of one picture that later layers still read."""
    last = last_readers(network)
    alive, most = {-1: network.input_shape.size}, 0
    for layer in network.layers:
        alive[layer.index] = layer.out_shape.size
        most = max(most, sum(alive.values()))
        alive = {i: size for i, size in alive.items() if last.get(i, -1) > layer.index}
    return most


@dataclass(frozen=True)
class Sampling:
    """The choice of output pixels of a layer.

    Attributes:
        positions: largest number of pixels over all pictures.
        seed: seed of the choice.
    """

    positions: int
    seed: int

    def draw(self, layer: Layer, pictures: int) -> Tensor:
        """Draw numbers (pictures, k) of pixels of the layer's own convolution, row by row from 0.

        Args:
            layer: [convolutional] layer.
            pictures: number of pictures of all processes together.
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
    """Return height and width of a convolution's output, before the blur of `antialiasing`."""
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
        x: (n, C, H, W) pictures as network input, followed by their mirror images if these are
            used.
        rows: (n,) their indices among the pictures of all processes.
        total: number of pictures of all processes, mirror images included.
        processes: processes that work together.
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

        Args:
            batches: pictures of this process.
            network: network whose input they are.
            processes: processes that work together; all must call it.
            mirror: add each picture's mirror image.

        Raises:
            DatasetError: no process could read a picture.
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
        """Return the sum of a tensor over the processes; all must call it.

        Args:
            own: tensor of this process, of the same shape in all.
        """
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
    """Read this process's share of as many pictures as fit in memory.

    Args:
        network: network whose input size the pictures are fitted to.
        images: pictures of all processes.
        processes: processes that work together.
        mirror: use each picture's mirror image too.
        memory: bytes of feature maps that are held at a time.
        batch: number of pictures that are run together.
        resize: "stretch" or "letterbox"; None for what the network says.
        unreadable: "skip" or "raise", see `load_batches`.

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
    """Compute a layer's output for all pictures of this process.

    Args:
        side: module of the network.
        layer: layer of the network.
        inputs: its inputs (n, ...).
        x: (n, C, H, W) the network's input.
        batch: number of pictures that are run together.
    """
    module, done = side.layers[layer.index], []
    for start in range(0, max(len(x), 1), batch):
        side.reset_state()
        some = [value[start : start + batch] for value in inputs]
        done.append(run_layer(module, some, x[start : start + batch]))
    return torch.cat(done)
