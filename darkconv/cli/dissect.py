"""`darkconv dissect`: some classes of a model, and the channels that they need."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from darkconv.cli.models import (
    read_model,
    require_outputs,
    write_models,
)
from darkconv.cli.params import (
    ModelCommand,
    Output,
    Word,
    model_options,
    only_model,
    output_option,
    words_argument,
)
from darkconv.cli.pictures import PictureOptions, open_pictures, picture_options_beside_images
from darkconv.cli.planning import (
    plan_options,
    refuse_idle_choices,
    require_amount,
)
from darkconv.cli.profiling import ProfilingOptions, profiling_options
from darkconv.cli.pruned import show_pruning
from darkconv.console.files import OutputFile
from darkconv.console.given import refuse
from darkconv.console.printing import echo, echo_json
from darkconv.console.progress import steps
from darkconv.core.names import split_names
from darkconv.core.processes import is_first_process
from darkconv.files.outputs import check_belongs, note_output
from darkconv.libraries import require
from darkconv.surgery.planning import Planning
from darkconv.surgery.wanted import wanted_classes


@click.command(cls=ModelCommand)
@words_argument()
@click.option(
    "--keep",
    metavar="A,B,C",
    help="Classes to keep, by name or index; or a names file  [default: all]",
)
@click.option(
    "--images",
    "sources",
    multiple=True,
    required=True,
    type=Word(),
    metavar="D",
    help="Pictures to profile: folders, patterns, lists, .data, VOC, COCO; repeatable.",
)
@output_option
@click.option(
    "--report",
    "report_path",
    type=OutputFile(),
    metavar="FILE",
    help="The HTML report  [default: the first output's name with .html]",
)
@click.option("--no-report", is_flag=True, help="Write no report.")
@click.option("--all-pictures", is_flag=True, help="Profile pictures with other classes too.")
@click.option(
    "--reconstruct/--no-reconstruct",
    default=True,
    show_default=True,
    help="Refit the weights that stay, so that each layer gives what it gave, on all pictures.",
)
@click.option("--json", "as_json", is_flag=True, help="Print plan and costs as JSON.")
@plan_options()
@picture_options_beside_images
@profiling_options
@model_options
def dissect(
    words: tuple[str, ...],
    keep: str | None,
    sources: tuple[str, ...],
    outputs: tuple[Output, ...],
    report_path: Path | None,
    no_report: bool,
    all_pictures: bool,
    reconstruct: bool,
    as_json: bool,
    planning: Planning,
    pictures: PictureOptions,
    profiling: ProfilingOptions,
    **options: Any,
) -> None:
    """Keep some classes of a model, and of its channels those that matter for them.

    The classes are cut, the channels profiled on the pictures that show nothing but the kept
    classes (all pictures where there are no labels, or no such picture), and those that matter
    least removed: a quarter of each layer, unless an option such as --params says otherwise. Then
    the weights that stay are refitted to the feature maps of the whole model.

    Example: darkconv dissect voc.cfg voc.weights --keep dog,cat --images photos -o s.cfg s.weights
    """
    model_words = only_model(words)
    require_outputs(outputs)
    target = None if no_report else report_path or default_report(outputs)
    if planning.amounts:
        require_amount(planning)
    refuse_idle_choices(planning)
    if no_report:
        refuse("report_path", because="--no-report says that none is written")
    if all_pictures:
        refuse("only_classes", because="--all-pictures takes them all")
    require("PIL", "torch", task="dissect", extra="torch")
    from darkconv.dissection import dissect as dissected

    model = read_model(model_words, **options)
    keep_classes = None
    if keep is not None:
        keep_classes = wanted_classes(model, keep, options["names_encoding"])
    every = replace(pictures, only_classes=None, limit=None)
    dataset = open_pictures(sources, every, model=model, uses_labels=not all_pictures)
    only = pictures.only_classes
    with steps() as progress:
        done = dissected(
            model,
            keep_classes,
            images=dataset,
            **vars(planning),
            reconstruct=reconstruct,
            only_classes=None if only is None else split_names(only, model.names),
            all_pictures=all_pictures,
            limit=pictures.limit,
            **profiling.running,
            progress=progress,
        )
    if not is_first_process():
        return
    write_models(done.model, outputs)
    if as_json:
        echo_json(done.to_dict())
    else:
        show_pruning(model, done.model, done.plan, compensate=planning.compensate)
    if target:
        done.report(target)
        echo(f"wrote {target}", err=True)


def default_report(outputs: Sequence[Output]) -> Path:
    """The page beside the first output; others that write there are told of it."""
    first = outputs[0].path
    target = first.with_suffix(".html")
    check_belongs(target, first)
    note_output(target, over_inputs=False)
    return target
