"""Planning: one record of how channels are chosen."""

from dataclasses import dataclass, replace
from typing import Any, Self

from darkconv.core.model import Model
from darkconv.errors import PlanError
from darkconv.surgery.allocation import Losses
from darkconv.surgery.budget import KINDS
from darkconv.surgery.chooser import (
    MIN_KEEP,
    MULTIPLE,
    SKIP_FIRST,
    Guards,
    Lock,
    checked_amounts,
)
from darkconv.surgery.importance import Score, find_score
from darkconv.surgery.layer_times import LayerTimes
from darkconv.surgery.plan import PrunePlan, plan
from darkconv.surgery.profile import Profile

AMOUNTS = ("ratio", "count", "threshold", "params", "macs", "latency", "size", "cut")
"""The ways to say how much to remove: one is given, or several budgets."""
EVEN, MEASURED = "even", "measured"
ALLOCATIONS = (EVEN, MEASURED)
"""The ways to distribute the removal that a budget needs among the layers."""


@dataclass(frozen=True, kw_only=True)
class Planning:
    """The settings by which channels are chosen; see `darkconv.surgery.plan.plan`.

    Attributes:
        ratio: share of its channels that every layer keeps; the plan calls it `keep`.
        count: largest number of channels that every layer keeps.
        threshold: channel groups with a lower score are removed.
        params: largest share of the parameters to keep.
        macs: largest share of the multiply-accumulate operations to keep.
        latency: largest share of the measured time to keep.
        size: largest size of the weights file in bytes.
        cut: "auto" removes the lower of two clusters of scores.
        score: name of a score, or a function.
        min_keep: smallest share of its channels that every layer keeps, from 0 to 1.
        skip_first: number of leading layers with channels of their own that lose none.
        multiple: every layer keeps a multiple of this number of channels if it had one.
        lock: layers that lose no channels, see `Guards`.
        seed: seed of the random generator, for random scores.
        allocation: how budgets are distributed among layers: "measured" prunes where the loss on
            the pictures is smallest, "even" treats all layers alike.
        compensate: if True, means of removed channels are added to biases.
    """

    ratio: float | None = None
    count: int | None = None
    threshold: float | None = None
    params: float | None = None
    macs: float | None = None
    latency: float | None = None
    size: int | None = None
    cut: str | None = None
    score: str | Score = "nll0"
    min_keep: float = MIN_KEEP
    skip_first: int = SKIP_FIRST
    multiple: int = MULTIPLE
    lock: tuple[Lock, ...] = ()
    seed: int = 0
    allocation: str = EVEN
    compensate: bool = True

    @property
    def amounts(self) -> dict[str, Any]:
        """Return those of `AMOUNTS` that were given, by name."""
        values = {name: getattr(self, name) for name in AMOUNTS}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def is_measured(self) -> bool:
        """Return True if the losses of pruning are to be measured."""
        return self.allocation == MEASURED

    @property
    def has_budget(self) -> bool:
        """Return True if budgets say how much to remove."""
        return bool(self.amounts) and self.amounts.keys() <= set(KINDS)

    def or_ratio(self, ratio: float) -> Self:
        """Return the same planning, with a ratio if no amount is given.

        Args:
            ratio: share of its channels that every layer keeps, above 0 and up to 1.
        """
        return self if self.amounts else replace(self, ratio=ratio)

    def check(self) -> None:
        """Check all that can be checked without a model.

        Raises:
            PlanError: amounts or guards are impossible, or the score is unknown.
        """
        checked_amounts(self.amounts, share="ratio")
        find_score(self.score)
        if self.allocation not in ALLOCATIONS:
            expected = " or ".join(ALLOCATIONS)
            raise PlanError("allocation", expected=expected, found=self.allocation)
        if self.is_measured and not self.has_budget:
            raise PlanError("allocation: only budgets are shared out among layers")
        Guards(
            skip_first=self.skip_first,
            min_keep=self.min_keep,
            multiple=self.multiple,
            lock=self.lock,
        )

    def plan(
        self,
        model: Model,
        profile: Profile | None,
        against: Profile | None = None,
        *,
        losses: Losses | None = None,
        times: LayerTimes | None = None,
    ) -> PrunePlan:
        """Return the plan that follows from this record.

        Args:
            model: the model to prune.
            profile: profile of that model; None if the score needs none.
            against: a second profile, for scores that compare.
            losses: measured losses of pruning each layer; None to treat all alike.
            times: measured times of the layers, for latency.

        Raises:
            PlanError: see `darkconv.surgery.plan.plan`.
        """
        return plan(
            model,
            profile,
            score=self.score,
            keep=self.ratio,
            count=self.count,
            threshold=self.threshold,
            params=self.params,
            macs=self.macs,
            latency=self.latency,
            size=self.size,
            cut=self.cut,
            skip_first=self.skip_first,
            min_keep=self.min_keep,
            multiple=self.multiple,
            lock=self.lock,
            seed=self.seed,
            against=against,
            losses=losses,
            times=times,
        )
