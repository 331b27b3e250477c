"""dissect: some classes of a model, with the channels that matter for them."""

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
"""Default share of its channels that every layer keeps."""


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
    """Keep some classes of a model, and only the channels that matter for them.

    The classes are cut, and the channels profiled on the pictures that show nothing but the kept
    classes (on all pictures if there are no labels, or no such picture). The channels that matter
    least are removed: a quarter of each layer, unless an amount is given. Then the weights that
    stay are refitted to the feature maps of the whole model. With `recover` the uncut model then
    teaches the pruned one, and with `max_loss` the smallest model that is good enough is searched
    for. Under torchrun the pictures are shared out among the processes, and each process gets the
    whole result; recovery and search run in one process.

    Args:
        model: model to dissect; it does not change.
        keep: class names or indices from 0, see `darkconv.reclass`; None for all.
        images: a source such as a folder, several sources, a data set, or a list of files and of
            8-bit RGB levels (H, W, 3).
        ratio: share of its channels that every layer keeps, see `darkconv.plan`; 0.75 if no amount
            is given.
        count: number of channels that every layer keeps at most.
        threshold: score below which channels are removed.
        params: budget: the largest share of the parameters to keep; several budgets may be given.
        macs: budget: the largest share of the multiply-accumulate operations to keep.
        latency: budget: the largest share of the time to keep; it is measured here how long layers
            take.
        size: budget: the largest size of the weights file in bytes.
        cut: "auto" splits each layer's scores in two clusters, and removes the lower one.
        score: name or function of the score, see `darkconv.plan`; "contrast" compares the chosen
            pictures with the others.
        skip_first: number of first layers with channels of their own that lose none.
        min_keep: smallest share of its channels that every layer keeps.
        multiple: every layer keeps a multiple of so many channels, if it had one.
        lock: layers that lose no channels, by index or name pattern, see `darkconv.plan`.
        seed: seed of the score "random", and of the sample behind the profile's histograms.
        allocation: how budgets are shared out among layers: "even", all alike, or "measured", by
            how little cuts of each layer change the heads' outputs on the pictures: see
            `darkconv.measure_losses`.
        compensate: add the mean contribution of removed channels to the biases that follow them.
        reconstruct: refit the weights that stay, on all pictures.
        recover: let the uncut model teach the pruned one, on all pictures and without labels, and
            measure what that brings: see `darkconv.finetune`.
        steps: number of weight updates of recovery; 300 by default.
        recipe: training recipe of recovery, in place of `steps` and the default: see
            docs/recovery.md.
        labels: let recovery use the labels too.
        max_loss: search for the smallest model that loses at most so many points of AP on `valid`,
            or, if there are no labels, of the agreement (F1) of its detections with the uncut
            model's. Given budgets are the largest that are tried; by default parameters and MACs
            shrink alike.
        valid: pictures to measure on, a data set or any source that `dc.open_dataset` takes; by
            default the pictures that the model is cut by.
        folder: folder that keeps the state of recovery and search; by default nothing is kept.
        resume: go on with the state of the folder, after a stop.
        overwrite: begin anew in a folder that holds another dissection.
        only_classes: profile the pictures that show one of these classes and no other; an empty
            list stands for the kept classes, and then it is an error if there is no such picture.
        all_pictures: profile all pictures, whatever they show.
        limit: number of pictures that are taken, evenly spread; None for all.
        batch: number of pictures that are run together.
        device: where to run: "cpu", "cuda", "cuda:1"; "auto" is the GPU if there is one.
        resize: "stretch" or "letterbox"; by default what the dialect and cfg say.
        unreadable: "skip" names and counts pictures that cannot be read, and goes on without them;
            "raise" makes the first of them an error.
        progress: called with the task, the number of things done, and their total.

    Returns:
        The smaller model with plan, profile and the models on the way.

    Raises:
        PlanError: a class is unknown, amounts or guards are impossible, a budget is out of reach,
            or each model that was tried loses more than `max_loss`.
        DatasetError: a source cannot be read, or no picture shows only the wanted classes.
        DarkconvError: the device does not exist; an option has no effect beside the others; the
            folder holds another dissection, or none to go on with.
        UnsupportedError: `max_loss` is given for a model that finds no boxes.

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
