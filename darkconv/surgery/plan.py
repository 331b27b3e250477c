"""PrunePlan: which channels stay; chosen by a score, checked, printed, saved and edited."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Model
from darkconv.core.network import Network
from darkconv.errors import PlanError, Where
from darkconv.files import PathLike, write_bytes
from darkconv.surgery.budget import Budget, Costs
from darkconv.surgery.channels import ChannelClasses, find_classes, makes_channels
from darkconv.surgery.clusters import split_in_two
from darkconv.surgery.fingerprint import fingerprint
from darkconv.surgery.importance import Doubles, Score, score_classes
from darkconv.surgery.profile import Profile

Mask = npt.NDArray[np.bool_]
Lock = int | str

FORMAT = 1


@dataclass(frozen=True, eq=False)
class PrunePlan:
    """Which output channels of which layers stay.

    Attributes:
        model: fingerprint of the model that the plan is for.
        keep: sorted output channels that stay, for every layer that loses some. A plan read
            from a file names only the layers that make channels; the others follow.
        means: mean activations of removed channels by layer and channel, for compensation.
        notes: how the plan was chosen.
    """

    model: str
    keep: Mapping[int, npt.NDArray[np.int64]]
    means: Mapping[int, Mapping[int, float]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)

    def save(self, path: PathLike, network: Network) -> None:
        """Write the plan as JSON, a line for each layer that makes channels."""
        lines = []
        for index, kept in self.keep.items():
            layer = network.layers[index]
            if makes_channels(layer):
                entry = {"type": layer.type, "channels": layer.out_shape.c, "keep": kept.tolist()}
                lines.append(f'  "{index}": {json.dumps(entry)}')
        means = {
            str(index): {str(c): float(f"{m:.6g}") for c, m in values.items()}
            for index, values in self.means.items()
        }
        layers = ",\n".join(lines)
        text = (
            f'{{"darkconv_plan": {FORMAT},\n "model": "{self.model}",\n'
            f' "notes": {json.dumps(self.notes)},\n "layers": {{\n{layers}\n }},\n'
            f' "means": {json.dumps(means)}}}\n'
        )
        write_bytes(path, [text.encode()])

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read a plan.

        Raises:
            PlanError: the file is not one.
        """
        where = Where(file=os.fspath(path))
        try:
            with open(path, encoding="utf-8") as file:
                data = json.load(file)
            if data["darkconv_plan"] != FORMAT:
                raise ValueError(f"format {data['darkconv_plan']}, expected {FORMAT}")
            keep = {
                int(index): np.array(entry["keep"], np.int64)
                for index, entry in data["layers"].items()
            }
            means = {
                int(index): {int(c): float(m) for c, m in values.items()}
                for index, values in data["means"].items()
            }
            return cls(str(data["model"]), keep, means, data["notes"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise PlanError(f"cannot be read as a plan: {error!r}", where=where) from error


@dataclass(frozen=True, kw_only=True)
class Guards:
    """What a plan leaves alone.

    Attributes:
        skip_first: so many of the first layers that make channels lose none.
        min_keep: share of its channels that every layer keeps at least.
        multiple: every layer keeps a multiple of so many, where it had one.
        lock: layers that lose none: indices, or patterns such as `*_connected` for names like
            `024_connected`.
    """

    skip_first: int = 0
    min_keep: float = 0.0
    multiple: int = 1
    lock: Sequence[Lock] = ()

    def protected(self, classes: ChannelClasses) -> Mask:
        """(classes,) which ones must stay.

        Raises:
            PlanError: a lock that matches no layer.
        """
        network, stays = classes.network, ~classes.free
        names = [f"{layer.index:03d}_{layer.type}" for layer in network.layers]
        for layer in classes.makers[: self.skip_first]:
            stays[classes.of(layer.index)] = True
        for lock in self.lock:
            text = str(lock)
            found = [i for i, n in enumerate(names) if text == str(i) or fnmatch(n, text)]
            if not found:
                raise PlanError(f"lock {lock!r} matches no layer of {network.file}")
            for index in found:
                stays[classes.of(index)] = True
        return stays


def plan(
    model: Model,
    profile: Profile | None = None,
    *,
    score: str | Score = "nll0",
    keep: float | None = None,
    count: int | None = None,
    threshold: float | None = None,
    params: float | None = None,
    macs: float | None = None,
    size: int | None = None,
    cut: str | None = None,
    skip_first: int = 0,
    min_keep: float = 0.0,
    multiple: int = 1,
    lock: Sequence[Lock] = (),
    against: Profile | None = None,
    seed: int = 0,
) -> PrunePlan:
    """Choose channels to remove. Exactly one of keep ... cut says how many.

    Args:
        model: what to prune.
        profile: of that model; optional for scores that need none ("l1", "bn", "random"), but
            without one nothing is known for compensation.
        score: a name of `darkconv.surgery.importance.SCORES`, or a function.
        keep: share of its channels that every layer keeps.
        count: number of channels that every layer keeps at most.
        threshold: classes that score lower go.
        params: share of the parameters that is kept at most.
        macs: share of the multiply-accumulates that is kept at most.
        size: bytes of the weights file at most.
        cut: "auto": each layer's scores are split in two clusters, the lower one goes.
        skip_first: see `Guards`.
        min_keep: see `Guards`.
        multiple: see `Guards`.
        lock: see `Guards`.
        against: a second profile, for scores that compare.
        seed: for scores that draw lots.

    Raises:
        PlanError: a profile of another model, an unknown score, a budget out of reach.
    """
    amounts: dict[str, Any] = {
        "keep": keep,
        "count": count,
        "threshold": threshold,
        "params": params,
    }
    amounts |= {"macs": macs, "size": size, "cut": cut}
    amount = _the_one(amounts)
    mark = fingerprint(model)
    for one in (profile, against):
        if one is not None and one.model != mark:
            raise PlanError(f"the profile is of another model than {model.network.file}")
    classes = find_classes(model.network)
    scores = score_classes(classes, model, score, profile=profile, against=against, seed=seed)
    guards = Guards(skip_first=skip_first, min_keep=min_keep, multiple=multiple, lock=lock)
    chooser = Chooser(classes, scores, guards)
    removed, remarks = chooser.choose(amount, amounts[amount])
    kept = classes.kept(removed)
    notes = {
        "score": score if isinstance(score, str) else getattr(score, "__name__", "function"),
        amount: amounts[amount],
        "guards": {"skip_first": skip_first, "min_keep": min_keep, "multiple": multiple},
        "remarks": remarks,
    }
    return PrunePlan(mark, kept, _removed_means(profile, kept), notes)


def _the_one(amounts: Mapping[str, Any]) -> str:
    given = [name for name, value in amounts.items() if value is not None]
    if len(given) != 1:
        raise PlanError(
            "how much to remove", expected=f"one of {', '.join(amounts)}", found=given or "none"
        )
    return given[0]


def _removed_means(
    profile: Profile | None, kept: Mapping[int, npt.NDArray[np.int64]]
) -> dict[int, dict[int, float]]:
    if profile is None:
        return {}
    means = {}
    for index, channels in kept.items():
        values = profile.layers[index].mean
        gone = np.setdiff1d(np.arange(len(values)), channels)
        means[index] = {int(c): float(values[c]) for c in gone}
    return means


class Chooser:
    """Picks the classes that go, within the guards."""

    def __init__(self, classes: ChannelClasses, scores: Doubles, guards: Guards) -> None:
        self.classes = classes
        self.scores = scores
        self.guards = guards
        self.stays = guards.protected(classes)
        self.families = class_families(classes)
        self.costs = Costs(classes)

    def choose(self, amount: str, value: Any) -> tuple[Mask, list[str]]:
        """(classes,) which go, and remarks for the user."""
        if amount in ("params", "macs", "size"):
            return self._within(Budget(**{amount: value})), []
        if amount == "cut":
            return self._clusters(value)
        if amount == "threshold":
            return self._guarded((self.scores < value) & ~self.stays), []
        if amount == "keep" and not 0 < value <= 1:
            raise PlanError("keep", expected="a share above 0 and up to 1", found=value)
        return self._guarded(self._lowest_of_families(amount, value)), []

    def _lowest_of_families(self, amount: str, value: float) -> Mask:
        """In every family the lowest scores beyond a share or a number of channels."""
        removed = np.zeros(self.classes.count, bool)
        for family in self.families:
            goal = int(np.ceil(value * len(family))) if amount == "keep" else int(value)
            free = family[~self.stays[family]]
            order = free[np.argsort(self.scores[free], kind="stable")]
            removed[order[: max(0, len(family) - max(goal, 1))]] = True
        return removed

    def _clusters(self, value: str) -> tuple[Mask, list[str]]:
        """In every family the lower of two clusters of scores, where there are two."""
        if value != "auto":
            raise PlanError("cut", expected="auto", found=value)
        removed, remarks = np.zeros(self.classes.count, bool), []
        for family in self.families:
            free = family[~self.stays[family]]
            limit = split_in_two(self.scores[free])
            if limit is None:
                layers = self._family_layers(family)
                remarks.append(f"no two clusters of scores in layers {layers}: nothing removed")
            else:
                removed[free[self.scores[free] < limit]] = True
        return self._guarded(removed), remarks

    def _family_layers(self, family: npt.NDArray[np.int64]) -> str:
        found = [
            str(layer.index)
            for layer in self.classes.makers
            if family[0] in self.classes.of(layer.index)
        ]
        return ", ".join(found)

    def _within(self, budget: Budget) -> Mask:
        """As few of the lowest classes as the budget needs, families made comparable."""
        order = self._global_order()
        low, high = 0, len(order)
        if self.costs.exceeds(budget, self._first(order, high)):
            least = self.costs.describe(budget, self._first(order, high))
            raise PlanError(f"the budget is out of reach: the guards leave {least}")
        while low < high:
            middle = (low + high) // 2
            if self.costs.exceeds(budget, self._first(order, middle)):
                low = middle + 1
            else:
                high = middle
        return self._first(order, high)

    def _first(self, order: npt.NDArray[np.int64], count: int) -> Mask:
        removed = np.zeros(self.classes.count, bool)
        removed[order[:count]] = True
        return self._guarded(removed)

    def _global_order(self) -> npt.NDArray[np.int64]:
        """Classes that may go, least important first: scores are ranked within families."""
        rank = np.full(self.classes.count, np.inf)
        for family in self.families:
            free = family[~self.stays[family]]
            order = free[np.argsort(self.scores[free], kind="stable")]
            rank[order] = np.arange(len(order)) / max(len(order), 1)
        worthless = np.isneginf(self.scores) & np.isfinite(rank)
        rank[worthless] -= 1
        free = np.flatnonzero(np.isfinite(rank))
        return free[np.argsort(rank[free], kind="stable")]

    def _guarded(self, removed: Mask) -> Mask:
        """The same removal without what the guards forbid: the best of it stays."""
        removed = removed & ~self.stays
        for layer in self.classes.makers:
            self._restore(self.classes.of(layer.index), removed)
        return removed

    def _restore(self, labels: npt.NDArray[np.int64], removed: Mask) -> None:
        """Take back removals of one layer, in place, until its guards hold."""
        own, each = np.unique(labels, return_counts=True)
        kept = int(each[~removed[own]].sum())
        least = max(1, int(np.ceil(self.guards.min_keep * len(labels))))
        goal = _round_up(max(kept, least), self.guards.multiple, len(labels))
        gone = np.flatnonzero(removed[own])
        for place in gone[np.argsort(-self.scores[own[gone]], kind="stable")]:
            if kept >= goal:
                return
            removed[own[place]] = False
            kept += int(each[place])


def _round_up(count: int, multiple: int, total: int) -> int:
    """The next multiple, but no more than there are; layers without one are left as they are."""
    if multiple <= 1 or total % multiple:
        return count
    return min(total, -(-count // multiple) * multiple)


def class_families(classes: ChannelClasses) -> list[npt.NDArray[np.int64]]:
    """Free classes that have their channels in the same layers: alternatives to each other.

    Returns: arrays of classes, rising.
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
