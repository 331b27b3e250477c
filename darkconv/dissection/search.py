"""The search for the smallest model that is good enough: bisection over the budgets."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from darkconv.core.model import Model
from darkconv.dissection.quality import Quality
from darkconv.dissection.result import Dissection
from darkconv.dissection.trying import Tries
from darkconv.errors import PlanError
from darkconv.evaluation.latency import measure_latency
from darkconv.logs import NOTE
from darkconv.presentation.numerals import counted, format_count, format_large, per_cent
from darkconv.surgery.budget import KINDS, SHARES
from darkconv.surgery.changes import total_costs
from darkconv.surgery.planning import Planning

logger = logging.getLogger("darkconv")

NEAR = 1 / 32
"""Width of the interval of shares at which the bisection stops."""
USUAL: dict[str, Any] = {"params": 1.0, "macs": 1.0}
"""Budgets that the search makes smaller if none are given."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A model that was tried.

    Attributes:
        share: share of the budgets, 0..1.
        parameters: number of parameters.
        macs: multiply-accumulate operations for a picture.
        milliseconds: time for a picture.
        quality: quality of the model.
        points_lost: points of AP lost; without labels, of the agreement with the uncut model.
    """

    share: float
    parameters: int
    macs: int
    milliseconds: float
    quality: Quality
    points_lost: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, for programs."""
        return {**vars(self), "quality": self.quality.to_dict()}


@dataclass(frozen=True, kw_only=True)
class Search:
    """The trials of a search for the smallest model that is good enough.

    Attributes:
        max_loss: points that may be lost.
        measure: the measure they are of: "AP" or "agreement".
        uncut: the model with all channels.
        trials: the trials, from the largest model to the smallest.
        chosen: the smallest model that lost no more.
        conditions: description of how the time was measured.
    """

    max_loss: float
    measure: str
    uncut: Trial
    trials: tuple[Trial, ...]
    chosen: Trial
    conditions: str

    def __str__(self) -> str:
        """Return a sentence on the result."""
        limit = f"at most {self.max_loss:g} points of {self.measure}"
        return (
            f"{counted(len(self.trials), 'model')} tried; the smallest that loses {limit} loses "
            f"{self.chosen.points_lost:.1f}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return all trials, for programs."""
        return {
            "max_loss": self.max_loss,
            "measure": self.measure,
            "uncut": self.uncut.to_dict(),
            "trials": [one.to_dict() for one in self.trials],
            "chosen": self.chosen.share,
        }


def find_smallest(tries: Tries, planning: Planning, max_loss: float) -> Dissection:
    """Return the smallest model that loses no more than some points.

    Args:
        tries: what all trials have in common; it must have a yardstick.
        planning: how channels are chosen; its budgets are the largest that are tried.
        max_loss: points of AP that may be lost; without labels, of the agreement.

    Raises:
        PlanError: even the largest model loses more, or its budget is out of reach.
    """
    yardstick = tries.yardstick
    assert yardstick is not None
    found: dict[float, Dissection] = {}
    most = math.ceil(math.log2(1 / NEAR))

    def is_good(share: float) -> bool:
        try:
            done = tries.run(f"{share:g}", shrunk(planning, share))
        except PlanError as error:
            if share == 1:
                raise
            logger.log(NOTE, "try of %s of the budgets: %s", f"{share:.1%}", error)
            return False
        found[share] = done
        lost = points_lost(done)
        verdict = "good enough" if lost <= max_loss else "too much"
        words = f"{_costs_as_text(done.model)}; {_quality_as_text(done, yardstick.measure)}"
        number = f"try {len(found)} of {max(most, len(found))}"
        logger.log(NOTE, "%s: %s, %.1f points lost: %s", number, words, lost, verdict)
        return lost <= max_loss

    share = smallest_share(is_good)
    if share is None:
        lost = points_lost(found[1.0])
        raise PlanError(
            f"no model within the budgets loses at most {max_loss:g} points of {yardstick.measure}",
            found=f"{lost:.1f} points lost by the largest",
            hint="a larger --max-loss or larger budgets, or more --steps of --recover",
        )
    return replace(found[share], search=_account(found, share, yardstick.measure, max_loss))


def smallest_share(is_good: Callable[[float], bool]) -> float | None:
    """Return the smallest share that is found good by bisection; None if not even 1 is good.

    Args:
        is_good: takes a share, 0..1, and returns True if the model of that share is good enough.
    """
    low, high = 0.0, 1.0
    while high - low > NEAR:
        middle = (low + high) / 2
        if is_good(middle):
            high = middle
        else:
            low = middle
    return high if high < 1 or is_good(1.0) else None


def or_budgets(planning: Planning) -> Planning:
    """Return a planning with the budgets of `USUAL` if no amount is given, else the same one.

    Args:
        planning: how channels are chosen.

    Raises:
        PlanError: the given amount is no budget, which could become smaller.
    """
    if planning.amounts and not planning.has_budget:
        given = ", ".join(planning.amounts)
        raise PlanError(
            "max_loss makes budgets smaller", expected=f"some of {', '.join(KINDS)}", found=given
        )
    return planning if planning.amounts else replace(planning, **USUAL)


def shrunk(planning: Planning, share: float) -> Planning:
    """Return a planning with each budget multiplied by a share.

    Args:
        planning: planning with budgets.
        share: factor of each budget, 0..1.
    """
    smaller: dict[str, Any] = {
        name: limit * share if name in SHARES else max(1, round(limit * share))
        for name, limit in planning.amounts.items()
    }
    return replace(planning, **smaller)


def points_lost(done: Dissection) -> float:
    """Return the points that a model has lost in the last state in which it was measured.

    Args:
        done: dissection with its quality, of the uncut model first.
    """
    uncut, *_, last = done.quality.values()
    return last.points_lost(uncut)


def _account(
    found: Mapping[float, Dissection], share: float, measure: str, max_loss: float
) -> Search:
    """Return the trials; the times of all models are measured side by side now."""
    chosen = found[share]
    models = {"uncut": chosen.uncut, **{f"{one:g}": found[one].model for one in sorted(found)}}
    latency = measure_latency(models)

    def trial(name: str, share: float, quality: Quality) -> Trial:
        costs = total_costs(models[name])
        return Trial(
            share=share,
            parameters=costs["parameters"],
            macs=costs["macs"],
            milliseconds=latency.milliseconds[name],
            quality=quality,
            points_lost=quality.points_lost(next(iter(chosen.quality.values()))),
        )

    trials = {
        one: trial(f"{one:g}", one, [*found[one].quality.values()][-1])
        for one in sorted(found, reverse=True)
    }
    return Search(
        max_loss=max_loss,
        measure=measure,
        uncut=trial("uncut", 1.0, next(iter(chosen.quality.values()))),
        trials=tuple(trials.values()),
        chosen=trials[share],
        conditions=latency.conditions,
    )


def _costs_as_text(model: Model) -> str:
    costs = total_costs(model)
    parameters, macs = format_count(costs["parameters"]), format_large(costs["macs"])
    return f"{parameters} parameters, {macs} MACs"


def _quality_as_text(done: Dissection, measure: str) -> str:
    last: Quality = [*done.quality.values()][-1]
    return f"{measure} {per_cent(last.value(measure))}"
