"""finetune: a model and pictures in, a better model out."""

import contextlib
import gc
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import lightning.pytorch as pl
from lightning.pytorch.loggers import TensorBoardLogger
from torch.utils.data import DataLoader

from darkconv.backends.torch import DarknetModule, from_torch, to_torch
from darkconv.core.model import Model
from darkconv.dataset import Dataset
from darkconv.dataset.label import Size
from darkconv.errors import DarkconvError, DatasetError
from darkconv.files import PathLike, is_utf8, make_folder, no_room, writing
from darkconv.finetune.averaging import Averaging
from darkconv.finetune.checkpoint import check_checkpoint
from darkconv.finetune.compiled import telling_of_failures
from darkconv.finetune.darknet_norm import use_darknet_norms
from darkconv.finetune.distillation import TeacherObjective
from darkconv.finetune.folder import Folder
from darkconv.finetune.freezing import frozen_layers
from darkconv.finetune.history import read_history
from darkconv.finetune.machine import Machine
from darkconv.finetune.multiscale import size_schedule
from darkconv.finetune.objective import BothObjective, LabelObjective, Objective
from darkconv.finetune.order import Order, Shares, no_size
from darkconv.finetune.reading import Batches, as_it_is
from darkconv.finetune.recipe import MOST_EVALUATIONS, Course, Recipe, plan_course
from darkconv.finetune.saving import Checkpoints, WholeCheckpoints
from darkconv.finetune.target import measure_costs
from darkconv.finetune.tasks import Data, Task, task_of
from darkconv.finetune.training import Batch, Training
from darkconv.finetune.watching import Every, Hooks, Report, Watcher

PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


@dataclass(frozen=True)
class Finetuned:
    """Result of `finetune`.

    Attributes:
        model: with the averaged weights, the best of those evaluated if any were.
        last: with those of the last step.
        best_epoch: of the model; None if nothing was evaluated.
        folder: where the run's files are.
    """

    model: Model
    last: Model
    best_epoch: float | None
    folder: Path


def finetune(
    model: Model,
    data: Data,
    *,
    folder: PathLike,
    valid: Data | None = None,
    teacher: Model | None = None,
    labelled: bool | None = None,
    recipe: Recipe | None = None,
    machine: Machine | None = None,
    resume: bool = False,
    overwrite: bool = False,
    report: Report | None = None,
    progress: Callable[[int], None] | None = None,
    ready: Callable[[], None] | None = None,
) -> Finetuned:
    """Train a model on pictures: with their labels, from a teacher, or both.

    Args:
        model: where training starts; of a cfg alone, Darknet's initial values.
        data: pictures to train on, of `open_dataset` for a detector, of `open_classified` for a
            classifier; labels of classes that the model lacks do not count.
        folder: where checkpoints, history, curves and sheets of predictions go.
        valid: labelled pictures for evaluation now and then; the best weights become the result.
        teacher: a model that knows all of this one's classes, by name.
        labelled: use the labels; by default they are used where there is no teacher.
        recipe: see `Recipe`.
        machine: see `Machine`.
        resume: go on from the folder's last checkpoint.
        overwrite: begin anew in a folder that holds another run's files.
        report: gets a row of figures for every epoch.
        progress: called with the number of steps done; `plan_course` tells how many there are.
        ready: called before the first step, when all that is needed has been checked.

    Raises:
        DatasetError: no label is of a class of the model, or no picture can be read.
        PlanError: the teacher does not fit.
        UnsupportedError: no layer has a loss.
        OptionError: the cfg has a value that this training cannot use, see `plan_course`.
        DarkconvError: the checkpoint to go on from is missing, damaged, or of another run; the
            folder holds another run's files; PyTorch cannot compile the network.
        KeyboardInterrupt: the user stopped the run; the last checkpoint is whole.
    """
    Folder(Path(folder)).check(resume=resume, overwrite=overwrite)
    by_labels = teacher is None if labelled is None else labelled
    recipe = recipe or Recipe()
    if recipe.freeze_norms is None:
        recipe = replace(recipe, freeze_norms=not by_labels)
    task = task_of(model, data, letterbox=recipe.letterbox, seed=recipe.seed)
    job = Job(model, task, Folder(Path(folder)), recipe, machine or Machine())
    if isinstance(valid, Dataset):
        measured = task_of(model, valid, letterbox=recipe.letterbox, seed=recipe.seed)
        require_known(measured, model)
    make_folder(job.folder.path)
    objective = job.objective(teacher, labels=by_labels)
    watch = Hooks(report=report, count=progress, ready=ready)
    try:
        return job.run(objective, valid=valid, resume=resume, watch=watch)
    finally:
        gc.collect()  # the parts of Lightning's trainer hold each other


def show_target(model: Model, data: Data, teacher: Model | None, recipe: Recipe) -> Iterator[str]:
    """Lines that tell what the original costs on the data, in the losses of its heads.

    Args:
        model: where training starts; of one with layers that were never trained there is no line.
        data: without labels of the model's classes there are no lines.
        teacher: the original, if it is not the model itself.
        recipe: whose rule and fit count.
    """
    for word, one in (("model", model), ("teacher", teacher)):
        if one is None or one.initial_layers:
            continue
        known = data.keep_classes(model.names) if isinstance(data, Dataset) else data
        task = task_of(one, known, letterbox=recipe.letterbox, seed=recipe.seed)
        if not any(task.counts()):
            return
        objective = LabelObjective(one.network, recipe.rule)
        costs = measure_costs(one, task, objective)
        parts = "  ".join(f"{name} {value:.4g}" for name, value in costs.items() if value)
        yield f"before training, {word}: {parts}"


@dataclass(frozen=True)
class Job:
    """What every part of a run has to know."""

    model: Model
    task: Task
    folder: Folder
    recipe: Recipe
    machine: Machine

    def __post_init__(self) -> None:
        """Raise a DarkconvError if the network cannot be compiled, as it is to be."""
        if self.machine.compile and self.syncs_norms:
            raise DarkconvError(
                "PyTorch cannot compile batch norms that several GPUs synchronise",
                hint="one GPU, frozen norms, or no compilation",
            )

    def objective(self, teacher: Model | None, *, labels: bool) -> Objective:
        """What is to be made small."""
        objectives: list[Objective] = []
        if labels:
            hint = "pictures without labels can be learned from with a teacher"
            weights = class_weights(self.recipe, require_known(self.task, self.model, hint))
            objectives.append(LabelObjective(self.model.network, self.recipe.rule, weights))
        if teacher is not None:
            features = self.recipe.feature_weight, self.recipe.feature_layers
            objectives.append(TeacherObjective(self.model, teacher, *features, self.machine.select))
        if not objectives:
            raise DarkconvError("nothing to learn from", expected="labels or a teacher")
        return objectives[0] if len(objectives) == 1 else BothObjective(*objectives)

    def run(
        self,
        objective: Objective,
        *,
        valid: Data | None,
        resume: bool,
        watch: Hooks,
    ) -> Finetuned:
        """Train."""
        network, recipe = self.model.network, self.recipe
        course = plan_course(
            recipe, network, samples=len(self.task.data), processes=self.machine.processes
        )
        frozen = frozen_layers(network, first=recipe.freeze_first, backbone=recipe.freeze_backbone)
        module = to_torch(self.model)
        if recipe.rule == "darknet":
            use_darknet_norms(module)
        training = Training(
            module, objective, recipe, course, frozen=frozen, select=self.machine.select
        )
        averaging = Averaging(recipe.averaging) if recipe.averaging else None
        evaluate_every = recipe.evaluate_every or max(1, course.rounds // MOST_EVALUATIONS)
        every = Every(evaluate=evaluate_every, draw=recipe.draw_every)
        watcher = Watcher(self.folder, self._hooks(valid, watch), course, averaging, every)
        trainer = self._trainer(course, watcher, averaging)
        sizes = size_schedule(network, recipe.seed) if recipe.multi_scale else no_size
        loader = self._loader(course, trainer, sizes)
        checkpoint = self._checkpoint(training) if resume else None
        if checkpoint is None and trainer.is_global_zero:
            with writing(self.folder.path):
                self.folder.begin_anew()
        if watch.ready:
            watch.ready()
        telling = telling_of_failures()
        with quiet(), writing(self.folder.path, no_room), telling, interruptible():
            trainer.fit(training, loader, ckpt_path=checkpoint, weights_only=True)
        final = averaging.module_of(training) if averaging else training.module
        last = self.with_state(final, training.seen)
        best = self._best(watcher)
        return Finetuned(best or last, last, watcher.best_epoch, self.folder.path)

    @property
    def syncs_norms(self) -> bool:
        """Whether batch norms see the pictures of all processes."""
        several = self.machine.processes > 1
        return several and self.machine.on_gpu and not self.recipe.freeze_norms

    def _checkpoint(self, training: Training) -> Path:
        """What to go on from: checked, with the history beside it."""
        check_checkpoint(self.folder.last, training)
        if self.folder.history.is_file():
            read_history(self.folder.history)
        return self.folder.last

    def _best(self, watcher: Watcher) -> Model | None:
        if watcher.best is None or not self.folder.best.is_file():
            return None
        from darkconv.backends.torch import read_safetensors

        return read_safetensors(self.folder.best)

    def with_state(self, module: DarknetModule, seen: int) -> Model:
        """The model with a module's weights; batch norms of several processes are told apart."""
        fresh = to_torch(self.model).train()
        own = fresh.state_dict()
        fresh.load_state_dict({k: v for k, v in module.state_dict().items() if k in own})
        model = from_torch(fresh.eval())
        return replace(model, header=replace(model.header, seen=seen))

    def _hooks(self, valid: Data | None, watch: Hooks) -> Hooks:
        task, shown = self.task, self.task.data if valid is None else valid
        evaluate = (lambda module: task.evaluate(module, valid)) if valid is not None else None
        return replace(
            watch,
            evaluate=evaluate,
            draw=lambda module, path: task.draw(module, shown, path),
            save_best=self._save_best if valid is not None else None,
        )

    def _save_best(self, module: DarknetModule, seen: int) -> None:
        from darkconv.backends.torch import write_safetensors

        write_safetensors(to_torch(self.with_state(module, seen)), self.folder.best)

    def _trainer(self, course: Course, watcher: Watcher, averaging: Averaging | None) -> pl.Trainer:
        recipe, machine = self.recipe, self.machine
        checkpoints = Checkpoints(self.folder.last, course=course, every=recipe.checkpoint_every)
        callbacks = [*([averaging] if averaging else []), watcher, checkpoints]
        with quiet():
            return pl.Trainer(
                accelerator=machine.accelerator,
                devices=machine.processes // machine.hosts,
                num_nodes=machine.hosts,
                strategy="ddp" if machine.processes > 1 else "auto",
                sync_batchnorm=self.syncs_norms,
                precision=PRECISION[recipe.precision],  # type: ignore[arg-type]
                max_epochs=-1,
                max_steps=course.steps,
                accumulate_grad_batches=course.parts,
                gradient_clip_val=recipe.clip or None,
                callbacks=callbacks,
                plugins=[WholeCheckpoints()],
                logger=tensorboard_logger(self.folder.path),
                log_every_n_steps=max(1, course.round * course.parts // 4),
                num_sanity_val_steps=0,
                use_distributed_sampler=False,
                enable_progress_bar=False,
                enable_model_summary=False,
            )

    def _loader(
        self, course: Course, trainer: pl.Trainer, sizes: Callable[[int], Size | None]
    ) -> "DataLoader[Batch]":
        recipe = self.recipe
        pictures = self.task.pictures(augment=recipe.augment)
        order = Order(len(pictures), course.batch, recipe.seed, sizes)
        shares = Shares(
            order,
            parts=course.parts,
            rank=trainer.global_rank,
            processes=trainer.world_size,
            start=lambda: trainer.global_step,
        )
        workers = self.machine.workers if recipe.workers is None else recipe.workers
        return DataLoader(
            Batches(pictures, self.task.collate),
            batch_sampler=shares,
            num_workers=workers,
            collate_fn=as_it_is,
            pin_memory=self.machine.on_gpu,
            persistent_workers=workers > 0,
        )


def require_known(task: Task, model: Model, hint: str | None = None) -> list[int]:
    """How many objects or pictures of each of the model's classes there are.

    Raises:
        DatasetError: there is none.
    """
    counts = task.counts()
    if not any(counts):
        has_boxes = not isinstance(task.data, Dataset) or task.data.labelled
        found = task.data.names if has_boxes else ()
        raise DatasetError(
            f"{task.data.source}: no label is of a class of the model",
            expected=", ".join(model.names[:10]) or "class names",
            found=", ".join(found[:10]) or "no labels",
            hint=hint,
        )
    return counts


def class_weights(recipe: Recipe, counts: Sequence[int]) -> tuple[float, ...]:
    """Factors of the classes; "auto" gives each the same total, with a mean of 1 over objects."""
    if recipe.class_weights != "auto":
        return tuple(recipe.class_weights)  # type: ignore[arg-type]
    present = [count for count in counts if count]
    return tuple(sum(present) / len(present) / count if count else 1.0 for count in counts)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's advice; what goes wrong is still raised."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    told, threading.excepthook = threading.excepthook, _tell_of_thread
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*")
            warnings.filterwarnings("ignore", module=r"torch\..*", category=FutureWarning)
            yield
    finally:
        threading.excepthook = told
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Hand Ctrl-C on as KeyboardInterrupt, where Lightning would end the whole program."""
    try:
        yield
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise


def _tell_of_thread(failed: threading.ExceptHookArgs) -> None:
    """Not of a full disk: TensorBoard's thread hands that on to the one that trains."""
    if not no_room(failed.exc_value):
        threading.__excepthook__(failed)


def tensorboard_logger(folder: Path) -> TensorBoardLogger | bool:
    """A logger that writes without TensorFlow, all of which TensorBoard would import if it could.

    It knows paths in UTF-8 alone: False for others, with a warning.

    The module is TensorBoard's own switch (tensorboard/compat): with it, a stub opens files.
    """
    if not is_utf8(folder.absolute()):
        logging.getLogger("darkconv").warning(
            "%s: no curves for TensorBoard, which needs a path in UTF-8", folder
        )
        return False
    sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))
    return TensorBoardLogger(folder, name="", version="tensorboard")
