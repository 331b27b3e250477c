"""What a dissection is to reach beyond a cut: recovery, and the smallest model that will do."""

import hashlib
import json
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkconv.core.model import Model
from darkconv.core.processes import count_processes
from darkconv.dataset import Dataset
from darkconv.dataset.for_model import open_for_model, with_model_names
from darkconv.dataset.telling import report_problems
from darkconv.dissection.quality import Yardstick, kept_labels, make_yardstick
from darkconv.dissection.recovery import Recovery, plan_recovery
from darkconv.dissection.result import Dissection
from darkconv.dissection.running import Running
from darkconv.dissection.search import find_smallest
from darkconv.dissection.specimen import Specimen
from darkconv.dissection.trying import Tries
from darkconv.dissection.workplace import Workplace, check_free
from darkconv.errors import DarkconvError, PlanError, UnsupportedError
from darkconv.files import PathLike
from darkconv.logs import NOTE
from darkconv.surgery.fingerprint import fingerprint
from darkconv.surgery.planning import Planning

if TYPE_CHECKING:
    from darkconv.training.recipe import Recipe

logger = logging.getLogger("darkconv")

Valid = PathLike | Dataset | Sequence[PathLike]
"""Pictures to measure on."""
DIGITS = 12  # of a digest


@dataclass(frozen=True, kw_only=True)
class Aim:
    """What a dissection is to reach beyond a cut; see `dissect`.

    Attributes:
        recovery: how the model is recovered; None for not at all.
        max_loss: points that the smallest model may lose; None where none is searched for.
        valid: pictures to measure on; None for those that the model is cut by.
        folder: where is kept what was done; None for nowhere.
        resume: go on with what the folder holds.
        overwrite: begin anew in a folder that holds another dissection.
    """

    recovery: Recovery | None
    max_loss: float | None
    valid: Valid | None
    folder: Path | None
    resume: bool
    overwrite: bool


def plan_aim(
    *,
    recover: bool,
    steps: int | None,
    recipe: "Recipe | None",
    labels: bool,
    max_loss: float | None,
    valid: Valid | None,
    folder: PathLike | None,
    resume: bool,
    overwrite: bool,
) -> Aim | None:
    """Return what a dissection is to reach, checked; None where a cut is all. See `dissect`.

    Raises:
        DarkconvError: an option that means nothing, or would do nothing beside the others; the
            folder holds another dissection.
        MissingDependencyError: what trains is not installed.
    """
    if not recover:
        given = {"steps": steps is not None, "recipe": recipe is not None, "labels": labels}
        _refuse(given, "without recover=True nothing is trained")
    if not recover and max_loss is None:
        given = {"valid": valid is not None, "folder": folder is not None}
        _refuse(
            {**given, "resume": resume, "overwrite": overwrite},
            "there is neither recover nor max_loss",
        )
        return None
    if max_loss is not None and not (math.isfinite(max_loss) and max_loss >= 0):
        raise DarkconvError("max_loss", expected="points, 0 or more", found=max_loss)
    if folder is None:
        _refuse({"resume": resume, "overwrite": overwrite}, "they are about folder=")
    elif not resume:
        check_free(folder, overwrite=overwrite)
    if count_processes() > 1:
        raise DarkconvError("recover and max_loss run in one process, not under torchrun")
    return Aim(
        recovery=plan_recovery(steps=steps, labels=labels, recipe=recipe) if recover else None,
        max_loss=max_loss,
        valid=valid,
        folder=None if folder is None else Path(folder),
        resume=resume,
        overwrite=overwrite,
    )


def _refuse(given: dict[str, bool], reason: str) -> None:
    """Raise for options that were given and would do nothing."""
    names = [name for name, is_given in given.items() if is_given]
    if names:
        raise DarkconvError(f"{' and '.join(names)} would do nothing: {reason}")


def reach(
    aim: Aim,
    specimen: Specimen,
    planning: Planning,
    *,
    reconstruct: bool,
    running: Running,
) -> Dissection:
    """Prune and refit a specimen, recover it, and search for the smallest model that will do.

    Args:
        aim: what is to be reached.
        specimen: what is pruned.
        planning: which channels go.
        reconstruct: see `dissect`.
        running: how pictures are run.

    Raises:
        PlanError: see `dissect`.
        UnsupportedError: see there.
        DarkconvError: see there.
    """
    found = specimen.pictures.found
    if not isinstance(found, Dataset):
        raise PlanError("recover and max_loss take pictures from files, not levels")
    uses_labels = aim.recovery is not None and aim.recovery.labels
    held_out = None if aim.valid is None else _opened(aim.valid, specimen.whole)
    place = _workplace(aim, specimen, planning, found, held_out, reconstruct=reconstruct)
    tries = Tries(
        specimen=specimen,
        training=kept_labels(found, specimen.classes, specimen.whole) if uses_labels else found,
        reconstruct=reconstruct,
        recovery=aim.recovery,
        yardstick=_yardstick(aim, specimen, found, held_out, running),
        workplace=place,
        running=running,
    )
    if aim.max_loss is not None:
        return find_smallest(tries, planning, aim.max_loss)
    return tries.run("model", planning)


def _yardstick(
    aim: Aim,
    specimen: Specimen,
    found: Dataset,
    held_out: Dataset | None,
    running: Running,
) -> Yardstick | None:
    """Return what models are measured with; say why there is none, if it is not needed.

    Raises:
        UnsupportedError: the model finds no boxes, and a search needs them.
        DarkconvError: there is nothing to compare, and a search needs it.
    """
    whole = specimen.whole
    if not whole.network.finds_boxes:
        text = f"{whole.network.file}: finds no boxes that could be compared"
        if aim.max_loss is not None or held_out is not None:
            raise UnsupportedError(text)
        logger.log(NOTE, "nothing is measured: %s", text)
        return None
    measured = found if held_out is None else held_out
    yardstick = make_yardstick(
        specimen.uncut,
        measured,
        specimen.classes,
        whole,
        is_held_out=held_out is not None,
        running=running,
    )
    if yardstick is None:
        text = "there are no labels of the kept classes, and the uncut model finds nothing"
        if aim.max_loss is not None:
            raise DarkconvError(f"{measured.source}: {text}")
        logger.log(NOTE, "nothing is measured: %s", text)
    else:
        logger.log(NOTE, "measuring on %s", yardstick)
    return yardstick


def _opened(valid: Valid, whole: Model) -> Dataset:
    if not isinstance(valid, Dataset):
        return open_for_model(valid, whole)
    dataset, _ = with_model_names(valid, whole)
    report_problems(dataset)
    return dataset


def _workplace(
    aim: Aim,
    specimen: Specimen,
    planning: Planning,
    found: Dataset,
    held_out: Dataset | None,
    *,
    reconstruct: bool,
) -> Workplace | None:
    """Return the folder in which it is kept what was done, begun or taken up again."""
    if aim.folder is None:
        return None
    recipe = () if aim.recovery is None else _plain(aim.recovery.recipe)
    settings = {
        "classes": list(specimen.uncut.names),
        "model": fingerprint(specimen.uncut),
        **dict(_plain(planning)),
        "reconstruct": reconstruct,
        "recover": aim.recovery is not None,
        "labels": aim.recovery is not None and aim.recovery.labels,
        **{f"recipe {name}": value for name, value in recipe},
        "pictures": _names_of(found),
        "valid": None if held_out is None else _names_of(held_out),
    }
    if aim.resume:
        logger.log(NOTE, "going on with what %s holds", aim.folder)
    return Workplace(aim.folder, settings, resume=aim.resume, overwrite=aim.overwrite)


def _plain(record: Any) -> Iterator[tuple[str, str]]:
    """Yield the fields of a record as texts that are alike for equal records."""
    for name, value in vars(record).items():
        yield name, getattr(value, "__name__", None) or repr(value)


def _names_of(dataset: Dataset) -> str:
    """Return how many pictures there are, and a digest of their names and labels."""
    digest = hashlib.sha256()
    for sample in dataset.samples:
        digest.update(json.dumps([sample.image.name, *sample.names]).encode())
        digest.update(sample.boxes.tobytes())
    return f"{len(dataset)} pictures ({digest.hexdigest()[:DIGITS]})"
