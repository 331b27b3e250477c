"""How well a detector finds what is labelled."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from darkconv.core.processes import ALONE, Processes
from darkconv.dataset import Dataset
from darkconv.dataset.for_model import Named, common_classes, left_out_of, with_model_names
from darkconv.dataset.telling import report_classes, report_unread
from darkconv.detection import Detection
from darkconv.errors import DatasetError
from darkconv.evaluation.comparison import Comparison, rule_of
from darkconv.evaluation.result import BoxEvaluation, Unread
from darkconv.evaluation.sharing import STEPS, Work, shared_work

if TYPE_CHECKING:
    from darkconv.detection.engine import Engine

logger = logging.getLogger("darkconv")

THRESHOLD, NMS = 0.005, 0.45
"""Score from which detections count for AP; overlap that counts as the same object."""
AT = 0.25
"""Score for precision, recall and AP at a fixed score."""
IOU = 0.5
"""Overlap of right boxes."""
BATCH = 8
"""Pictures that are run together."""


def evaluate_detector(
    detector: "Engine",
    model: Named,
    dataset: Dataset,
    *,
    name: str,
    runner: str,
    rule: str = "voc",
    iou: float = IOU,
    at: float = AT,
    batch: int = BATCH,
    coco: bool = True,
    skips: bool = True,
    progress: Callable[[int], None] | None = None,
    processes: Processes = ALONE,
) -> BoxEvaluation:
    """Measure a detector that is ready to run: see `darkconv.evaluate`.

    Args:
        detector: that finds boxes.
        model: for its class names.
        dataset: labelled pictures, whose classes get the model's spelling.
        name: of the model, for people.
        runner: what runs the network, for people.
        rule: see `darkconv.evaluate`.
        iou: see `darkconv.evaluate`.
        at: see `darkconv.evaluate`.
        batch: see `darkconv.evaluate`.
        coco: see `darkconv.evaluate`.
        skips: go on without pictures that cannot be read.
        progress: see `darkconv.evaluate`.
        processes: that share the pictures; all must call this.
    """
    dataset, changed = with_model_names(dataset, model)
    left_out = left_out_of(dataset, model)
    report_classes(dataset, changed, left_out)
    classes = common_classes(model, dataset)
    images = [sample.image for sample in dataset.samples]
    work = find_all(
        detector, images, batch=batch, skips=skips, progress=progress, processes=processes
    )
    report_unread(dataset, len(work.unread))
    found = [work.found.get(place, []) for place in range(len(images))]
    comparison = Comparison.of(found, dataset, classes, rule_of(rule, iou))
    figures, mean = comparison.figures(at, coco=coco)
    return BoxEvaluation(
        model=name,
        source=Path(dataset.source).name,
        classes=figures,
        mean=mean,
        pictures=tuple(images),
        unread=tuple(work.unread[place] for place in sorted(work.unread)),
        problems=dataset.problems,
        left_out=left_out,
        seconds=work.per_picture(),
        runner=runner,
        rule=rule,
        at=at,
        found=found,
        comparison=comparison,
    )


def find_all(
    detector: "Engine",
    images: Sequence[Path],
    *,
    batch: int = BATCH,
    skips: bool = True,
    progress: Callable[[int], None] | None = None,
    processes: Processes = ALONE,
) -> Work[list[Detection]]:
    """Find the objects in pictures; those that cannot be read are told.

    Raises:
        DatasetError: a picture cannot be read, and they are not skipped.
    """

    def look(places: Sequence[int], work: Work[list[Detection]]) -> Iterator[int]:
        for done, place in enumerate(places, 1):
            try:
                work.found[place] = _find(detector, images[place], work)
            except DatasetError as error:
                if not skips:
                    raise
                logger.warning("%s: its boxes count as missed", error)
                work.unread[place] = Unread(str(images[place]), str(error))
            yield done

    return shared_work(len(images), look, batch=batch, progress=progress, processes=processes)


def _find(detector: "Engine", image: Path, work: Work[list[Detection]]) -> list[Detection]:
    """The detections in a picture; what the steps take is added up."""
    times = [time.perf_counter()]
    x, fit = detector.prepare(image)
    times.append(time.perf_counter())
    outputs = [value[0] for value in detector.run(x)]
    times.append(time.perf_counter())
    found = detector.find(outputs, fit)
    times.append(time.perf_counter())
    for name, before, after in zip(STEPS, times, times[1:], strict=False):
        setattr(work.seconds, name, getattr(work.seconds, name) + after - before)
    return found
