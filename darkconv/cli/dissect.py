"""`darkconv dissect`: some classes of a model, and the channels that they need."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.cli.file_types import OutputFile
from darkconv.cli.given import refuse
from darkconv.cli.models import read_model, report_written, require_outputs, write_model
from darkconv.cli.params import (
    ModelCommand,
    Output,
    Word,
    model_options,
    output_option,
    split_model,
    words_argument,
)
from darkconv.cli.pictures import OWN, PictureOptions, open_pictures, picture_options_beside_images
from darkconv.cli.planning import plan_options, refuse_seed, require_amount
from darkconv.cli.printing import echo, echo_json
from darkconv.cli.profiling import ProfilingOptions, measure, profiling_options, refit
from darkconv.cli.pruned import show_pruning
from darkconv.cli.reclass import wanted_classes
from darkconv.core.model import Model
from darkconv.core.processes import is_first_process
from darkconv.darknet.weights import weights_size
from darkconv.dataset import Dataset
from darkconv.dataset.for_model import NoneExclusiveError
from darkconv.errors import DatasetError, PlanError
from darkconv.files.outputs import check_belongs, note_output
from darkconv.libraries import require
from darkconv.surgery.changes import pruning_dict
from darkconv.surgery.channels import find_classes
from darkconv.surgery.classes import reclass
from darkconv.surgery.importance import score_classes
from darkconv.surgery.planning import Planning
from darkconv.surgery.profile import Profile
from darkconv.surgery.prune import prune

if TYPE_CHECKING:
    from darkconv.report import DissectionReport
    from darkconv.report.dissection import Seen
    from darkconv.report.histogram import Doubles

RATIO = 0.75
"""Share of its channels that every layer keeps if nothing else is said."""
SHOWN_PICTURES = 4
THRESHOLD = 0.25


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
@plan_options(default={"ratio": RATIO})
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
    model_words, rest = split_model(words)
    if rest:
        raise click.UsageError(f"Got unexpected extra argument ({rest[0]})")
    require_outputs(outputs)
    target = None if no_report else report_path or default_report(outputs)
    require_amount(planning)
    refuse_seed(planning)
    if no_report:
        refuse("report_path", because="--no-report says that none is written")
    if all_pictures:
        refuse("only_classes", because="--all-pictures takes them all")
    if planning.score != "taylor":
        refuse("taylor", because="gradients are read by --score taylor alone")
    require("PIL", "torch", task="dissect", extra="torch")
    original = read_model(model_words, **options)
    wanted = None
    if keep is not None:
        wanted = wanted_classes(original, keep, options["names_encoding"])
    cut = original if wanted is None else reclass(original, wanted)
    dataset = open_pictures(
        sources, replace(pictures, only_classes=None), model=original, uses_labels=not all_pictures
    )
    chosen = chosen_pictures(sources, pictures, original, cut, dataset, all_pictures=all_pictures)
    profiling = replace(profiling, taylor=profiling.taylor or planning.score == "taylor")
    profile = measure(cut, chosen, profiling, seed=planning.seed)
    against = other_profile(cut, dataset, chosen, profiling, planning)
    if not is_first_process():
        return
    plan = planning.plan(cut, profile, against)
    final = prune(cut, plan, compensate=planning.compensate)
    if reconstruct:
        final = refit(final, cut, plan, dataset, profiling)
    for output in outputs:
        write_model(final, output)
        report_written(output)
    if as_json:
        counts = {"profiled": len(chosen), "found": len(dataset)}
        echo_json({**pruning_dict(original, final, plan), "pictures": counts})
    else:
        show_pruning(original, final, plan, compensate=planning.compensate)
    if target:
        from darkconv.report import write_dissection_report

        models = (original, cut, final)
        report = make_report(models, profile, against, plan, planning, chosen)
        write_dissection_report(target, report)
        echo(f"wrote {target}", err=True)


def default_report(outputs: Sequence[Output]) -> Path:
    """The page beside the first output; others that write there are told of it."""
    first = outputs[0].path
    target = first.with_suffix(".html")
    check_belongs(target, first)
    note_output(target, over_inputs=False)
    return target


def chosen_pictures(
    sources: Sequence[str],
    options: PictureOptions,
    original: Model,
    cut: Model,
    dataset: Dataset,
    *,
    all_pictures: bool,
) -> Dataset:
    """The pictures to profile: those of nothing but the kept classes, where labels tell.

    Where each of them shows other classes too, all are taken, unless the user chose some.

    Raises:
        DatasetError: no picture shows a kept class, or none is what the user chose.
    """
    if all_pictures or (options.only_classes is None and not dataset.labelled):
        chosen, which = dataset, "all"
    else:
        only = replace(options, only_classes=options.only_classes or OWN)
        which = "those of nothing but the kept classes"
        try:
            chosen = open_pictures(sources, only, model=original, wanted=cut.names)
        except NoneExclusiveError:
            if options.only_classes is not None:
                raise
            chosen, which = dataset, "all, since none shows nothing but the kept classes"
    if is_first_process():
        echo(f"profiling {len(chosen)} of {len(dataset)} pictures: {which}", err=True)
    return chosen


def other_profile(
    cut: Model,
    dataset: Dataset,
    chosen: Dataset,
    profiling: ProfilingOptions,
    planning: Planning,
) -> Profile | None:
    """The profile of the pictures that were not chosen, for the score that compares.

    Raises:
        PlanError: there are none.
    """
    if planning.score != "contrast":
        return None
    taken = {sample.image for sample in chosen.samples}
    others = tuple(sample for sample in dataset.samples if sample.image not in taken)
    if not others:
        raise PlanError(
            "--score contrast compares with pictures of other classes, and there are none",
            hint="labels must tell the pictures apart",
        )
    return measure(cut, replace(dataset, samples=others), profiling, seed=planning.seed)


def make_report(
    models: tuple[Model, Model, Model],
    profile: Profile,
    against: Profile | None,
    plan: Any,
    planning: Planning,
    chosen: Dataset,
) -> "DissectionReport":
    """All that the report shows; latency and sample pictures are measured here."""
    from darkconv.evaluation.latency import measure_latency
    from darkconv.report import DissectionReport
    from darkconv.report.dissection import Measured

    original, cut, final = models
    latency = measure_latency({"before": original, "after": final})
    before, after = (
        Measured(weights_size(model), latency.milliseconds[moment])
        for model, moment in ((original, "before"), (final, "after"))
    )
    return DissectionReport(
        original=original,
        cut=cut,
        final=final,
        profile=profile,
        plan=plan,
        score=plan.notes["score"],
        scores=scores_by_layer(cut, profile, against, planning),
        measured=(before, after),
        conditions=latency.conditions,
        pictures=sample_pictures(original, final, chosen, latency.backend),
        threshold=THRESHOLD,
    )


def scores_by_layer(
    model: Model, profile: Profile, against: Profile | None, planning: Planning
) -> "dict[int, Doubles]":
    """(channels,) scores of the classes that each channel belongs to; NaN where it is locked."""
    import numpy as np

    classes = find_classes(model.network)
    scores = score_classes(
        classes, model, planning.score, profile=profile, against=against, seed=planning.seed
    )
    scores = np.where(classes.free, scores, np.nan)
    labels = {layer.index: classes.of(layer.index) for layer in classes.makers}
    return {index: scores[own] for index, own in labels.items() if classes.free[own].any()}


def sample_pictures(original: Model, final: Model, chosen: Dataset, backend: str) -> "list[Seen]":
    """Some pictures, with what both models find of the kept classes; none without boxes."""
    if not original.network.finds_boxes:
        return []
    step = max(1, len(chosen.samples) // SHOWN_PICTURES)
    seen = []
    for sample in chosen.samples[::step][:SHOWN_PICTURES]:
        with contextlib.suppress(DatasetError):  # told when it was to be profiled
            seen.append(found_by_both(original, final, sample.image, backend))
    return seen


def found_by_both(original: Model, final: Model, path: Path, backend: str) -> "Seen":
    """What both models find in a picture, of the classes that both know."""
    from darkconv.detection import detect
    from darkconv.report.dissection import Seen

    ids = {name: number for number, name in enumerate(final.names)}
    before, after = (
        [
            replace(d, class_id=ids.get(d.name, d.class_id))
            for d in detect(model, path, threshold=THRESHOLD, backend=backend)
            if not ids or d.name in ids
        ]
        for model in (original, final)
    )
    return Seen(path, before, after)
