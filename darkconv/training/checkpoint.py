"""A checkpoint that a run is to go on from, looked at before the run does.

torch writes a zip archive of arrays, unpacked, and a pickle of plain values. Nothing else is
unpickled: a checkpoint that names a function is refused.
"""

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any

import torch

from darkconv.errors import DarkconvError, Where
from darkconv.files.archive import ArchiveError, open_archive
from darkconv.training.averaging import KEY
from darkconv.training.training import Training
from darkconv.training.watching import ROW

NEEDED: Mapping[str, type] = {
    "pytorch-lightning_version": str,
    "epoch": int,
    "global_step": int,
    "state_dict": Mapping,
    "optimizer_states": list,
    "loops": Mapping,
    "callbacks": Mapping,
    ROW: Mapping,
}
"""What is read of a checkpoint, by Lightning and by `Watcher`."""
ROW_NEEDED: Mapping[str, type | UnionType] = {
    "best": float | None,
    "best_epoch": float | None,
    "step": int,
    "seconds": float,
    "sums": Mapping,
    "count": int,
}
"""What `Watcher` reads of its row."""
AVERAGE_NEEDED: Mapping[str, type] = {"step": int, "count": int, "average": Mapping}
"""What `Averaging` reads of its state."""
AFRESH = "without --resume the run begins anew"


def check_checkpoint(path: Path, training: Training) -> None:
    """Check that a run can go on from a checkpoint.

    Raises:
        DarkconvError: it is damaged, hostile, or of another model or optimizer.
    """
    where = Where(file=os.fspath(path))
    content = _read(path, where)
    _check_arrays(content["state_dict"], training.state_dict(), where)
    if KEY in content["callbacks"]:
        average = _checked_average(content["callbacks"][KEY], where)
        _check_arrays(average, training.module.state_dict(), where)
    states = content["optimizer_states"]
    own = training.configure_optimizers().state_dict()
    if len(states) != 1 or _outline(states[0]) != _outline(own):
        raise DarkconvError(
            "was made with another optimizer, or with other layers frozen",
            where=where,
            hint=AFRESH,
        )


def _read(path: Path, where: Where) -> Mapping[str, Any]:
    """The content; its arrays stay in the file until they are used."""
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
    except Exception as error:  # torch raises whatever its parts do
        raise _unreadable("is damaged", where) from error
    if not isinstance(content, dict):
        raise _unreadable("it is of another program", where)
    for key, kind in NEEDED.items():
        if not isinstance(content.get(key), kind):
            raise _unreadable(f"it is of another program or version, and has no {key}", where)
    _check_row(content[ROW], where)
    return content


def _check_row(row: Mapping[str, Any], where: Where) -> None:
    """Raise unless `Watcher` can go on with the row."""
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
    """Raise unless the arrays are the module's."""
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
    """What two optimizers that can go on from each other have in common."""
    try:
        return [
            (sorted(name for name in group if name != "params"), len(group["params"]))
            for group in state["param_groups"]
        ]
    except (TypeError, KeyError):
        return None
