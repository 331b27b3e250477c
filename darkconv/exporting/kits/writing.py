"""Writing a kit: completely or not at all, and never over files that do not belong to a kit."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from darkconv import __version__
from darkconv.backends.quiet import quiet
from darkconv.core.model import Model
from darkconv.core.network import Network
from darkconv.errors import DarkconvError, UnsupportedError, Where
from darkconv.exporting.formats import size_of
from darkconv.exporting.kits.facts import Facts, is_classifier
from darkconv.exporting.kits.kit import Filling, Kit
from darkconv.exporting.kits.table import KITS
from darkconv.exporting.writing import OF_BOXES, Exported, check_numbers
from darkconv.files import replacing_folder
from darkconv.files.outputs import check_folder, may_overwrite
from darkconv.libraries import require, telling_missing
from darkconv.verification.precision import Progress, silent

LIST = "kit.json"
"""File that names the kit of a folder, with the digests of the files that belong to it."""
KEPT = "choose another folder, or --overwrite replaces it with all that is in it"


def check_kit(model: Model, folder: Path, name: str, given: Mapping[str, Any]) -> None:
    """Check that a kit fits the model, the options and the folder.

    Args:
        model: model that the kit is made for.
        folder: path of the kit's folder.
        name: name of the kit, a key of `KITS`.
        given: options of `darkconv.export` that the user gave, by name.

    Raises:
        DarkconvError: there is no such kit, an option is wrong, or the folder holds other files.
        UnsupportedError: the kit is not for such a network.
        MissingDependencyError: a library that the kit needs is not installed.
    """
    kit = _find_kit(name)
    _check_network(kit, model)
    _check_given(kit, model, given)
    kit.check(given)
    _check_taken(folder)
    for library in kit.libraries:
        with telling_missing(f"the kit {kit.name}"), quiet():
            import_module(library)
    require(*kit.programs, task=f"the kit {kit.name}")


def write_kit(
    model: Model, folder: Path, name: str, given: Mapping[str, Any], *, progress: Progress = silent
) -> Exported:
    """Write a kit.

    Args:
        model: model that the kit is made for.
        folder: path of the kit's folder, which is made, or replaced as a whole if it is a kit.
        name: name of the kit, a key of `KITS`.
        given: options of `darkconv.export`, by name.
        progress: shows the progress of long steps.

    Returns:
        All files of the kit, the model's first, and how the model was checked.

    Raises:
        DarkconvError: as for `check_kit`, or the model's file cannot be written; then nothing is
            written.
    """
    check_kit(model, folder, name, given)
    kit = _find_kit(name)
    options = {**_usual(kit, model.network), **given, **kit.fixed}
    with replacing_folder(folder) as fresh:
        fresh.mkdir()
        filling = Filling(
            kit=kit,
            model=model,
            facts=Facts.of(model, options),
            options=options,
            folder=fresh,
            place=folder,
            progress=progress,
        )
        kit.fill(filling)
        done = filling.written
        assert done is not None, "a kit has a model"
        names = _files_of(fresh)
        _write_list(fresh, kit, names)
    own = done.files[0].relative_to(fresh)
    others = [one for one in (*names, Path(LIST)) if one != own]
    paths = tuple(folder / one for one in (own, *others))
    return replace(done, files=paths, size=size_of(folder))


def _find_kit(name: str) -> Kit:
    if name not in KITS:
        raise DarkconvError("kit", expected=", ".join(KITS), found=name)
    return KITS[name]


def _usual(kit: Kit, network: Network) -> dict[str, Any]:
    """Return a kit's default options; a network of neither boxes nor classes keeps its outputs."""
    is_known = network.finds_boxes or is_classifier(network)
    return {**kit.usual, **({} if is_known or "head" not in kit.usual else {"head": "raw"})}


def _check_network(kit: Kit, model: Model) -> None:
    network, where = model.network, Where(file=model.network.file)
    shape = network.input_shape
    if not shape.is_map:
        raise UnsupportedError(f"takes no pictures, which the kit {kit.name} is about", where=where)
    _check_outputs(kit, network, where)
    if shape.c not in kit.channels:
        raise UnsupportedError(
            f"pictures of the kit {kit.name}",
            where=where,
            expected=f"{' or '.join(map(str, kit.channels))} channels",
            found=shape.c,
        )


def _check_outputs(kit: Kit, network: Network, where: Where) -> None:
    """Check that the kit can use the kind of outputs that a network has."""
    if (
        network.finds_boxes
        or kit.takes_others
        or (kit.takes_classifiers and is_classifier(network))
    ):
        return
    about = "boxes"
    able = [one.name for one in KITS.values() if one.takes_others]
    if kit.takes_classifiers:
        about = "boxes and no scores of classes"
    elif is_classifier(network):
        able = [one.name for one in KITS.values() if one.takes_classifiers]
    raise UnsupportedError(
        f"predicts no {about}, which the kit {kit.name} is about",
        where=where,
        hint=f"kits that take other networks: {', '.join(able)}",
    )


def _check_given(kit: Kit, model: Model, given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name in kit.fixed and kit.fixed[name] != value:
            raise DarkconvError(
                f"{name} of the kit {kit.name}, which {kit.what} leaves no choice about",
                expected=kit.fixed[name],
                found=value,
            )
        if name not in kit.options:
            open_ones = [one for one in kit.options if one not in kit.fixed]
            raise DarkconvError(
                f"{name} is no option of the kit {kit.name}", expected=", ".join(open_ones)
            )
        if name in OF_BOXES and not model.network.finds_boxes:
            where = Where(file=model.network.file)
            raise DarkconvError(f"predicts no boxes, which {name} is about", where=where)
    check_numbers(given)


def _check_taken(folder: Path) -> None:
    """Check that a folder is missing or empty, or holds a kit and nothing else."""
    check_folder(folder)
    there = _files_of(folder) if folder.is_dir() else []
    if not there:
        return
    sums = _listed(folder)
    if sums is None:
        raise DarkconvError(f"{folder}: is there already, and is no kit", hint="choose another")
    for path in there:
        own = sums.get(path.as_posix())
        if path != Path(LIST) and own != _sha256(folder / path) and not may_overwrite():
            what = "was changed since the kit was written" if own else "is not of the kit"
            raise DarkconvError(f"{folder / path}: {what}, and would be lost", hint=KEPT)


def _listed(folder: Path) -> dict[str, str] | None:
    """Return the digests in a kit's list, by the files' names; None where there is no such list."""
    try:
        found = json.loads((folder / LIST).read_text(encoding="utf-8"))
        sums = found["files"]
        return {str(name): str(digest) for name, digest in sums.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _write_list(folder: Path, kit: Kit, names: list[Path]) -> None:
    told = {
        "kit": kit.name,
        "darkconv": __version__,
        "files": {name.as_posix(): _sha256(folder / name) for name in names},
    }
    (folder / LIST).write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _files_of(folder: Path) -> list[Path]:
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if not path.is_dir())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
