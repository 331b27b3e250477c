"""The choice of the channel groups to remove: the lowest scores, within limits set by guards."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.core.network import Layer
from darkconv.errors import PlanError
from darkconv.surgery.allocation import GRID, Losses, Spending, spending_order
from darkconv.surgery.budget import KINDS, SHARES, Bill, Budget, Costs
from darkconv.surgery.channels import ChannelClasses
from darkconv.surgery.clusters import split_in_two
from darkconv.surgery.explain import numbered
from darkconv.surgery.importance import Doubles

Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.int64]
Lock = int | str

ROUNDING = 1e-9
"""A tolerance for binary fractions: 0.07 of 100 channels are 7, not 7.000000000000001."""


SKIP_FIRST = 1
MIN_KEEP = 0.2
MULTIPLE = 8
"""The defaults of `Guards`, in Python and on the command line."""


@dataclass(frozen=True, kw_only=True)
class Guards:
    """The limits that every plan respects.

    Attributes:
        skip_first: number of leading layers with channels of their own that lose none.
        min_keep: smallest share of its channels that every layer keeps, from 0 to 1.
        multiple: every layer keeps a multiple of this number of channels if it had one.
        lock: layers that lose no channels: indices, or patterns such as `*_connected` for names
            like `024_connected`.
    """

    skip_first: int = SKIP_FIRST
    min_keep: float = MIN_KEEP
    multiple: int = MULTIPLE
    lock: Sequence[Lock] = ()

    def __post_init__(self) -> None:
        """Raise a PlanError for values out of range."""
        if not 0 <= self.min_keep <= 1:
            raise PlanError("min_keep", expected="a share from 0 to 1", found=self.min_keep)
        if self.skip_first < 0:
            raise PlanError("skip_first", expected="0 or more layers", found=self.skip_first)
        if self.multiple < 1:
            raise PlanError("multiple", expected="1 or more channels", found=self.multiple)

    def protected(self, classes: ChannelClasses) -> Mask:
        """Return which channel groups must not be removed.

        Args:
            classes: the channel groups of the network.

        Returns:
            Boolean (groups,).

        Raises:
            PlanError: a lock matches no layer.
        """
        network, stays = classes.network, ~classes.free
        names = [layer.label for layer in network.layers]
        for layer in classes.makers[: self.skip_first]:
            stays[classes.of(layer.index)] = True
        for lock in self.lock:
            text = str(lock)
            found = [i for i, n in enumerate(names) if text == str(i) or fnmatch(n, text)]
            if not found:
                raise PlanError(
                    f"lock {text!r} matches no layer of {network.file}",
                    expected=f"an index up to {len(names) - 1}, or a pattern for names such as "
                    f"{names[-1]}",
                )
            for index in found:
                stays[classes.of(index)] = True
        return stays

    def least(self, total: int) -> int:
        """Return the smallest number of channels that a layer keeps.

        Args:
            total: number of its channels.
        """
        return max(1, share_of(self.min_keep, total))


def share_of(share: float, total: int) -> int:
    """Return a share of a number, rounded up.

    Args:
        share: from 0 to 1.
        total: the number.
    """
    return math.ceil(share * total - ROUNDING)


NOTABLE = 0.02
"""If more than this share of a budget is left unused, a remark says why."""

Check = tuple[Callable[[Any], bool], str]

_IS_SHARE: Check = (lambda value: 0 < value <= 1, "a share above 0 and up to 1")
_IS_COUNT: Check = (lambda value: value >= 1, "1 or more")

AMOUNTS: Mapping[str, Check] = {
    "keep": _IS_SHARE,
    "count": _IS_COUNT,
    "threshold": (lambda value: not math.isnan(value), "a number"),
    "params": _IS_SHARE,
    "macs": _IS_SHARE,
    "latency": _IS_SHARE,
    "size": _IS_COUNT,
    "cut": (lambda value: value == "auto", "auto"),
}
"""The ways to say how much to remove, each with a check and a text for its values."""


def checked_amounts(given: Mapping[str, Any], *, share: str = "keep") -> dict[str, Any]:
    """Return the given amounts of `AMOUNTS`: a single one, or several budgets that must all be met.

    Args:
        given: amounts by name; None for those not given.
        share: the name by which the caller gives `keep`.

    Raises:
        PlanError: no amount is given, several that are not all budgets, or an impossible value.
    """
    amounts = {name: value for name, value in given.items() if value is not None}
    if not amounts or (len(amounts) > 1 and not amounts.keys() <= set(KINDS)):
        names = [share if name == "keep" else name for name in AMOUNTS]
        expected = f"one of {', '.join(names)}, or several of {', '.join(KINDS)}"
        found = ", ".join(amounts) or "none"
        raise PlanError("how much to remove", expected=expected, found=found)
    for name, value in amounts.items():
        is_possible, expected = AMOUNTS["keep" if name == share else name]
        if not is_possible(value):
            raise PlanError(name, expected=expected, found=value)
    return amounts


class Chooser:
    """Chooses the channel groups to remove.

    Groups in `folded` can be removed without loss: they are removed first, and in any case.

    Attributes:
        classes: the channel groups of the network.
        guards: the limits to respect.
        costs: the costs of smaller networks.
        folded: boolean (groups,) that can be removed without loss.
        scores: float64 (groups,); the lowest are removed first.
        stays: boolean (groups,) that must not be removed.
        families: see `class_families`.
        losses: measured losses of the families; None to treat all layers alike.
        remarks: texts for the user.
    """

    def __init__(
        self,
        classes: ChannelClasses,
        scores: Doubles,
        guards: Guards,
        costs: Costs,
        folded: Mask,
        losses: Losses | None = None,
    ) -> None:
        self.classes = classes
        self.guards = guards
        self.costs = costs
        self.folded = folded
        self.scores = np.where(folded, -np.inf, scores)
        self.stays = guards.protected(classes)
        self.families = class_families(classes)
        self.losses = losses
        self.remarks: list[str] = []

    def choose(self, amounts: Mapping[str, Any]) -> Mask:
        """Choose the channel groups to remove; `remarks` tell what the amounts could not achieve.

        Args:
            amounts: see `checked_amounts`.

        Returns:
            Boolean (groups,), True for removed ones.

        Raises:
            PlanError: a budget cannot be met within the guards.
        """
        if amounts.keys() <= set(KINDS):
            return self._within([Budget(kind, limit) for kind, limit in amounts.items()])
        ((amount, value),) = amounts.items()
        if amount == "cut":
            return self._guarded(self._lower_clusters())
        if amount == "threshold":
            return self._guarded(self.scores < value)
        chosen = self._beyond_share(value) if amount == "keep" else self._beyond_count(value)
        return self._guarded(chosen)

    def _beyond_share(self, share: float) -> Mask:
        """Return the groups with the lowest scores of every family, beyond a share to keep."""
        removed = np.zeros(self.classes.count, bool)
        for family in self.families:
            surplus = len(family) - share_of(share, len(family))
            removed[self._lowest(family)[:surplus]] = True
        return removed

    def _beyond_count(self, most: int) -> Mask:
        """Return the groups with the lowest scores of every layer, beyond a number to keep."""
        removed = np.zeros(self.classes.count, bool)
        for layer in self.classes.makers:
            own, each = np.unique(self.classes.of(layer.index), return_counts=True)
            sizes = dict(zip(own.tolist(), each.tolist(), strict=True))
            kept = int(each[~removed[own]].sum())
            for label in self._lowest(own[~removed[own]]).tolist():
                if kept <= most:
                    break
                removed[label] = True
                kept -= sizes[label]
        return removed

    def _lower_clusters(self) -> Mask:
        """Return the lower of two clusters of scores in every family that has two."""
        removed, alike = (np.zeros(self.classes.count, bool) for _ in range(2))
        for family in self.families:
            free = self._lowest(family)
            limit = split_in_two(self.scores[free])
            if limit is None:
                alike[free] = True
            else:
                removed[free[self.scores[free] < limit]] = True
        makers = self.classes.makers
        layers = [layer.index for layer in makers if alike[self.classes.of(layer.index)].any()]
        if layers:
            found = numbered("layer", np.array(layers))
            self.remarks.append(f"no two clusters of scores, so nothing goes, in {found}")
        return removed

    def _lowest(self, labels: Labels) -> Labels:
        """Return the given groups that may be removed, lowest score first."""
        free = labels[~self.stays[labels]]
        return free[np.argsort(self.scores[free], kind="stable")]

    def _within(self, budgets: Sequence[Budget]) -> Mask:
        """Return as few of the lowest groups as meet the budgets, with families made comparable."""
        order = self._global_order() if self.losses is None else self._order_of_losses(budgets)
        low, high = 0, len(order)
        budget, share = self.costs.tightest(budgets, self._first(order, high))
        if share > 1:
            least = self.costs.describe(budget, self._first(order, high))
            unit = "bytes" if budget.kind not in SHARES else budget.kind
            raise PlanError(
                f"{budget.limit:g} {unit} is out of reach: the guards leave {least}",
                hint="--min-keep, --skip-first, --multiple or --lock may allow more (in Python "
                "min_keep=, skip_first=, multiple=, lock=)",
            )
        while low < high:
            middle = (low + high) // 2
            if self.costs.tightest(budgets, self._first(order, middle))[1] > 1:
                low = middle + 1
            else:
                high = middle
        removed = self._first(order, high)
        if high:
            before = self._first(order, high - 1)
            self._explain_step(self.costs.tightest(budgets, before)[0], removed, before)
        return removed

    def _explain_step(self, budget: Budget, removed: Mask, before: Mask) -> None:
        """Add a remark if much of a budget is unused; `before`, one step less, exceeds it."""
        if self.costs.share(budget, removed) > 1 - NOTABLE:
            return
        left, more = (self.costs.describe(budget, mask) for mask in (removed, before))
        reasons = ["channels of layers that are bound together go together"]
        if self.guards.multiple > 1:
            reasons.insert(0, f"layers keep multiples of {self.guards.multiple} channels")
        if self.guards.min_keep:
            reasons.append(f"every layer keeps {self.guards.min_keep:g} of its channels")
        self.remarks.append(
            f"{left} stay, since the next larger choice is {more}, more than the "
            f"{budget.limit:,g} allowed: {', '.join(reasons)}"
        )

    def _first(self, order: Labels, count: int) -> Mask:
        removed = np.zeros(self.classes.count, bool)
        removed[order[:count]] = True
        return self._guarded(removed)

    def _global_order(self) -> Labels:
        """Return the groups that may be removed, least important first, by rank within families."""
        rank = np.full(self.classes.count, np.inf)
        for family in self.families:
            order = self._lowest(family)
            rank[order] = np.arange(len(order)) / max(len(order), 1)
        worthless = np.isneginf(self.scores) & np.isfinite(rank)
        rank[worthless] -= 1
        free = np.flatnonzero(np.isfinite(rank))
        return free[np.argsort(rank[free], kind="stable")]

    def _order_of_losses(self, budgets: Sequence[Budget]) -> Labels:
        """Return the groups that may be removed, in the order that saves most for least loss."""
        assert self.losses is not None
        orders = [self._lowest(family) for family in self.families]
        curves, limits, paces = [], [], []
        for number, (family, order) in enumerate(zip(self.families, orders, strict=True)):
            if len(order) and np.isnan(self.losses.errors[number]).any():
                raise PlanError(
                    "the losses were measured under other guards: "
                    f"{numbered('layer', np.array(self._layers_of(family)))} may lose channels now"
                )
            curves.append(self.losses.curve(number) if len(order) else np.zeros(GRID + 1))
            limit, pace = self._bounds(family)
            limits.append(min(limit, len(order)))
            paces.append(pace)
        spending = Spending(
            Bill(self.costs, self.families),
            budgets,
            np.stack(curves),
            np.array([len(family) for family in self.families]),
            np.array(limits),
            np.array(paces),
        )
        return spending_order(spending, orders)

    def _layers_of(self, family: Labels) -> list[int]:
        """Return the layers that make channels of a family."""
        makers = self.classes.makers
        return [one.index for one in makers if np.isin(self.classes.of(one.index), family).any()]

    def _bounds(self, family: Labels) -> tuple[int, int]:
        """Return how many groups of a family may be removed, and how many to remove per step."""
        limit, pace = len(family), max(1, len(family) // GRID)
        for index in self._layers_of(family):
            labels = self.classes.of(index)
            each = max(1, int(np.isin(labels, family).sum()) // len(family))
            multiple = self.guards.multiple if len(labels) % self.guards.multiple == 0 else 1
            least = _round_up(self.guards.least(len(labels)), multiple, len(labels))
            limit = min(limit, (len(labels) - least) // each)
            step = max(1, multiple // each)
            pace = max(pace, -(-pace // step) * step)
        return limit, pace

    def _guarded(self, removed: Mask) -> Mask:
        """Return a removal, plus what folds, limited by the guards; the best groups are taken back.

        What one layer takes back may break the multiple of another, so all layers are checked
        again.
        """
        removed = (removed | self.folded) & ~self.stays
        before = -1
        while removed.sum() != before:
            before = removed.sum()
            for layer in self.classes.makers:
                self._restore(layer, removed)
        return removed

    def _restore(self, layer: Layer, removed: Mask) -> None:
        """Take back removals of one layer, in place, until it keeps enough channels."""
        labels = self.classes.of(layer.index)
        own, each = np.unique(labels, return_counts=True)
        kept = int(each[~removed[own]].sum())
        enough = max(kept, self.guards.least(len(labels)))
        goal = _round_up(enough, self.guards.multiple, len(labels))
        gone = np.flatnonzero(removed[own])
        for place in gone[np.argsort(-self.scores[own[gone]], kind="stable")]:
            if kept >= goal:
                return
            removed[own[place]] = False
            kept += int(each[place])


def _round_up(count: int, multiple: int, total: int) -> int:
    """Return the next multiple; layers whose total is no multiple are left as they are."""
    if total % multiple:
        return count
    return -(-count // multiple) * multiple


def class_families(classes: ChannelClasses) -> list[Labels]:
    """Return the families: removable channel groups that have their channels in the same layers.

    Groups of one family are alternatives to each other.

    Args:
        classes: the channel groups of the network.

    Returns:
        Arrays of group indices, ascending.
    """
    signature = np.zeros(classes.count, np.uint64)
    stream = np.random.default_rng(0)
    for layer in classes.makers:
        weight = stream.integers(1, 2**63, dtype=np.uint64)
        labels = classes.of(layer.index)
        np.add.at(signature, labels, weight)
    free = np.flatnonzero(classes.free)
    _, family = np.unique(signature[free], return_inverse=True)
    order = np.argsort(family, kind="stable")
    borders = np.flatnonzero(np.diff(family[order])) + 1
    families = [free[part] for part in np.split(order, borders) if len(part)]
    return sorted(families, key=lambda members: int(members[0]))
