"""Profile: what the channels of each layer do over a set of pictures.

Counts, means and sums of squared deviations are kept in double precision and merged by Chan's
rule, so that pictures may come in any number, any order and from several processes.
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
"""A variance below this share of the mean square counts as none."""
FAINT = 0.01
"""Below this share of the layer's median root mean square, a channel is near dead."""
HALF_BINS = 40
BINS = 2 * HALF_BINS
BIN_FINENESS = 100.0
BINS_PER_UNIT = HALF_BINS / 8.3
_STEPS = np.arange(-HALF_BINS, HALF_BINS + 1)
BIN_EDGES: Doubles = np.copysign(np.expm1(np.abs(_STEPS) / BINS_PER_UNIT) / BIN_FINENESS, _STEPS)
"""Edges of the histograms' bins: fine about zero (0.0023 wide), up to +-40.

A value x is in bin floor(sign(x) log(1 + |x| BIN_FINENESS) BINS_PER_UNIT) + HALF_BINS.
"""


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """Statistics of one layer's output channels.

    Attributes:
        count: values seen of each channel: positions times pictures.
        mean: (c,) exact over all of them.
        deviations: (c,) sum of squared deviations from the mean.
        histogram: (c, bins) counts of a seeded sample of positions; values beyond the last
            edges count in the outermost bins.
        effect: (c,) sum over pictures of |activation times gradient|, if that was asked for.
        residual: (c,) the error that refitting leaves in the outputs of the layers that read a
            channel once it is gone, with all of its alternatives that have less, as a share of
            these outputs' variance, if that was asked for.
    """

    count: int
    mean: Doubles
    deviations: Doubles
    histogram: Counts
    effect: Doubles | None = None
    residual: Doubles | None = None

    @property
    def variance(self) -> Doubles:
        """(c,) population variance."""
        return self.deviations / max(self.count, 1)

    @property
    def absolute(self) -> Doubles:
        """(c,) mean absolute value, from the histogram's sample."""
        middles = np.abs((BIN_EDGES[1:] + BIN_EDGES[:-1]) / 2)
        total = np.maximum(self.histogram.sum(axis=1), 1)
        shares: Doubles = self.histogram @ middles / total
        return shares

    @property
    def constant(self) -> npt.NDArray[np.bool_]:
        """(c,) whether a channel has had one value only."""
        square = self.variance + self.mean**2
        constant: npt.NDArray[np.bool_] = self.variance <= CONSTANT * square
        return constant

    @property
    def near_dead(self) -> npt.NDArray[np.bool_]:
        """(c,) whether a channel is not constant, but faint beside the others: see `FAINT`."""
        strength = np.sqrt(self.mean**2 + self.variance)
        faint: npt.NDArray[np.bool_] = strength < FAINT * np.median(strength)
        return faint & ~self.constant

    @property
    def nll0(self) -> Doubles:
        """(c,) m^2 / v + log v: minus twice the log-likelihood of 0 under a normal model.

        Low for channels that hover about zero; minus infinity for constant ones.
        """
        safe = np.where(self.constant, 1.0, self.variance)
        return np.where(self.constant, -np.inf, self.mean**2 / safe + np.log(safe))

    def merge(self, other: Self) -> Self:
        """Statistics over the values of both (Chan, Golub, LeVeque 1979), without residuals."""
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
            residual=None,  # of the pictures of both, not a function of each's
        )


@dataclass(frozen=True, eq=False, repr=False)
class Profile(Shown):
    """Statistics of every layer of a model over a set of pictures: what `dc.profile` returns.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import digits10_unlabelled, load_digits10
        >>> profile = dc.profile(load_digits10(), digits10_unlabelled(), device="cpu")
        >>> profile.pictures, profile.mean[0].shape, int(profile.layers[0].constant.sum())
        (16, (16,), 0)

    Attributes:
        model: fingerprint of the model.
        pictures: number of pictures.
        layers: by layer index.
        notes: where the pictures came from, and other provenance.

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
        """Return how it is shown."""
        from darkconv.surgery import profile_tables as tables

        return View(tables.profile_as_text, tables.profile_as_html)

    @property
    def _channels(self) -> dict[int, int]:
        return {index: len(layer.mean) for index, layer in self.layers.items()}

    @property
    def mean(self) -> dict[int, Doubles]:
        """Mean of each channel by layer."""
        return {index: layer.mean for index, layer in self.layers.items()}

    @property
    def variance(self) -> dict[int, Doubles]:
        """Variance of each channel by layer."""
        return {index: layer.variance for index, layer in self.layers.items()}

    @property
    def score(self) -> dict[int, Doubles]:
        """nll0 of each channel by layer: low means irrelevant to these pictures."""
        return {index: layer.nll0 for index, layer in self.layers.items()}

    @checked
    def merge(self, other: Self) -> Self:
        """The profile over the pictures of both.

        Residuals, for the score obs, are left out: they are those of all pictures together.

        Raises:
            PlanError: they are profiles of different models.
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
        """Check that the layers are those of a network.

        Raises:
            PlanError: some are missing, or have another number of channels.
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
        """Write an `.npz` file."""
        head = {"model": self.model, "pictures": self.pictures, "notes": self.notes}
        write_profile(path, head, {index: vars(layer) for index, layer in self.layers.items()})

    @classmethod
    @checked
    def load(cls, path: PathLike, model: Model | None = None) -> Self:
        """Read a file of `save`. Nothing in it is unpickled.

        Args:
            path: the `.npz` file.
            model: that the profile must be of.

        Raises:
            PlanError: it is not one, or is damaged (the message names layer and array), or it is
                of another model.
        """
        head, layers = read_profile(path, bins=BINS)
        statistics = {index: LayerStatistics(**parts) for index, parts in layers.items()}
        found = cls(head["model"], head["pictures"], statistics, head["notes"])
        if model is not None:
            found.check_is_of(model, Where(file=os.fspath(path)))
        return found

    def says_the_same(self, other: "Profile") -> bool:
        """Return True if two profiles have the same statistics."""
        return self._channels == other._channels and all(
            np.array_equal(layer.mean, other.layers[index].mean)
            and np.array_equal(layer.deviations, other.layers[index].deviations)
            for index, layer in self.layers.items()
        )

    def check_is_of(self, model: Model, where: Where | None = None) -> None:
        """Check that the profile was made of a model.

        Args:
            model: of which it shall be.
            where: the file that it came from.

        Raises:
            PlanError: it is of another one.
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
        """Return what is known of each layer's channels, for programs.

        Returns: `model`, `pictures`, `notes`, and for each of the `layers` how many of its
        `channels` are `constant` and how many `near_dead`, with `mean`, `variance` and `score`
        of each channel; the score of constant ones, minus infinity, is None.
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
        """Write a page with the histograms of each layer's channels.

        Args:
            path: the HTML file.
            model: that was profiled.

        Raises:
            PlanError: the profile is of another model.
        """
        from darkconv.surgery.profile_page import write_profile_report

        self.check_is_of(model)
        write_profile_report(path, model, self)


def merge_profiles(profiles: list[Profile]) -> Profile:
    """One profile over the pictures of all."""
    first, *others = profiles
    for other in others:
        first = first.merge(other)
    return first
