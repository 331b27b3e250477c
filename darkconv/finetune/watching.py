"""Watching a run: means of what it cost, evaluations, pictures, and the best weights so far."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl

from darkconv.backends.torch import DarknetModule
from darkconv.finetune.folder import Folder
from darkconv.finetune.history import History, Row, draw_curves
from darkconv.finetune.training import Averaging, Training

Report = Callable[[Row], None]
Evaluate = Callable[[DarknetModule], Mapping[str, float]]
Draw = Callable[[DarknetModule, Path], None]
Save = Callable[[DarknetModule, int], None]


@dataclass(frozen=True)
class Hooks:
    """What a run does now and then; None for nothing.

    Attributes:
        report: gets every row of the history.
        evaluate: figures of a module; `score` says which module is best, the higher the better.
        draw: writes a sheet of predictions.
        save_best: writes the best module, given the pictures seen.
        count: gets the number of steps done.
        ready: called before the first step, when all that is needed has been checked.
    """

    report: Report | None = None
    evaluate: Evaluate | None = None
    draw: Draw | None = None
    save_best: Save | None = None
    count: Callable[[int], None] | None = None
    ready: Callable[[], None] | None = None


@dataclass(frozen=True)
class Every:
    """How many rounds lie between two; 0 for never. The last round counts in any case.

    Attributes:
        evaluate: evaluations.
        draw: sheets of predictions.
    """

    evaluate: int
    draw: int

    def is_due(self, every: int, done: int, *, is_last: bool) -> bool:
        """Whether it is time, after so many rounds."""
        return every > 0 and (is_last or done % every == 0)


class Watcher(pl.Callback):
    """Does what `Hooks` say at the end of each round, which Lightning calls an epoch."""

    def __init__(self, folder: Folder, hooks: Hooks, averaging: Averaging | None, every: Every):
        self.folder = folder
        self.hooks = hooks
        self.averaging = averaging
        self.every = every
        self.best: float | None = None
        self.best_epoch: float | None = None
        self._rounds = 0
        self._started = 0.0
        self._first_step = 0

    def state_dict(self) -> dict[str, Any]:
        """The best so far, for a resumed run."""
        return {"best": self.best, "best_epoch": self.best_epoch, "rounds": self._rounds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See `state_dict`."""
        self.best, self.best_epoch = state_dict["best"], state_dict["best_epoch"]
        self._rounds = state_dict["rounds"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Open the history where the run begins or goes on."""
        self.history = History(self.folder.history, until=trainer.global_step)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._started, self._first_step = time.perf_counter(), trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Count steps."""
        if self.hooks.count and trainer.is_global_zero:
            self.hooks.count(trainer.global_step)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """One row."""
        assert isinstance(pl_module, Training)
        self._rounds += 1
        means = pl_module.take_means()
        if trainer.is_global_zero:
            row = self._row(trainer, pl_module) | means
            is_last = trainer.global_step >= pl_module.course.steps
            row |= self._looked_at(pl_module, is_last=is_last)
            self.history.add(row)
            for logger in trainer.loggers:
                logger.log_metrics(row, trainer.global_step)
            if self.hooks.report:
                self.hooks.report(row)
        trainer.strategy.barrier()

    def _row(self, trainer: pl.Trainer, training: Training) -> Row:
        steps = trainer.global_step - self._first_step
        seconds = time.perf_counter() - self._started
        return {
            "epoch": training.course.epoch(trainer.global_step),
            "step": trainer.global_step,
            "rate": training.course.schedule.rate(trainer.global_step),
            "pictures_per_second": steps * training.course.batch / max(seconds, 1e-9),
        }

    def _looked_at(self, training: Training, *, is_last: bool) -> Row:
        """Figures of the averaged module, if they are due; sheets are drawn, the best is saved."""
        averaging, every = self.averaging, self.every
        module = averaging.module_of(training) if averaging else training.module
        module.eval()
        try:
            draws = every.is_due(every.draw, self._rounds, is_last=is_last)
            if self.hooks.draw and draws:
                self.hooks.draw(module, self.folder.pictures(training.global_step))
            evaluates = every.is_due(every.evaluate, self._rounds, is_last=is_last)
            return self._evaluated(module, training) if evaluates else {}
        finally:
            training.train()

    def _evaluated(self, module: DarknetModule, training: Training) -> Row:
        """Figures of a module, which is saved if it is the best so far."""
        figures = dict(self.hooks.evaluate(module)) if self.hooks.evaluate else {}
        score = figures.pop("score", None)
        if score is not None and (self.best is None or score > self.best):
            self.best = score
            self.best_epoch = training.course.epoch(training.global_step)
            if self.hooks.save_best:
                self.hooks.save_best(module, training.seen)
        return figures

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the curves."""
        if trainer.is_global_zero and self.history.rows:
            draw_curves(self.history, self.folder.curves)
