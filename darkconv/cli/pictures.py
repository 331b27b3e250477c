"""PICTURES on the command line: where they are, and which of them count."""

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import click

from darkconv.cli.file_types import InputFile
from darkconv.cli.progress import is_first_process
from darkconv.dataset import (
    ClassifiedDataset,
    Dataset,
    only_classes,
    open_classified,
    open_dataset,
)
from darkconv.dataset.reading import told_changes
from darkconv.errors import DatasetError, PlanError, Where

logger = logging.getLogger("darkconv")

OWN = ""
"""Value of --only-classes without a list."""
SHOWN_PROBLEMS = 10
KINDS = (
    "pictures, folders, patterns such as 'photos/*.jpg', lists, Darknet's .data, folders of VOC, "
    "and COCO's .json"
)
"""What sources of pictures there are, for help texts."""


class NoneExclusiveError(DatasetError):
    """Every picture with one of the wanted classes shows another class too."""


class Named(Protocol):
    """A model, or a file exported from one."""

    @property
    def names(self) -> tuple[str, ...]:
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
    """

    only_classes: str | None = None
    data_names: Path | None = None
    split: str | None = None
    outside: bool = False
    limit: int | None = None


def picture_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that say which pictures count; the command gets them as `pictures`."""

    @functools.wraps(command)
    def collected(*args: Any, **values: Any) -> Any:
        own = {field.name: values.pop(field.name) for field in fields(PictureOptions)}
        return command(*args, pictures=PictureOptions(**own), **values)

    for option in reversed(_OPTIONS):
        collected = option(collected)
    return collected


outside_option = click.option(
    "--outside", is_flag=True, help="Follow paths that lead outside the data set's folder."
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
    click.option(
        "--data-names",
        type=InputFile(dir_okay=False),
        metavar="FILE",
        help="Class names of the pictures' labels  [default: those beside them]",
    ),
    click.option("--split", metavar="NAME", help="Part of the data set, such as train."),
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
) -> Dataset:
    """The pictures of some sources that count. What is wrong with labels is told on stderr.

    Names of classes are compared letter by letter: `tv` is not `tvmonitor`.

    Args:
        sources: as the user gave them.
        options: of `picture_options`.
        model: knows some classes; labels of others do not count.
        wanted: classes for --only-classes without a list; by default all of the model's.

    Raises:
        DatasetError: a source cannot be read, or no picture is left.
        PlanError: a class that the model does not have.
    """
    dataset = open_dataset(
        list(sources), names=options.data_names, split=options.split, outside=options.outside
    )
    if is_first_process():
        report_problems(dataset)
    if options.only_classes is not None:
        dataset = _only(dataset, options.only_classes, model, wanted or model.names)
    return _limited(dataset, options.limit)


def open_classes(
    sources: Sequence[str], options: PictureOptions, model: Named
) -> ClassifiedDataset:
    """Pictures with one class each, for a classifier.

    Raises:
        DatasetError: the source cannot be read, or no picture is left.
    """
    if len(sources) > 1:
        raise click.UsageError("a classifier's pictures come from one source")
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
    unknown = [name for name in names if name not in model.names]
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
