"""`darkconv reclass`: make a model for some of a model's classes."""

import logging
from pathlib import Path
from typing import Any

import click

from darkconv.console.files import InputFile
from darkconv.console.given import refuse
from darkconv.console.printing import echo, echo_lines
from darkconv.console.values import seed_option
from darkconv.darknet.data import read_names
from darkconv.darknet.reading import names_beside
from darkconv.dataset.relabelled import note_data, renumbered, write_beside
from darkconv.options.command import ModelCommand
from darkconv.options.models import (
    read_model,
    require_outputs,
    write_models,
)
from darkconv.options.params import (
    ModelWords,
    OutputFiles,
    model_options,
    only_model,
    output_option,
    words_argument,
)
from darkconv.options.pictures import outside_option
from darkconv.surgery.classes import reclass as remake
from darkconv.surgery.classes import transfer
from darkconv.surgery.recipes import read_recipes, transferred_recipes
from darkconv.surgery.tables import classes_as_text
from darkconv.surgery.wanted import is_names_file, split_list, wanted_classes

logger = logging.getLogger("darkconv")


@click.command(cls=ModelCommand)
@words_argument()
@click.option(
    "--keep",
    metavar="A,B,C",
    help="Classes to keep, by name or index, in the order wanted; or a names file. new=A+B "
    "merges classes.",
)
@click.option("--add", metavar="D,E", help="New classes, behind the others.")
@click.option(
    "--to-names",
    type=InputFile(dir_okay=False, exists=True),
    metavar="FILE",
    help="Classes of another names file: those of the same name are kept, the rest are new.",
)
@click.option(
    "--init",
    default="random",
    show_default=True,
    metavar="random|mean|like:A",
    help="How new classes begin.",
)
@seed_option("what --init random draws")
@click.option("--other", is_flag=True, help="Before a softmax, one class for all dropped ones.")
@click.option(
    "--keep-softmax",
    is_flag=True,
    help="Drop classes behind the softmax, so that scores stay the same; for exported files.",
)
@click.option(
    "--data",
    type=InputFile(exists=True),
    metavar="D",
    help="A data set of the model's classes: written anew beside OUT.cfg for the new ones, as "
    "OUT.data with lists, labels and links to the pictures.",
)
@click.option(
    "--no-labels", is_flag=True, help="With --data: only count its boxes, write no data set."
)
@outside_option
@output_option
@model_options
def reclass(
    words: tuple[str, ...],
    keep: str | None,
    add: str | None,
    to_names: Path | None,
    init: str,
    seed: int,
    other: bool,
    keep_softmax: bool,
    data: Path | None,
    no_labels: bool,
    outside: bool,
    outputs: tuple[OutputFiles, ...],
    **options: Any,
) -> None:
    """Make a model for some of its classes, or for others.

    Boxes and scores of the kept classes do not change. Merged and new classes need fine-tuning.
    A names file in which lines begin with `dont_show` is a list too: the other classes are
    kept. If the model's own names file has such lines, --keep can be left out.

    Example: darkconv reclass yolov3.cfg yolov3.weights --keep person,car -o two.cfg two.weights
    """
    model_words = only_model(words)
    require_outputs(outputs)
    check_usage(
        to_names, keep, add, outputs, data, init=init, keep_softmax=keep_softmax, other=other
    )
    if not data:
        refuse("no_labels", "outside", because="they are about --data")
    written = [output for output in outputs if output.weights and data and not no_labels]
    note_data([output.path for output in written])
    model = read_model(model_words, **_own_options(options, model_words, to_names, keep))
    if to_names:
        names = read_names(to_names, encoding=options["names_encoding"])
        recipes = transferred_recipes(model, names)
        if all(one.is_kept for one in recipes):
            refuse("init", "seed", because="no class is new")
        small = transfer(model, names, init=init, seed=seed)
    else:
        added = split_list(add)
        named = None
        if keep is not None or not added:
            named = wanted_classes(model, keep, options["names_encoding"])
        recipes = read_recipes(model, named, add=added, other=other)
        small = remake(
            model, named, add=added, init=init, seed=seed, other=other, keep_softmax=keep_softmax
        )
    parts = renumbered(data, model, recipes, outside=outside) if data else {}
    write_models(small, outputs)
    if data:
        for output in written:
            done = write_beside(output.path, parts, data, has_names=bool(small.names))
            for line in done.warnings:
                logger.warning("%s", line)
            echo(done.summary, err=True)
        if no_labels:
            boxes = sum(len(sample.names) for part in parts.values() for sample in part.samples)
            echo(f"{data}: {boxes} boxes are of the new classes; no data set is written", err=True)
    echo_lines(classes_as_text(model, small))


def check_usage(
    to_names: Path | None,
    keep: str | None,
    add: str | None,
    outputs: tuple[OutputFiles, ...],
    data: Path | None,
    *,
    init: str,
    keep_softmax: bool,
    other: bool,
) -> None:
    """Raise a usage error for options that contradict each other.

    Args:
        to_names: value of --to-names; None if it is not given.
        keep: value of --keep; None if it is not given.
        add: value of --add; None if it is not given.
        outputs: the outputs of the command.
        data: value of --data; None if it is not given.
        init: value of --init.
        keep_softmax: True if --keep-softmax is given.
        other: True if --other is given.

    Raises:
        UsageError: they do.
    """
    if to_names:
        others = ("keep", "add", "other", "keep_softmax")
        refuse(*others, because="--to-names says which classes there are")
    if not (to_names or split_list(add)):
        refuse("init", "seed", because="no class is new without --add and --to-names")
    if init != "random":
        refuse("seed", because="only --init random draws lots")
    darknet = [output for output in outputs if output.weights]
    if keep_softmax and darknet:
        raise click.UsageError(
            f"--keep-softmax: {darknet[0].path} cannot say it; it is for .onnx, .safetensors, .pt2"
        )
    if data and not darknet:
        raise click.UsageError("--data is written beside OUT.cfg, and there is none")
    for output in darknet if data else ():
        if set(output.path.stem) & set(" \t"):
            beside = output.path.with_suffix(".data").name
            raise click.UsageError(
                f"--data: Darknet reads the values of {beside} without blanks, so no file of it "
                "would be found; choose an OUT.cfg without blanks"
            )


def _own_options(
    options: dict[str, Any], words: ModelWords, to_names: Path | None, keep: str | None
) -> dict[str, Any]:
    """Return the options of reading the model; the encoding may belong to another names file."""
    beside = None if words.is_exported else names_beside(words.first, words.weights)
    is_for_others = to_names is not None or (keep is not None and is_names_file(keep))
    if is_for_others and not (options["names"] or beside):
        return {**options, "names_encoding": None}
    return options
