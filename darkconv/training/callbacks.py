"""Watcher: mean losses, evaluations, sheets of predictions, and the best weights of a run."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch

from darkconv.backends.torch import DarknetModule
from darkconv.core.processes import Processes
from darkconv.training.averaging import Averaging
from darkconv.training.history import Row, TrainingHistory, draw_curves
from darkconv.training.recipe import Course
from darkconv.training.run_folder import Folder
from darkconv.training.training import Training

ROW = "darkconv_row"
"""Key of the state of the history's current row in a checkpoint."""
Report = Callable[[Row], None]
Evaluate = Callable[[DarknetModule, Processes], Mapping[str, float]]
Draw = Callable[[DarknetModule, Path], None]
Save = Callable[[DarknetModule, int], None]


@dataclass(frozen=True)
class Hooks:
    """Functions that a run calls in its first process; None for nothing.

    Attributes:
        report: takes every row of the history.
        evaluate: measures a module on pictures that the processes share; `score` says which module
            is best, the higher the better. Every process calls it.
        draw: writes a sheet of predictions.
        save_best: writes the best module, given the number of pictures seen.
        count: takes the number of steps done.
        ready: called before the first step, after all checks.
        curves: draw the history at the end.
    """

    report: Report | None = None
    evaluate: Evaluate | None = None
    draw: Draw | None = None
    save_best: Save | None = None
    count: Callable[[int], None] | None = None
    ready: Callable[[], None] | None = None
    curves: bool = True


@dataclass(frozen=True)
class Every:
    """Numbers of rounds between two actions; 0 for never. An action also follows the last round.

    Attributes:
        evaluate: rounds between evaluations.
        draw: rounds between sheets of predictions.
    """

    evaluate: int
    draw: int

    def is_due(self, every: int, done: int, *, is_last: bool) -> bool:
        """Return True if an action is due.

        Args:
            every: number of rounds between two actions; 0 for never.
            done: number of rounds done.
            is_last: the last round is done.
        """
        return every > 0 and (is_last or done % every == 0)


class Watcher(pl.Callback):
    """Calls the functions of `Hooks` at the end of each row, which depends on the step alone.

    Lightning's own epochs do not say where a row ends: a run that goes on from a checkpoint begins
    one wherever that was written.
    """

    def __init__(
        self,
        folder: Folder,
        hooks: Hooks,
        course: Course,
        averaging: Averaging | None,
        every: Every,
    ) -> None:
        self.folder = folder
        self.hooks = hooks
        self.course = course
        self.averaging = averaging
        self.every = every
        self.history = TrainingHistory(folder.history)
        self.best: float | None = None
        self.best_epoch: float | None = None
        self._row_step = 0
        self._clock = Clock()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the best score so far, and the time and losses of the current row."""
        assert isinstance(pl_module, Training)
        checkpoint[ROW] = {
            "best": self.best,
            "best_epoch": self.best_epoch,
            "step": self._row_step,
            "seconds": self._clock.seconds,
            **pl_module.sums_state(),
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Restore the state of `on_save_checkpoint`; later rows of the history are dropped."""
        assert isinstance(pl_module, Training)
        self.history = TrainingHistory(self.folder.history, until=checkpoint["global_step"])
        row = checkpoint[ROW]
        self.best, self.best_epoch = row["best"], row["best_epoch"]
        self._row_step = row["step"]
        self._clock = Clock(row["seconds"])
        pl_module.load_sums_state(row)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock."""
        self._clock.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Count steps, and add a row at the end of each."""
        step = trainer.global_step
        if self.hooks.count and trainer.is_global_zero:
            self.hooks.count(step)
        if step > self._row_step and self.course.ends_row(step):
            assert isinstance(pl_module, Training)
            self._add_row(trainer, pl_module)
            self._row_step = step
            self._clock.start_anew()

    def _add_row(self, trainer: pl.Trainer, training: Training) -> None:
        row: Row = self._row(trainer.global_step) | training.take_means()
        row |= self._looked_at(trainer, training)
        if trainer.is_global_zero:
            self.history.add(row)
            for logger in trainer.loggers:
                logger.log_metrics(row, trainer.global_step)
            if self.hooks.report:
                self.hooks.report(row)
        told = trainer.strategy.broadcast((row, self.best, self.best_epoch))
        if not trainer.is_global_zero:
            self.history.rows.append(told[0])
            self.best, self.best_epoch = told[1:]

    def _row(self, step: int) -> Row:
        pictures = (step - self._row_step) * self.course.batch
        return {
            "epoch": self.course.epoch(step),
            "step": step,
            "rate": self.course.schedule.rate(step),
            "pictures_per_second": pictures / max(self._clock.seconds, 1e-9),
        }

    def _looked_at(self, trainer: pl.Trainer, training: Training) -> Row:
        """Return figures of the averaged module if they are due, draw the sheet, save the best."""
        averaging, every, step = self.averaging, self.every, training.global_step
        rows, is_last = self.course.rows(step), step >= self.course.steps
        module = averaging.module_of(training) if averaging else training.module
        module.eval()
        try:
            draws = self.hooks.draw if trainer.is_global_zero else None
            if draws and every.is_due(every.draw, rows, is_last=is_last):
                draws(module, self.folder.pictures(step))
            evaluates = every.is_due(every.evaluate, rows, is_last=is_last)
            if not (self.hooks.evaluate and evaluates):
                return {}
            processes = Processes(trainer.global_rank, trainer.world_size)
            take_statistics_of_first(module, processes)
            figures = dict(self.hooks.evaluate(module, processes))
            return self._judged(figures, module, training) if trainer.is_global_zero else {}
        finally:
            training.train()

    def _judged(self, figures: Row, module: DarknetModule, training: Training) -> Row:
        """Return the figures of a module, which is saved if it is the best so far."""
        score = figures.pop("score", None)
        if score is not None and (self.best is None or score > self.best):
            self.best = score
            self.best_epoch = self.course.epoch(training.global_step)
            if self.hooks.save_best:
                self.hooks.save_best(module, training.seen)
        return figures

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Draw the curves."""
        if self.hooks.curves and trainer.is_global_zero and self.history.rows:
            draw_curves(self.history, self.folder.curves)


def take_statistics_of_first(module: DarknetModule, processes: Processes) -> None:
    """Give batch norms the running statistics of the first process: each has seen other pictures.

    Everything else is the same in each process. Training does not change by it: its result has the
    first process's statistics, and DDP goes on from them too.

    Args:
        module: module that all processes measure together.
        processes: the processes, all of which must call this.
    """
    if processes.world == 1:
        return
    for values in module.buffers():
        first = values.detach().contiguous()
        torch.distributed.broadcast(first, src=0)
        values.detach().copy_(first)


class Clock:
    """The seconds that a row has taken, over all runs that had a part in it."""

    def __init__(self, seconds: float = 0.0) -> None:
        """Set the clock to a number of seconds, stopped."""
        self._before = seconds
        self._started: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        running = 0.0 if self._started is None else time.perf_counter() - self._started
        return self._before + running

    def start(self) -> None:
        """Go on from here."""
        self._started = time.perf_counter()

    def start_anew(self) -> None:
        """Go on from zero."""
        self._before = 0.0
        self.start()
