"""Dissection: the resulting model, all models on the way, and how they are shown."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from darkconv.arguments import checked
from darkconv.core.model import Model
from darkconv.core.views import Shown, View
from darkconv.dissection.pictures import Choice
from darkconv.dissection.quality import Quality, quality_table
from darkconv.files import PathLike
from darkconv.presentation.notebook import html_table
from darkconv.surgery.changes import pruning_dict
from darkconv.surgery.plan import PrunePlan
from darkconv.surgery.planning import Planning
from darkconv.surgery.profile import Profile
from darkconv.surgery.tables import (
    LEFT_OF_CHANGES,
    OF_CHANGES,
    change_rows,
    change_totals,
    plan_remarks,
)

if TYPE_CHECKING:
    from darkconv.dissection.search import Search


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Dissection(Shown):
    """A model that was cut to some classes and pruned, with all that led to it.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import digits10_unlabelled, load_digits10
        >>> done = dc.dissect(
        ...     load_digits10(), ["two"], images=digits10_unlabelled(), ratio=0.5, device="cpu"
        ... )
        >>> done.pictures.which, done.uncut.names
        ('all', ('two',))
        >>> sorted(done.to_dict())
        ['after', 'before', 'layers', 'pictures', 'plan']

    Attributes:
        model: the resulting model.
        whole: the model that was dissected.
        uncut: the model of the kept classes with all channels; plan and profile are of it.
        pruned: the model before its weights were refitted.
        profile: profile of `uncut` over the chosen pictures.
        against: profile of `uncut` over the other pictures, for the score "contrast".
        plan: which channels of `uncut` stay.
        pictures: the pictures that were profiled, of all pictures.
        planning: how channels were chosen.
        seconds: seconds that each step took.
        is_recovered: the uncut model has taught the result.
        quality: quality in each state: "uncut", "refitted" (or "pruned"), "recovered"; empty if
            only a cut was asked for.
        measured_on: description of the pictures that the quality was measured on.
        search: trials of the search for the smallest model; None without a search.

    Example:
        >>> import darkconv as dc
        >>> model = dc.load("digits10.cfg", "digits10.weights")
        >>> done = dc.dissect(model, keep=["three", "seven"], images="unlabelled", params=0.5)
        >>> done.model.names
        ('three', 'seven')
        >>> done.model.network.parameters <= 0.5 * model.network.parameters
        True
    """

    model: Model
    whole: Model
    uncut: Model
    pruned: Model
    profile: Profile
    against: Profile | None = None
    plan: PrunePlan
    pictures: Choice
    planning: Planning
    seconds: Mapping[str, float] = field(default_factory=dict)
    is_recovered: bool = False
    quality: Mapping[str, Quality] = field(default_factory=dict)
    measured_on: str = ""
    search: "Search | None" = None

    @property
    def state(self) -> str:
        """What was done last to the model: "pruned", "refitted" or "recovered"."""
        if self.is_recovered:
            return "recovered"
        return "pruned" if self.model is self.pruned else "refitted"

    def _view(self) -> View:
        """Return how it is shown."""
        return View(_as_text, _as_html)

    def to_dict(self) -> dict[str, Any]:
        """Return plan and costs, for programs.

        Returns:
            `before` and `after` with parameters, macs and bytes, the `layers` that changed, the
            `plan`, and `pictures` with how many were `profiled`, of how many `found`. If it was
            measured, also the `quality` of each state, the pictures it was `measured_on`, and the
            `search` for the smallest model.
        """
        counts = {"profiled": len(self.pictures.chosen), "found": len(self.pictures.found)}
        found = {**pruning_dict(self.whole, self.model, self.plan), "pictures": counts}
        if self.quality:
            found["quality"] = {state: one.to_dict() for state, one in self.quality.items()}
            found["measured_on"] = self.measured_on
        if self.search:
            found["search"] = self.search.to_dict()
        return found

    def remarks(self) -> list[str]:
        """Return what a user must know beside the figures, one line each."""
        lines = [*plan_remarks(self.plan, compensate=self.planning.compensate)]
        if self.search:
            lines.append(str(self.search))
        return lines

    @checked
    def report(self, path: PathLike) -> None:
        """Write an HTML page with costs, latency, sample pictures, layers and histograms.

        Latency and detections of the sample pictures are measured now.

        Args:
            path: the HTML file.
        """
        from darkconv.dissection.measured import make_report
        from darkconv.dissection.page import write_dissection_report

        write_dissection_report(path, make_report(self))


def _as_text(done: Dissection) -> str:
    return "\n  ".join([f"Dissection of {done.whole.network.file}", *_lines(done)])


def _lines(done: Dissection) -> list[str]:
    before, after = done.whole.names, done.model.names
    kept = f"kept {len(after)} of {len(before)} classes: {', '.join(after)}"
    lines = [kept] if len(after) < len(before) else []
    lines += [f"profiled {done.pictures}", *change_totals(done.whole, done.model)]
    lines += done.remarks()
    if done.quality:
        states, rows = quality_table(done.quality)
        lines.append(f"measured on {done.measured_on}, {' -> '.join(states[1:])}, per cent:")
        lines += [f"  {name}: {' -> '.join(values)}" for name, *values in rows]
    return lines


def _as_html(done: Dissection) -> str:
    rows = [list(map(str, row)) for row in change_rows(done.whole, done.model)]
    return html_table(OF_CHANGES, rows, LEFT_OF_CHANGES, caption=_lines(done))
