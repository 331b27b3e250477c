"""Profile: statistics of the channels of each layer over a set of pictures.

Counts, means and sums of squared deviations are stored in double precision and merged by Chan's
rule, so that pictures may come in any number, in any order and from several processes.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from darkconv.arguments import checked
from darkconv.core.model import Model
from darkconv.core.network import Network
from darkconv.core.views import Shown, View
from darkconv.errors import PlanError, Where
from darkconv.files import PathLike
from darkconv.files.notice import tell
from darkconv.surgery.fingerprint import fingerprint
from darkconv.surgery.profile_file import read_profile, write_profile

Doubles = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

CONSTANT = 1e-10
"""A variance below this share of the mean square counts as zero."""
FAINT = 0.01
"""A channel whose root mean square is below this share of the layer's median is near dead."""
HALF_BINS = 40
BINS = 2 * HALF_BINS
BIN_FINENESS = 100.0
BINS_PER_UNIT = HALF_BINS / 8.3
_STEPS = np.arange(-HALF_BINS, HALF_BINS + 1)
BIN_EDGES: Doubles = np.copysign(np.expm1(np.abs(_STEPS) / BINS_PER_UNIT) / BIN_FINENESS, _STEPS)
"""Edges of the bins of the histograms: fine about zero (0.0023 wide), up to +-40.

A value x is in bin floor(sign(x) log(1 + |x| BIN_FINENESS) BINS_PER_UNIT) + HALF_BINS.
"""


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """Statistics of one layer's output channels.

    Attributes:
        count: number of values seen of each channel: positions times pictures.
        mean: float64 (channels,): exact mean over all of them.
        deviations: float64 (channels,): sum of squared deviations from the mean.
        histogram: int64 (channels, bins): counts of a seeded sample of positions; values beyond the
            last edges count in the outermost bins.
        effect: float64 (channels,): sum over pictures of |activation times gradient|; None if not
            asked for.
        residual: float64 (channels,): the error that remains after refitting, in the outputs of the
            layers that read a channel, once it and all alternatives with a lower error are removed,
            as a share of the variance of these outputs; None if not asked for.
    """

    count: int
    mean: Doubles
    deviations: Doubles
    histogram: Counts
    effect: Doubles | None = None
    residual: Doubles | None = None

    @property
    def variance(self) -> Doubles:
        """Return (channels,) the population variance."""
        return self.deviations / max(self.count, 1)

    @property
    def absolute(self) -> Doubles:
        """Return (channels,) the mean absolute value, estimated from the histogram."""
        middles = np.abs((BIN_EDGES[1:] + BIN_EDGES[:-1]) / 2)
        total = np.maximum(self.histogram.sum(axis=1), 1)
        shares: Doubles = self.histogram @ middles / total
        return shares

    @property
    def constant(self) -> npt.NDArray[np.bool_]:
        """Return (channels,) True for channels that had only one value."""
        square = self.variance + self.mean**2
        constant: npt.NDArray[np.bool_] = self.variance <= CONSTANT * square
        return constant

    @property
    def near_dead(self) -> npt.NDArray[np.bool_]:
        """Return (channels,) True for channels that are faint but not constant: see `FAINT`."""
        strength = np.sqrt(self.mean**2 + self.variance)
        faint: npt.NDArray[np.bool_] = strength < FAINT * np.median(strength)
        return faint & ~self.constant

    @property
    def nll0(self) -> Doubles:
        """Return (channels,) m^2 / v + log v: minus twice the log-likelihood of 0, if normal.

        It is low for channels that stay near zero, and minus infinity for constant ones.
        """
        safe = np.where(self.constant, 1.0, self.variance)
        return np.where(self.constant, -np.inf, self.mean**2 / safe + np.log(safe))

    def merge(self, other: Self) -> Self:
        """Return the statistics over the values of both (Chan, Golub, LeVeque 1979).

        Residuals are left out, and effects too unless both have them.

        Args:
            other: statistics of the same layer over other pictures.
        """
        count = self.count + other.count
        share = other.count / max(count, 1)
        gap = other.mean - self.mean
        both = self.effect is not None and other.effect is not None
        return replace(
            self,
            count=count,
            mean=self.mean + gap * share,
            deviations=self.deviations + other.deviations + gap**2 * self.count * share,
            histogram=self.histogram + other.histogram,
            effect=self.effect + other.effect if both else None,  # type: ignore[operator]
            residual=None,  # it cannot be computed from the residuals of both
        )


@dataclass(frozen=True, eq=False, repr=False)
class Profile(Shown):
    """Statistics of every layer of a model over a set of pictures, as `dc.profile` returns them.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import digits10_unlabelled, load_digits10
        >>> profile = dc.profile(load_digits10(), digits10_unlabelled(), device="cpu")
        >>> profile.pictures, profile.mean[0].shape, int(profile.layers[0].constant.sum())
        (16, (16,), 0)

    Attributes:
        model: fingerprint of the model.
        pictures: number of pictures.
        layers: statistics by layer index.
        notes: where the pictures came from, and how the profile was made.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> profile = dc.profile(model, "unlabelled")
        >>> profile.mean[0].shape
        (16,)
        >>> profile.save("digits10.npz")
    """

    model: str
    pictures: int
    layers: Mapping[int, LayerStatistics]
    notes: Mapping[str, Any] = field(default_factory=dict)

    def _view(self) -> View:
        """Return the view by which the profile is shown."""
        from darkconv.surgery import profile_tables as tables

        return View(tables.profile_as_text, tables.profile_as_html)

    @property
    def _channels(self) -> dict[int, int]:
        return {index: len(layer.mean) for index, layer in self.layers.items()}

    @property
    def mean(self) -> dict[int, Doubles]:
        """Return the mean of each channel, by layer index."""
        return {index: layer.mean for index, layer in self.layers.items()}

    @property
    def variance(self) -> dict[int, Doubles]:
        """Return the variance of each channel, by layer index."""
        return {index: layer.variance for index, layer in self.layers.items()}

    @property
    def score(self) -> dict[int, Doubles]:
        """Return nll0 of each channel, by layer index: low means irrelevant to these pictures."""
        return {index: layer.nll0 for index, layer in self.layers.items()}

    @checked
    def merge(self, other: Self) -> Self:
        """Return the profile over the pictures of both.

        Residuals, for the score obs, are left out, as they depend on all pictures together.

        Args:
            other: profile of the same model over other pictures.

        Raises:
            PlanError: the profiles are of different models or layers.
        """
        if other.model != self.model:
            raise PlanError("profiles of different models cannot be merged")
        if self._channels != other._channels:
            raise PlanError("profiles of different layers cannot be merged")
        if any(one.residual is not None for part in (self, other) for one in part.layers.values()):
            tell("profiles that are merged lose what the score obs needs")
        layers = {index: self.layers[index].merge(other.layers[index]) for index in self.layers}
        notes = self.notes if self.notes == other.notes else {"parts": [self.notes, other.notes]}
        pictures = self.pictures + other.pictures
        return replace(self, pictures=pictures, layers=layers, notes=notes)

    def check_fits(self, network: Network) -> None:
        """Check that the layers of the profile are those of a network.

        Args:
            network: the network to compare with.

        Raises:
            PlanError: a layer is missing, or has another number of channels.
        """
        total = len(network.layers)
        if sorted(self.layers) != list(range(total)):
            raise PlanError(
                f"the profile is not one of {network.file}",
                expected=f"layers 0 to {total - 1}",
                found=f"{len(self.layers)} layers",
            )
        for layer in network.layers:
            found = len(self.layers[layer.index].mean)
            if found != layer.out_shape.c:
                raise PlanError(
                    f"the profile is not one of {network.file}",
                    where=Where(layer=layer.index, section=layer.type),
                    expected=f"{layer.out_shape.c} channels",
                    found=found,
                )

    @checked
    def save(self, path: PathLike) -> None:
        """Write the profile as an `.npz` file.

        Args:
            path: path of the file.

        Raises:
            DarkconvError: the file cannot be written.
        """
        head = {"model": self.model, "pictures": self.pictures, "notes": self.notes}
        write_profile(path, head, {index: vars(layer) for index, layer in self.layers.items()})

    @classmethod
    @checked
    def load(cls, path: PathLike, model: Model | None = None) -> Self:
        """Read a profile that `save` wrote; nothing in it is unpickled.

        Args:
            path: path of the `.npz` file.
            model: the model that the profile must belong to; None for any.

        Raises:
            PlanError: the file is not a profile or is damaged (the message names layer and array),
                or it belongs to another model.
        """
        head, layers = read_profile(path, bins=BINS)
        statistics = {index: LayerStatistics(**parts) for index, parts in layers.items()}
        found = cls(head["model"], head["pictures"], statistics, head["notes"])
        if model is not None:
            found.check_is_of(model, Where(file=os.fspath(path)))
        return found

    def says_the_same(self, other: "Profile") -> bool:
        """Return True if two profiles have the same statistics.

        Args:
            other: the profile to compare with.
        """
        return self._channels == other._channels and all(
            np.array_equal(layer.mean, other.layers[index].mean)
            and np.array_equal(layer.deviations, other.layers[index].deviations)
            for index, layer in self.layers.items()
        )

    def check_is_of(self, model: Model, where: Where | None = None) -> None:
        """Check that the profile was made of a model.

        Args:
            model: the model that it should belong to.
            where: place of the file that the profile was read from; None without a file.

        Raises:
            PlanError: the profile belongs to another model.
        """
        if self.model != fingerprint(model):
            raise PlanError(
                f"is a profile of another model than {model.network.file}"
                if where
                else f"the profile is of another model than {model.network.file}",
                where=where,
                hint="it fits only the network, input size and weights that it was made with",
            )
        try:
            self.check_fits(model.network)
        except PlanError as error:
            raise error.at(where or error.where) from None

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics of each layer's channels as data for programs.

        Returns:
            `model`, `pictures`, `notes`, and for each of the `layers` how many of its `channels`
                are `constant` and how many `near_dead`, with `mean`, `variance` and `score` of each
                channel; the score of constant channels, minus infinity, is None.
        """
        layers = [
            {
                "layer": index,
                "channels": len(layer.mean),
                "constant": int(layer.constant.sum()),
                "near_dead": int(layer.near_dead.sum()),
                "mean": layer.mean.tolist(),
                "variance": layer.variance.tolist(),
                "score": [value if np.isfinite(value) else None for value in layer.nll0.tolist()],
            }
            for index, layer in self.layers.items()
        ]
        head = {"model": self.model, "pictures": self.pictures, "notes": dict(self.notes)}
        return {**head, "layers": layers}

    @checked
    def report(self, path: PathLike, model: Model) -> None:
        """Write an HTML page with the histograms of each layer's channels.

        Args:
            path: path of the HTML file.
            model: the model that was profiled.

        Raises:
            PlanError: the profile belongs to another model.
            DarkconvError: the file cannot be written.
        """
        from darkconv.surgery.profile_page import write_profile_report

        self.check_is_of(model)
        write_profile_report(path, model, self)


def merge_profiles(profiles: list[Profile]) -> Profile:
    """Merge profiles into one over all their pictures.

    Args:
        profiles: at least one profile, all of the same model.

    Raises:
        PlanError: the profiles are of different models.
    """
    first, *others = profiles
    for other in others:
        first = first.merge(other)
    return first
