"""Which layers pay: what cuts of each family were measured to cost, and a budget spent by that."""

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
"""Cuts of a family that are measured."""
GRID = 64
"""Steps of a family's curve."""
LEAST = 1e-12
"""A loss that is taken for the least: what costs nothing goes by what it saves."""


@dataclass(frozen=True, eq=False)
class Losses:
    """What cuts of each family cost at the inputs of the heads, once the readers are refitted.

    Attributes:
        model: fingerprint of the model.
        score: that said which classes of a family go first.
        shares: (cuts,) of a family's classes that go, rising.
        errors: (families, cuts) squared error over the variance of what the heads read, on
            pictures that nothing was fitted to; NaN for families that must not be cut.
    """

    model: str
    score: str
    shares: Sequence[float]
    errors: Doubles

    def check_is_of(self, model: Model, score: str, families: int) -> None:
        """Check that they were measured of a model, with channels in a score's order.

        Raises:
            PlanError: they were not.
        """
        if self.model != fingerprint(model) or len(self.errors) != families:
            raise PlanError(f"the losses are of another model than {model.network.file}")
        if self.score != score:
            raise PlanError("the losses are of another score", expected=score, found=self.score)

    def curve(self, family: int) -> Doubles:
        """(GRID + 1,) error of a family at even steps from no cut to all of it, convex.

        Between two measured cuts the error grows as a power of the share that goes; what is
        cheaper to go through than a straight line says is taken for that line.
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
    """(n,) the largest convex function that is nowhere above the points (x, y)."""
    corners: list[int] = []
    for place in range(len(x)):
        while len(corners) > 1 and _is_above(x, y, corners[-2], corners[-1], place):
            corners.pop()
        corners.append(place)
    found: Doubles = np.interp(x, x[corners], y[corners])
    return found


def _is_above(x: Doubles, y: Doubles, a: int, b: int, c: int) -> bool:
    """Whether point b lies on or above the line from a to c."""
    return bool((y[b] - y[a]) * (x[c] - x[a]) >= (y[c] - y[a]) * (x[b] - x[a]))


@dataclass(frozen=True, eq=False)
class Step:
    """The classes of a family that go together next.

    Attributes:
        family: whose they are.
        classes: they, least important first.
    """

    family: int
    classes: Labels


@dataclass
class Spending:
    """A budget, spent step by step where it costs least.

    Attributes:
        bill: what the network costs with so many classes of each family gone.
        budgets: that are to hold.
        curves: (families, GRID + 1), see `Losses.curve`.
        sizes: (families,) classes of each.
        limits: (families,) classes of each that may go.
        paces: (families,) classes of each that go at a time.
        gone: (families,) classes of each that have gone.
    """

    bill: Bill
    budgets: Sequence[Budget]
    curves: Doubles
    sizes: Labels
    limits: Labels
    paces: Labels
    gone: Labels = field(init=False)

    def __post_init__(self) -> None:
        """Begin with nothing gone."""
        self.gone = np.zeros_like(self.sizes)

    def next(self) -> tuple[int, int] | None:
        """Take the step that costs least for what it saves: a family, and how many of it go.

        What is saved is counted as a share of what each budget is still over by, and budgets that
        hold count nothing: a price on each that falls to zero as it is met.
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
        """(families,) what so many of each cost."""
        place = gone * GRID / np.maximum(self.sizes, 1)
        low = np.minimum(place.astype(np.int64), GRID - 1)
        rows = np.arange(len(gone))
        left, right = self.curves[rows, low], self.curves[rows, low + 1]
        found: Doubles = left + (right - left) * (place - low)
        return found

    def _worth(self, steps: Labels) -> Doubles:
        """(families,) what a step of each saves."""
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
    """Return the classes in the order in which a budget takes them.

    Args:
        spending: what decides.
        orders: of each family, its classes, least important first.
    """
    taken = [np.empty(0, np.int64)]
    while (step := spending.next()) is not None:
        family, count = step
        end = int(spending.gone[family])
        taken.append(orders[family][end - count : end])
    return np.concatenate(taken)
