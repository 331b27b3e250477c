"""Goals of a dissection beyond a cut: recovery, and the smallest model that is good enough."""

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
"""The pictures to measure on: a source, a data set, or several sources."""
DIGITS = 12  # hexadecimal digits of a digest that are shown


@dataclass(frozen=True, kw_only=True)
class Aim:
    """Goals of a dissection beyond a cut; see `dissect`.

    Attributes:
        recovery: settings of recovery; None for no recovery.
        max_loss: points that the smallest model may lose; None for no search.
        valid: pictures to measure on; None for the pictures that the model is cut by.
        folder: folder that keeps the state; None to keep nothing.
        resume: go on with the state of the folder.
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
    """Return the goals of a dissection, checked; None if only a cut is asked for.

    Args:
        recover: let the uncut model teach the pruned one.
        steps: weight updates of recovery; None for the default.
        recipe: recipe of recovery, in place of `steps`; None for the default.
        labels: let recovery use the labels too.
        max_loss: points that the smallest model may lose, 0 or more; None for no search.
        valid: pictures to measure on; None for the pictures that the model is cut by.
        folder: folder that keeps the state; None to keep nothing.
        resume: go on with the state of the folder.
        overwrite: begin anew in a folder that holds another dissection.

    Raises:
        DarkconvError: an option has an impossible value, or no effect beside the others; the folder
            holds another dissection; several processes run under torchrun.
        MissingDependencyError: a package that training needs is not installed.
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
    """Raise a DarkconvError for options that were given and have no effect."""
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
    """Prune, refit and recover a specimen, and search for the smallest model if asked to.

    Args:
        aim: goals of the dissection.
        specimen: model and profile that are pruned.
        planning: how channels are chosen.
        reconstruct: refit the weights that stay.
        running: how pictures are run.

    Returns:
        The dissection with the final model; its quality is measured where there is something to
        compare.

    Raises:
        PlanError: the pictures are arrays and not files; a budget is out of reach; each model that
            was tried loses more than `max_loss`.
        UnsupportedError: the model finds no boxes, and a search or `valid` needs them.
        DarkconvError: there is nothing to compare, and a search needs it; the folder holds another
            dissection, or none to go on with.
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
    """Return what models are measured with; if nothing needs it and there is none, log why.

    Raises:
        UnsupportedError: the model finds no boxes, and a search or `valid` needs them.
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
    """Return the folder that keeps the state, begun or resumed; None if nothing is kept."""
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
    """Yield name and text of each field of a record; the texts are equal for equal records."""
    for name, value in vars(record).items():
        yield name, getattr(value, "__name__", None) or repr(value)


def _names_of(dataset: Dataset) -> str:
    """Return the number of pictures, and a digest of their names and labels."""
    digest = hashlib.sha256()
    for sample in dataset.samples:
        digest.update(json.dumps([sample.image.name, *sample.names]).encode())
        digest.update(sample.boxes.tobytes())
    return f"{len(dataset)} pictures ({digest.hexdigest()[:DIGITS]})"
