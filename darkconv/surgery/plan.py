"""PrunePlan: which channels to keep, as chosen by a score; it can be printed, saved and edited."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from darkconv.arguments import checked
from darkconv.core.bounds import MOST_SEEDS
from darkconv.core.model import Model
from darkconv.core.views import Shown, View
from darkconv.errors import PlanError
from darkconv.files import PathLike, write_bytes
from darkconv.surgery.allocation import Losses
from darkconv.surgery.budget import KINDS, Costs
from darkconv.surgery.channels import ChannelClasses, find_classes
from darkconv.surgery.chooser import (
    MIN_KEEP,
    MULTIPLE,
    SKIP_FIRST,
    Chooser,
    Guards,
    Lock,
    Mask,
    checked_amounts,
    class_families,
)
from darkconv.surgery.constants import foldable_classes
from darkconv.surgery.explain import explain_layers
from darkconv.surgery.fingerprint import fingerprint
from darkconv.surgery.importance import Score, check_used, score_classes, score_name
from darkconv.surgery.layer_times import LayerTimes
from darkconv.surgery.plan_file import FORMAT, format_plan, read_plan
from darkconv.surgery.profile import Profile

MEAN_DIGITS = 9
"""Number of significant digits of means in files, enough for float32."""


@dataclass(frozen=True, eq=False, repr=False)
class PrunePlan(Shown):
    """The output channels that each layer keeps; `dc.plan` makes a plan, `dc.prune` applies it.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import load_digits10
        >>> plan = dc.plan(load_digits10(), score="l1", keep=0.5)
        >>> plan.keep[2].tolist()
        [0, 3, 6, 8, 10, 11, 14, 15]

    Attributes:
        model: fingerprint of the model that the plan is for.
        keep: by layer index, sorted output channels (from 0) to keep, for every layer that loses
            some. A plan read from a file lists only the layers that make channels; the others
            follow.
        means: mean activations of removed channels by layer and channel, for compensation.
        notes: how the plan was chosen.
        declared: type and number of channels of the layers that make channels, as planned or as a
            file says; None where it says nothing.
        file: path of the file that the plan was read from; None if it was not read from a file.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> plan = dc.plan(model, score="l1", keep=0.5)
        >>> small = dc.prune(model, plan)
        >>> small.network.layers[0].out_shape.c == len(plan.keep.get(0, range(16)))
        True
    """

    model: str
    keep: Mapping[int, npt.NDArray[np.int64]]
    means: Mapping[int, Mapping[int, float]] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    declared: Mapping[int, tuple[str | None, int | None]] = field(default_factory=dict)
    file: str | None = None

    def _view(self) -> View:
        """Return the view by which the plan is shown."""
        from darkconv.surgery import tables

        return View(tables.plan_as_text, tables.plan_as_html)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as in its file: `json.dumps` writes what `load` reads.

        Returns:
            Data for JSON. `layers` has an entry for each layer that makes channels and loses some,
                by its index as text: `type`, number of `channels`, and the channels to `keep`.
        """
        named = self.declared or dict.fromkeys(self.keep, (None, None))
        layers = {
            str(index): _entry(kept, *named[index])
            for index, kept in self.keep.items()
            if index in named
        }
        means = {
            str(index): {str(c): float(f"{mean:.{MEAN_DIGITS}g}") for c, mean in values.items()}
            for index, values in self.means.items()
        }
        head = {"darkconv_plan": FORMAT, "model": self.model, "notes": dict(self.notes)}
        return {**head, "layers": layers, "means": means}

    @checked
    def save(self, path: PathLike) -> None:
        """Write the plan as JSON, one line for each layer that makes channels.

        The file may be edited: channels can be added to the lists or removed from them. Layers that
        are not listed keep all channels.

        Args:
            path: path of the file.

        Raises:
            DarkconvError: the file cannot be written.
        """
        write_bytes(path, [format_plan(self.to_dict()).encode()])

    @checked
    def explain(self, model: Model, layers: int | Sequence[int] | None = None) -> str:
        """Return a text that says which channels are removed, and what ties them to other layers.

        Args:
            model: the model that the plan is for.
            layers: one or several layer indices, from 0; None for all that make channels and lose
                some.

        Raises:
            PlanError: the network has no such layer.

        Example:
            >>> import darkconv as dc
            >>> from darkconv.assets import load_digits10
            >>> model = load_digits10()
            >>> print(dc.plan(model, score="l1", keep=0.5).explain(model, 2))
            layer 2 [convolutional]: 16 channels
              removed: channels 1-2, 4-5, 7, 9, 12-13
              channels 0-15 can go one by one
        """
        named = tuple(self.declared) if layers is None else layers
        shown = [int(index) for index in np.atleast_1d(np.asarray(named, dtype=int))]
        if layers is not None and not shown:
            raise PlanError("explain", expected="a layer or several", found="none")
        return explain_layers(model.network, shown, self.keep)

    @classmethod
    @checked
    def load(cls, path: PathLike) -> Self:
        """Read a plan; `prune` checks whether it fits a model.

        Args:
            path: path of the file.

        Raises:
            PlanError: the file is not a plan; the message names file, layer and what was found.
        """
        return cls(**read_plan(path))


def _entry(kept: npt.NDArray[np.int64], kind: str | None, channels: int | None) -> dict[str, Any]:
    known = {"type": kind, "channels": channels}
    return {
        **{name: value for name, value in known.items() if value is not None},
        "keep": np.sort(kept).tolist(),
    }


@checked
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
    latency: float | None = None,
    size: int | None = None,
    cut: str | None = None,
    skip_first: int = SKIP_FIRST,
    min_keep: float = MIN_KEEP,
    multiple: int = MULTIPLE,
    lock: Sequence[Lock] = (),
    against: Profile | None = None,
    seed: int = 0,
    losses: Losses | None = None,
    times: LayerTimes | None = None,
) -> PrunePlan:
    """Choose channels to remove; the amounts `keep` to `cut` say how many.

    One amount is given, or several budgets. Channels that had a single value on all pictures of the
    profile are removed first. Those whose removal, with compensation, changes nothing on these
    pictures are removed in any case, even with keep=1, unless a guard forbids it. They are constant
    because of zero scales or silent units, and read by layers without padding, or they are always
    zero: see `foldable_classes`.

    Args:
        model: the model to prune; it stays unchanged.
        profile: profile of that model. Scores that need none ("l1", "bn", "random") work without,
            but then no means are known for compensation.
        score: a name in `darkconv.surgery.importance.SCORES`, or a function.
        keep: share of its channels that every layer keeps, above 0 and up to 1.
        count: largest number of channels that every layer keeps.
        threshold: channel groups with a lower score are removed.
        params: largest share of the parameters to keep. It is a budget, as are macs, latency and
            size; several may be given, and all of them are met.
        macs: largest share of the multiply-accumulate operations to keep.
        latency: largest share of the time to keep, as measured by `times`.
        size: largest size of the weights file in bytes.
        cut: "auto" splits each layer's scores into two clusters and removes the lower one.
        skip_first: number of leading layers with channels of their own that lose none.
        min_keep: smallest share of its channels that every layer keeps, from 0 to 1.
        multiple: every layer keeps a multiple of this number of channels if it had one.
        lock: layers that lose no channels, see `Guards`.
        against: a second profile, for scores that compare.
        seed: seed of the random generator, for the score "random" or a function of your own.
        losses: measured losses of pruning each layer, see `darkconv.measure_losses`; the budgets
            are then spent where the loss is smallest. None to treat all layers alike.
        times: measured times of the layers, for latency: see `darkconv.measure_times`.

    Raises:
        PlanError: amounts or guards are missing or impossible, a profile belongs to another model,
            the score is unknown, a budget cannot be met, or the score ignores a given seed or
            second profile.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import load_digits10
        >>> dc.plan(load_digits10(), score="l1", params=0.5, macs=0.6)
        PrunePlan: 152 of 496 channels of 9 layers go, score l1, params=0.5, macs=0.6
    """
    given = {"keep": keep, "count": count, "threshold": threshold, "params": params}
    amounts = checked_amounts({**given, "macs": macs, "latency": latency, "size": size, "cut": cut})
    guards = Guards(skip_first=skip_first, min_keep=min_keep, multiple=multiple, lock=lock)
    if not 0 <= seed < MOST_SEEDS:
        raise PlanError("seed", expected=f"0 or more, and below {MOST_SEEDS}", found=seed)
    check_used(score, against, seed)
    is_budget = amounts.keys() <= set(KINDS)
    mark = fingerprint(model)
    for one in (profile, against):
        if one is not None:
            one.check_is_of(model)
    classes = find_classes(model.network)
    scores = score_classes(classes, model, score, profile=profile, against=against, seed=seed)
    folded = foldable_classes(classes, profile) if profile else np.zeros(classes.count, bool)
    if losses is not None:
        if not is_budget:
            raise PlanError("losses: only budgets are spent by them", found=", ".join(amounts))
        losses.check_is_of(model, score_name(score), len(class_families(classes)))
    if (times is None) != (latency is None):
        raise PlanError(
            "latency and times: one is nothing without the other",
            hint="darkconv.measure_times(model) gives times",
        )
    if times is not None:
        times.check_is_of(model.network)
    costs = Costs(classes, model.header, times)
    chooser = Chooser(classes, scores, guards, costs, folded, losses)
    removed = chooser.choose(amounts)
    kept = classes.kept(removed)
    notes = {
        "score": score_name(score),
        **amounts,
        **({"allocation": "even" if losses is None else "measured"} if is_budget else {}),
        "guards": {"skip_first": skip_first, "min_keep": min_keep, "multiple": multiple},
        "lock": [str(one) for one in lock],
        "folded": _channels_made(classes, removed & folded),
        "remarks": chooser.remarks,
    }
    made = {layer.index: (layer.type, layer.out_shape.c) for layer in classes.makers}
    declared = {index: made[index] for index in kept if index in made}
    return PrunePlan(mark, kept, _removed_means(profile, kept), notes, declared)


def _channels_made(classes: ChannelClasses, chosen: Mask) -> int:
    """Return the number of channels of some groups in the layers that make them."""
    return sum(int(chosen[classes.of(layer.index)].sum()) for layer in classes.makers)


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
