"""dissect: some classes of a model, and of its channels those that matter for them."""

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from darkconv.arguments import checked
from darkconv.core.model import Model
from darkconv.core.processes import is_first_process, working_together
from darkconv.dissection.choosing import choose_channels
from darkconv.dissection.pictures import Choice, Pictures, choose_pictures
from darkconv.dissection.result import Dissection
from darkconv.dissection.running import Progress, Running
from darkconv.errors import PlanError
from darkconv.files.notice import telling_once
from darkconv.logs import NOTE
from darkconv.profiling.loader import Images
from darkconv.surgery.chooser import MIN_KEEP, MULTIPLE, SKIP_FIRST, Lock
from darkconv.surgery.classes import reclass
from darkconv.surgery.importance import Score
from darkconv.surgery.planning import EVEN, Planning
from darkconv.surgery.profile import Profile
from darkconv.surgery.prune import prune

logger = logging.getLogger("darkconv")

RATIO = 0.75
"""Share of its channels that every layer keeps if nothing else is said."""


@checked
def dissect(
    model: Model,
    keep: Sequence[str | int] | None = None,
    *,
    images: Images,
    ratio: float | None = None,
    count: int | None = None,
    threshold: float | None = None,
    params: float | None = None,
    macs: float | None = None,
    latency: float | None = None,
    size: int | None = None,
    cut: str | None = None,
    score: str | Score = "nll0",
    skip_first: int = SKIP_FIRST,
    min_keep: float = MIN_KEEP,
    multiple: int = MULTIPLE,
    lock: Sequence[Lock] = (),
    seed: int = 0,
    allocation: str = EVEN,
    compensate: bool = True,
    reconstruct: bool = True,
    only_classes: Sequence[str] | None = None,
    all_pictures: bool = False,
    limit: int | None = None,
    batch: int = 8,
    device: str = "auto",
    resize: str | None = None,
    unreadable: str = "skip",
    progress: Progress | None = None,
) -> Dissection:
    """Keep some classes of a model, and of its channels those that matter for them.

    The classes are cut, the channels profiled on the pictures that show nothing but the kept
    classes (all pictures where there are no labels, or no such picture), and those that matter
    least removed: a quarter of each layer, unless an amount says otherwise. Then the weights that
    stay are refitted to the feature maps of the whole model. Under torchrun the pictures are
    shared out among the processes, and each gets the whole result.

    Args:
        model: to be dissected; is not changed.
        keep: class names or indices, see `darkconv.reclass`; all by default.
        images: a source such as a folder, several, a data set, or a list of files and of 8-bit
            RGB levels (H, W, 3).
        ratio: share of its channels that every layer keeps; 0.75 where no amount is given. For
            count, threshold, params, macs, latency, size and cut see `darkconv.plan`.
        count: see `darkconv.plan`, as for all up to `seed`.
        threshold: see there.
        params: see there; several budgets may be given.
        macs: see there.
        latency: see there; how long layers take is measured here.
        size: see there.
        cut: see there.
        score: see there; "contrast" compares the chosen pictures with the others.
        skip_first: see there.
        min_keep: see there.
        multiple: see there.
        lock: see there.
        seed: of the score "random", and of the sample behind the profile's histograms.
        allocation: which layers pay for budgets: "even", all alike, or "measured", those whose
            cuts cost the heads least on the pictures: see `darkconv.measure_losses`.
        compensate: put the means of channels that go into the biases behind them.
        reconstruct: refit the weights that stay, on all pictures.
        only_classes: profile the pictures that show one of these classes and no others; an empty
            list stands for the kept classes, and then it is an error if there is no such picture.
        all_pictures: profile all pictures, whatever they show.
        limit: take so many of the pictures, evenly spread.
        batch: pictures that are run together.
        device: where to run: "cpu", "cuda", "cuda:1"; "auto" is the GPU where there is one.
        resize: "stretch" or "letterbox"; by default what the dialect and cfg say.
        unreadable: "skip" names and counts pictures that cannot be read, and goes on without
            them; "raise" makes the first of them an error.
        progress: called with what is done, how many of it are done, and how many there are.

    Returns: the smaller model with plan, profile and the models on the way; pictures that cannot
    be read are named and left out.

    Raises:
        PlanError: an unknown class, impossible amounts or guards, a budget out of reach.
        DatasetError: a source cannot be read, or no picture shows what is wanted.
        DarkconvError: there is no such device.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import digits10_unlabelled, load_digits10
        >>> done = dc.dissect(
        ...     load_digits10(), keep=["three", "seven"], images=digits10_unlabelled(),
        ...     params=0.5, macs=0.6, device="cpu",
        ... )  # fmt: skip
        >>> done.model.names
        ('three', 'seven')
        >>> done.model.network.parameters < 0.5 * done.whole.network.parameters
        True
    """
    planning = Planning(
        ratio=ratio,
        count=count,
        threshold=threshold,
        params=params,
        macs=macs,
        latency=latency,
        size=size,
        cut=cut,
        score=score,
        skip_first=skip_first,
        min_keep=min_keep,
        multiple=multiple,
        lock=tuple(lock),
        seed=seed if callable(score) or score == "random" else 0,
        allocation=allocation,
        compensate=compensate,
    ).or_ratio(RATIO)
    planning.check()
    running = Running(
        batch=batch, device=device, resize=resize, unreadable=unreadable, progress=progress
    )
    running.check()
    with telling_once(), working_together():
        specimen = examine(
            model,
            keep,
            images=images,
            only_classes=only_classes,
            all_pictures=all_pictures,
            limit=limit,
            taylor=score == "taylor",
            obs=score == "obs",
            contrast=score == "contrast",
            seed=seed,
            running=running,
        )
        return specimen.dissected(planning, reconstruct=reconstruct, running=running)


@dataclass(frozen=True, eq=False, kw_only=True)
class Specimen:
    """A model of the kept classes, and what its channels do: what is to be pruned.

    Attributes:
        whole: the model before its classes were cut.
        uncut: the model of the kept classes.
        pictures: those that were profiled, of those that there are.
        profile: over these.
        against: over the others, if the score compares.
        seconds: that profiling took.
    """

    whole: Model
    uncut: Model
    pictures: Choice
    profile: Profile
    against: Profile | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    def dissected(
        self, planning: Planning, *, reconstruct: bool = True, running: Running | None = None
    ) -> Dissection:
        """Prune the model, and refit the weights that stay; a specimen may be used many times.

        Args:
            planning: which channels go.
            reconstruct: see `dissect`.
            running: how pictures are run.

        Raises:
            PlanError: see `dissect`.
        """
        from darkconv.profiling.reconstruction import reconstruct as refit

        how, seconds = running or Running(), dict(self.seconds)
        compares = callable(planning.score) or planning.score == "contrast"
        with _timed(seconds, "plan"):
            plan = choose_channels(
                self.uncut,
                planning,
                self.profile,
                self.against if compares else None,
                images=self.pictures.chosen,
                **vars(how),
            )
            pruned = prune(self.uncut, plan, compensate=planning.compensate)
        final = pruned
        if reconstruct:
            total = len(self.uncut.network.layers)
            with _timed(seconds, "reconstruct"):
                final = refit(
                    pruned,
                    self.uncut,
                    plan,
                    self.pictures.found,
                    batch=how.batch,
                    device=how.device,
                    resize=how.resize,
                    unreadable=how.unreadable,
                    progress=how.told("refitting layers", total),
                )
        return Dissection(
            model=final,
            whole=self.whole,
            uncut=self.uncut,
            pruned=pruned,
            profile=self.profile,
            against=self.against if compares else None,
            plan=plan,
            pictures=self.pictures,
            planning=planning,
            seconds=seconds,
        )


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
    """Cut the classes of a model, and profile what is left: the first half of `dissect`.

    Args:
        model: see `dissect`, as for the others.
        keep: see there.
        images: see there.
        only_classes: see there.
        all_pictures: see there.
        limit: see there.
        taylor: collect gradients too, for the score "taylor".
        obs: measure too what refitting makes up for, for the score "obs".
        contrast: profile the other pictures too, for the score "contrast".
        seed: of the sample behind the histograms.
        running: how pictures are run.

    Raises:
        PlanError: an unknown class, or no other pictures to compare with.
        DatasetError: a source cannot be read, or no picture shows what is wanted.
    """
    from darkconv.profiling.collect import profile

    how = running or Running()
    uncut = model if keep is None else reclass(model, keep)
    choice = choose_pictures(
        images, model, uncut, only_classes=only_classes, all_pictures=all_pictures, limit=limit
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
        whole=model, uncut=uncut, pictures=choice, profile=found, against=against, seconds=seconds
    )


@contextmanager
def _timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[step] = time.perf_counter() - start
