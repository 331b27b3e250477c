"""The data set of `darkconv reclass --data`: labels with the numbers of the new classes."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from darkconv.cli.data import tell_written
from darkconv.cli.params import Output
from darkconv.cli.printing import echo
from darkconv.core.model import Model
from darkconv.darknet.data import read_data, read_text, replaced_data
from darkconv.dataset import Dataset, open_splits
from darkconv.dataset.classes import matched
from darkconv.dataset.collection import collect
from darkconv.dataset.darknet_files import DIFFICULT, data_files, data_values
from darkconv.dataset.data_file import data_splits
from darkconv.dataset.for_model import named_model
from darkconv.dataset.telling import report_problems
from darkconv.dataset.write import Form, check_target, write_collection
from darkconv.encodings import encoded
from darkconv.files import write_bytes
from darkconv.files.outputs import check_belongs, note_folder, note_output
from darkconv.surgery.recipes import Recipe

logger = logging.getLogger("darkconv")


def data_path(output: Output) -> Path:
    """Return the .data file beside a cfg."""
    return output.path.with_suffix(".data")


def data_folder(output: Output) -> Path:
    """Return the folder of labels and lists beside a cfg; C reads no path with blanks."""
    return output.path.with_name(f"{'_'.join(output.path.stem.split())}_data")


def note_data(outputs: Sequence[Output]) -> None:
    """Tell of the files and folders that are going to be written."""
    for output in outputs:
        check_belongs(data_path(output), output.path)
        note_output(data_path(output))
        check_target(data_folder(output))
        note_folder(data_folder(output))


def renumbered(
    source: Path, model: Model, recipes: Sequence[Recipe], *, outside: bool
) -> dict[str | None, Dataset]:
    """Return the splits of a data set with labels of the new classes.

    Labels of classes that are merged become one; those of classes that are dropped are left out,
    with a warning that counts them. Pictures stay, also without a box.

    Args:
        source: the data set, in any layout.
        model: before its classes were changed.
        recipes: what the new classes are made of.
        outside: see `open_dataset`.

    Raises:
        DatasetError: the data set cannot be read.
    """
    parts = open_splits(source, outside=outside)
    first = next(iter(parts.values()))
    old = named_model(model, first)
    names = [recipe.name for recipe in recipes]
    made = {old.class_name(i): recipe.name for recipe in recipes for i in recipe.members}
    known = {old.class_name(i) for recipe in recipes for i in recipe.members} | set(old.names)
    made |= {name: name for name in names if name not in known}
    left: Counter[str] = Counter()
    found = {}
    for split, part in parts.items():
        report_problems(part)
        own, _ = matched(part, old.names) if old.names else (part, {})
        left += Counter(name for s in own.samples for name in s.names if name not in made)
        kept = own.keep_classes(tuple(made)).renamed(made)
        found[split] = replace(kept, names=tuple(names))
    if left:
        listed = ", ".join(f"{name} {count}" for name, count in left.most_common(20))
        logger.warning("%s: boxes of classes that are dropped are left out: %s", source, listed)
    return found


def write_data(
    source: Path, parts: Mapping[str | None, Dataset], model: Model, output: Output
) -> None:
    """Write a data set for the new classes beside a cfg: `.data`, lists and labels.

    Args:
        source: what the data set was made of; the other lines of a .data file stay.
        parts: its splits, with labels of the new classes.
        model: the new one.
        output: its files.
    """
    folder, target = data_folder(output), data_path(output)
    root = f"{folder.name}/"
    collection = collect(parts, next(iter(parts.values())).names)
    form = Form(lambda own: data_files(own, root=root), "images", "obj.data")
    written = write_collection(collection, folder, form)
    values = data_values(collection, output.path.with_suffix(".names").name, root=root)
    if not model.names:
        del values["names"]
    write_bytes(target, [encoded(data_text(source, values))])
    tell_written(replace(written, path=target))


def data_text(source: Path, values: dict[str, object]) -> str:
    """Return the text of the .data file: other lines of that of the source as they are."""
    if source.suffix.lower() != ".data":
        return replaced_data("", values)
    data = read_data(source)
    gone = {key: None for key in data if key in data_splits(data) or key.startswith(DIFFICULT)}
    own = {key: value for key, value in values.items() if key != "backup"}
    return replaced_data(read_text(source), {"names": None, **gone, **own})


def tell_counts(parts: Mapping[str | None, Dataset], source: Path) -> None:
    """Tell how many labels there would be, where no data set is written."""
    boxes = sum(len(s.names) for part in parts.values() for s in part.samples)
    echo(f"{source}: {boxes} boxes are of the new classes; no data set is written", err=True)
