"""measure_losses: how much cuts of each family of channels change the inputs of the heads."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from darkconv.arguments import checked
from darkconv.backends.torch import DarknetModule, folded, in_float32, to_torch
from darkconv.backends.torch.conv import Block
from darkconv.backends.torch.device import choose_device
from darkconv.backends.torch.network import run_layer
from darkconv.backends.torch.norm import BatchNorm
from darkconv.core.bounds import require_seed
from darkconv.core.model import Model
from darkconv.core.network import Layer
from darkconv.core.processes import working_together
from darkconv.detection.stream import check_batches
from darkconv.profiling.collect import head_sources
from darkconv.profiling.loader import Image, Images, picture_list
from darkconv.profiling.residuals import Family, Ledger, find_families
from darkconv.profiling.second_moments import InputMoments, input_moments
from darkconv.profiling.walking import MEMORY, POSITIONS, RIDGE, Sampling, Share, read_share
from darkconv.surgery.allocation import SHARES, Losses
from darkconv.surgery.channels import ChannelClasses, find_classes
from darkconv.surgery.chooser import MIN_KEEP, SKIP_FIRST, Guards, Lock
from darkconv.surgery.elimination import LayerMoments
from darkconv.surgery.fingerprint import fingerprint
from darkconv.surgery.importance import Score, score_classes, score_name
from darkconv.surgery.profile import Profile
from darkconv.surgery.readers import input_labels

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

MEASURED = 32
"""Largest number of pictures on which cuts are measured."""
APART = 4
"""Every fourth picture is measured on, and the others are fitted to.

If there are too few pictures for that, all are used for both.
"""


@dataclass(frozen=True, eq=False)
class FamilyCut:
    """The changes of a cut of a family, after its readers were refitted.

    Attributes:
        family: number of the family, from 0.
        place: number of the cut among the shares, from 0.
        weights: new weights, and offsets of the output, of each reader that is refitted.
        masks: for each other reader the new constant value of its input channels (in_channels,);
            NaN where they stay.
    """

    family: int
    place: int
    weights: Mapping[int, tuple[Tensor, Tensor]]
    masks: Mapping[int, Tensor]

    @property
    def readers(self) -> set[int]:
        """Indices of the layers whose output changes."""
        return {*self.weights, *self.masks}


@checked
def measure_losses(
    model: Model,
    profile: Profile,
    images: Images,
    *,
    score: str | Score = "nll0",
    skip_first: int = SKIP_FIRST,
    min_keep: float = MIN_KEEP,
    lock: Sequence[Lock] = (),
    against: Profile | None = None,
    batch: int = 8,
    device: str = "auto",
    resize: str | None = None,
    unreadable: str = "skip",
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Losses:
    """Measure how much cuts of each family of channels change the inputs of the heads.

    Each family is cut by itself: its channels of lowest score are removed, the layers that read
    them are refitted on some pictures, and on other pictures the inputs of the heads are compared
    with those of the whole model. No labels are needed. `dc.plan` shares a budget out among the
    families by the result.

    Args:
        model: model whose channels are cut.
        profile: profile of the model.
        images: a source such as a folder, a data set, or a list of files and of 8-bit RGB levels
            (H, W, 3).
        score: score of the plan, by which channels are removed.
        skip_first: number of first layers with channels of their own that are not cut.
        min_keep: smallest share of its channels that a layer keeps; cuts beyond it are not
            measured.
        lock: layers that are not cut, see `darkconv.plan`.
        against: profile over other pictures, for the score "contrast".
        batch: number of pictures that are run together.
        device: where to run: "cpu", "cuda", "cuda:1"; "auto" is the GPU if there is one.
        resize: "stretch" or "letterbox"; by default what the dialect and cfg say.
        unreadable: "skip" leaves out pictures that cannot be read; "raise" makes the first of them
            an error.
        seed: seed of the choice of positions.
        progress: called with the percentage of cuts measured.

    Returns:
        The loss of each family and share: the mean squared error at the heads' inputs divided by
        their variance; NaN where it was not measured.

    Raises:
        PlanError: the profile is of another model, or the score cannot be computed.
        DatasetError: the source, or every picture of it, cannot be read.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import digits10_unlabelled, load_digits10
        >>> model, pictures = load_digits10(), digits10_unlabelled()
        >>> profile = dc.profile(model, pictures, device="cpu")
        >>> losses = dc.measure_losses(model, profile, pictures, device="cpu")
        >>> plan = dc.plan(model, profile, params=0.5, losses=losses)
    """
    require_seed(seed)
    check_batches(batch, unreadable)
    profile.check_is_of(model)
    place = choose_device(device)
    classes = find_classes(model.network)
    guards = Guards(skip_first=skip_first, min_keep=min_keep, lock=lock)
    scores = score_classes(classes, model, score, profile=profile, against=against, seed=seed)
    families = find_families(classes)
    stays = guards.protected(classes)
    open_families = [n for n, one in enumerate(families) if not stays[one.labels].any()]
    fitted, tried = _split(picture_list(images)[0])
    flat = folded(model)
    errors = np.full((len(families), len(SHARES)), np.nan)
    with working_together() as processes:
        fit, test = (
            read_share(
                model.network, some, processes, mirror=mirror, memory=MEMORY, batch=batch,
                resize=resize, unreadable=unreadable,
            )
            for some, mirror in ((fitted, True), (tried, False))
        )  # fmt: skip
        module = to_torch(flat).eval().to(place)
        cutting = Cutting(flat, profile, classes, families, scores)
        cuts = list(cutting.cuts(module, fit, open_families, place, min(batch, fit.total), seed))
        trial = CutTrial(module, test, cuts, place, batch)
        for family, cut, error in trial.run(progress):
            errors[family, cut] = error
    return Losses(fingerprint(model), score_name(score), SHARES, errors)


def _split(images: Sequence[Image]) -> tuple[Sequence[Image], Sequence[Image]]:
    """Split pictures into those to fit to, and those to measure on."""
    tried = images[::APART]
    if len(tried) < 2:
        return images, images
    step = -(-len(tried) // MEASURED)
    return [one for place, one in enumerate(images) if place % APART], tried[::step]


@dataclass(frozen=True, eq=False)
class Cutting:
    """The order in which channels are cut.

    Attributes:
        model: model with folded batch norm.
        profile: profile of the model.
        classes: classes of tied channels.
        families: families of classes.
        scores: (classes,) scores; the lowest are removed first.
    """

    model: Model
    profile: Profile
    classes: ChannelClasses
    families: Sequence[Family]
    scores: Doubles

    def cuts(
        self,
        module: DarknetModule,
        share: Share,
        numbers: Sequence[int],
        device: torch.device,
        batch: int,
        seed: int,
    ) -> Iterator[FamilyCut]:
        """Cut some families by each share, and refit their readers after each cut.

        Args:
            module: module of the model.
            share: pictures of this process to fit to.
            numbers: numbers of the families, from 0.
            device: device of the computation.
            batch: number of pictures that are run together.
            seed: seed of the choice of positions.

        Yields:
            The cuts, family by family.
        """
        own = [self.families[number] for number in numbers]
        wanted = {layer.index for family in own for layer in family.refitted}
        walk = input_moments(
            module, share, Sampling(POSITIONS, seed), wanted, device=device, batch=batch
        )
        numbered = dict(zip(map(id, own), numbers, strict=True))
        for family, moments in Ledger(own).enter(walk):
            order = family.labels[np.argsort(self.scores[family.labels], kind="stable")]
            for place, part in enumerate(SHARES):
                gone = order[: round(part * len(order))]
                yield self._cut(family, numbered[id(family)], place, gone, moments)

    def _cut(
        self,
        family: Family,
        number: int,
        place: int,
        gone: Labels,
        moments: Mapping[int, InputMoments],
    ) -> FamilyCut:
        weights = {
            layer.index: self._refitted(layer, gone, moments[layer.index])
            for layer in family.refitted
        }
        masks = {layer.index: self._mask(layer, gone) for layer in family.fixed}
        return FamilyCut(number, place, weights, masks)

    def _refitted(self, layer: Layer, gone: Labels, found: InputMoments) -> tuple[Tensor, Tensor]:
        """Return new weights of a reader, and offsets of its output."""
        kernel = self.model.arrays[f"{layer.index}.weights"]
        weights = kernel.reshape(len(kernel), -1).astype(np.float64)
        owners = input_labels(self.classes, layer)
        owners = np.repeat(owners, weights.shape[1] // len(owners))
        reading = LayerMoments(weights, found.covariance, owners)
        change = reading.refit(np.isin(owners, gone), RIDGE)
        new = (weights + change).reshape(kernel.shape).astype(np.float32)
        offsets = -(change @ found.mean).astype(np.float32)
        return torch.from_numpy(new), torch.from_numpy(offsets)

    def _mask(self, layer: Layer, gone: Labels) -> Tensor:
        """Return the mean of each removed input channel, NaN for the others: (in_channels,)."""
        means = np.concatenate([self.profile.layers[source].mean for source in layer.sources])
        owners = input_labels(self.classes, layer)
        return torch.from_numpy(np.where(np.isin(owners, gone), means, np.nan).astype(np.float32))


@dataclass(frozen=True, eq=False)
class CutTrial:
    """Cuts, and the pictures they are measured on.

    Attributes:
        module: module of the whole network; it is restored after each cut.
        share: pictures of this process.
        cuts: the cuts.
        device: device of the computation.
        batch: number of pictures that are run together.
    """

    module: DarknetModule
    share: Share
    cuts: Sequence[FamilyCut]
    device: torch.device
    batch: int

    def run(self, progress: Callable[[int], None] | None) -> Iterator[tuple[int, int, float]]:
        """Measure the loss of each cut.

        Args:
            progress: called with the percentage of cuts measured; None for nobody.

        Yields:
            Family, number of the share, and loss of each cut.
        """
        heads = head_sources(self.module.network)
        errors = torch.zeros(len(self.cuts), len(heads), dtype=torch.float64)
        sums, squares = (torch.zeros(len(heads), dtype=torch.float64) for _ in range(2))
        counts = torch.zeros(len(heads), dtype=torch.float64)
        done, total = 0, max(1, -(-len(self.share.x) // self.size)) * len(self.cuts)
        with torch.inference_mode(), in_float32(self.device):
            for part in torch.split(self.share.x, self.size):
                x = part.to(self.device)
                whole = self._values(x)
                for number, cut in enumerate(self.cuts):
                    left = self._changed(cut, whole, x)
                    for place, head in enumerate(heads):
                        gap = (left[head] - whole[head]).double()
                        errors[number, place] += gap.square().sum().cpu()
                    done += 1
                    if progress:
                        progress(100 * done // total)
                for place, head in enumerate(heads):
                    value = whole[head].double()
                    sums[place] += value.sum().cpu()
                    squares[place] += value.square().sum().cpu()
                    counts[place] += value.numel()
        errors, sums, squares, counts = map(self.share.summed, (errors, sums, squares, counts))
        spread = (squares - sums.square() / counts).clamp(min=torch.finfo(torch.float32).tiny)
        for cut, error in zip(self.cuts, (errors / spread).mean(1).tolist(), strict=True):
            yield cut.family, cut.place, error

    @property
    def size(self) -> int:
        """Number of pictures that are run together: the maps of all layers are in memory."""
        network = self.module.network
        each = 4 * (network.input_shape.size + sum(shape.size for shape in network.shapes))
        return max(1, min(self.batch, self.share.total, MEMORY // each))

    def _values(self, x: Tensor) -> dict[int, Tensor]:
        """Return the values of all layers, and of the input under the index -1."""
        self.module.reset_state()
        return {-1: x, **dict(enumerate(self.module.trace(x)))}

    def _changed(self, cut: FamilyCut, whole: Mapping[int, Tensor], x: Tensor) -> dict[int, Tensor]:
        """Return the values of all layers after a cut; the layers that it affects run again."""
        network, changed = self.module.network, dict(whole)
        reached: set[int] = set()
        self.module.reset_state()
        with _replaced(self.module, cut):
            for layer in network.layers:
                if layer.index not in cut.readers and not reached & {*layer.sources}:
                    continue
                reached.add(layer.index)
                inputs = [changed[source] for source in layer.sources]
                if layer.index in cut.masks:
                    inputs = _masked(layer, inputs, cut.masks[layer.index].to(self.device))
                changed[layer.index] = run_layer(self.module.layers[layer.index], inputs, x)
        return changed


def _masked(layer: Layer, inputs: Sequence[Tensor], mask: Tensor) -> list[Tensor]:
    """Return a layer's inputs with some channels replaced by their means."""
    found = []
    for value, own in zip(inputs, torch.split(mask, [s.c for s in layer.in_shapes]), strict=True):
        shape = (1, len(own), *[1] * (value.ndim - 2))
        found.append(torch.where(own.isnan().view(shape), value, own.nan_to_num().view(shape)))
    return found


@contextlib.contextmanager
def _replaced(module: DarknetModule, cut: FamilyCut) -> Iterator[None]:
    """Give the readers of a cut their new weights within a block."""
    before: list[tuple[Tensor, Tensor]] = []
    for index, (weights, offsets) in cut.weights.items():
        block = module.layers[index]
        assert isinstance(block, Block)
        assert isinstance(block.conv, nn.Conv2d)
        shift, sign = block.conv.bias, 1
        if isinstance(block.bn, BatchNorm):  # where it could not be folded
            shift, sign = block.bn.running_mean, -1
        assert shift is not None
        new = (weights.to(shift.device), shift.data + sign * offsets.to(shift.device))
        for tensor, value in zip((block.conv.weight, shift), new, strict=True):
            before.append((tensor, tensor.data))
            tensor.data = value
    try:
        yield
    finally:
        for tensor, value in before:
            tensor.data = value
