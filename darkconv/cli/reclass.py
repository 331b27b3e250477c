"""`darkconv reclass`: a model for some of its classes."""

from pathlib import Path
from typing import Any

import click

from darkconv.cli.models import read_model, report_written, require_outputs, write_model
from darkconv.cli.params import (
    ModelCommand,
    ModelWords,
    Output,
    model_options,
    output_option,
    split_model,
)
from darkconv.core.model import Model
from darkconv.darknet.data import Names, read_names
from darkconv.errors import PlanError
from darkconv.surgery.classes import reclass as keep_classes

NAMES_SUFFIXES = (".names", ".txt")


@click.command(cls=ModelCommand)
@click.argument("words", nargs=-1, metavar="MODEL")
@click.option(
    "--keep",
    metavar="A,B,C",
    help="Classes to keep, by name or index, in the order wanted; or a names file.",
)
@output_option
@model_options
def reclass(
    words: tuple[str, ...], keep: str | None, outputs: tuple[Output, ...], **options: Any
) -> None:
    """Make a model for some of its classes; their boxes and scores do not change.

    A names file in which lines begin with `dont_show` is a list too: the other classes are
    kept. If the model's own names file has such lines, --keep can be left out.

    Example: darkconv reclass yolov3.cfg yolov3.weights --keep person,car -o two.cfg two.weights
    """
    model_words, rest = split_model(words)
    if rest:
        raise click.UsageError(f"Got unexpected extra argument ({rest[0]})")
    require_outputs(outputs)
    model = read_model(model_words, **options)
    wanted = wanted_classes(model, model_words, keep, options.get("names"))
    small = keep_classes(model, wanted)
    for output in outputs:
        write_model(small, output)
        report_written(output)
    click.echo(f"kept {len(wanted)} of {count(model)} classes: {', '.join(kept_names(small))}")


def wanted_classes(
    model: Model, words: ModelWords, keep: str | None, names: str | None
) -> list[str | int]:
    """The classes to keep, as `reclass` takes them.

    Raises:
        PlanError: nothing says which.
    """
    if keep is None:
        return list(_shown(_own_names(words, names)))
    if keep.endswith(NAMES_SUFFIXES) and Path(keep).is_file():
        listed = read_names(keep)
        return list(_shown(listed)) if listed.hidden else list(listed.names)
    return [item for word in keep.split(",") if (item := word.strip())]


def _own_names(words: ModelWords, names: str | None) -> Names:
    beside = Path(words.first).with_suffix(".names")
    if names is None and not beside.is_file():
        raise PlanError("no class to keep", hint="--keep person,car")
    return read_names(names or beside)


def _shown(names: Names) -> tuple[int, ...]:
    if not names.hidden:
        raise PlanError(
            "no class to keep", hint="--keep person,car, or dont_show lines in the names file"
        )
    return names.shown


def kept_names(model: Model) -> list[str]:
    """Names of all classes of a model."""
    return [model.class_name(index) for index in range(count(model))]


def count(model: Model) -> int:
    """Number of classes."""
    head = model.network.heads[0]
    total: int = head.spec.num_classes(head.in_shapes)  # type: ignore[attr-defined]
    return total
