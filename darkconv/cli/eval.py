"""`darkconv eval`: measure a model on labelled pictures."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.console.files import OutputFolder, report_option
from darkconv.console.given import refuse
from darkconv.console.printing import echo, echo_json, echo_table
from darkconv.console.progress import progress
from darkconv.console.renamed import option
from darkconv.console.values import SHARE
from darkconv.core.processes import is_first_process
from darkconv.evaluation.files import CONFUSION, CURVES
from darkconv.loading.exported import said_resize
from darkconv.options.command import ModelCommand
from darkconv.options.detecting import (
    RUNNING_NAMES,
    check_runs_itself,
    detection_options,
    running_options,
)
from darkconv.options.models import read_exported, read_model
from darkconv.options.params import READING_NAMES, model_options, only_model, words_argument
from darkconv.options.pictures import (
    PictureOptions,
    data_option,
    open_classes,
    open_pictures,
    picture_options,
)

if TYPE_CHECKING:
    from darkconv.evaluation.result import BoxEvaluation, ClassEvaluation

OF_DETECTORS = (
    "threshold", "at", "rule", "iou", "nms", "nms_kind", "resize", "output",
    "no_plots", "only_classes",
)  # fmt: skip
"""Options of finding and comparing boxes."""


@click.command("eval", cls=ModelCommand)
@words_argument()
@data_option
@click.option(
    "--threshold",
    type=SHARE,
    help="Least score that counts  [default: 0.005, or the constant of an ONNX file]",
)
@click.option(
    "--at",
    type=SHARE,
    default=0.25,
    show_default=True,
    help="Score above which precision, recall and confusions are counted, and AP again.",
)
@click.option(
    "--rule",
    type=click.Choice(["voc", "darknet", "continuous"]),
    default="voc",
    show_default=True,
    help="How boxes are compared for AP: VOC counts whole pixels, the others do not. Darknet's "
    "also suppresses boxes as its `detector map` does, relative to the picture.",
)
@option(
    "--iou",
    was="--overlap",
    type=SHARE,
    default=0.5,
    show_default=True,
    help="Intersection over union with a labelled box from which on a detection is right.",
)
@detection_options
@running_options(batch=8)
@click.option(
    "-o",
    "--output",
    type=OutputFolder(),
    metavar="DIR",
    help="Folder for a text file of each picture's detections, class score x0 y0 x1 y1, and for "
    f"{CURVES} and {CONFUSION}.",
)
@click.option("--no-plots", is_flag=True, help="Only the text files, which need no matplotlib.")
@report_option("tables, curves, confusions and pictures")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@picture_options
@model_options
def evaluate(
    words: tuple[str, ...],
    sources: tuple[str, ...],
    pictures: PictureOptions,
    output: Path | None,
    no_plots: bool,
    report: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure how well a model finds what is labelled: average precision of each class.

    AP is the area under the curve of precision over recall: of all detections by their rank, of
    those above a fixed score alone, and by VOC's 11 points. COCO's is by faster-coco-eval.
    Classes that the model or the labels lack are left out. Of a classifier top-1 and top-5 are
    measured; its pictures lie in a folder for each class, or are told by a .data file. MODEL may
    also be an ONNX or LiteRT file of `darkconv convert`, with any --head. Under torchrun the
    processes share the pictures.

    Example: darkconv eval yolov4.cfg yolov4.weights --data voc.data -o found
    """
    from darkconv.evaluation.evaluate import evaluate as measure
    from darkconv.evaluation.files import note_files
    from darkconv.report.figure import require_matplotlib

    model_words = only_model(words)
    if not output:
        refuse("no_plots", because="plots are drawn with -o alone")
    elif not no_plots:
        require_matplotlib("eval -o without --no-plots")
    check_runs_itself(model_words, options["backend"])
    reading = {name: options.pop(name) for name in READING_NAMES}
    model: Any
    if model_words.is_runnable:
        running = {name: options[name] for name in RUNNING_NAMES}
        model = read_exported(model_words, **reading, **running)
    else:
        model = read_model(model_words, **reading)
        if model.network.finds_boxes:
            options["resize"] = options["resize"] or said_resize(model_words.first)
    dataset: Any
    if model.network.finds_boxes:
        dataset, task = open_pictures(sources, pictures, model=model), "detecting in pictures"
    else:
        refuse(*OF_DETECTORS, because=f"{model.network.file} is a classifier, which finds no boxes")
        dataset, task = open_classes(sources, pictures, model), "classifying pictures"
    if output:
        note_files([sample.image for sample in dataset.samples], output, plots=not no_plots)
    given = {name: value for name, value in options.items() if value is not None}
    with progress(len(dataset), task) as update:
        result: Any = measure(model, dataset, progress=update, **given)
    if not is_first_process():
        return
    if output:
        write_files(result, output, plots=not no_plots)
    if report:
        result.report(report)
        echo(f"wrote {report}", err=True)
    if as_json:
        echo_json(result.to_dict())
    elif model.network.finds_boxes:
        show_boxes(result)
    else:
        show_classes(result)


def write_files(result: "BoxEvaluation", folder: Path, *, plots: bool) -> None:
    """Write the detections, and draw the curves and the confusion matrix.

    Args:
        result: result of the evaluation.
        folder: where the files are written.
        plots: True to draw the curves and the confusion matrix.
    """
    from darkconv.evaluation.files import write_detections, write_plots

    write_detections(result, folder)
    if plots:
        write_plots(result, folder)
    echo(f"wrote {folder}", err=True)


def show_boxes(result: "BoxEvaluation") -> None:
    """Print the table of a detector.

    Args:
        result: result of the evaluation.
    """
    from darkconv.evaluation import tables

    rows = [*map(tables.box_row, result.classes), *tables.left_out_rows(result)]
    echo_table(tables.box_headers(result.at), [*rows, tables.mean_row(result)], left=(0,))
    at = f"{result.at:g}: of detections that score more"
    echo(f"AP, precision and recall in per cent; at {at}", err=True)
    echo(tables.seconds_line(result), err=True)


def show_classes(result: "ClassEvaluation") -> None:
    """Print the table of a classifier.

    Args:
        result: result of the evaluation.
    """
    from darkconv.evaluation import tables

    echo_table(tables.OF_CLASSIFIER, list(tables.class_rows(result)), left=(0, 3))
    for line in tables.top_lines(result):
        echo(line)
    echo(tables.seconds_line(result), err=True)
