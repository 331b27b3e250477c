"""How often a classifier is right."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array, Model
from darkconv.core.processes import ALONE, Processes
from darkconv.dataset import ClassifiedDataset
from darkconv.dataset.telling import report_unread
from darkconv.detection.crop import centre_crop
from darkconv.detection.detect import runner
from darkconv.detection.exported import as_input
from darkconv.detection.picture import read_picture
from darkconv.errors import DatasetError
from darkconv.evaluation.classification import Classification, classification
from darkconv.evaluation.figures import Figures
from darkconv.evaluation.result import ClassEvaluation, Unread
from darkconv.evaluation.sharing import Work, shared_work

if TYPE_CHECKING:
    from darkconv.backends.exported import ExportedFile

logger = logging.getLogger("darkconv")

Scores = Callable[[Sequence[Array]], Array]
"""Crops (C, H, W) in 0..1 -> the scores of all classes, (N, classes)."""


def evaluate_classifier(
    scores: Scores,
    dataset: ClassifiedDataset,
    shape: tuple[int, int, int],
    *,
    name: str,
    runner: str,
    batch: int,
    exact: bool = False,
    skips: bool = True,
    progress: Callable[[int], None] | None = None,
    processes: Processes = ALONE,
) -> ClassEvaluation:
    """Measure a classifier that is ready to run: see `darkconv.evaluate`.

    Args:
        scores: runs it.
        dataset: pictures and their classes.
        shape: channels, height and width of the network's input.
        name: of the model, for people.
        runner: what runs the network, for people.
        batch: see `darkconv.evaluate`.
        exact: see `darkconv.evaluate`.
        skips: go on without pictures that cannot be read.
        progress: see `darkconv.evaluate`.
        processes: that share the pictures; all must call this.
    """
    images = [path for path, _ in dataset.samples]

    def look(places: Sequence[int], work: Work[Array]) -> Iterator[int]:
        done = 0
        for first in range(0, len(places), batch):
            group = places[first : first + batch]
            start = time.perf_counter()
            crops = _crops(group, images, work, shape, exact=exact, skips=skips)
            ready = time.perf_counter()
            if crops:
                work.found.update(zip(crops, scores(list(crops.values())), strict=True))
            work.seconds.reading += ready - start
            work.seconds.network += time.perf_counter() - ready
            done += len(group)
            yield done

    work = shared_work(len(images), look, batch=batch, progress=progress, processes=processes)
    report_unread(dataset, len(work.unread))
    places = sorted(work.found)
    counts = classification(
        np.stack([work.found[place] for place in places]),
        [dataset.samples[place][1] for place in places],
    )
    top1, top5 = (counts.top.get(k) for k in (1, 5))
    return ClassEvaluation(
        model=name,
        source=Path(dataset.source).name,
        classes=tuple(figures_of(counts, dataset.names)),
        mean=Figures(name="mean", pictures=counts.pictures, top1=top1, top5=top5),
        pictures=tuple(images),
        unread=tuple(work.unread[place] for place in sorted(work.unread)),
        problems=dataset.problems,
        seconds=work.per_picture(("reading", "network")),
        runner=runner,
        names=tuple(dataset.names),
        counts=counts,
    )


def _crops(
    places: Sequence[int],
    images: Sequence[Path],
    work: Work[Any],
    shape: tuple[int, int, int],
    *,
    exact: bool,
    skips: bool,
) -> dict[int, Array]:
    """The middles of some pictures, by place; those that cannot be read are told."""
    channels, height, width = shape
    crops = {}
    for place in places:
        try:
            picture = read_picture(images[place], channels=channels, exact=exact)
        except DatasetError as error:
            if not skips:
                raise
            logger.warning("%s: left out", error)
            work.unread[place] = Unread(str(images[place]), str(error))
            continue
        crops[place] = centre_crop(picture, (width, height))
    return crops


def figures_of(counts: Classification, names: Sequence[str]) -> Iterator[Figures]:
    """Yield the figures of the classes that have pictures."""
    for number, name in enumerate(names):
        row = counts.confusion[number].copy()
        total, right = int(row.sum()), int(row[number])
        if not total:
            continue
        row[number] = 0
        other = names[int(row.argmax())] if row.any() else None
        yield Figures(name=name, pictures=total, top1=right / total, taken_for=other)


def scores_of(model: "Model | ExportedFile", backend: str) -> Scores:
    """Return what runs a classifier.

    Args:
        model: a model, or a file, which runs by itself.
        backend: what runs a model.
    """
    if isinstance(model, Model):
        run = runner(model, backend)
        return lambda crops: _flat(run(np.stack(crops))[-1])
    file = model

    def one(planes: Array) -> Array:
        scores: Array = _flat(file.run(as_input(file, planes)[0])[-1])[0]
        return scores

    return lambda crops: np.stack([one(planes) for planes in crops])


def _flat(values: npt.NDArray[Any]) -> Array:
    flat: Array = values.reshape(len(values), -1)
    return flat
