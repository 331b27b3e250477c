"""Run a classifier on pictures with known classes, and measure it."""

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.backends.choices import backend_of_model
from darkconv.backends.exported import ExportedFile
from darkconv.core.model import Array, Model
from darkconv.dataset import ClassifiedDataset
from darkconv.dataset.telling import report_unread
from darkconv.detection.detect import runner
from darkconv.detection.engine import is_keras, run_in_pieces
from darkconv.detection.exported import as_input, on_device
from darkconv.detection.stream import read_batches
from darkconv.errors import DarkconvError, DatasetError
from darkconv.evaluation.classification import Classification, classification
from darkconv.evaluation.figures import ClassFigures
from darkconv.evaluation.result import ClassEvaluation, Unread
from darkconv.evaluation.sharing import RunSettings, Work, shared_work
from darkconv.pictures.crop import centre_crop
from darkconv.pictures.picture import read_picture

Scores = Callable[[Array], Array]
"""A function from crops (N, C, H, W) in 0..1 to the scores of all classes, (N, classes)."""


def evaluate_classifier(
    scores: Scores,
    dataset: ClassifiedDataset,
    shape: tuple[int, int, int],
    run: RunSettings,
    *,
    exact: bool = False,
) -> ClassEvaluation:
    """Measure a classifier that is ready to run: see `darkconv.evaluate`.

    Args:
        scores: runs the classifier.
        dataset: pictures and their classes.
        shape: channels, height and width of the network's input.
        run: name, batch size, processes and progress of the run.
        exact: see `darkconv.evaluate`.

    Returns:
        Top-1 and top-5 accuracy, the figures of each class, and the confusion matrix.

    Raises:
        DatasetError: a picture cannot be read, and the run does not skip such pictures.
        DarkconvError: the scores of all pictures are NaN.
    """
    images = [path for path, _ in dataset.samples]
    channels, height, width = shape

    def prepare(place: int) -> tuple[Array | Unread, float]:
        start = time.perf_counter()
        try:
            picture = read_picture(images[place], channels=channels, exact=exact)
        except DatasetError as error:
            if not run.skips:
                raise
            return Unread(str(images[place]), str(error)), 0.0
        return centre_crop(picture, (width, height)), time.perf_counter() - start

    def look(places: Sequence[int], work: Work[Array]) -> Iterator[int]:
        done = 0
        for group in read_batches(prepare, places, batch=run.batch):
            crops = {}
            for number, (one, seconds) in group:
                if isinstance(one, Unread):
                    work.unread[places[number]] = one
                else:
                    crops[places[number]] = one
                    work.seconds.reading += seconds
            start = time.perf_counter()
            if crops:
                found = scores(np.stack(list(crops.values())))
                for one in found:
                    work.missing.add([one])
                work.found.update(zip(crops, found, strict=True))
            work.seconds.network += time.perf_counter() - start
            work.seconds.pictures += len(crops)
            done += len(group)
            yield done

    work = shared_work(len(images), look, run)
    unread = work.told_unread(": left out")
    report_unread(dataset, len(unread))
    work.tell_missing(run.name, run)
    places = sorted(work.found)
    counts = classification(
        np.stack([work.found[place] for place in places]),
        [dataset.samples[place][1] for place in places],
    )
    seconds = work.seconds.per_picture()
    top1, top5 = (counts.top.get(k) for k in (1, 5))
    return ClassEvaluation(
        model=run.name,
        source=Path(dataset.source).name,
        classes=tuple(figures_of(counts, dataset.names)),
        mean=ClassFigures(name="mean", pictures=counts.pictures, top1=top1, top5=top5),
        pictures=tuple(images),
        unread=unread,
        problems=dataset.problems,
        seconds={step: seconds[step] for step in ("reading", "network")},
        runner=run.runner,
        names=tuple(dataset.names),
        counts=counts,
    )


def figures_of(counts: Classification, names: Sequence[str]) -> Iterator[ClassFigures]:
    """Yield the figures of each class that has pictures.

    Args:
        counts: the classifier's confusion matrix.
        names: class names.
    """
    for number, name in enumerate(names):
        row = counts.confusion[number].copy()
        total, right = int(row.sum()), int(row[number])
        if not total:
            continue
        row[number] = 0
        other = names[int(row.argmax())] if row.any() else None
        yield ClassFigures(name=name, pictures=total, top1=right / total, taken_for=other)


def scores_of(
    model: Model | ExportedFile,
    backend: str | None = None,
    *,
    device: str = "auto",
    threads: int | None = None,
    runtime: str | None = None,
) -> Scores:
    """Return a function that runs a classifier.

    Args:
        model: a model, or an exported file.
        backend: framework that runs a model; None for "torch". A file decides this itself.
        device: see `darkconv.Detector`.
        threads: see `darkconv.Detector`.
        runtime: see `darkconv.Detector`.

    Raises:
        DarkconvError: a backend was given for a file, or there is no such device.
    """
    if isinstance(model, Model):
        backend = backend_of_model(backend, runtime)
        run = runner(model, backend, device=device, threads=threads, runtime=runtime)
        return lambda crops: _flat(run(crops)[-1])
    if backend is not None and not is_keras(model.path):
        raise DarkconvError(
            "backend", expected=f"None, for {model.path} runs by itself", found=backend
        )
    file = on_device(model, device, threads, runtime)

    def scores(crops: Array) -> Array:
        x = np.concatenate([as_input(file, planes)[0] for planes in crops])
        return _flat(run_in_pieces(file.run, x, file.fixed_batch)[-1])

    return scores


def _flat(values: npt.NDArray[Any]) -> Array:
    flat: Array = values.reshape(len(values), -1)
    return flat
