"""One run: the network, its objective and the pictures in Lightning's trainer."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import lightning.pytorch as pl
from torch.utils.data import DataLoader

from darkconv.augmentation.sampler import Order, Shares, no_size
from darkconv.backends.torch import DarknetModule, from_torch, to_torch
from darkconv.core.model import Model
from darkconv.core.processes import Processes
from darkconv.dataset.label import Size
from darkconv.errors import DarkconvError
from darkconv.files import no_room, writing
from darkconv.training.averaging import Averaging
from darkconv.training.callbacks import Evaluate, Every, Hooks, Watcher
from darkconv.training.checkpoints import Checkpoints, WholeCheckpoints, check_checkpoint
from darkconv.training.counts import class_weights, require_known
from darkconv.training.darknet_norm import use_darknet_norms
from darkconv.training.device import Machine, telling_of_failures
from darkconv.training.distillation import TeacherObjective
from darkconv.training.freezing import frozen_layers
from darkconv.training.history import read_history
from darkconv.training.identity import Identity, describe_run
from darkconv.training.loader import Batches, as_it_is
from darkconv.training.multiscale import size_schedule
from darkconv.training.objective import BothObjective, LabelObjective, Objective
from darkconv.training.quiet import interruptible, quiet, tensorboard_logger
from darkconv.training.recipe import MOST_EVALUATIONS, Course, Recipe, plan_course
from darkconv.training.result import Finetuned
from darkconv.training.run_folder import Folder
from darkconv.training.tasks import Data, Task
from darkconv.training.training import Batch, Training

logger = logging.getLogger("darkconv")

PRECISION = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


@dataclass(frozen=True)
class Job:
    """The settings that every part of a run needs.

    Attributes:
        model: model that training starts from.
        task: task of the model, with the training pictures.
        folder: folder of the run's files.
        recipe: training recipe.
        machine: devices and processes.
        keeps_files: write curves, sheets of predictions and TensorBoard's files.
    """

    model: Model
    task: Task
    folder: Folder
    recipe: Recipe
    machine: Machine
    keeps_files: bool = True

    def __post_init__(self) -> None:
        """Check that the network can be compiled, if it is to be.

        Raises:
            DarkconvError: compilation and batch norms that several GPUs synchronise were asked for.
        """
        if self.machine.compile and self.syncs_norms:
            raise DarkconvError(
                "PyTorch cannot compile batch norms that several GPUs synchronise",
                hint="one GPU, frozen norms, or no compilation",
            )

    def objective(self, teacher: Model | None, *, labels: bool) -> Objective:
        """Build the objective that training minimises.

        Args:
            teacher: model that teaches; None for none.
            labels: use the labels.

        Raises:
            DarkconvError: there is neither a teacher nor labels.
            DatasetError: no label is of a class of the model, or class weights do not fit its
                names.
            PlanError: the teacher does not fit.
            UnsupportedError: no layer has a loss.
        """
        objectives: list[Objective] = []
        if labels:
            hint = "pictures without labels can be learned from with a teacher"
            counts = require_known(self.task, self.model, hint)
            weights = class_weights(self.recipe, self.model, counts)
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
        teacher: Model | None,
        labels: bool,
    ) -> Finetuned:
        """Train the model.

        Args:
            objective: objective that is minimised.
            valid: pictures for the evaluation; None for no evaluation.
            resume: go on from the folder's last checkpoint.
            watch: functions that are called during the run.
            teacher: model that teaches, for the run's identity; None for none.
            labels: the labels are used, for the run's identity.

        Returns:
            The trained model with its history.

        Raises:
            DarkconvError: the checkpoint does not fit, PyTorch cannot compile the network, or the
                loss becomes NaN or infinite.
            KeyboardInterrupt: the user stopped the run.
        """
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
        identity = describe_run(
            self.model,
            recipe,
            course,
            training=self.task.data,
            valid=valid,
            teacher=teacher,
            labels=labels,
            processes=self.machine.processes,
        )
        checkpoints = Checkpoints(
            self.folder.last, course=course, every=recipe.checkpoint_every, identity=identity
        )
        trainer = self._trainer(course, watcher, averaging, checkpoints)
        sizes = size_schedule(network, recipe.seed) if recipe.multi_scale else no_size
        loader = self._loader(course, trainer, sizes)
        checkpoint = self._checkpoint(training, trainer, identity) if resume else None
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
        rows = tuple(watcher.history.rows)
        folder = self.folder.path if self.keeps_files else None
        return Finetuned(best or last, last, rows, watcher.best_epoch, folder)

    @property
    def syncs_norms(self) -> bool:
        """True if batch norms use the statistics of all processes' pictures."""
        several = self.machine.processes > 1
        return several and self.machine.on_gpu and not self.recipe.freeze_norms

    def _checkpoint(self, training: Training, trainer: pl.Trainer, identity: Identity) -> Path:
        """Return the checkpoint to go on from, after a check of it and of the history."""
        remarks = check_checkpoint(self.folder.last, training, identity)
        for remark in remarks if trainer.is_global_zero else ():
            logger.warning("%s: %s", self.folder.path, remark)
        if self.folder.history.is_file():
            read_history(self.folder.history)
        return self.folder.last

    def _best(self, watcher: Watcher) -> Model | None:
        if watcher.best is None or not self.folder.best.is_file():
            return None
        from darkconv.backends.torch import read_safetensors

        return read_safetensors(self.folder.best)

    def with_state(self, module: DarknetModule, seen: int) -> Model:
        """Return the model with the weights of a module.

        Args:
            module: module with the state; batch norms of several processes are converted back.
            seen: number of pictures trained on, for the header.
        """
        fresh = to_torch(self.model).train()
        own = fresh.state_dict()
        fresh.load_state_dict({k: v for k, v in module.state_dict().items() if k in own})
        model = from_torch(fresh.eval())
        return replace(model, header=replace(model.header, seen=seen))

    def _hooks(self, valid: Data | None, watch: Hooks) -> Hooks:
        task, shown = self.task, self.task.data if valid is None else valid
        evaluate: Evaluate | None = None
        if valid is not None:

            def evaluate(module: DarknetModule, processes: Processes) -> Mapping[str, float]:
                return task.evaluate(module, valid, processes)

        def draw(module: DarknetModule, path: Path) -> None:
            task.draw(module, shown, path)

        return replace(
            watch,
            evaluate=evaluate,
            draw=draw if self.keeps_files else None,
            curves=self.keeps_files,
            save_best=self._save_best if valid is not None else None,
        )

    def _save_best(self, module: DarknetModule, seen: int) -> None:
        from darkconv.backends.torch import write_safetensors

        write_safetensors(to_torch(self.with_state(module, seen)), self.folder.best)

    def _trainer(
        self,
        course: Course,
        watcher: Watcher,
        averaging: Averaging | None,
        checkpoints: Checkpoints,
    ) -> pl.Trainer:
        recipe, machine = self.recipe, self.machine
        callbacks = [*([averaging] if averaging else []), watcher, checkpoints]
        with quiet():
            return pl.Trainer(
                accelerator=machine.accelerator,
                devices=machine.lightning_devices,
                num_nodes=machine.hosts,
                strategy="ddp" if machine.processes > 1 else "auto",
                sync_batchnorm=self.syncs_norms,
                precision=PRECISION[recipe.precision],  # type: ignore[arg-type]
                max_epochs=-1,
                max_steps=course.steps,
                accumulate_grad_batches=course.accumulate,
                gradient_clip_val=recipe.clip or None,
                callbacks=callbacks,
                plugins=[WholeCheckpoints()],
                logger=self.keeps_files and tensorboard_logger(self.folder.path),
                log_every_n_steps=max(1, course.round * course.accumulate // 4),
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
            accumulate=course.accumulate,
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
