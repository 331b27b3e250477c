"""`darkconv dissect`: keep some classes of a model, and the channels that they need."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.cli.pruned import show_pruning
from darkconv.console.files import OutputFile, OutputFolder
from darkconv.console.given import refuse
from darkconv.console.options import with_options
from darkconv.console.printing import echo, echo_json, echo_table
from darkconv.console.progress import steps as progress_of_steps
from darkconv.console.values import NumberType
from darkconv.core.names import split_names
from darkconv.core.processes import is_first_process
from darkconv.files.outputs import check_belongs, may_overwrite, note_folder_use, note_output
from darkconv.files.sources import release_sources
from darkconv.libraries import require
from darkconv.options.command import ModelCommand
from darkconv.options.models import read_model, require_outputs, write_models
from darkconv.options.params import (
    OutputFiles,
    Word,
    model_options,
    only_model,
    output_option,
    words_argument,
)
from darkconv.options.pictures import PictureOptions, open_pictures, picture_options_beside_images
from darkconv.options.planning import plan_options, refuse_idle_choices, require_amount
from darkconv.options.profiling import ProfilingOptions, profiling_options
from darkconv.surgery.planning import Planning
from darkconv.surgery.wanted import wanted_classes

if TYPE_CHECKING:
    from darkconv.dissection import Dissection

OPTIONS = (
    click.option("--keep", metavar="A,B,C", help="Classes to keep, by name or index; or a names "
                 "file  [default: all]"),
    click.option("--images", "sources", multiple=True, required=True, type=Word(), metavar="D",
                 help="Pictures to profile: folders, patterns, lists, .data, VOC, COCO; "
                 "repeatable."),
    output_option,
    click.option("--report", "report_path", type=OutputFile(), metavar="FILE",
                 help="The HTML report  [default: the first output's name with .html]"),
    click.option("--no-report", is_flag=True, help="Write no report."),
    click.option("--all-pictures", is_flag=True, help="Also profile pictures that show other "
                 "classes."),
    click.option("--reconstruct/--no-reconstruct", default=True, show_default=True, help="Refit "
                 "the remaining weights by least squares, so that on all pictures the outputs of "
                 "each layer come near those of the whole model."),
    click.option("--recover", is_flag=True, help="Then train the small model with the uncut "
                 "model as its teacher, on all pictures and without labels."),
    click.option("--steps", type=click.IntRange(min=1), metavar="N",
                 help="For --recover: number of updates of the weights  [default: 300]"),
    click.option("--labels", is_flag=True, help="For --recover: use labels too."),
    click.option("--max-loss", type=NumberType(0), metavar="POINTS", help="Search for the smallest "
                 "model that loses at most this many points of AP on --valid; without labels, of "
                 "the agreement with the uncut model. Budgets such as --params are the largest "
                 "tried."),
    click.option("--valid", multiple=True, type=Word(), metavar="D",
                 help="Pictures to measure --recover and --max-loss on  [default: those of "
                 "--images]"),
    click.option("--run", "folder", type=OutputFolder(), metavar="DIR", help="Folder in which "
                 "--recover and --max-loss keep what they have done  [default: OUT.run]"),
    click.option("--resume", is_flag=True, help="After a stop, go on with what the folder of "
                 "--run holds."),
    click.option("--json", "as_json", is_flag=True, help="Print the plan and the costs as JSON."),
    plan_options(),
    picture_options_beside_images,
    profiling_options,
    model_options,
)  # fmt: skip
"""All options, as the help lists them."""


@click.command(cls=ModelCommand)
@words_argument()
@with_options(*OPTIONS)
def dissect(
    words: tuple[str, ...],
    keep: str | None,
    sources: tuple[str, ...],
    outputs: tuple[OutputFiles, ...],
    report_path: Path | None,
    no_report: bool,
    all_pictures: bool,
    reconstruct: bool,
    recover: bool,
    steps: int | None,
    labels: bool,
    max_loss: float | None,
    valid: tuple[str, ...],
    folder: Path | None,
    resume: bool,
    as_json: bool,
    planning: Planning,
    pictures: PictureOptions,
    profiling: ProfilingOptions,
    **options: Any,
) -> None:
    """Keep some classes of a model, and the channels that matter most for them.

    First the other classes are cut off. Then the channels are profiled on the pictures: if there
    are labels, on those that show nothing but the kept classes; if there is no such picture, on
    all. The channels that matter least are removed: a quarter of each layer, unless an option such
    as --params says otherwise. At last the remaining weights are refitted, so that the feature maps
    come near those of the whole model.

    --recover also trains the result, with the uncut model as its teacher. --max-loss searches for
    the smallest model that is good enough.

    Example: darkconv dissect voc.cfg voc.weights --keep dog,cat --images photos -o s.cfg s.weights
    """
    model_words = only_model(words)
    require_outputs(outputs)
    target = None if no_report else report_path or default_report(outputs)
    if planning.amounts:
        require_amount(planning)
    refuse_idle_choices(planning, searches=max_loss is not None)
    place = run_folder(outputs, folder, recover=recover, searches=max_loss is not None)
    if no_report:
        refuse("report_path", because="--no-report says that none is written")
    if all_pictures:
        refuse("only_classes", because="--all-pictures takes them all")
    require("PIL", "torch", task="dissect", extra="torch")
    if recover:
        require("lightning", "tensorboard", task="recovery", extra="train")
    from darkconv.dissection import dissect as dissected

    model = read_model(model_words, **options)
    if place:  # the rest takes long, and needs no more of the files
        model = model.in_memory()
        release_sources()
    encoding = options["names_encoding"]
    keep_classes = None if keep is None else wanted_classes(model, keep, encoding)
    every = replace(pictures, only_classes=None, limit=None)
    dataset = open_pictures(sources, every, model=model, uses_labels=labels or not all_pictures)
    held_out = None
    if valid:
        held_out = open_pictures(valid, replace(every, split=None, partly=True), model=model)
    only = pictures.only_classes
    with progress_of_steps() as progress:
        done = dissected(
            model,
            keep_classes,
            images=dataset,
            **vars(planning),
            reconstruct=reconstruct,
            recover=recover,
            steps=steps,
            labels=labels,
            max_loss=max_loss,
            valid=held_out,
            folder=place,
            resume=resume,
            overwrite=place is not None and may_overwrite() and not resume,
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
        show_quality(done)
    if target:
        done.report(target)
        echo(f"wrote {target}", err=True)


def run_folder(
    outputs: Sequence[OutputFiles], folder: Path | None, *, recover: bool, searches: bool
) -> Path | None:
    """Return the folder for recovery and search; options that would do nothing are usage errors.

    Args:
        outputs: the outputs of the command; without `folder` the folder lies beside the first.
        folder: value of --run; None if it is not given.
        recover: True if --recover is given.
        searches: True if --max-loss is given.

    Raises:
        UsageError: an option is given that would do nothing.
    """
    if not recover:
        refuse("steps", "labels", because="they are about --recover")
        if not searches:
            refuse("valid", "folder", "resume", because="they are about --recover and --max-loss")
            return None
    place = folder or outputs[0].path.with_suffix(".run")
    if folder is None:
        note_folder_use(place)
    return place


def show_quality(done: "Dissection") -> None:
    """Print the figures of each state of the model, and the result of the search.

    Args:
        done: result of the dissection.
    """
    from darkconv.dissection.quality import quality_table

    if done.quality:
        headers, rows = quality_table(done.quality)
        echo()
        echo_table(headers, rows, left=(0,))
        echo(f"measured on {done.measured_on}")
    if done.search:
        echo(done.search)


def default_report(outputs: Sequence[OutputFiles]) -> Path:
    """Return the path of the page beside the first output, and register it as an output.

    Args:
        outputs: the outputs of the command.

    Raises:
        DarkconvError: another file is in the way.
    """
    first = outputs[0].path
    target = first.with_suffix(".html")
    check_belongs(target, first)
    note_output(target, over_inputs=False)
    return target
