"""PICTURES on the command line: where they are, and which of them count."""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from darkconv.cli.file_types import InputFile
from darkconv.cli.given import refuse
from darkconv.cli.progress import is_first_process
from darkconv.core.model import Model
from darkconv.core.names import Names, find_name, same_name
from darkconv.dataset import (
    ClassifiedDataset,
    Dataset,
    only_classes,
    open_classified,
    open_dataset,
)
from darkconv.dataset.classes import matched, names_for_model, renamed, unknown_classes
from darkconv.dataset.reading import told_changes
from darkconv.errors import DatasetError, PlanError, Where
from darkconv.surgery.recipes import count_classes

if TYPE_CHECKING:
    from darkconv.backends.exported import ExportedFile

logger = logging.getLogger("darkconv")

OWN = ""
"""Value of --only-classes without a list."""
SHOWN_PROBLEMS = 10
SHOWN_CLASSES = 30
KINDS = (
    "pictures, folders, patterns such as 'photos/*.jpg', lists, data.yaml, Darknet's .data, VOC, "
    "COCO's .json and the folders of labelling tools"
)
"""What sources of pictures there are, for help texts."""


class NoneExclusiveError(DatasetError):
    """Every picture with one of the wanted classes shows another class too."""


class Named(Protocol):
    """A model, or a file exported from one."""

    @property
    def names(self) -> Names:
        """Its classes."""


@dataclass(frozen=True, kw_only=True)
class PictureOptions:
    """Which pictures of the sources count.

    Attributes:
        only_classes: names with commas between; `OWN` for the classes that the command is
            about; None for all pictures.
        data_names: file of the class names of Darknet's labels, where the source tells none.
        split: part of the source, such as `train`.
        outside: follow paths that lead outside the data set's folder.
        limit: take so many of the pictures, evenly spread.
        images_folder: where the pictures lie, if the sources do not tell.
        rename: `A=B,C=D`, other names for classes of the labels.
        partly: allow names to be changed that the data set does not have.
    """

    only_classes: str | None = None
    data_names: Path | None = None
    split: str | None = None
    outside: bool = False
    limit: int | None = None
    images_folder: Path | None = None
    rename: str | None = None
    partly: bool = False


PICTURE_NAMES = tuple(field.name for field in fields(PictureOptions))
"""Of the parameters that `picture_options` adds."""


def picture_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which pictures count; the command gets them as `pictures`."""
    return _collecting(command, (*_OPTIONS, images_option("--images", "--data-images")))


def picture_options_beside_images(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `picture_options`, for a command whose pictures are its own --images."""
    return _collecting(command, (*_OPTIONS, images_option("--data-images")))


def _collecting(
    command: Callable[..., Any], options: Sequence[Callable[..., Any]]
) -> Callable[..., Any]:
    @functools.wraps(command)
    def collected(*args: Any, **values: Any) -> Any:
        names = (field.name for field in fields(PictureOptions))
        own = {name: values.pop(name) for name in names if name in values}
        return command(*args, pictures=PictureOptions(**own), **values)

    for option in reversed(options):
        collected = option(collected)
    return collected


def images_option(*spellings: str) -> Callable[..., Any]:
    """The option that says where pictures lie."""
    return click.option(
        *spellings,
        "images_folder",
        type=InputFile(file_okay=False, exists=True),
        metavar="DIR",
        help="Where the pictures lie, if the data set's own paths do not lead there.",
    )


outside_option = click.option(
    "--outside", is_flag=True, help="Follow paths that lead outside the data set's folder."
)

data_names_option = click.option(
    "--data-names",
    type=InputFile(dir_okay=False),
    metavar="FILE",
    help="Class names of the pictures' labels  [default: those beside them]",
)
split_option = click.option(
    "--split", metavar="NAME", help="Part of the data set, such as train; it must have one."
)
rename_option = click.option(
    "--rename",
    metavar="A=B,...",
    help="Other names for the labels' classes; several may get the same.",
)

_OPTIONS = (
    click.option(
        "--only-classes",
        is_flag=False,
        flag_value=OWN,
        metavar="[A,B]",
        help="Take pictures whose labels name one of these classes (by default the model's) and "
        "none of the others that the model knows.",
    ),
    data_names_option,
    rename_option,
    split_option,
    outside_option,
    click.option(
        "--limit",
        type=click.IntRange(min=1),
        metavar="N",
        help="Take N of the pictures, evenly spread.",
    ),
)


def open_pictures(
    sources: Sequence[str],
    options: PictureOptions,
    *,
    model: Named,
    wanted: Sequence[str] | None = None,
    uses_labels: bool = True,
) -> Dataset:
    """The pictures of some sources that count. What is wrong with labels is told on stderr.

    Classes of labels that the model spells otherwise get its names (`darkconv.dataset.classes`).

    Args:
        sources: as the user gave them.
        options: of `picture_options`.
        model: knows some classes; labels of others do not count, which is told.
        wanted: classes for --only-classes without a list; by default all of the model's.
        uses_labels: False for a command that looks at the pictures alone.

    Raises:
        DatasetError: a source cannot be read, or no picture is left.
        PlanError: a class that the model does not have.
    """
    labels_count = uses_labels or options.only_classes is not None
    if options.rename and not labels_count:
        raise click.UsageError("--rename is about labels, which only --only-classes looks at here")
    dataset = open_dataset(
        list(sources),
        names=options.data_names,
        split=options.split,
        images=options.images_folder,
        outside=options.outside,
    )
    if model.names.encoding:
        dataset = dataset.decoded(model.names.encoding)
    if options.rename:
        pairs = dict(read_pairs(options.rename, "--rename"))
        dataset = renamed(dataset, pairs, partly=options.partly)
    dataset, changed = matched(dataset, model.names) if model.names else (dataset, {})
    if is_first_process():
        report_problems(dataset)
    if options.only_classes is not None:
        dataset = _only(dataset, options.only_classes, model, wanted or model.names)
    dataset = _limited(dataset, options.limit)
    if labels_count and is_first_process():
        report_classes(dataset, changed, model)
    return dataset


def report_classes(dataset: Dataset, changed: Mapping[str, str], model: Named) -> None:
    """Warn of classes that were matched by their spelling, and of those that do not count."""
    labelled = {name for sample in dataset.samples for name in sample.names}
    same = [
        f"{name} is {other}"
        for name, other in changed.items()
        if other in labelled and same_name(name) != same_name(other)
    ]
    if same:
        listed = ", ".join(same)
        warn_in_command(f"{dataset.source}: known spellings of the model's classes: {listed}")
    unknown = unknown_classes(dataset, model.names) if model.names else ()
    for one in unknown[:SHOWN_CLASSES]:
        warn_in_command(f"{dataset.source}: {one}")
    rest = unknown[SHOWN_CLASSES:]
    if rest:
        boxes = sum(one.boxes for one in rest)
        warn_in_command(
            f"{dataset.source}: {len(rest)} more classes with {boxes:,} boxes are left out, which "
            "the model does not have"
        )


AnyModel = TypeVar("AnyModel", bound="Model | ExportedFile")


def named_model(model: AnyModel, dataset: Dataset | ClassifiedDataset) -> AnyModel:
    """Return a model with class names: its own, else those of a data set of numbered labels.

    Raises:
        DatasetError: it has none, and the data set has others than its classes.
    """
    is_detector = model.network.finds_boxes
    if model.names or not isinstance(dataset, Dataset) or not is_detector or not dataset.labelled:
        return model
    names = names_for_model(dataset, count_classes(model.network), model.network.file)
    if names != Names(map(str, range(len(names)))) and is_first_process():
        warn_in_command(f"{model.network.file}: has no class names, so those of the labels count")
    return replace(model, names=names)


def read_pairs(text: str, option: str) -> list[tuple[str, str]]:
    """Return `a=b,c=d` as pairs."""
    pairs = []
    for item in text.split(","):
        name, equals, value = item.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise click.UsageError(f"{option} wants A=B,C=D, not {item!r}")
        pairs.append((name.strip(), value.strip()))
    return pairs


def open_classes(
    sources: Sequence[str], options: PictureOptions, model: Named
) -> ClassifiedDataset:
    """Pictures with one class each, for a classifier.

    Raises:
        DatasetError: the source cannot be read, or no picture is left.
    """
    if len(sources) > 1:
        raise click.UsageError("a classifier's pictures come from one source")
    refuse("rename", "images_folder", "only_classes", because="they are for boxes of detectors")
    names = options.data_names or model.names or None
    found = open_classified(sources[0], names, options.split, outside=options.outside)
    if is_first_process():
        report_problems(found)
    return _limited(found, options.limit)


def report_problems(dataset: Dataset | ClassifiedDataset) -> None:
    """Warn of what was skipped: the first lines, and a count; once for each command.

    So for what was changed so that it can be used: a line for each kind, with a count.
    """
    if isinstance(dataset, Dataset):
        for line in (*dataset.notes, *told_changes(dataset)):
            warn_in_command(line)
    count = len(dataset.problems)
    context = click.get_current_context(silent=True)
    told = context.meta.setdefault("darkconv.problems", set()) if context else set()
    if dataset.problems in told:
        return
    told.add(dataset.problems)
    for line in dataset.problems[:SHOWN_PROBLEMS]:
        logger.warning("%s", line)
    if count:
        noun = "problem" if count == 1 else "problems"
        shown = f", the first {SHOWN_PROBLEMS} are shown" if count > SHOWN_PROBLEMS else ""
        logger.warning("%s: %d %s in pictures and labels%s", dataset.source, count, noun, shown)


def warn_in_command(line: str) -> None:
    """Warn, unless the command has said so before."""
    context = click.get_current_context(silent=True)
    told = context.meta.setdefault("darkconv.told", set()) if context else set()
    if line not in told:
        told.add(line)
        logger.warning("%s", line)


def report_unread(dataset: Dataset | ClassifiedDataset, count: int) -> None:
    """Warn of pictures that could not be read, each of which has been told.

    Raises:
        DatasetError: that was all of them.
    """
    if count and count == len(dataset.samples):
        raise DatasetError("no picture could be read", where=Where(file=dataset.source))
    if count:
        total = len(dataset.samples)
        logger.warning("%s: %d of %d pictures could not be read", dataset.source, count, total)


def _only(dataset: Dataset, listed: str, model: Named, own: Sequence[str]) -> Dataset:
    names = [word for item in listed.split(",") if (word := item.strip())] or own
    if not model.names:
        raise PlanError(
            "--only-classes needs the model's class names", hint="--names FILE gives them"
        )
    unknown = [name for name in names if find_name(model.names, name) is None]
    if unknown:
        raise PlanError(
            f"--only-classes: the model has no class {', '.join(unknown)}",
            hint=f"its classes are {', '.join(model.names)}; the option without a list stands last",
        )
    wanted = set(names)
    left = only_classes(dataset, names, model.names)
    if not left.samples:
        text, where = f"no picture shows nothing but {', '.join(names)}", Where(file=dataset.source)
        if any(not wanted.isdisjoint(sample.names) for sample in dataset.samples):
            hint = "every picture with one of them shows other classes too"
            raise NoneExclusiveError(text, where=where, hint=hint)
        found = ", ".join(dataset.names) or "none"
        hint = f"the labels' classes are {found}; --data-names names them otherwise"
        raise DatasetError(text, where=where, hint=hint)
    return left


AnyDataset = TypeVar("AnyDataset", Dataset, ClassifiedDataset)


def _limited(dataset: AnyDataset, limit: int | None) -> AnyDataset:
    count = len(dataset.samples)
    if limit is None or limit >= count:
        return dataset
    chosen = tuple(dataset.samples[i * count // limit] for i in range(limit))
    return replace(dataset, samples=chosen)
