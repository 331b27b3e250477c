"""profile: exact streaming statistics of every layer's channels.

Sums and squares of each picture are computed in float32, where they cost little, and merged in
double precision. If a channel's mean is large compared with its standard deviation, the squares
would lose the variance: the batch is run again with the mean subtracted from that channel first.
"""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from darkconv import __version__
from darkconv.arguments import checked
from darkconv.backends.torch import DarknetModule, as_stored, in_float32, inference_module
from darkconv.backends.torch.device import choose_device
from darkconv.core.bounds import require_seed
from darkconv.core.model import Model
from darkconv.core.network import Layer, Network
from darkconv.core.processes import working_together
from darkconv.detection.stream import check_batches
from darkconv.errors import DarkconvError, DatasetError, Where
from darkconv.profiling.loader import Images, load_batches, own_share, picture_list
from darkconv.profiling.moments import Moments
from darkconv.profiling.observation import ChannelShift, ColumnLayout, Observation
from darkconv.profiling.residuals import residuals
from darkconv.surgery.fingerprint import fingerprint
from darkconv.surgery.profile import (
    BIN_FINENESS,
    BINS,
    BINS_PER_UNIT,
    HALF_BINS,
    LayerStatistics,
    Profile,
    merge_profiles,
)

logger = logging.getLogger("darkconv")

Numbers = npt.NDArray[np.int64]

SAMPLED_POSITIONS = 4
"""Number of values of each channel and picture that enter the histogram."""
WAITING = 1 << 23
"""Number of sampled values that are counted together: counting a few costs as much."""


@checked
def profile(
    model: Model,
    images: Images,
    *,
    batch: int = 8,
    device: str = "auto",
    resize: str | None = None,
    unreadable: str = "skip",
    taylor: bool = False,
    obs: bool = False,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Profile:
    """Measure statistics of each layer's channels over pictures.

    Under torchrun the pictures are shared out among the processes, and each gets the whole profile.

    Args:
        model: model whose channels are measured.
        images: a source such as a folder, a data set, or a list of files and of 8-bit RGB levels
            (H, W, 3).
        batch: number of pictures that are run together.
        device: where to run: "cpu", "cuda", "cuda:1"; "auto" is the GPU if there is one.
        resize: "stretch" or "letterbox"; by default what the dialect and cfg say.
        unreadable: "skip" names and counts pictures that cannot be read, and goes on without them;
            "raise" makes the first of them an error.
        taylor: also collect gradients, for the score "taylor".
        obs: also measure the errors that refitting leaves, for the score "obs". It takes about as
            long as `reconstruct`.
        seed: seed of the histogram's sample.
        progress: called with the number of pictures done, by all processes together.

    Returns:
        A profile with `mean`, `variance` and `score` by layer index from 0, one value for each
        channel; its `notes` say how many pictures were `given`; those that cannot be read are named
        and left out.

    Raises:
        DatasetError: the source, or every picture of it, cannot be read.
        DarkconvError: the device does not exist, or values are not finite.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import digits10_unlabelled, load_digits10
        >>> dc.profile(load_digits10(), digits10_unlabelled(), device="cpu")
        Profile of 16 pictures, 19 layers, 970 channels
    """
    require_seed(seed)
    check_batches(batch, unreadable)
    images, source = picture_list(images)
    place = choose_device(device)
    module = inference_module(model).to(place)
    collector = Collector(module, seed=seed, taylor=taylor)
    with working_together() as processes:
        mine = own_share(processes, len(images), batch)
        done = 0
        for part in load_batches(
            model.network, images, size=batch, numbers=mine, resize=resize, unreadable=unreadable
        ):
            with in_float32(place):
                collector.add(torch.from_numpy(part.x).to(place), part.numbers)
            done += len(part.numbers)
            if progress:
                progress(min(done * processes.world, len(images)))
        notes = {"darkconv": __version__, "given": len(images), "seed": seed}
        if source:
            notes["source"] = source
        own = Profile(fingerprint(model), done, collector.statistics(), notes)
        whole = merge_profiles(processes.gather(own))
        if not whole.pictures:
            raise DatasetError("no picture could be read", where=Where(file=source))
        if obs:
            found = residuals(
                model, whole, images, processes,
                device=place, batch=batch, resize=resize, unreadable="skip", seed=seed,
            )  # fmt: skip
            layers = {
                index: replace(one, residual=found[index]) for index, one in whole.layers.items()
            }
            whole = replace(whole, layers=layers)
    left = len(images) - whole.pictures
    if left and processes.rank == 0:
        start = f"{source}: " if source else ""
        logger.warning("%s%d of %d pictures could not be read", start, left, len(images))
    return whole


class Collector:
    """Runs batches through a module and collects the statistics of each layer."""

    def __init__(self, module: DarknetModule, *, seed: int = 0, taylor: bool = False) -> None:
        self.module = module
        self.network = module.network
        self.seed = seed
        self.taylor = taylor
        self.device = next(module.parameters(), torch.empty(0)).device
        self.layout = ColumnLayout(self.network)
        self.moments = Moments(self.layout.positions)
        columns = len(self.layout.positions)
        self.shift = ChannelShift(np.zeros(columns), self.layout, self.device)
        self.counts = np.zeros((columns, BINS), np.int64)
        self.waiting = torch.empty(WAITING, dtype=torch.int32, device=self.device)
        self.filled = 0
        self.effect = np.zeros(columns)
        self.seen: Observation | None = None

    def add(self, x: Tensor, numbers: Numbers) -> None:
        """Add a batch to the statistics.

        Args:
            x: (N, C, H, W) float32 pictures as network input.
            numbers: (N,) numbers of the pictures, which determine their sampled positions.
        """
        x = as_stored(x)
        picks = self._picks(numbers)
        moments, samples = self._observe(x, picks)
        self._check(moments)
        if moments.doubtful.any():
            amounts = np.where(moments.doubtful, moments.mean, self.shift.amounts)
            self.shift = ChannelShift(amounts, self.layout, self.device)
            moments, samples = self._observe(x, picks)
        self.moments = moments
        self._sample(samples)
        if self.taylor:
            self._add_effects(x)

    def _observe(self, x: Tensor, picks: Tensor) -> tuple[Moments, Tensor]:
        """Return the moments with this batch added, and sampled values (N, picks, columns)."""
        self.module.reset_state()
        with torch.inference_mode():
            if self.seen is None or len(self.seen.sums) != len(x):
                self.seen = Observation(self.layout, picks)
            self.seen.begin(self.shift, picks)
            for index, value in self.module.walk(x):
                self.seen.take(index, value)
            return self.moments.merged(self.shift.amounts, *self.seen.totals()), self.seen.samples

    def _check(self, moments: Moments) -> None:
        """Raise a DarkconvError for a layer whose values overflow."""
        bad = np.flatnonzero(~np.isfinite(moments.squares))
        if len(bad):
            raise DarkconvError(
                "its values are not finite: the weights are damaged or missing",
                where=self.network.where(self.layout.layer_at(int(bad[0]))),
            )

    def _picks(self, numbers: Numbers) -> Tensor:
        """Draw (N, picks) numbers in 0..1: for each picture the same whatever batch it is in."""
        rows = [
            np.random.default_rng([self.seed, number]).random(SAMPLED_POSITIONS, np.float32)
            for number in numbers.tolist()
        ]
        return torch.from_numpy(np.stack(rows)).to(self.device)

    def _sample(self, values: Tensor) -> None:
        """Count values (N, picks, columns) in the histogram."""
        size = (values.abs() * BIN_FINENESS).log1p_().mul_(BINS_PER_UNIT)
        bins = size.copysign_(values).floor_().int().add_(HALF_BINS).clamp_(0, BINS - 1)
        bins += BINS * torch.arange(len(self.counts), device=bins.device).int()
        for part in torch.split(bins.flatten(), WAITING):
            if self.filled + len(part) > WAITING:
                self._count()
            self.waiting[self.filled : self.filled + len(part)] = part
            self.filled += len(part)

    def _count(self) -> None:
        counts = torch.bincount(self.waiting[: self.filled], minlength=self.counts.size)
        self.counts += counts.view(self.counts.shape).cpu().numpy()
        self.filled = 0

    def _add_effects(self, x: Tensor) -> None:
        """Add |activation times gradient|, summed over positions, of each picture.

        The objective is half the squared norm of the heads' inputs.
        """
        self.module.reset_state()
        values = self.module.trace(x.requires_grad_(True))
        for value in values:
            if value.requires_grad:
                value.retain_grad()
        targets = [values[i] for i in head_sources(self.network)]
        sum(target.square().sum() / 2 for target in targets).backward()  # type: ignore[union-attr]
        for index, place in self.layout.places.items():
            gradient = values[index].grad
            if gradient is not None:
                change = values[index].detach() * gradient
                change = change.reshape(len(x), self.network.shapes[index].c, -1).sum(2)
                self.effect[place.columns] += change.abs().double().sum(0).cpu().numpy()

    def statistics(self) -> dict[int, LayerStatistics]:
        """Compute the statistics of every layer.

        Returns:
            Statistics by layer index, from 0.
        """
        self._count()
        found: dict[int, LayerStatistics] = {}
        for layer in self.network.layers:
            place = self.layout.places.get(layer.index)
            if place:
                found[layer.index] = self._measured(place.columns)
            else:
                found[layer.index] = handed_on(layer, found)
        return found

    def _measured(self, columns: slice) -> LayerStatistics:
        moments = self.moments
        return LayerStatistics(
            int(moments.positions[columns.start]) * moments.pictures,
            moments.mean[columns],
            moments.deviations[columns],
            self.counts[columns],
            self.effect[columns] if self.taylor else None,
        )


def head_sources(network: Network) -> list[int]:
    """Return the layers whose values the heads predict from; without heads, the outputs.

    Args:
        network: network whose layers they are.

    Returns:
        Layer indices from 0.
    """
    heads = network.heads
    return [layer.sources[0] for layer in heads] if heads else list(network.outputs)


def handed_on(layer: Layer, found: dict[int, LayerStatistics]) -> LayerStatistics:
    """Compute the statistics of a layer that passes its sources' channels on unchanged.

    Args:
        layer: layer such as a [route] or a plain [upsample].
        found: statistics by layer index, among them those of the layer's sources.
    """
    columns = layer.spec.ties(layer.in_shapes)[:, 0]
    sources = [found[source] for source in layer.sources]
    grown = layer.out_shape.h * layer.out_shape.w // (layer.in_shapes[0].h * layer.in_shapes[0].w)

    def joined(name: str) -> "np.ndarray[Any, Any]":
        taken: np.ndarray[Any, Any] = np.concatenate([getattr(s, name) for s in sources])[columns]
        return taken

    return LayerStatistics(
        sources[0].count * grown,
        joined("mean"),
        joined("deviations") * grown,
        joined("histogram"),
        joined("effect") if sources[0].effect is not None else None,
    )
