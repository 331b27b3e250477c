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
"""The state of a pruned model that is not refitted."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Tries:
    """The settings that all tries have in common.

    Attributes:
        specimen: model and profile that are pruned.
        training: training pictures; with labels of the kept classes if recovery uses labels.
        reconstruct: refit the weights that stay.
        recovery: settings of recovery; None for no recovery.
        yardstick: what models are measured with; None if there is nothing to compare.
        workplace: folder that keeps the tries; None to keep nothing.
        running: settings with which pictures are run.
    """

    specimen: Specimen
    training: Dataset
    reconstruct: bool
    recovery: Recovery | None
    yardstick: Yardstick | None
    workplace: Workplace | None
    running: Running

    def run(self, name: str, planning: Planning) -> Dissection:
        """Return the dissection of a planning; steps that a stopped one has done are not repeated.

        Args:
            name: name of the try, which identifies it when a dissection is resumed.
            planning: how channels are chosen.

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
        """Return the dissection with its model measured, and recovered if that is asked for."""
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
