"""Write a data set for a model whose classes were changed, with the new class indices."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from darkconv.core.model import Model
from darkconv.core.names import distinct_names
from darkconv.darknet.data import names_in, read_data, read_text, replaced_data
from darkconv.dataset.classes import matched
from darkconv.dataset.collection import collect
from darkconv.dataset.darknet_files import DIFFICULT, data_files, data_values
from darkconv.dataset.data_file import data_splits
from darkconv.dataset.for_model import named_model
from darkconv.dataset.open import open_splits
from darkconv.dataset.sample import Dataset
from darkconv.dataset.telling import report_problems
from darkconv.dataset.write import Form, Written, check_target, write_collection
from darkconv.encodings import encoded
from darkconv.files import write_bytes
from darkconv.files.outputs import check_belongs, note_folder, note_output

logger = logging.getLogger("darkconv")

SHOWN_CLASSES = 20


class Made(Protocol):
    """A new class, and the classes that it is made of: see `surgery.recipes.ClassRecipe`."""

    @property
    def name(self) -> str:
        """Return the name of the new class."""

    @property
    def members(self) -> tuple[int, ...]:
        """Return the indices of the old classes that it is made of."""


def data_path(cfg: Path) -> Path:
    """Return the path of the .data file beside a cfg.

    Args:
        cfg: the cfg's path, whose suffix is replaced.
    """
    return cfg.with_suffix(".data")


def data_folder(cfg: Path) -> Path:
    """Return the folder of labels and lists beside a cfg; blanks become `_`, as C cannot read them.

    Args:
        cfg: the cfg's path, whose stem gives the folder's name.
    """
    return cfg.with_name(f"{'_'.join(cfg.stem.split())}_data")


def note_data(cfgs: Sequence[Path]) -> None:
    """Note the files and folders that will be written beside some cfgs, and check them.

    Args:
        cfgs: the paths of the cfgs.

    Raises:
        DarkconvError: a file or folder that darkconv has not written is in the way.
    """
    for cfg in cfgs:
        check_belongs(data_path(cfg), cfg)
        note_output(data_path(cfg))
        check_target(data_folder(cfg))
        note_folder(data_folder(cfg))


def renumbered(
    source: Path, model: Model, classes: Sequence[Made], *, outside: bool = False
) -> dict[str | None, Dataset]:
    """Return the splits of a data set with labels of the new classes.

    Labels of merged classes become one class. Labels of dropped classes are left out, with a
    warning that counts them. All pictures stay, even without a box.

    Args:
        source: the data set, in any layout.
        model: the model before its classes were changed.
        classes: the new classes, with the old classes that they are made of.
        outside: follow paths that lead outside the data set's folder: see `open_dataset`.

    Returns:
        The data set of each split.

    Raises:
        DatasetError: the data set cannot be read.
    """
    with names_in(model.names.encoding) if model.names.encoding else nullcontext():
        parts = open_splits(source, outside=outside)
    old = named_model(model, next(iter(parts.values())))
    names = tuple(one.name for one in classes)
    total = max((member + 1 for one in classes for member in one.members), default=0)
    called = distinct_names([*map(old.class_name, range(max(total, len(old.names))))])
    made = {called[member]: one.name for one in classes for member in one.members}
    known = {*made, *old.names, *called}
    made |= {name: name for name in names if name not in known}
    left: Counter[str] = Counter()
    found = {}
    for split, part in parts.items():
        report_problems(part)
        own = part.decoded(old.names.encoding) if old.names.encoding else part
        own, _ = matched(own, old.names) if old.names else (own, {})
        left += Counter(name for s in own.samples for name in s.names if name not in made)
        kept = own.keep_classes(tuple(made)).renamed(made)
        found[split] = replace(kept, names=names)
    if left:
        listed = ", ".join(f"{name} {count}" for name, count in left.most_common(SHOWN_CLASSES))
        logger.warning("%s: boxes of classes that are dropped are left out: %s", source, listed)
    return found


def write_beside(
    cfg: Path, parts: Mapping[str | None, Dataset], source: Path, *, has_names: bool
) -> Written:
    """Write a data set for the new classes beside a cfg: `.data`, lists and labels.

    Args:
        cfg: the cfg of the new model.
        parts: the data set of each split, with labels of the new classes.
        source: the data set that they were made from; the other lines of its .data file stay.
        has_names: True if there is a names file beside the cfg.

    Returns:
        The record of what was written.
    """
    folder, target = data_folder(cfg), data_path(cfg)
    root = f"{folder.name}/"
    collection = collect(parts, next(iter(parts.values())).names)
    form = Form(lambda own: data_files(own, root=root), "images", "obj.data")
    written = write_collection(collection, folder, form)
    values = data_values(collection, cfg.with_suffix(".names").name, root=root)
    if not has_names:
        del values["names"]
    write_bytes(target, [encoded(_data_text(source, values))])
    return replace(written, path=target)


def _data_text(source: Path, values: dict[str, object]) -> str:
    """Return the text of the .data file; other lines of the source's file stay as they are."""
    if source.suffix.lower() != ".data":
        return replaced_data("", values)
    data = read_data(source)
    gone = {key: None for key in data if key in data_splits(data) or key.startswith(DIFFICULT)}
    own = {key: value for key, value in values.items() if key != "backup"}
    return replaced_data(read_text(source), {"names": None, **gone, **own})
