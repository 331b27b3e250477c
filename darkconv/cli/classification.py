"""`darkconv eval` of a classifier: top-1 and top-5."""

import logging
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from darkconv.cli.pictures import PictureOptions, open_classes, report_unread
from darkconv.cli.printing import echo, echo_json, echo_table
from darkconv.cli.progress import progress
from darkconv.core.model import Model
from darkconv.errors import DatasetError

if TYPE_CHECKING:
    from collections.abc import Callable

    from darkconv.backends.exported import ExportedFile
    from darkconv.core.model import Array
    from darkconv.dataset import ClassifiedDataset
    from darkconv.evaluation.classification import Classification

logger = logging.getLogger("darkconv")

HEADERS = ("class", "pictures", "right", "most often taken for")


def evaluate_classes(
    model: "Model | ExportedFile",
    sources: Sequence[str],
    pictures: PictureOptions,
    *,
    backend: str,
    as_json: bool,
    report: Path | None = None,
) -> None:
    """Measure a classifier, and print what comes out."""
    import numpy as np

    from darkconv.evaluation.classification import classification

    dataset = open_classes(sources, pictures, model)
    start = time.perf_counter()
    found = list(scores(model, dataset, backend))
    seconds = (time.perf_counter() - start) / max(len(dataset), 1)
    report_unread(dataset, len(dataset) - len(found))
    result = classification(np.stack([s for s, _ in found]), [label for _, label in found])
    if report:
        write_report(report, model, dataset, result, seconds)
    if as_json:
        content = {**result.as_dict(), "names": dataset.names, "seconds_per_picture": seconds}
        echo_json(content)
        return
    echo_table(HEADERS, list(rows(result, dataset.names)), left=(0, 3))
    for k, share in result.top.items():
        echo(f"top-{k} {100 * share:6.1f} %")
    echo(f"{result.pictures} pictures, {1000 * seconds:.1f} ms each", err=True)


def write_report(
    path: Path,
    model: "Model | ExportedFile",
    dataset: "ClassifiedDataset",
    result: "Classification",
    seconds: float,
) -> None:
    """Write all as one HTML file."""
    from darkconv.report import ClassificationReport, write_classification_report

    report = ClassificationReport(
        name=Path(model.network.file).stem,
        source=Path(dataset.source).name,
        names=dataset.names,
        result=result,
        rows=list(rows(result, dataset.names)),
        seconds=seconds,
    )
    write_classification_report(path, report)
    echo(f"wrote {path}", err=True)


def scores(
    model: "Model | ExportedFile", dataset: "ClassifiedDataset", backend: str
) -> Iterator[tuple["Array", int]]:
    """(classes,) output for each picture, and its class; broken pictures are told and left out."""
    from darkconv.detection.picture import read_picture
    from darkconv.finetune.crop import centre_crop

    shape = model.network.input_shape
    run = classifier_of(model, backend)
    with progress(len(dataset), "classifying pictures") as update:
        for number, (path, label) in enumerate(dataset.samples, 1):
            try:
                picture = read_picture(path, channels=shape.c)
            except DatasetError as error:
                logger.warning("%s: left out", error)
                continue
            yield run(centre_crop(picture, (shape.w, shape.h))), label
            update(number)


def classifier_of(model: "Model | ExportedFile", backend: str) -> "Callable[[Array], Array]":
    """A function from planes (C, H, W) to scores (classes,)."""
    from darkconv.detection.detect import runner
    from darkconv.detection.exported import as_input

    if isinstance(model, Model):
        run = runner(model, backend)
        return lambda planes: run(planes[None])[-1][0].ravel()
    return lambda planes: model.run(as_input(model, planes)[0])[-1][0].ravel()


def rows(result: "Classification", names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The cells of the table, for classes that have pictures."""
    for number, name in enumerate(names):
        counts = result.confusion[number].copy()
        total, right = int(counts.sum()), int(counts[number])
        if not total:
            continue
        counts[number] = 0
        other = names[int(counts.argmax())] if counts.any() else ""
        yield name, total, f"{100 * right / total:.1f}", other
