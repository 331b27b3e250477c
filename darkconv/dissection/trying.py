"""Tries: models that are pruned, refitted, recovered and measured, one after the other."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from darkconv.dataset import Dataset
from darkconv.dissection.quality import RECOVERED, REFITTED, UNCUT, Quality, Yardstick
from darkconv.dissection.recovery import Recovery, recover
from darkconv.dissection.result import Dissection
from darkconv.dissection.running import Running
from darkconv.dissection.specimen import Specimen
from darkconv.dissection.workplace import Workplace
from darkconv.surgery.plan import PrunePlan
from darkconv.surgery.planning import Planning
from darkconv.surgery.prune import prune

PRUNED = "pruned"
"""The state of a model that is not refitted."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tries:
    """What all tries have in common.

    Attributes:
        specimen: what is pruned.
        training: pictures to learn from; with labels of the kept classes where these count.
        reconstruct: see `dissect`.
        recovery: how a model is recovered; None for not at all.
        yardstick: what models are measured with; None where there is nothing to compare.
        workplace: where tries are kept; None for nowhere.
        running: how pictures are run.
    """

    specimen: Specimen
    training: Dataset
    reconstruct: bool
    recovery: Recovery | None
    yardstick: Yardstick | None
    workplace: Workplace | None
    running: Running

    def run(self, name: str, planning: Planning) -> Dissection:
        """Return what a planning leads to; what a stopped dissection has done is not done again.

        Args:
            name: of the try, by which it is known again.
            planning: which channels go.

        Raises:
            PlanError: see `dissect`.
            DarkconvError: see `darkconv.finetune`.
        """
        place = self.workplace
        plan = place.plan_of(name) if place else None
        if place and plan and name in place.entries:
            return self._ready(name, planning, plan, place)
        done = self.specimen.dissected(
            planning, reconstruct=self.reconstruct, plan=plan, running=self.running
        )
        if place and plan is None:
            place.begin(name, done.plan)
        done = self._recovered(name, done)
        if place:
            place.finish(
                name, done.model, {state: q.to_dict() for state, q in done.quality.items()}
            )
        return done

    def _recovered(self, name: str, done: Dissection) -> Dissection:
        """Return the same with a model that is recovered, if it is to be, and measured."""
        quality: dict[str, Quality] = {}
        if self.yardstick:
            quality[UNCUT] = self.yardstick.quality
            self._measure(quality, REFITTED if self.reconstruct else PRUNED, done)
        if self.recovery:
            place = self.workplace
            model = recover(
                done.model,
                done.uncut,
                self.training,
                self.recovery,
                folder=None if place is None else place.run_folder(name),
                resume=bool(place and place.has_checkpoint(name)),
                running=self.running,
            )
            done = replace(done, model=model, is_recovered=True)
            self._measure(quality, RECOVERED, done)
        return self._told(done, quality)

    def _measure(self, quality: dict[str, Quality], state: str, done: Dissection) -> None:
        if self.yardstick:
            task = f"pictures, {state} model"
            quality[state] = self.yardstick.quality_of(done.model, self.running, task)

    def _told(self, done: Dissection, quality: Mapping[str, Quality]) -> Dissection:
        on = str(self.yardstick) if self.yardstick else ""
        return replace(done, quality=quality, measured_on=on)

    def _ready(
        self, name: str, planning: Planning, plan: PrunePlan, place: Workplace
    ) -> Dissection:
        """Return a try that was finished before."""
        specimen = self.specimen
        entry: Mapping[str, Any] = place.entries[name]
        model = place.model_of(name, specimen.uncut)
        pruned = prune(specimen.uncut, plan, compensate=planning.compensate)
        done = specimen.led_to(model, planning, plan, pruned)
        done = replace(done, is_recovered=self.recovery is not None)
        return self._told(done, {state: Quality(**one) for state, one in entry.items()})
