"""finetune: trains a model on pictures."""

import contextlib
import gc
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from darkconv.arguments import checked
from darkconv.backends.torch.device import choose_device
from darkconv.core.model import Model
from darkconv.dataset import Dataset
from darkconv.errors import DarkconvError
from darkconv.files import PathLike, make_folder, scratch_folder
from darkconv.files.notice import telling_once
from darkconv.training.baseline import measure_costs
from darkconv.training.callbacks import Hooks
from darkconv.training.counts import require_known
from darkconv.training.device import Machine
from darkconv.training.history import Row
from darkconv.training.job import Job
from darkconv.training.objective import LabelObjective
from darkconv.training.recipe import Recipe, plan_course
from darkconv.training.result import Finetuned
from darkconv.training.run_folder import Folder
from darkconv.training.sources import RunPictures, Source, open_pictures
from darkconv.training.tasks import task_of

logger = logging.getLogger("darkconv")


@dataclass(frozen=True)
class PreparedRun:
    """A run that is about to begin, after everything that it needs has been checked.

    Attributes:
        steps: number of all weight updates.
        pictures: pictures for training and evaluation, with the model that learns.
        teacher: model that teaches; None for none.
        recipe: training recipe.
        machine: devices and processes.
    """

    steps: int
    pictures: RunPictures
    teacher: Model | None
    recipe: Recipe
    machine: Machine

    def costs(self) -> Iterator[tuple[str, dict[str, float]]]:
        """Measure the loss of the model, and of the teacher, before training.

        It is not measured for a model with layers that were never trained, nor without labels of
        the model's classes.

        Yields:
            "model" or "teacher", and the parts of its loss per picture.
        """
        model, data, recipe = self.pictures.model, self.pictures.training, self.recipe
        for word, one in (("model", model), ("teacher", self.teacher)):
            if one is None or one.initial_layers:
                continue
            known = data.keep_classes(model.names) if isinstance(data, Dataset) else data
            task = task_of(one, known, letterbox=recipe.letterbox, seed=recipe.seed)
            if not any(task.counts()):
                return
            objective = LabelObjective(one.network, recipe.rule)
            yield word, measure_costs(one, task, objective, choose_device(self.machine.device))


@checked
def finetune(
    model: Model,
    dataset: Source,
    teacher: Model | None = None,
    recipe: Recipe | None = None,
    valid: Source | None = None,
    device: str = "auto",
    *,
    labels: bool = False,
    overfit: int | None = None,
    folder: PathLike | None = None,
    resume: bool = False,
    overwrite: bool = False,
    devices: int = 1,
    compile: bool = False,
    report: Callable[[Row], None] | None = None,
    progress: Callable[[int], None] | None = None,
    ready: Callable[[PreparedRun], None] | None = None,
) -> Finetuned:
    """Train a model on pictures: with their labels, from a teacher, or both.

    The result has the exponential moving average of the weights over the last steps; with `valid`,
    the best of those that were evaluated. Labels of classes that the model lacks are left out,
    which is reported. Under torchrun all processes share each step. The model itself never changes.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import digits10_folder
        >>> folder = digits10_folder()
        >>> model = dc.load(folder / "digits10.cfg", folder / "digits10.weights")
        >>> recipe = dc.Recipe(steps=2, batch=2, workers=0)
        >>> run = dc.finetune(model, folder / "digits10.data", recipe=recipe, device="cpu")
        >>> run.model.header.seen - model.header.seen
        4

    Args:
        model: model that training starts from; one of a cfg alone has Darknet's initial values. For
            another start see `dc.graft`.
        dataset: training pictures: a data set, or any source that `dc.open_dataset` takes; for a
            classifier a folder with a folder for each class, or a .data file. One source that has
            splits for both is also used for the evaluation. With a teacher alone no labels are
            needed.
        teacher: a model that has all of this one's classes, by name.
        recipe: training recipe; by default `dc.Recipe()`.
        valid: labelled pictures on which the model is evaluated during training.
        device: "auto" is the GPU if there is one; "cpu", "cuda", or one GPU such as "cuda:1".
        labels: use the labels beside a teacher; without a teacher they are always used.
        overfit: number of pictures to learn by heart, and to be evaluated on: a sound set-up gets
            all of them right.
        folder: folder for checkpoints, history, curves and sheets of predictions. By default
            nothing is kept: checkpoints are temporary files until the run ends, which is logged.
        resume: go on from the folder's last checkpoint, to the weights of an unbroken run.
        overwrite: begin anew in a folder that holds another run's files.
        devices: number of GPUs of this host, or of processes on the CPU; under torchrun its number
            of processes counts.
        compile: run code that PyTorch compiles for this network and machine, which takes up to
            minutes for each input size: for long runs on a GPU.
        report: called with a row of figures for about every epoch; see `Finetuned.history`.
        progress: called with the number of steps done.
        ready: called before the first step with a `PreparedRun`: the number of steps, the pictures,
            and the loss of the model on them before training.

    Returns:
        A `Finetuned`: `.model`, `.history`, `.best_epoch`, `.folder`, `.to_dict()`.

    Raises:
        DatasetError: a source cannot be read, no label is of a class of the model, or no picture
            can be read.
        PlanError: the teacher does not fit.
        UnsupportedError: no layer has a loss.
        OptionError: the cfg has a value that this training cannot use.
        DarkconvError: an option has no effect beside the others; the checkpoint to go on from is
            missing, damaged, or of another run; the folder holds another run's files; the device
            does not exist; PyTorch cannot compile the network; the loss becomes NaN or infinite.
        KeyboardInterrupt: the user stopped the run; the last checkpoint is whole.
    """
    machine = Machine(device, devices, compile)
    recipe = recipe or Recipe()
    _check(recipe, teacher, valid, labels=labels, overfit=overfit)
    by_labels = teacher is None or labels
    if recipe.freeze_norms is None:
        recipe = replace(recipe, freeze_norms=not by_labels)
    recipe = recipe.for_overfitting(overfit) if overfit else recipe
    with contextlib.ExitStack() as stack:
        stack.enter_context(telling_once())
        place = _folder(stack, folder, machine, resume=resume, overwrite=overwrite)
        pictures = open_pictures(model, dataset, valid, labels=by_labels, overfit=overfit)
        if pictures.valid is None and recipe.evaluate_every is not None:
            raise DarkconvError("evaluate_every would do nothing: there is no valid=")
        start = _start(pictures, teacher, recipe, machine)
        watch = Hooks(report=report, count=progress, ready=ready and (lambda: ready(start)))
        return _run(start, place, watch, labels=by_labels, resume=resume, keeps=folder is not None)


def _run(
    start: PreparedRun, folder: Folder, watch: Hooks, *, labels: bool, resume: bool, keeps: bool
) -> Finetuned:
    """Train, and free the memory."""
    model, recipe, valid = start.pictures.model, start.recipe, start.pictures.valid
    task = task_of(model, start.pictures.training, letterbox=recipe.letterbox, seed=recipe.seed)
    job = Job(model, task, folder, recipe, start.machine, keeps)
    if isinstance(valid, Dataset):
        measured = task_of(model, valid, letterbox=recipe.letterbox, seed=recipe.seed)
        require_known(measured, model)
    objective = job.objective(start.teacher, labels=labels)
    make_folder(folder.path)
    try:
        return job.run(
            objective,
            valid=valid,
            resume=resume,
            watch=watch,
            teacher=start.teacher,
            labels=labels,
        )
    finally:
        gc.collect()  # the parts of Lightning's trainer refer to each other


def _start(
    pictures: RunPictures, teacher: Model | None, recipe: Recipe, machine: Machine
) -> PreparedRun:
    """Return the run with its number of steps."""
    network, samples = pictures.model.network, len(pictures.training)
    course = plan_course(recipe, network, samples=samples, processes=machine.processes)
    return PreparedRun(course.steps, pictures, teacher, recipe, machine)


def _folder(
    stack: contextlib.ExitStack,
    folder: PathLike | None,
    machine: Machine,
    *,
    resume: bool,
    overwrite: bool,
) -> Folder:
    """Return the folder of a run: the given one, otherwise a temporary one."""
    if folder is not None:
        found = Folder(Path(folder))
        found.check(resume=resume, overwrite=overwrite)
        return found
    if resume or overwrite:
        word = "resume" if resume else "overwrite"
        raise DarkconvError(f"{word} is about the folder of a run: give folder=")
    if machine.processes > 1:
        raise DarkconvError("several processes need a folder that they share: give folder=")
    scratch = stack.enter_context(scratch_folder())
    logger.info("training in %s, which is removed at the end; folder= keeps its files", scratch)
    return Folder(scratch)


def _check(
    recipe: Recipe,
    teacher: Model | None,
    valid: Source | None,
    *,
    labels: bool,
    overfit: int | None,
) -> None:
    """Raise a DarkconvError for options that have no effect beside the others."""
    plain = Recipe()
    idle: dict[str, str] = {}
    if teacher is None:
        idle |= dict.fromkeys(("feature_weight", "feature_layers"), "there is no teacher")
    elif not labels:
        reason = "a teacher uses labels with labels=True alone"
        idle |= dict.fromkeys(("rule", "class_weights"), reason)
    for name, reason in idle.items():
        if getattr(recipe, name) != getattr(plain, name):
            raise DarkconvError(f"{name} would do nothing: {reason}")
    if overfit is not None and overfit < 1:
        raise DarkconvError("overfit", expected="1 or more", found=overfit)
    if overfit and valid is not None:
        raise DarkconvError("valid would do nothing: overfit measures on what is learned")
