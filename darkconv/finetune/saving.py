"""Checkpoints: when they are written, and that they are whole."""

import io
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from darkconv.files import PathLike, make_folder, write_bytes


class Checkpoints(Checkpoint):
    """Writes a checkpoint at the end of each round, or also after so many steps.

    At the end of a round it is written when all has been done that is due then: a resumed run
    would not do it again, and not know of an evaluation that gave the best weights so far.
    Lightning calls checkpoints after other callbacks.
    """

    def __init__(self, path: Path, *, round_steps: int, every: int | None) -> None:
        self.path = path
        self.round_steps = round_steps
        self.every = every
        self._saved = 0

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Within a round."""
        step = trainer.global_step
        if self.every and step % self.every == 0 and step % self.round_steps:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """After a round."""
        if self.every is None or trainer.global_step % self.every == 0:
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.global_step != self._saved:
            trainer.save_checkpoint(self.path)
            self._saved = trainer.global_step


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that take their names when they are whole.

    Lightning moves them from the system's folder for temporary files, which is no single step if
    that lies elsewhere.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: PathLike, storage_options: object = None
    ) -> None:
        """Write one.

        Raises:
            DarkconvError: it cannot be written.
        """
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        make_folder(Path(path).parent)
        write_bytes(path, [buffer.getbuffer()])
