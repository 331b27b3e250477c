"""Allocation of a budget to layers, by the measured loss of pruning each family.

A family is a set of channel groups that have their channels in the same layers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Model
from darkconv.errors import PlanError
from darkconv.surgery.budget import Bill, Budget
from darkconv.surgery.fingerprint import fingerprint

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

SHARES = (0.25, 0.5, 0.75)
"""The shares of a family that are removed to measure its loss."""
GRID = 64
"""Number of steps of a family's curve."""
LEAST = 1e-12
"""Smaller losses count as this one; among families without loss, the one that saves most is cut."""


@dataclass(frozen=True, eq=False)
class Losses:
    """The measured errors at the inputs of the heads after pruning each family and refitting.

    Attributes:
        model: fingerprint of the model.
        score: name of the score that decided which channel groups of a family were removed first.
        shares: (cuts,) removed shares of a family, ascending.
        errors: float64 (families, cuts): squared error divided by the variance of what the heads
            read, on pictures to which nothing was fitted; NaN for families that must not be pruned.
    """

    model: str
    score: str
    shares: Sequence[float]
    errors: Doubles

    def check_is_of(self, model: Model, score: str, families: int) -> None:
        """Check that the losses were measured for a model, and in the order of a score.

        Args:
            model: the model to prune.
            score: name of the score.
            families: number of families of the model.

        Raises:
            PlanError: the losses belong to another model or score.
        """
        if self.model != fingerprint(model) or len(self.errors) != families:
            raise PlanError(f"the losses are of another model than {model.network.file}")
        if self.score != score:
            raise PlanError("the losses are of another score", expected=score, found=self.score)

    def curve(self, family: int) -> Doubles:
        """Return the error of a family as a convex function of the removed share.

        Between two measured cuts, the error grows as a power of the share. Where that is not
        convex, the straight line below it counts.

        Args:
            family: index of the family, from 0.

        Returns:
            float64 (GRID + 1,): the errors at even steps from no removal to removal of all.
        """
        shares = np.asarray(self.shares, float)
        errors = np.maximum.accumulate(np.maximum(self.errors[family], LEAST))
        powers = np.diff(np.log(errors)) / np.diff(np.log(shares))
        steps = np.linspace(0, 1, GRID + 1)
        place = np.clip(np.searchsorted(shares, steps) - 1, 0, len(powers) - 1)
        with np.errstate(divide="ignore"):
            curve = errors[place] * (steps / shares[place]) ** np.maximum(powers[place], 1.0)
        curve[0] = 0
        return lower_hull(steps, np.maximum.accumulate(curve))


def lower_hull(x: Doubles, y: Doubles) -> Doubles:
    """Return the largest convex function that is nowhere above some points.

    Args:
        x: float64 (n,), ascending.
        y: float64 (n,).

    Returns:
        float64 (n,): the values of the function at x.
    """
    corners: list[int] = []
    for place in range(len(x)):
        while len(corners) > 1 and _is_above(x, y, corners[-2], corners[-1], place):
            corners.pop()
        corners.append(place)
    found: Doubles = np.interp(x, x[corners], y[corners])
    return found


def _is_above(x: Doubles, y: Doubles, a: int, b: int, c: int) -> bool:
    """Return True if point b lies on or above the line from a to c."""
    return bool((y[b] - y[a]) * (x[c] - x[a]) >= (y[c] - y[a]) * (x[b] - x[a]))


@dataclass(frozen=True, eq=False)
class Step:
    """Channel groups of a family that are removed together next.

    Attributes:
        family: index of the family.
        classes: the channel groups, least important first.
    """

    family: int
    classes: Labels


@dataclass
class Spending:
    """A budget that is spent step by step where the loss is smallest.

    Attributes:
        bill: the costs of the network without some channel groups of each family.
        budgets: the budgets to meet.
        curves: (families, GRID + 1), see `Losses.curve`.
        sizes: (families,) number of channel groups.
        limits: (families,) number of channel groups that may be removed.
        paces: (families,) number of channel groups that are removed in one step.
        gone: (families,) number of channel groups removed so far.
    """

    bill: Bill
    budgets: Sequence[Budget]
    curves: Doubles
    sizes: Labels
    limits: Labels
    paces: Labels
    gone: Labels = field(init=False)

    def __post_init__(self) -> None:
        """Start with nothing removed."""
        self.gone = np.zeros_like(self.sizes)

    def next(self) -> tuple[int, int] | None:
        """Take the step with the smallest loss for what it saves.

        Savings are counted as a share of the amount by which each budget is still exceeded. Budgets
        that are met do not count, so the price of each falls to zero when it is met.

        Returns:
            The index of the family and the number of its channel groups removed; None if no step is
                left.
        """
        steps = np.minimum(self.paces, self.limits - self.gone)
        open_families = np.flatnonzero(steps > 0)
        if not len(open_families):
            return None
        worth = self._worth(steps)[open_families]
        costs = self._loss(self.gone + steps) - self._loss(self.gone)
        costs = np.maximum(costs[open_families], LEAST)
        prices = np.divide(costs, worth, out=np.full(len(costs), np.inf), where=worth > 0)
        family = int(open_families[prices.argmin()])
        self.gone[family] += steps[family]
        return family, int(steps[family])

    def _loss(self, gone: Labels) -> Doubles:
        """Return (families,) the loss of removing the given numbers of channel groups."""
        place = gone * GRID / np.maximum(self.sizes, 1)
        low = np.minimum(place.astype(np.int64), GRID - 1)
        rows = np.arange(len(gone))
        left, right = self.curves[rows, low], self.curves[rows, low + 1]
        found: Doubles = left + (right - left) * (place - low)
        return found

    def _worth(self, steps: Labels) -> Doubles:
        """Return (families,) what a step of each family saves."""
        now, then = self.bill.of(self.gone), self.bill.after(self.gone, steps)
        limits = {budget.kind: self.bill.limit(budget) for budget in self.budgets}
        over = {kind: now[kind] - limit for kind, limit in limits.items()}
        is_met = all(excess <= 0 for excess in over.values())
        worth = np.zeros(len(steps))
        for kind, excess in over.items():
            saved = now[kind] - then[kind]
            if is_met:
                worth += saved / max(now[kind], 1e-30)
            elif excess > 0:
                worth += np.minimum(saved, excess) / excess
        return worth


def spending_order(spending: Spending, orders: Sequence[Labels]) -> Labels:
    """Return the channel groups in the order in which a budget removes them.

    Args:
        spending: chooses the steps, and is used up.
        orders: the channel groups of each family, least important first.

    Returns:
        int64 indices of channel groups.
    """
    taken = [np.empty(0, np.int64)]
    while (step := spending.next()) is not None:
        family, count = step
        end = int(spending.gone[family])
        taken.append(orders[family][end - count : end])
    return np.concatenate(taken)
