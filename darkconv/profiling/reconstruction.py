"""reconstruct: the weights with which a pruned network comes closest to the whole one.

Every convolution gets the weights that compute, from the channels that are left, what the original
convolution computes from all of them, by least squares over some pictures: a system of linear
equations, without labels and without gradient descent. Both networks run side by side, so that a
layer compensates the errors of those before it. After He, Zhang, Sun, "Channel pruning for
accelerating very deep neural networks" (2017), and Luo, Wu, Lin, "ThiNet" (2017).
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from darkconv.arguments import checked
from darkconv.backends.torch import DarknetModule, from_torch, in_float32, to_torch
from darkconv.backends.torch.conv import Block, Conv2d
from darkconv.backends.torch.device import choose_device
from darkconv.backends.torch.norm import BatchNorm
from darkconv.core.bounds import require_finite, require_seed
from darkconv.core.model import Model
from darkconv.core.network import Layer
from darkconv.core.processes import working_together
from darkconv.core.removal import surviving_channels
from darkconv.detection.stream import check_batches
from darkconv.errors import PlanError, Where
from darkconv.profiling.fitting import fit_weights, outputs_at, windows_at
from darkconv.profiling.loader import Images, picture_list
from darkconv.profiling.walking import (
    BATCH,
    MEMORY,
    POSITIONS,
    RIDGE,
    Sampling,
    Share,
    last_readers,
    read_share,
    run_batched,
)
from darkconv.surgery.checking import checked_keep
from darkconv.surgery.fingerprint import fingerprint
from darkconv.surgery.plan import PrunePlan
from darkconv.surgery.readers import sharing_layers

logger = logging.getLogger("darkconv")


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

    Changes the kernels of `[convolutional]` layers, and with them `rolling_mean` or, without batch
    norm, `biases`. Layers that share arrays and xnor layers stay as they are. Under torchrun the
    pictures are shared out among the processes, and each gets the same model.

    Args:
        pruned: result of `prune` for the original and the plan.
        original: the whole model.
        plan: says which channels stay.
        images: a source such as a folder, a data set, or a list of files and of 8-bit RGB levels
            (H, W, 3); no labels are needed.
        positions: number of output pixels, over all pictures, in the equations of a layer.
        ridge: penalty on a squared change of a weight, as a share of the inputs' mean variance.
        mirror: use every picture's mirror image too.
        memory: bytes of feature maps that are held at a time; if it does not suffice for all
            pictures, some are left out.
        device: where to run: "cpu", "cuda", "cuda:1"; "auto" is the GPU if there is one.
        batch: number of pictures that are run together.
        resize: "stretch" or "letterbox"; by default what the dialect and cfg say.
        unreadable: "skip" names pictures that cannot be read, and goes on without them; "raise"
            makes the first of them an error.
        seed: seed of the choice of positions.
        progress: called with the number of layers done.

    Returns:
        A new model with the pruned model's network.

    Raises:
        PlanError: the plan is for another model, or the pruned model is not its result.
        DatasetError: the source, or every picture of it, cannot be read.
        DarkconvError: the device does not exist.

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
    chosen = picture_list(images)[0]
    with working_together() as processes:
        share = read_share(
            network,
            chosen,
            processes,
            mirror=mirror,
            memory=memory,
            batch=batch,
            resize=resize,
            unreadable=unreadable,
        )
        whole, small = (to_torch(model).train().eval().to(place) for model in (original, pruned))
        batch = min(batch, share.total)
        sampling = Sampling(positions, seed)
        pair = NetworkPair(whole, small, kept, sampling, float(ridge), share, batch)
        with torch.no_grad():
            pair.run(share.x.to(place), progress)
        return from_torch(small.cpu())


def _kept_channels(pruned: Model, original: Model, plan: PrunePlan) -> dict[int, Tensor]:
    """Return the original's channels that are left in each layer."""
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


@dataclass(frozen=True)
class NetworkPair:
    """Both networks, and how one is fitted to the other.

    Attributes:
        whole: module of the original.
        small: module of the pruned model, whose parameters are changed.
        kept: the original's channels that are left, by layer index.
        sampling: choice of output pixels.
        ridge: penalty on changes of weights, see `RIDGE`.
        share: pictures of this process.
        batch: number of pictures that are run together.
    """

    whole: DarknetModule
    small: DarknetModule
    kept: Mapping[int, Tensor]
    sampling: Sampling
    ridge: float
    share: Share
    batch: int

    def run(self, x: Tensor, progress: Callable[[int], None] | None) -> None:
        """Refit the pruned network while both run layer by layer, over all pictures at once.

        Args:
            x: (n, C, H, W) pictures of this process.
            progress: called with the number of layers done; None for nobody.
        """
        network = self.small.network
        last, fixed = last_readers(network), sharing_layers(network)
        values: dict[int, tuple[Tensor, Tensor]] = {-1: (x, x)}
        for layer in network.layers:
            read = [values[source] for source in layer.sources]
            with in_float32(x.device):
                if layer.index not in fixed and _can_be_fitted(self.small.layers[layer.index]):
                    self._fit(layer, *read[0])
                sides = zip((self.whole, self.small), zip(*read, strict=True), strict=True)
                pair = [run_batched(side, layer, inputs, x, self.batch) for side, inputs in sides]
            values[layer.index] = pair[0], pair[1]
            values = {i: v for i, v in values.items() if last.get(i, -1) > layer.index}
            if progress:
                progress(layer.index + 1)

    def _fit(self, layer: Layer, x: Tensor, own: Tensor) -> None:
        """Set one convolution's weights from its inputs in both networks."""
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
    """Return True for a plain convolution of all its input, without signs of weights."""
    return type(module) is Block and type(module.conv) is Conv2d and not module.conv.spans
