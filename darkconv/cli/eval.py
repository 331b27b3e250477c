"""`darkconv eval`: how well a detector finds what is labelled."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.cli.detect import detection_options
from darkconv.cli.models import read_model
from darkconv.cli.params import ModelCommand, model_options, split_model
from darkconv.cli.pictures import PictureOptions, open_pictures, picture_options
from darkconv.cli.progress import progress
from darkconv.cli.table import format_table
from darkconv.core.model import Model
from darkconv.errors import DatasetError

if TYPE_CHECKING:
    from darkconv.dataset import Dataset
    from darkconv.detection import Detection
    from darkconv.evaluation.report import Evaluation

HEADERS = ("class", "boxes", "AP", "AP 11-point", "COCO AP50", "COCO AP", "precision", "recall")


@click.command("eval", cls=ModelCommand)
@click.argument("words", nargs=-1, metavar="MODEL")
@click.option(
    "--data",
    "sources",
    multiple=True,
    required=True,
    metavar="D",
    help="Labelled pictures: Darknet's .data, a list, a folder of VOC, COCO's .json.",
)
@click.option(
    "--threshold", type=float, default=0.005, show_default=True, help="Least score that counts."
)
@click.option(
    "--at",
    type=float,
    default=0.25,
    show_default=True,
    help="Score at which precision and recall are given.",
)
@click.option(
    "--rule",
    type=click.Choice(["voc", "darknet", "continuous"]),
    default="voc",
    show_default=True,
    help="How boxes are compared for AP: VOC counts whole pixels, the others do not.",
)
@click.option("--overlap", type=float, default=0.5, show_default=True, help="IoU of right boxes.")
@detection_options
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for a text file of each picture's detections: class score x0 y0 x1 y1.",
)
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
    as_json: bool,
    names: str | None,
    dialect: str,
    input_size: tuple[int, int] | None,
    **options: Any,
) -> None:
    """Measure how well a model finds what is labelled: average precision of each class.

    AP is the area under the curve of precision over recall, all of it and by VOC's 11 points;
    COCO's is by faster-coco-eval. Classes that the model or the labels lack are left out.

    Example: darkconv eval yolov4.cfg yolov4.weights --data voc.data
    """
    from darkconv.evaluation.report import evaluation, rule_of

    model_words, rest = split_model(words)
    if rest:
        raise click.UsageError(f"Got unexpected extra argument ({rest[0]})")
    model = read_model(model_words, names=names, dialect=dialect, input_size=input_size)
    dataset = open_pictures(sources, pictures, model=model)
    classes = common_classes(model, dataset)
    given = {name: value for name, value in options.items() if value is not None}
    found, seconds = find_all(model, dataset, given)
    if output:
        write_detections(dataset, found, output)
    result = evaluation(found, dataset, classes, rule_of(rule, overlap), at)
    if as_json:
        click.echo(json.dumps({**result.as_dict(), "seconds_per_picture": seconds}, indent=2))
    else:
        show(result, at)
        click.echo(f"{len(dataset)} pictures, {1000 * seconds:.1f} ms each", err=True)


def common_classes(model: Model, dataset: "Dataset") -> tuple[str, ...]:
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
        )
    return classes


def find_all(
    model: Model, dataset: "Dataset", options: dict[str, Any]
) -> tuple[list[list["Detection"]], float]:
    """The detections in each picture, and seconds per picture; broken pictures have none."""
    from darkconv.detection import detect

    found: list[list[Detection]] = []
    start = time.perf_counter()
    with progress(len(dataset), "detecting in pictures") as update:
        for number, sample in enumerate(dataset.samples, 1):
            try:
                found.append(detect(model, sample.image, **options))
            except DatasetError as error:
                click.echo(f"{click.style('warning: ', fg='yellow')}{error}", err=True)
                found.append([])
            update(number)
    return found, (time.perf_counter() - start) / max(len(dataset), 1)


def write_detections(
    dataset: "Dataset", found: Sequence[Sequence["Detection"]], folder: Path
) -> None:
    """A text file for each picture, in the form that the common toolkits read."""
    folder.mkdir(parents=True, exist_ok=True)
    for sample, detections in zip(dataset.samples, found, strict=True):
        lines = [
            f"{d.name} {d.score:.6f} {' '.join(f'{value:.3f}' for value in d.box)}\n"
            for d in detections
        ]
        (folder / f"{sample.image.stem}.txt").write_text("".join(lines))


def show(result: "Evaluation", at: float) -> None:
    """Print the table."""
    rows = [
        (c.name, c.boxes, *(f"{100 * v:.1f}" for v in (c.ap, c.ap11, c.coco50, c.coco)),
         f"{c.precision:.2f}", f"{c.recall:.2f}")
        for c in result.classes
    ]  # fmt: skip
    means = (f"{100 * v:.1f}" for v in (result.ap, result.ap11, result.coco50, result.coco))
    rows.append(("mean", sum(c.boxes for c in result.classes), *means, "", ""))
    click.echo(format_table(HEADERS, rows, left=(0,)))
    click.echo(f"precision and recall at scores above {at:g}", err=True)
