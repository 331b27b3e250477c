"""Scores: how much a channel matters. The lowest go first.

A score is a function of one layer that makes channels; `register_score` adds another one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array, Model
from darkconv.core.network import Layer
from darkconv.core.spec import Slot
from darkconv.errors import PlanError
from darkconv.surgery.channels import ChannelClasses
from darkconv.surgery.profile import LayerStatistics, Profile

Doubles = npt.NDArray[np.float64]

CACHED = 1 << 16  # values that stay in a processor's cache between two passes over them
WORTHLESS = -np.inf
"""Score of a channel that is constant: it can be folded away at no cost."""


@dataclass(frozen=True)
class ScoreInput:
    """What a score may look at.

    Attributes:
        model: the model.
        layer: a layer that makes channels.
        profile: over the pictures that matter.
        against: over other pictures, for scores that compare.
        seed: for scores that draw lots.
    """

    model: Model
    layer: Layer
    profile: Profile | None = None
    against: Profile | None = None
    seed: int = 0

    @property
    def statistics(self) -> LayerStatistics:
        """The layer's, in `profile`.

        Raises:
            PlanError: there is no profile.
        """
        if self.profile is None:
            raise PlanError(
                "this score needs a profile",
                hint="darkconv profile MODEL PICTURES makes one; score l1 needs none",
            )
        return self.profile.layers[self.layer.index]

    @property
    def other_statistics(self) -> LayerStatistics:
        """The layer's, in `against`.

        Raises:
            PlanError: there is none.
        """
        if self.against is None:
            raise PlanError("this score compares with a second profile (against=)")
        return self.against.layers[self.layer.index]

    def arrays(self, kind: str) -> list[tuple[Slot, Array]]:
        """The layer's arrays of one kind that have an output axis."""
        return [
            (slot, self.model.arrays[f"{self.layer.index}.{slot.name}"])
            for slot in self.layer.slots
            if slot.name.rpartition(".")[2] == kind and slot.out_axis is not None
        ]


Score = Callable[[ScoreInput], Doubles]
"""(out_channels,) of a layer; higher is more important."""

SCORES: dict[str, Score] = {}


def register_score(name: str) -> Callable[[Score], Score]:
    """Add a score under a name."""

    def add(score: Score) -> Score:
        if name in SCORES:
            raise ValueError(f"score {name} is registered twice")
        SCORES[name] = score
        return score

    return add


@register_score("nll0")
def likelihood_of_zero(given: ScoreInput) -> Doubles:
    """m^2 / v + log v: minus twice the log-likelihood of 0 under the channel's normal model."""
    return given.statistics.nll0


@register_score("mean_abs")
def mean_absolute(given: ScoreInput) -> Doubles:
    """Mean absolute activation."""
    found = given.statistics
    return np.where(found.constant, WORTHLESS, found.absolute)


@register_score("l1")
def filter_size(given: ScoreInput) -> Doubles:
    """Mean absolute weight of each filter."""
    total = np.zeros(given.layer.out_shape.c)
    for slot, array in given.arrays("weights"):
        assert slot.out_axis is not None
        total += mean_magnitudes(np.moveaxis(array, slot.out_axis, 0).reshape(len(total), -1))
    return total


def mean_magnitudes(rows: Array) -> Doubles:
    """(n,) mean absolute value of each of n rows; a few at a time, which stay in the cache."""
    sums = np.empty(len(rows), np.float32)
    step = max(1, CACHED // rows.shape[1])
    room = np.empty((min(step, len(rows)), rows.shape[1]), np.float32)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        np.abs(part, out=room[: len(part)]).sum(axis=1, out=sums[start : start + step])
    means: Doubles = sums.astype(np.float64) / rows.shape[1]
    return means


@register_score("bn")
def norm_scale(given: ScoreInput) -> Doubles:
    """Absolute scale of the batch norm; without one, the filters' size."""
    scales = given.arrays("scales")
    return np.abs(scales[0][1]).astype(np.float64) if scales else filter_size(given)


@register_score("taylor")
def first_order_effect(given: ScoreInput) -> Doubles:
    """Mean |activation times gradient|: the first-order change of what the heads read."""
    found = given.statistics
    if found.effect is None:
        raise PlanError(
            "the profile holds no gradients", hint="darkconv profile --taylor, or taylor=True"
        )
    return np.where(found.constant, WORTHLESS, found.effect)


@register_score("obs")
def unrecovered_error(given: ScoreInput) -> Doubles:
    """What refitting leaves of the error once the channel and all of less have gone."""
    found = given.statistics
    if found.residual is None:
        raise PlanError(
            "the profile does not say what refitting makes up for",
            hint="darkconv profile --obs, or obs=True; profiles merged from parts do not have it",
        )
    return np.where(found.constant, WORTHLESS, found.residual)


@register_score("contrast")
def contrast(given: ScoreInput) -> Doubles:
    """|difference of means| over the common deviation, wanted pictures against others."""
    found, other = given.statistics, given.other_statistics
    spread = np.sqrt(found.variance + other.variance)
    gap = np.abs(found.mean - other.mean)
    flat = found.constant & other.constant
    return np.where(flat, WORTHLESS, gap / np.where(spread > 0, spread, 1.0))


@register_score("random")
def lots(given: ScoreInput) -> Doubles:
    """Chance, the same for the same seed."""
    return np.random.default_rng([given.seed, given.layer.index]).random(given.layer.out_shape.c)


def score_classes(
    classes: ChannelClasses,
    model: Model,
    score: str | Score,
    *,
    profile: Profile | None = None,
    against: Profile | None = None,
    seed: int = 0,
) -> Doubles:
    """(classes,) mean score of each class's channels in the layers that make them.

    A class counts as worthless only if all of them are.

    Raises:
        PlanError: an unknown score, or one that needs a profile that is not there.
    """
    function = find_score(score)
    if score == "contrast" and profile and against and profile.says_the_same(against):
        raise PlanError(
            "against: the two profiles are the same, so nothing tells channels apart",
            hint="profile the pictures with the wanted classes and, as the second, the others",
        )
    total, count = np.zeros(classes.count), np.zeros(classes.count)
    for layer in classes.makers:
        labels = classes.of(layer.index)
        if not classes.free[labels].any():
            continue
        values = function(ScoreInput(model, layer, profile, against, seed))
        useful = values != WORTHLESS
        np.add.at(total, labels[useful], values[useful])
        np.add.at(count, labels[useful], 1)
    means: Doubles = np.divide(total, count, out=np.full(classes.count, WORTHLESS), where=count > 0)
    return means


def check_used(score: str | Score, against: Profile | None, seed: int) -> None:
    """Refuse what a score would not look at; functions of others may look at everything.

    Raises:
        PlanError: a second profile or a seed for a score that does not use it, or two profiles
            that are the same.
    """
    if callable(score):
        return
    if against is not None and score != "contrast":
        raise PlanError("against: only the score contrast compares two profiles", found=score)
    if seed and score != "random":
        raise PlanError("seed: only the score random draws lots", found=score)


def score_name(score: str | Score) -> str:
    """Return what a score is called in files."""
    return score if isinstance(score, str) else getattr(score, "__name__", "function")


def find_score(score: str | Score) -> Score:
    """Return the score of a name; a function is one.

    Raises:
        PlanError: there is none of that name.
    """
    if callable(score):
        return score
    if score not in SCORES:
        raise PlanError("score", expected=", ".join(SCORES), found=score)
    return SCORES[score]
