"""Checkpoints: when they are written, and that they are always whole."""

import io
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from darkconv.files import PathLike, make_folder, write_bytes
from darkconv.training.identity import KEY, Identity
from darkconv.training.recipe import Course


class Checkpoints(Checkpoint):
    """Writes a checkpoint at the end of each row, or after a number of steps.

    At the end of a row it is written after everything else that is due then: a resumed run would
    not do that again, and would not know of an evaluation that gave the best weights so far.
    Lightning calls checkpoints after other callbacks.

    Attributes:
        path: file of the checkpoint.
        course: numbers of the run.
        every: steps between checkpoints; None for the end of each row.
        identity: identity of the run.
    """

    def __init__(
        self, path: Path, *, course: Course, every: int | None, identity: Identity
    ) -> None:
        self.path = path
        self.course = course
        self.every = every
        self.identity = identity
        self._saved = 0

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Add the identity of the run."""
        checkpoint[KEY] = dict(self.identity)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Remember the step that the run goes on from as saved."""
        self._saved = trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Write a checkpoint if it is due."""
        step = trainer.global_step
        is_due = step % self.every == 0 if self.every else self.course.ends_row(step)
        if is_due and step != self._saved:
            trainer.save_checkpoint(self.path)
            self._saved = step


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that get their names only when they are whole.

    Lightning moves them from the system's folder for temporary files, which is not a single step if
    that is on another drive.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: PathLike, storage_options: object = None
    ) -> None:
        """Write a checkpoint.

        Raises:
            DarkconvError: it cannot be written.
        """
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        make_folder(Path(path).parent)
        write_bytes(path, [buffer.getbuffer()])
