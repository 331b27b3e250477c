"""Checkpoints: how they are written, always whole, and the checks before a run goes on from one.

torch writes an uncompressed zip archive of arrays, and a pickle of plain values. Nothing else is
unpickled: a checkpoint that names a function is refused.
"""

import io
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from darkconv.errors import DarkconvError, Where
from darkconv.files import PathLike, make_folder, write_bytes
from darkconv.files.archive import ArchiveError, open_archive
from darkconv.training.averaging import KEY
from darkconv.training.callbacks import ROW
from darkconv.training.identity import COUNTED, Identity, tell_differences
from darkconv.training.identity import KEY as RUN
from darkconv.training.recipe import Course, make_schedule
from darkconv.training.training import Training


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
        checkpoint[RUN] = dict(self.identity)

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


NEEDED: Mapping[str, type] = {
    "pytorch-lightning_version": str,
    "epoch": int,
    "global_step": int,
    "state_dict": Mapping,
    "optimizer_states": list,
    "loops": Mapping,
    "callbacks": Mapping,
    ROW: Mapping,
    RUN: Mapping,
}
"""Entries of a checkpoint that Lightning and `Watcher` read, with their types."""
ROW_NEEDED: Mapping[str, type | UnionType] = {
    "best": float | None,
    "best_epoch": float | None,
    "step": int,
    "seconds": float,
    "sums": Mapping,
    "count": int,
}
"""Values that `Watcher` reads of its row, with their types."""
AVERAGE_NEEDED: Mapping[str, type] = {"step": int, "count": int, "average": Mapping}
"""Values that `Averaging` reads of its state, with their types."""
MOST_DIGITS = 18  # of a number of steps that is accepted
AFRESH = "without --resume the run begins anew"


def check_checkpoint(path: Path, training: Training, identity: Identity) -> list[str]:
    """Check that a run can go on from a checkpoint with the steps of an unbroken run.

    Args:
        path: file of the checkpoint.
        training: training that is to go on.
        identity: identity of the run that is to go on, see `describe_run`.

    Returns:
        Remarks for the user, one sentence each: that the learning rate changes, for example.

    Raises:
        DarkconvError: the checkpoint is damaged, hostile, or of another model, recipe or data set;
            the run is beyond its last step.
    """
    where = Where(file=os.fspath(path))
    content = _read(path, where)
    _check_arrays(content["state_dict"], training.state_dict(), where)
    if KEY in content["callbacks"]:
        average = _checked_average(content["callbacks"][KEY], where)
        _check_arrays(average, training.module.state_dict(), where)
    begun = _checked_identity(content[RUN], where)
    if told := tell_differences(begun, identity):
        raise DarkconvError(
            f"would not go on as it began: {told}",
            where=where,
            hint="--resume (in Python resume=True) wants what the run began with; without it the "
            "run begins anew",
        )
    states = content["optimizer_states"]
    own = training.configure_optimizers().state_dict()
    if len(states) != 1 or _outline(states[0]) != _outline(own):
        raise DarkconvError(
            "was made with another optimizer, or with other layers frozen",
            where=where,
            hint=AFRESH,
        )
    return _remarks(begun, identity, content["global_step"], training, where)


def _checked_identity(found: Mapping[Any, Any], where: Where) -> Identity:
    """Return the identity of the run in a checkpoint."""
    texts = all(isinstance(one, str) for pair in found.items() for one in pair)
    counts = [found.get(name, "") for name in COUNTED]
    if not texts or not all(one.isdecimal() and len(one) <= MOST_DIGITS for one in counts):
        raise _unreadable("what it says of its run is no text, or lacks steps", where)
    return dict(found)


def _remarks(
    begun: Identity, now: Identity, step: int, training: Training, where: Where
) -> list[str]:
    """Return the differences from an unbroken run, or that nothing is left to train."""
    (before, steps), (others, processes) = [[int(one[n]) for one in (begun, now)] for n in COUNTED]
    if step > steps:
        raise DarkconvError(
            f"the run is already at step {step}",
            where=where,
            expected=f"steps beyond that, such as the {before} that it began with",
            found=f"{steps} steps",
            hint=AFRESH,
        )
    remarks = []
    if step == steps:
        remarks.append(f"the run is already at step {step} of {steps}, so nothing is left to train")
    elif before != steps:
        remarks.append(_about_steps(before, steps, step, training))
    if processes != others:
        remarks.append(
            f"the run began with {others} processes and has {processes}: batch norms and dropout "
            "see other parts of a step, so that it does not end as it would have"
        )
    return remarks


def _about_steps(before: int, steps: int, step: int, training: Training) -> str:
    """Return a remark on another number of steps."""
    changed = f"the run began with {before} steps and has {steps}"
    recipe, options = training.recipe, training.module.network.options
    old = make_schedule(recipe, options, before).rate(step + 1)
    new = training.course.schedule.rate(step + 1)
    if recipe.schedule == "cfg":
        return f"{changed}; the cfg says the rates"
    return (
        f"{changed}: the rate goes on along the schedule of {steps}, from step {step + 1} with "
        f"{new:.3g} in place of {old:.3g}, and does not end as a run of {steps} from the start"
    )


def _read(path: Path, where: Where) -> Mapping[str, Any]:
    """Return the content of a checkpoint; arrays are read when they are used."""
    try:
        with open_archive(path, most=path.stat().st_size):
            pass
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except OSError as error:
        raise DarkconvError(f"cannot read: {error.strerror}", where=where) from error
    except ArchiveError as error:
        raise _unreadable(str(error), where) from error
    except pickle.UnpicklingError as error:
        raise _unreadable("it holds more than arrays and plain values", where) from error
    except Exception as error:  # torch.load raises errors of many types
        raise _unreadable("is damaged", where) from error
    if not isinstance(content, dict):
        raise _unreadable("it is of another program", where)
    for key, kind in NEEDED.items():
        if not isinstance(content.get(key), kind):
            raise _unreadable(f"it is of another program or version, and has no {key}", where)
    _check_row(content[ROW], where)
    return content


def _check_row(row: Mapping[str, Any], where: Where) -> None:
    """Raise a DarkconvError unless `Watcher` can go on with the row."""
    for key, kind in ROW_NEEDED.items():
        if not isinstance(row.get(key, NotImplemented), kind):
            raise _unreadable(f"its row of the history has no {key}", where)
    for value in row["sums"].values():
        if not torch.is_tensor(value) or value.shape != ():
            raise _unreadable("its row of the history has sums that are no numbers", where)


def _checked_average(state: Any, where: Where) -> Mapping[str, Any]:
    """Return the arrays of `Averaging` in a checkpoint."""
    found = state if isinstance(state, Mapping) else {}
    for key, kind in AVERAGE_NEEDED.items():
        if not isinstance(found.get(key), kind):
            raise _unreadable(f"its average has no {key}", where)
    average: Mapping[str, Any] = found["average"]
    return average


def _unreadable(text: str, where: Where) -> DarkconvError:
    return DarkconvError(f"cannot be read as a checkpoint: {text}", where=where, hint=AFRESH)


def _check_arrays(found: Mapping[str, Any], own: Mapping[str, Any], where: Where) -> None:
    """Raise a DarkconvError unless the arrays have the module's names and shapes."""
    given, expected = (
        {name: list(value.shape) for name, value in arrays.items() if torch.is_tensor(value)}
        for arrays in (found, own)
    )
    for name in (*expected, *given):
        if given.get(name) != expected.get(name):
            raise DarkconvError(
                "is of another model",
                where=where,
                expected=f"{name} {expected.get(name, 'nowhere')}",
                found=given.get(name, "nothing"),
                hint=AFRESH,
            )


def _outline(state: Any) -> Any:
    """Return the structure of an optimizer's state, which must be equal to go on."""
    try:
        return [
            (sorted(name for name in group if name != "params"), len(group["params"]))
            for group in state["param_groups"]
        ]
    except (TypeError, KeyError):
        return None
