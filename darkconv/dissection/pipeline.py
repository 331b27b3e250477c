"""dissect: some classes of a model, and of its channels those that matter for them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from darkconv.arguments import checked
from darkconv.core.model import Model
from darkconv.core.processes import working_together
from darkconv.dissection.aim import Valid, plan_aim, reach
from darkconv.dissection.result import Dissection
from darkconv.dissection.running import Progress, Running
from darkconv.dissection.search import or_budgets
from darkconv.dissection.specimen import examine
from darkconv.files import PathLike
from darkconv.files.notice import telling_once
from darkconv.profiling.loader import Images
from darkconv.surgery.chooser import MIN_KEEP, MULTIPLE, SKIP_FIRST, Lock
from darkconv.surgery.importance import Score
from darkconv.surgery.planning import EVEN, Planning

if TYPE_CHECKING:
    from darkconv.training.recipe import Recipe

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
    recover: bool = False,
    steps: int | None = None,
    recipe: "Recipe | None" = None,
    labels: bool = False,
    max_loss: float | None = None,
    valid: Valid | None = None,
    folder: PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
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
    stay are refitted to the feature maps of the whole model. With `recover` the uncut model then
    teaches what is left, and with `max_loss` the smallest model that is good enough is searched
    for. Under torchrun the pictures are shared out among the processes, and each gets the whole
    result; recovery and search run in one process.

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
        recover: let the uncut model teach what is left, on all pictures and without labels, and
            measure what that brings: see `darkconv.finetune`.
        steps: of recovery, updates of the weights; 300 by default.
        recipe: of recovery, in place of `steps` and of the usual one: see docs/recovery.md.
        labels: of recovery, use labels too.
        max_loss: search for the smallest model that loses no more points of AP on `valid`, or,
            where there are no labels, of the agreement (F1) of its detections with the uncut
            model's. Budgets that are given are the largest that are tried; by default parameters
            and MACs shrink alike.
        valid: pictures to measure on, a data set or any source that `dc.open_dataset` takes; by
            default those that the model is cut by.
        folder: where recovery and search keep what they have done; by default nothing is kept.
        resume: go on with what the folder holds, after a stop.
        overwrite: begin anew in a folder that holds another dissection.
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
        PlanError: an unknown class, impossible amounts or guards, a budget out of reach; every
            model that was tried loses more than `max_loss`.
        DatasetError: a source cannot be read, or no picture shows what is wanted.
        DarkconvError: there is no such device; an option would do nothing beside the others; the
            folder holds another dissection, or none to go on with.
        UnsupportedError: `max_loss`, of a model that finds no boxes.

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
    )
    planning = planning.or_ratio(RATIO) if max_loss is None else or_budgets(planning)
    planning.check()
    running = Running(
        batch=batch, device=device, resize=resize, unreadable=unreadable, progress=progress
    )
    running.check()
    aim = plan_aim(
        recover=recover,
        steps=steps,
        recipe=recipe,
        labels=labels,
        max_loss=max_loss,
        valid=valid,
        folder=folder,
        resume=resume,
        overwrite=overwrite,
    )
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
        if aim is None:
            return specimen.dissected(planning, reconstruct=reconstruct, running=running)
        return reach(aim, specimen, planning, reconstruct=reconstruct, running=running)
