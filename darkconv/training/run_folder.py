"""The folder of a run: the paths of its files, and whether a run may begin or go on there."""

import os
from dataclasses import dataclass
from pathlib import Path

from darkconv.errors import DarkconvError


@dataclass(frozen=True)
class Folder:
    """The files of a run.

    Attributes:
        path: path of the folder.
    """

    path: Path

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """File of the latest checkpoint."""
        return self.checkpoints / "last.ckpt"

    @property
    def previous(self) -> Path:
        """File of the latest checkpoint of an earlier run in this folder, which was not resumed."""
        return self.checkpoints / "previous.ckpt"

    @property
    def history(self) -> Path:
        """CSV file with a row for each round."""
        return self.path / "history.csv"

    @property
    def curves(self) -> Path:
        """Picture with curves of the history."""
        return self.path / "curves.png"

    @property
    def best(self) -> Path:
        """Weights of the best module."""
        return self.path / "best.safetensors"

    def pictures(self, step: int) -> Path:
        """Return the file of the predictions after a step.

        Args:
            step: number of steps done.
        """
        return self.path / "pictures" / f"step_{step:06d}.jpg"

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that every run replaces."""
        kept = [file for pair in self._kept for file in pair]
        return (*kept, self.curves)

    @property
    def _kept(self) -> tuple[tuple[Path, Path], ...]:
        """Files of a run, with the names that they get when another run begins anew."""
        return (
            (self.last, self.previous),
            (self.history, self.path / "history.previous.csv"),
            (self.best, self.path / "best.previous.safetensors"),
        )

    def check(self, *, resume: bool, overwrite: bool) -> None:
        """Check that a run may go on, or begin, in this folder.

        Args:
            resume: the run goes on from the last checkpoint.
            overwrite: the run may replace the files of another run.

        Raises:
            DarkconvError: there is nothing to go on from, or another run's files would be lost.
        """
        if resume:
            if not os.path.isfile(self.last):
                raise DarkconvError(
                    f"{self.path}: holds no checkpoint to go on from",
                    hint="without --resume (in Python resume=True) the run begins anew",
                )
            return
        found = [file for file in (self.last, self.history, self.best) if os.path.exists(file)]
        if found and not overwrite:
            raise DarkconvError(
                f"{self.path}: holds {self.told()}, which this run would replace",
                hint="--resume goes on with it, --overwrite begins anew, --run names another "
                "folder (in Python resume=True, overwrite=True, folder=)",
            )

    def told(self) -> str:
        """Return a description of the run in this folder."""
        step = self.last_step()
        if step is not None:
            return f"a run with a checkpoint of step {step}"
        return "a damaged checkpoint" if os.path.exists(self.last) else "the files of a run"

    def last_step(self) -> int | None:
        """Return the step of the last checkpoint; None if there is none, or it cannot be read."""
        if not os.path.isfile(self.last):
            return None
        import torch

        try:
            content = torch.load(self.last, map_location="cpu", weights_only=True, mmap=True)
        except Exception:  # torch.load raises errors of many types
            return None
        step = content.get("global_step") if isinstance(content, dict) else None
        return step if isinstance(step, int) else None

    def begin_anew(self) -> None:
        """Rename the files of an earlier run, and remove its curves.

        Otherwise they would pass for the new run's until that has written its own.

        Raises:
            OSError: a file cannot be renamed or removed.
        """
        for file, previous in self._kept:
            if os.path.isfile(file):
                file.replace(previous)
        self.curves.unlink(missing_ok=True)
