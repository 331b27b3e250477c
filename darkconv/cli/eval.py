"""`darkconv eval`: how well a detector finds what is labelled."""

import logging
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.cli.classification import evaluate_classes
from darkconv.cli.detect import check_runs_itself, detection_options
from darkconv.cli.file_types import OutputFolder
from darkconv.cli.given import refuse
from darkconv.cli.models import read_exported, read_model
from darkconv.cli.params import (
    SHARE,
    ModelCommand,
    Word,
    model_options,
    report_option,
    split_model,
    words_argument,
)
from darkconv.cli.pictures import (
    KINDS,
    Named,
    PictureOptions,
    named_model,
    open_pictures,
    picture_options,
    report_unread,
)
from darkconv.cli.printing import echo, echo_json, echo_table
from darkconv.cli.progress import progress
from darkconv.core.model import Model
from darkconv.dataset.classes import UnknownClass, unknown_classes
from darkconv.encodings import encoded
from darkconv.errors import DatasetError
from darkconv.files import PathLike, make_folder, write_bytes
from darkconv.files.outputs import check_own, note_output
from darkconv.presentation.numerals import per_cent

if TYPE_CHECKING:
    from darkconv.backends.exported import ExportedFile
    from darkconv.dataset import Dataset
    from darkconv.detection import Detection
    from darkconv.detection.detector import Detector
    from darkconv.evaluation.report import Comparison, Evaluation
    from darkconv.report import EvaluationReport

logger = logging.getLogger("darkconv")

CURVES, CONFUSION = "precision-recall.png", "confusion.png"
"""In the output folder, beside the text files."""
RUNNERS = {
    "torch": "PyTorch",
    "keras": "Keras",
    "onnx": "onnxruntime",
    "tflite": "LiteRT",
}
"""What runs a backend's networks, or a file."""
DETECTION = re.compile(r".+ \d\.\d{6}( -?\d+\.\d{3}){4}")
"""A line of a text file of detections."""
THRESHOLD = 0.005  # score from which detections count for AP
OF_DETECTORS = (
    "threshold", "at", "rule", "overlap", "nms", "nms_kind", "resize", "exact", "output",
    "no_plots", "only_classes",
)  # fmt: skip
"""Options that say how boxes are found and compared."""


@dataclass
class Seconds:
    """What a picture takes, summed over those that were measured.

    Attributes:
        reading: the file, and fitting it to the network's input.
        network: the forward pass.
        decoding: boxes from the outputs, and suppression.
    """

    reading: float = 0.0
    network: float = 0.0
    decoding: float = 0.0

    def per_picture(self, count: int) -> "Seconds":
        """The mean over some pictures."""
        return Seconds(*(total / max(count, 1) for total in asdict(self).values()))


@click.command("eval", cls=ModelCommand)
@words_argument()
@click.option(
    "--data",
    "sources",
    multiple=True,
    required=True,
    type=Word(),
    metavar="D",
    help=f"Labelled pictures: {KINDS}.",
)
@click.option(
    "--threshold",
    type=SHARE,
    help=f"Least score that counts  [default: {THRESHOLD}, or the constant of an ONNX file]",
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
@click.option("--overlap", type=SHARE, default=0.5, show_default=True, help="IoU of right boxes.")
@detection_options
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
    rule: str,
    overlap: float,
    at: float,
    output: Path | None,
    no_plots: bool,
    report: Path | None,
    as_json: bool,
    names: str | None,
    names_encoding: str | None,
    dialect: str,
    input_size: tuple[int, int] | None,
    allow_nonfinite: bool,
    **options: Any,
) -> None:
    """Measure how well a model finds what is labelled: average precision of each class.

    AP is the area under the curve of precision over recall: of all detections by their rank, of
    those above a fixed score alone, and by VOC's 11 points. COCO's is by faster-coco-eval.
    Classes that the model or the labels lack are left out. Of a classifier top-1 and top-5 are
    measured; its pictures lie in a folder for each class, or are told by a .data file. MODEL may
    also be an ONNX or LiteRT file of `darkconv convert`, with any --head.

    Example: darkconv eval yolov4.cfg yolov4.weights --data voc.data -o found
    """
    from darkconv.evaluation.coco import require_coco
    from darkconv.evaluation.plots import require_matplotlib
    from darkconv.evaluation.report import Comparison, rule_of

    model_words, rest = split_model(words)
    if rest:
        raise click.UsageError(f"Got unexpected extra argument ({rest[0]})")
    if not output:
        refuse("no_plots", because="plots are drawn with -o alone")
    elif not no_plots:
        require_matplotlib("eval -o without --no-plots")
    check_runs_itself(model_words, options["backend"])
    options["backend"] = options["backend"] or "torch"
    read = read_exported if model_words.is_runnable else read_model
    model = read(
        model_words,
        names=names,
        names_encoding=names_encoding,
        dialect=dialect,
        input_size=input_size,
        allow_nonfinite=allow_nonfinite,
    )
    if not model.network.finds_boxes:
        refuse(*OF_DETECTORS, because=f"{model.network.file} is a classifier, which finds no boxes")
        evaluate_classes(
            model, sources, pictures, backend=options["backend"], as_json=as_json, report=report
        )
        return
    require_coco()
    dataset = open_pictures(sources, pictures, model=model)
    model = named_model(model, dataset)
    detector = detector_of(model, relative=rule == "darknet", **options)
    classes = common_classes(model, dataset)
    left_out = unknown_classes(dataset, model.names)
    if output:
        note_files(dataset, output, plots=not no_plots)
    found, seconds = find_all(detector, dataset)
    comparison = Comparison.of(found, dataset, classes, rule_of(rule, overlap))
    result = comparison.evaluation(at)
    if output:
        write_detections(dataset, found, output)
        if not no_plots:
            write_plots(comparison, at, output)
        echo(f"wrote {output}", err=True)
    if report:
        from darkconv.report import write_evaluation_report

        ran = model_words.suffix[1:] if model_words.is_runnable else options["backend"]
        told = make_report(
            model_words.first, dataset, comparison, result, at=at, seconds=seconds, backend=ran
        )
        write_evaluation_report(report, told)
        echo(f"wrote {report}", err=True)
    if as_json:
        echo_json(as_dict(result, comparison, seconds, at, left_out))
    else:
        show(result, at, left_out)
        parts = ", ".join(f"{name} {1000 * value:.1f}" for name, value in asdict(seconds).items())
        total = 1000 * sum(asdict(seconds).values())
        echo(f"{len(dataset)} pictures, {total:.1f} ms each: {parts}", err=True)


def detector_of(
    model: "Model | ExportedFile",
    *,
    threshold: float | None = None,
    backend: str = "torch",
    **options: Any,
) -> "Detector":
    """What finds objects for AP, for which low scores count too.

    Args:
        model: a model, or a file exported from one.
        threshold: least score; by default `THRESHOLD`, or the least that the file can do.
        backend: what runs a model; a file runs by itself.
        options: nms, nms_kind, resize and relative, as for the detectors; None for the default.
    """
    from darkconv.detection.detector import ModelDetector
    from darkconv.detection.exported import FileDetector, least_threshold

    given = {name: value for name, value in options.items() if value is not None}
    if isinstance(model, Model):
        least = THRESHOLD if threshold is None else threshold
        return ModelDetector(model, backend=backend, threshold=least, **given)
    if threshold is None:
        threshold = least_threshold(model, THRESHOLD)
        if threshold > THRESHOLD:
            logger.warning(
                "%s: has no detections below %g, which a constant of the graph says; AP would "
                "count more of them (convert with --head boxes, or with --threshold-inputs)",
                model.path,
                threshold,
            )
    return FileDetector(model, threshold, **given)


def common_classes(model: Named, dataset: "Dataset") -> tuple[str, ...]:
    """The model's classes that are labelled, in its order.

    Raises:
        DatasetError: there is none.
    """
    labelled = {name for sample in dataset.samples for name in sample.names}
    classes = tuple(name for name in model.names if name in labelled)
    if not classes:
        raise DatasetError(
            f"{dataset.source}: no label is of a class of the model",
            expected=", ".join(model.names[:10]) or "class names: --names FILE",
            found=", ".join(sorted(labelled)[:10]) or "no labels",
            hint="--data-names FILE names the labels' classes, --rename A=B renames them"
            if labelled
            else "darkconv data check shows where labels were looked for",
        )
    return classes


def find_all(detector: "Detector", dataset: "Dataset") -> tuple[list[list["Detection"]], Seconds]:
    """The detections in each picture, and what a picture took; broken pictures have none.

    Raises:
        DatasetError: no picture can be read.
    """
    found: list[list[Detection]] = []
    seconds = Seconds()
    measured = 0
    with progress(len(dataset), "detecting in pictures") as update:
        for number, sample in enumerate(dataset.samples, 1):
            try:
                found.append(find(detector, sample.image, seconds))
                measured += 1
            except DatasetError as error:
                logger.warning("%s: its boxes count as missed", error)
                found.append([])
            update(number)
    report_unread(dataset, len(dataset) - measured)
    return found, seconds.per_picture(measured)


def find(detector: "Detector", image: Path, seconds: Seconds) -> list["Detection"]:
    """The detections in a picture; what the steps take is added to `seconds`."""
    times = [time.perf_counter()]
    x, fit = detector.prepare(image)
    times.append(time.perf_counter())
    outputs = detector.run(x)
    times.append(time.perf_counter())
    found = detector.find(outputs, fit)
    times.append(time.perf_counter())
    for name, before, after in zip(asdict(seconds), times, times[1:], strict=False):
        setattr(seconds, name, getattr(seconds, name) + after - before)
    return found


def write_detections(
    dataset: "Dataset", found: Sequence[Sequence["Detection"]], folder: Path
) -> None:
    """A text file for each picture, in the form that the common toolkits read."""
    make_folder(folder)
    for sample, detections in zip(dataset.samples, found, strict=True):
        lines = [
            f"{d.name} {d.score:.6f} {' '.join(f'{value:.3f}' for value in d.box)}\n"
            for d in detections
        ]
        write_bytes(text_file(folder, sample.image), [encoded("".join(lines))])


def text_file(folder: Path, image: Path) -> Path:
    """The file of a picture's detections."""
    return folder / f"{image.stem}.txt"


def note_files(dataset: "Dataset", folder: Path, *, plots: bool) -> None:
    """Tell of the files that are going to be in the folder.

    Raises:
        DarkconvError: two pictures would have one text file, or a file is in the way.
    """
    for sample in dataset.samples:
        target = text_file(folder, sample.image)
        note_output(target, str(sample.image), makes_folder=True)
        check_own(target, holds_detections)
    for name in (CURVES, CONFUSION) if plots else ():
        note_output(folder / name, makes_folder=True)


def holds_detections(path: PathLike) -> bool:
    """Whether a text file can be one of `write_detections`; an empty one tells of no detection."""
    try:
        with Path(path).open(encoding="utf-8", errors="replace") as file:
            return all(DETECTION.fullmatch(line.rstrip("\n")) for line in file)
    except OSError:
        return False


def write_plots(comparison: "Comparison", at: float, folder: Path) -> None:
    """Draw the curves and the confusion matrix.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    from darkconv.evaluation.plots import draw_confusion, draw_curves, write_figure

    figures = {
        CURVES: draw_curves(comparison.classes, comparison.judged, at=at),
        CONFUSION: draw_confusion(comparison.confusion(at)),
    }
    for name, figure in figures.items():
        write_figure(figure, folder / name)


def make_report(
    name: str,
    dataset: "Dataset",
    comparison: "Comparison",
    result: "Evaluation",
    *,
    at: float,
    seconds: Seconds,
    backend: str,
) -> "EvaluationReport":
    """All that the report shows."""
    from darkconv.report import EvaluationReport

    return EvaluationReport(
        name=Path(name).stem,
        source=Path(dataset.source).name,
        images=[sample.image for sample in dataset.samples],
        comparison=comparison,
        result=result,
        at=at,
        seconds=asdict(seconds),
        backend=RUNNERS[backend],
    )


def as_dict(
    result: "Evaluation",
    comparison: "Comparison",
    seconds: Seconds,
    at: float,
    left_out: Sequence[UnknownClass],
) -> dict[str, Any]:
    """For JSON."""
    parts = asdict(seconds)
    return {
        **result.as_dict(),
        "left_out": [asdict(one) for one in left_out],
        "at": at,
        "confusion": comparison.confusion(at).as_dict(),
        "seconds_per_picture": sum(parts.values()),
        "seconds": parts,
    }


def show(result: "Evaluation", at: float, left_out: Sequence[UnknownClass]) -> None:
    """Print the table."""
    headers = (
        "class", "boxes", "AP", f"AP at {at:g}", "11-point", "COCO AP50", "COCO AP",
        f"precision at {at:g}", f"recall at {at:g}",
    )  # fmt: skip
    rows = [
        (c.name, c.boxes,
         *map(per_cent, (c.ap, c.ap_at, c.ap11, c.coco50, c.coco, c.precision, c.recall)))
        for c in result.classes
    ]  # fmt: skip
    rows += [(c.name, c.boxes, "not a class of the model", *[""] * 6) for c in left_out]
    means = (result.ap, result.ap_at, result.ap11, result.coco50, result.coco)
    boxes = sum(c.boxes for c in result.classes)
    rows.append(("mean", boxes, *map(per_cent, means), "", ""))
    echo_table(headers, rows, left=(0,))
    legend = f"AP, precision and recall in per cent; at {at:g}: of detections that score more"
    echo(legend, err=True)
