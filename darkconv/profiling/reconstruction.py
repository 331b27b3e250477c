"""reconstruct: the weights with which a pruned network comes closest to the whole one.

Every convolution gets the weights that give, from the channels that are left, what the original
convolution gives from all of them, in the sense of least squares over some pictures: a system of
linear equations, without labels and without gradient descent. Both networks run side by side, so
a layer makes up for what those before it lost. After He, Zhang, Sun, "Channel pruning for
accelerating very deep neural networks" (2017), and Luo, Wu, Lin, "ThiNet" (2017).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from darkconv.arguments import checked
from darkconv.backends.torch import DarknetModule, from_torch, in_float32, to_torch
from darkconv.backends.torch.conv import Block, Conv2d
from darkconv.backends.torch.device import choose_device
from darkconv.backends.torch.network import run_layer
from darkconv.backends.torch.norm import BatchNorm
from darkconv.core.bounds import require_finite, require_seed
from darkconv.core.model import Model
from darkconv.core.network import Layer, Network
from darkconv.core.processes import Processes, working_together
from darkconv.core.removal import surviving_channels
from darkconv.detection.stream import check_batches
from darkconv.errors import DatasetError, PlanError, Where
from darkconv.layers.conv import Convolutional
from darkconv.profiling.fitting import fit_weights, outputs_at, windows_at
from darkconv.profiling.loader import Batch, Image, Images, load_batches, own_share, picture_list
from darkconv.surgery.checking import checked_keep
from darkconv.surgery.fingerprint import fingerprint
from darkconv.surgery.plan import PrunePlan

logger = logging.getLogger("darkconv")

POSITIONS = 60_000
"""Output pixels, over all pictures, that a layer's equations are about."""
MOST_VALUES = 1 << 26
"""Values of the windows at these pixels, at most: wide layers take fewer pixels."""
RIDGE = 1e-3
"""How much change of a weight costs, as a share of the inputs' mean variance."""
MEMORY = 2 << 30
"""Bytes of feature maps that are held at a time."""
BATCH = 8


@checked
def reconstruct(
    pruned: Model,
    original: Model,
    plan: PrunePlan,
    images: Images,
    *,
    positions: int = POSITIONS,
    ridge: float = RIDGE,
    mirror: bool = True,
    memory: int = MEMORY,
    device: str = "auto",
    batch: int = BATCH,
    resize: str | None = None,
    unreadable: str = "skip",
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Model:
    """Refit the weights of a pruned model to the original's feature maps.

    Changes the kernels of `[convolutional]` layers, and with them `rolling_mean` or, without
    batch norm, `biases`. Layers that share arrays and xnor layers stay as they are. Under torchrun
    the pictures are shared out among the processes, and each gets the same model.

    Args:
        pruned: what `prune` made of the original by the plan.
        original: the whole model.
        plan: says which channels are left.
        images: a source such as a folder, a data set, or a list of files and of 8-bit RGB levels
            (H, W, 3); no labels are needed.
        positions: see `POSITIONS`.
        ridge: see `RIDGE`.
        mirror: use every picture's mirror image too.
        memory: see `MEMORY`; where it does not suffice for all pictures, some are left out.
        device: where to run: "cpu", "cuda", "cuda:1"; "auto" is the GPU where there is one.
        batch: pictures that are run together.
        resize: "stretch" or "letterbox"; by default what the dialect and cfg say.
        unreadable: "skip" names pictures that cannot be read, and goes on without them; "raise"
            makes the first of them an error.
        seed: of the choice of positions.
        progress: called with the number of layers done.

    Returns: a new model of the pruned one's network.

    Raises:
        PlanError: the plan is for another model, or the pruned model is not its result.
        DatasetError: the source cannot be read.
        DatasetError: no picture could be read.
        DarkconvError: there is no such device.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import digits10_unlabelled, load_digits10
        >>> model = load_digits10()
        >>> plan = dc.plan(model, score="l1", keep=0.75)
        >>> small = dc.prune(model, plan)
        >>> refitted = dc.reconstruct(small, model, plan, digits10_unlabelled(), device="cpu")
    """
    require_seed(seed)
    check_batches(batch, unreadable)
    require_finite("ridge", ridge)
    place = choose_device(device)
    kept = _kept_channels(pruned, original, plan)
    network = original.network
    chosen = _affordable(network, picture_list(images)[0], memory // (2 if mirror else 1))
    batch = min(batch, 2 * len(chosen))
    with working_together() as processes:
        mine = own_share(processes, len(chosen), batch)
        parts = load_batches(
            network, chosen, size=batch, numbers=mine, resize=resize, unreadable=unreadable
        )
        share = Share.of(list(parts), network, processes, mirror=mirror)
        whole, small = (to_torch(model).train().eval().to(place) for model in (original, pruned))
        sampling = Sampling(positions, seed)
        pair = Pair(whole, small, kept, sampling, float(ridge), share, batch)
        with torch.no_grad():
            pair.run(share.x.to(place), progress)
        return from_torch(small.cpu())


def _kept_channels(pruned: Model, original: Model, plan: PrunePlan) -> dict[int, Tensor]:
    """Of each layer, the original's channels that are left."""
    network = original.network
    if plan.model != fingerprint(original):
        raise PlanError(
            f"the plan is for another model than {network.file}", where=Where(file=plan.file)
        )
    kept = surviving_channels(network, checked_keep(network, plan))
    for own, whole in zip(pruned.network.layers, network.layers, strict=False):
        left = len(kept[whole.index])
        if own.type != whole.type or own.out_shape.c != left:
            raise PlanError(
                f"{pruned.network.file}: layer {own.index} is not what the plan leaves",
                expected=f"[{whole.type}] with {left} channels",
                found=f"[{own.type}] with {own.out_shape.c}",
            )
    return {index: torch.from_numpy(channels) for index, channels in kept.items()}


def _affordable(network: Network, images: Sequence[Image], memory: int) -> Sequence[Image]:
    """As many of the pictures as can be held, evenly spread."""
    count = max(1, min(len(images), memory // (8 * _most_alive(network))))
    if count == len(images):
        return images
    logger.info("reconstructing from %d of %d pictures, for want of memory", count, len(images))
    return [images[i * len(images) // count] for i in range(count)]


def _last_readers(network: Network) -> dict[int, int]:
    """The last layer that reads each layer, or the input (-1)."""
    return {source: layer.index for layer in network.layers for source in layer.sources}


def _most_alive(network: Network) -> int:
    """Values of one picture that layers still to come can read, at most."""
    last = _last_readers(network)
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


@dataclass(frozen=True)
class Pair:
    """Both networks, and how one is fitted to the other.

    Attributes:
        whole: the original.
        small: the pruned one, whose parameters are changed.
        kept: of each layer, the original's channels that are left.
        sampling: of output pixels.
        ridge: see `RIDGE`.
        share: which of the pictures this process has.
        batch: pictures that are run together.
    """

    whole: DarknetModule
    small: DarknetModule
    kept: Mapping[int, Tensor]
    sampling: Sampling
    ridge: float
    share: Share
    batch: int

    def run(self, x: Tensor, progress: Callable[[int], None] | None) -> None:
        """Walk both networks, layer by layer, over all pictures at once."""
        network = self.small.network
        last, fixed = _last_readers(network), _sharing(network)
        values: dict[int, tuple[Tensor, Tensor]] = {-1: (x, x)}
        for layer in network.layers:
            read = [values[source] for source in layer.sources]
            with in_float32(x.device):
                if layer.index not in fixed and _can_be_fitted(self.small.layers[layer.index]):
                    self._fit(layer, *read[0])
                sides = zip((self.whole, self.small), zip(*read, strict=True), strict=True)
                pair = [self._run(side, layer, inputs, x) for side, inputs in sides]
            values[layer.index] = pair[0], pair[1]
            values = {i: v for i, v in values.items() if last.get(i, -1) > layer.index}
            if progress:
                progress(layer.index + 1)

    def _run(
        self, side: DarknetModule, layer: Layer, inputs: Sequence[Tensor], x: Tensor
    ) -> Tensor:
        """A layer's values for all pictures of this process."""
        module, done = side.layers[layer.index], []
        for start in range(0, max(len(x), 1), self.batch):
            side.reset_state()
            some = [value[start : start + self.batch] for value in inputs]
            done.append(run_layer(module, some, x[start : start + self.batch]))
        return torch.cat(done)

    def _fit(self, layer: Layer, x: Tensor, own: Tensor) -> None:
        """Set one convolution's weights, from what it reads in both networks."""
        index = layer.index
        block, target = self.small.layers[index], self.whole.layers[index]
        assert isinstance(block, Block)
        assert isinstance(target, Block)
        assert isinstance(block.conv, nn.Conv2d)
        pixels = self.sampling.draw(layer, self.share.total)[self.share.rows].to(x.device)
        kept = self.kept[index].to(x.device)
        wanted = outputs_at(target.conv, x, pixels, self.batch)[kept]
        seen = windows_at(block.conv, own, pixels)
        fit = fit_weights(block.conv, seen, wanted, self.ridge, summed=self.share.summed)
        logger.debug("layer %d: error %.3g, before %.3g", index, fit.error, fit.error_before)
        block.conv.weight.copy_(fit.weights)
        if isinstance(block.bn, BatchNorm):
            assert isinstance(target.bn, BatchNorm)
            mean = target.bn.running_mean
            assert mean is not None
            assert block.bn.running_mean is not None
            block.bn.running_mean.copy_(mean[kept] - fit.offsets)
        else:
            assert block.conv.bias is not None
            block.conv.bias.copy_(fit.offsets)


def _can_be_fitted(module: nn.Module) -> bool:
    """Whether a module is a plain convolution of all its input: no signs of weights."""
    return type(module) is Block and type(module.conv) is Conv2d and not module.conv.spans


def _sharing(network: Network) -> set[int]:
    """Layers whose arrays are those of others, and these others."""
    found = set()
    for layer in network.layers:
        target = layer.shared
        if target is not None:
            found |= {layer.index, target}
    return found
