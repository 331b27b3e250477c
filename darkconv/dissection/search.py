"""The smallest model that is good enough: budgets are halved, and the halves tried."""

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
"""Share of the budgets to which the smallest model is found out."""
USUAL: dict[str, Any] = {"params": 1.0, "macs": 1.0}
"""Budgets that become smaller where none are given."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A model that was tried.

    Attributes:
        share: of the budgets.
        parameters: of the model.
        macs: multiply-accumulates of a picture.
        milliseconds: for a picture.
        quality: of the model.
        points_lost: of AP, or without labels of the agreement with the uncut model.
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
    """What was tried to find the smallest model that is good enough.

    Attributes:
        max_loss: points that may be lost.
        measure: of what: "AP", or "agreement".
        uncut: the model with all channels.
        trials: from the largest to the smallest.
        chosen: the smallest that lost no more.
        conditions: how the time was measured.
    """

    max_loss: float
    measure: str
    uncut: Trial
    trials: tuple[Trial, ...]
    chosen: Trial
    conditions: str

    def __str__(self) -> str:
        """Return what was found, in words."""
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
        tries: what all tries have in common; there is a yardstick.
        planning: how channels are chosen; its budgets are the largest that are tried.
        max_loss: points of AP, or without labels of the agreement with the uncut model.

    Raises:
        PlanError: even the largest loses more.
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
    """Return the smallest share that is found to be good, by halving; None if not even 1 is."""
    low, high = 0.0, 1.0
    while high - low > NEAR:
        middle = (low + high) / 2
        if is_good(middle):
            high = middle
        else:
            low = middle
    return high if high < 1 or is_good(1.0) else None


def or_budgets(planning: Planning) -> Planning:
    """Return the same with the budgets of `USUAL`, where nothing says how much goes.

    Raises:
        PlanError: what says it is no budget, which could become smaller.
    """
    if planning.amounts and not planning.has_budget:
        given = ", ".join(planning.amounts)
        raise PlanError(
            "max_loss makes budgets smaller", expected=f"some of {', '.join(KINDS)}", found=given
        )
    return planning if planning.amounts else replace(planning, **USUAL)


def shrunk(planning: Planning, share: float) -> Planning:
    """Return the planning with budgets of which a share is left.

    Args:
        planning: with budgets.
        share: of each of them, 0..1.
    """
    smaller: dict[str, Any] = {
        name: limit * share if name in SHARES else max(1, round(limit * share))
        for name, limit in planning.amounts.items()
    }
    return replace(planning, **smaller)


def points_lost(done: Dissection) -> float:
    """Return the points that a model has lost, in the last state in which it was measured."""
    uncut, *_, last = done.quality.values()
    return last.points_lost(uncut)


def _account(
    found: Mapping[float, Dissection], share: float, measure: str, max_loss: float
) -> Search:
    """Return what was tried; how long the models take is measured side by side."""
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
