"""Specimen: a model of the kept classes with its profile."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from darkconv.core.model import Model
from darkconv.core.names import distinct_names
from darkconv.core.processes import is_first_process
from darkconv.dissection.choosing import choose_channels
from darkconv.dissection.pictures import Choice, Pictures, choose_pictures
from darkconv.dissection.quality import new_names
from darkconv.dissection.result import Dissection
from darkconv.dissection.running import Running
from darkconv.errors import PlanError
from darkconv.logs import NOTE
from darkconv.profiling.loader import Images
from darkconv.surgery.classes import reclass
from darkconv.surgery.plan import PrunePlan
from darkconv.surgery.planning import Planning
from darkconv.surgery.profile import Profile
from darkconv.surgery.prune import prune
from darkconv.surgery.recipes import ClassRecipe, read_recipes

logger = logging.getLogger("darkconv")


@dataclass(frozen=True, eq=False, kw_only=True)
class Specimen:
    """A model of the kept classes with its profile, ready to be pruned.

    Attributes:
        whole: the model before its classes were cut.
        uncut: the model of the kept classes with all channels.
        pictures: the pictures that were profiled, of all pictures.
        profile: profile over the chosen pictures.
        against: profile over the other pictures, for the score "contrast"; None without it.
        seconds: seconds that profiling took.
        classes: what the kept classes are made of; None if all are kept.
    """

    whole: Model
    uncut: Model
    pictures: Choice
    profile: Profile
    against: Profile | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    classes: Sequence[ClassRecipe] | None = None

    def dissected(
        self,
        planning: Planning,
        *,
        reconstruct: bool = True,
        plan: PrunePlan | None = None,
        running: Running | None = None,
    ) -> Dissection:
        """Prune the model, and refit the weights that stay; the specimen does not change.

        Args:
            planning: how channels are chosen.
            reconstruct: refit the weights that stay.
            plan: plan that the planning led to before; None to plan now.
            running: how pictures are run; None for the defaults.

        Returns:
            The dissection with the refitted model, or with the pruned one without `reconstruct`.

        Raises:
            PlanError: amounts or guards are impossible, or a budget is out of reach.
        """
        from darkconv.profiling.reconstruction import reconstruct as refit

        how, seconds = running or Running(), dict(self.seconds)
        with _timed(seconds, "plan"):
            chosen = plan or choose_channels(
                self.uncut,
                planning,
                self.profile,
                self._compared(planning),
                images=self.pictures.chosen,
                **vars(how),
            )
            pruned = prune(self.uncut, chosen, compensate=planning.compensate)
        final = pruned
        if reconstruct:
            total = len(self.uncut.network.layers)
            with _timed(seconds, "reconstruct"):
                final = refit(
                    pruned,
                    self.uncut,
                    chosen,
                    self.pictures.found,
                    batch=how.batch,
                    device=how.device,
                    resize=how.resize,
                    unreadable=how.unreadable,
                    progress=how.told("refitting layers", total),
                )
        return self.led_to(final, planning, chosen, pruned, seconds)

    def led_to(
        self,
        model: Model,
        planning: Planning,
        plan: PrunePlan,
        pruned: Model,
        seconds: Mapping[str, float] | None = None,
    ) -> Dissection:
        """Return the dissection that led from the specimen to a model.

        Args:
            model: the resulting model.
            planning: how channels were chosen.
            plan: which channels stay.
            pruned: the model before its weights were refitted.
            seconds: seconds that each step took; None for those of profiling alone.
        """
        return Dissection(
            model=model,
            whole=self.whole,
            uncut=self.uncut,
            pruned=pruned,
            profile=self.profile,
            against=self._compared(planning),
            plan=plan,
            pictures=self.pictures,
            planning=planning,
            seconds=self.seconds if seconds is None else seconds,
        )

    def _compared(self, planning: Planning) -> Profile | None:
        """Return the profile of the other pictures, if the score compares with it."""
        compares = callable(planning.score) or planning.score == "contrast"
        return self.against if compares else None


def examine(
    model: Model,
    keep: Sequence[str | int] | None = None,
    *,
    images: Images,
    only_classes: Sequence[str] | None = None,
    all_pictures: bool = False,
    limit: int | None = None,
    taylor: bool = False,
    obs: bool = False,
    contrast: bool = False,
    seed: int = 0,
    running: Running | None = None,
) -> Specimen:
    """Cut the classes of a model and profile the rest: the first half of `dissect`.

    Args:
        model: model that is dissected; it does not change.
        keep: class names, or indices from 0; None for all classes.
        images: pictures, see `dissect`.
        only_classes: profile pictures that show one of these classes and no other, see `dissect`.
        all_pictures: profile all pictures, whatever they show.
        limit: number of pictures that are taken, evenly spread; None for all.
        taylor: collect gradients too, for the score "taylor".
        obs: also measure the errors that refitting leaves, for the score "obs".
        contrast: profile the other pictures too, for the score "contrast".
        seed: seed of the sample behind the histograms.
        running: how pictures are run; None for the defaults.

    Returns:
        The model of the kept classes with its profile.

    Raises:
        PlanError: the model does not have a class, or there are no other pictures to compare with.
        DatasetError: a source cannot be read, or no picture shows only the wanted classes.
    """
    from darkconv.profiling.collect import profile

    how = running or Running()
    uncut = model if keep is None else reclass(model, keep)
    classes = None if keep is None else read_recipes(model, keep)
    own = distinct_names(model.names)
    kept = own if classes is None else list(new_names(own, classes))
    choice = choose_pictures(
        images, model, kept, only_classes=only_classes, all_pictures=all_pictures, limit=limit
    )
    if contrast and choice.others is None:
        raise PlanError(
            "--score contrast compares with pictures of other classes, and there are none",
            hint="labels must tell the pictures apart",
        )
    if is_first_process():
        logger.log(NOTE, "profiling %s", choice)

    def measure(pictures: Pictures, task: str) -> Profile:
        told = how.told(task, len(pictures))
        return profile(
            uncut, pictures, batch=how.batch, device=how.device, resize=how.resize,
            unreadable=how.unreadable, taylor=taylor, obs=obs, seed=seed, progress=told,
        )  # fmt: skip

    seconds: dict[str, float] = {}
    with _timed(seconds, "profile"):
        found = measure(choice.chosen, "pictures")
        others = choice.others if contrast else None
        against = None if others is None else measure(others, "other pictures")
    return Specimen(
        whole=model,
        uncut=uncut,
        pictures=choice,
        profile=found,
        against=against,
        seconds=seconds,
        classes=classes,
    )


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - start
