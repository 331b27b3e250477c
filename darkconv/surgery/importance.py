"""Scores of the importance of channels; channels with the lowest scores are removed first.

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

CACHED = 1 << 16  # number of values that fit into a processor's cache
WORTHLESS = -np.inf
"""The score of a constant channel, which can be folded away without loss."""


@dataclass(frozen=True)
class ScoreInput:
    """The data that a score can use.

    Attributes:
        model: the model.
        layer: a layer that makes channels.
        profile: statistics over the pictures that matter; None if there are none.
        against: statistics over other pictures, for scores that compare; None if there are none.
        seed: seed of the random generator, for random scores.
    """

    model: Model
    layer: Layer
    profile: Profile | None = None
    against: Profile | None = None
    seed: int = 0

    @property
    def statistics(self) -> LayerStatistics:
        """Return the layer's statistics in `profile`.

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
        """Return the layer's statistics in `against`.

        Raises:
            PlanError: there is no second profile.
        """
        if self.against is None:
            raise PlanError("this score compares with a second profile (against=)")
        return self.against.layers[self.layer.index]

    def arrays(self, kind: str) -> list[tuple[Slot, Array]]:
        """Return the layer's arrays of one kind that have an output axis, each with its slot.

        Args:
            kind: slot name without the name of a sub-layer, such as "weights".
        """
        return [
            (slot, self.model.arrays[f"{self.layer.index}.{slot.name}"])
            for slot in self.layer.slots
            if slot.name.rpartition(".")[2] == kind and slot.out_axis is not None
        ]


Score = Callable[[ScoreInput], Doubles]
"""A function that returns float64 (out_channels,) for a layer; higher is more important."""

SCORES: dict[str, Score] = {}


def register_score(name: str) -> Callable[[Score], Score]:
    """Return a decorator that registers a score.

    Args:
        name: the name by which users choose it.

    Raises:
        ValueError: the name is already registered.
    """

    def add(score: Score) -> Score:
        if name in SCORES:
            raise ValueError(f"score {name} is registered twice")
        SCORES[name] = score
        return score

    return add


@register_score("nll0")
def likelihood_of_zero(given: ScoreInput) -> Doubles:
    """Return m^2 / v + log v: minus twice the log-likelihood of 0 for a normal distribution.

    m and v are mean and variance of the channel; constants that do not matter are left out.

    Args:
        given: the layer and its profile.

    Raises:
        PlanError: there is no profile.
    """
    return given.statistics.nll0


@register_score("mean_abs")
def mean_absolute(given: ScoreInput) -> Doubles:
    """Return the mean absolute activation of each channel.

    Args:
        given: the layer and its profile.

    Raises:
        PlanError: there is no profile.
    """
    found = given.statistics
    return np.where(found.constant, WORTHLESS, found.absolute)


@register_score("l1")
def filter_size(given: ScoreInput) -> Doubles:
    """Return the mean absolute weight of each filter.

    Args:
        given: the layer and the model.
    """
    total = np.zeros(given.layer.out_shape.c)
    for slot, array in given.arrays("weights"):
        assert slot.out_axis is not None
        total += mean_magnitudes(np.moveaxis(array, slot.out_axis, 0).reshape(len(total), -1))
    return total


def mean_magnitudes(rows: Array) -> Doubles:
    """Return the mean absolute value of each row, computed in parts that fit into the cache.

    Args:
        rows: float32 (n, values).

    Returns:
        float64 (n,).
    """
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
    """Return the absolute batch norm scale of each channel; without batch norm, `filter_size`.

    Args:
        given: the layer and the model.
    """
    scales = given.arrays("scales")
    return np.abs(scales[0][1]).astype(np.float64) if scales else filter_size(given)


@register_score("taylor")
def first_order_effect(given: ScoreInput) -> Doubles:
    """Return the mean |activation times gradient|: the first-order change of the heads' inputs.

    Args:
        given: the layer and its profile.

    Raises:
        PlanError: there is no profile, or it holds no gradients.
    """
    found = given.statistics
    if found.effect is None:
        raise PlanError(
            "the profile holds no gradients", hint="darkconv profile --taylor, or taylor=True"
        )
    return np.where(found.constant, WORTHLESS, found.effect)


@register_score("obs")
def unrecovered_error(given: ScoreInput) -> Doubles:
    """Return the error that remains after refitting once a channel and all lower ones are removed.

    The module `darkconv.surgery.elimination` describes the method.

    Args:
        given: the layer and its profile.

    Raises:
        PlanError: there is no profile, or it does not hold these errors.
    """
    found = given.statistics
    if found.residual is None:
        raise PlanError(
            "the profile does not say what refitting makes up for",
            hint="darkconv profile --obs, or obs=True; profiles merged from parts do not have it",
        )
    return np.where(found.constant, WORTHLESS, found.residual)


@register_score("contrast")
def contrast(given: ScoreInput) -> Doubles:
    """Return |difference of the means| / common standard deviation of the two profiles.

    Args:
        given: the layer with both profiles.

    Raises:
        PlanError: one of the profiles is missing.
    """
    found, other = given.statistics, given.other_statistics
    spread = np.sqrt(found.variance + other.variance)
    gap = np.abs(found.mean - other.mean)
    flat = found.constant & other.constant
    return np.where(flat, WORTHLESS, gap / np.where(spread > 0, spread, 1.0))


@register_score("random")
def lots(given: ScoreInput) -> Doubles:
    """Return random scores, which are the same for the same seed.

    Args:
        given: the layer and the seed.
    """
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
    """Return the mean score of each channel group, over its channels in the layers that make them.

    A group counts as worthless only if all its channels are.

    Args:
        classes: the channel groups of the network.
        model: the model.
        score: name of a score, or a function.
        profile: statistics over the pictures that matter; None if the score needs none.
        against: statistics over other pictures, for scores that compare.
        seed: seed of the random generator, for random scores.

    Returns:
        float64 (groups,).

    Raises:
        PlanError: the score is unknown, or needs a profile that is not given, or the two profiles
            are the same.
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
    """Check that a score uses all that is given; functions of the user may use everything.

    Args:
        score: name of a score, or a function.
        against: the second profile; None if there is none.
        seed: seed of the random generator; 0 if there is none.

    Raises:
        PlanError: a second profile or a seed is given for a score that does not use it.
    """
    if callable(score):
        return
    if against is not None and score != "contrast":
        raise PlanError("against: only the score contrast compares two profiles", found=score)
    if seed and score != "random":
        raise PlanError("seed: only the score random draws lots", found=score)


def score_name(score: str | Score) -> str:
    """Return the name of a score in files.

    Args:
        score: name of a score, or a function.
    """
    return score if isinstance(score, str) else getattr(score, "__name__", "function")


def find_score(score: str | Score) -> Score:
    """Return the function of a score.

    Args:
        score: name of a score, or a function, which is returned itself.

    Raises:
        PlanError: there is no score of that name.
    """
    if callable(score):
        return score
    if score not in SCORES:
        raise PlanError("score", expected=", ".join(SCORES), found=score)
    return SCORES[score]
