"""Run a detector on labelled pictures, and measure it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from darkconv.core.names import distinct_names
from darkconv.dataset import Dataset
from darkconv.dataset.for_model import HasClassNames, common_classes, left_out_of, with_model_names
from darkconv.dataset.telling import report_classes, report_unread
from darkconv.detection import Detection
from darkconv.detection.engine import Engine
from darkconv.detection.sources import SourcePicture
from darkconv.detection.stream import Prepared, look_at, name_of, prepare_item, read_batches
from darkconv.errors import DatasetError
from darkconv.evaluation.comparison import Comparison, rule_of
from darkconv.evaluation.result import BoxEvaluation, Unread
from darkconv.evaluation.sharing import RunSettings, Work, shared_work

THRESHOLD, NMS = 0.005, 0.45
"""Score from which detections count for AP, and IoU above which NMS removes the lower box."""
AT = 0.25
"""Score above which detections count for precision, recall and AP at a fixed score."""
IOU = 0.5
"""IoU from which a detection is right."""


def evaluate_detector(
    engine: Engine,
    model: HasClassNames,
    dataset: Dataset,
    run: RunSettings,
    *,
    rule: str = "voc",
    iou: float = IOU,
    at: float = AT,
    coco: bool = True,
) -> BoxEvaluation:
    """Measure a detector that is ready to run: see `darkconv.evaluate`.

    Args:
        engine: finds boxes, down to low scores.
        model: gives the class names.
        dataset: labelled pictures; its class names are replaced by the model's spelling.
        run: name, batch size, processes and progress of the run.
        rule: see `darkconv.evaluate`.
        iou: see `darkconv.evaluate`.
        at: see `darkconv.evaluate`.
        coco: see `darkconv.evaluate`.

    Returns:
        The figures of each class that the model and the labels have in common.

    Raises:
        DatasetError: a picture cannot be read and the run does not skip such pictures, or no label
            is of a class of the model.
        DarkconvError: the outputs for all pictures are NaN.
    """
    dataset, changed = with_model_names(dataset, model)
    left_out = left_out_of(dataset, model)
    report_classes(dataset, changed, left_out)
    classes = common_classes(model, dataset)
    images = [sample.image for sample in dataset.samples]
    work = find_all(engine, images, run)
    unread = work.told_unread(": its boxes count as missed")
    report_unread(dataset, len(unread))
    work.tell_missing(name_of(engine), run)
    found = [_told_apart(work.found.get(place, []), model) for place in range(len(images))]
    comparison = Comparison.of(found, dataset, classes, rule_of(rule, iou))
    figures, mean = comparison.figures(at, coco=coco)
    return BoxEvaluation(
        model=run.name,
        source=Path(dataset.source).name,
        classes=figures,
        mean=mean,
        pictures=tuple(images),
        unread=unread,
        problems=dataset.problems,
        left_out=left_out,
        seconds=work.seconds.per_picture(),
        runner=run.runner,
        rule=rule,
        at=at,
        found=found,
        comparison=comparison,
    )


def _told_apart(found: list[Detection], model: HasClassNames) -> list[Detection]:
    """Return the detections with distinct class names, as the labels have them."""
    own = distinct_names(model.names)
    if own == tuple(model.names):
        return found
    return [replace(one, name=own[one.class_id]) for one in found]


def find_all(
    engine: Engine,
    images: Sequence[Path],
    run: RunSettings,
) -> Work[list[Detection]]:
    """Find the objects in all pictures, shared by the processes of the run.

    Args:
        engine: finds the boxes.
        images: picture files.
        run: name, batch size, processes and progress of the run.

    Returns:
        The detections by picture index, and the pictures that could not be read.

    Raises:
        DatasetError: a picture cannot be read, and the run does not skip such pictures.
    """

    def prepare(place: int) -> Prepared | Unread:
        try:
            return prepare_item(engine, SourcePicture(images[place], str(images[place]), place))
        except DatasetError as error:
            if not run.skips:
                raise
            return Unread(str(images[place]), str(error))

    def look(places: Sequence[int], work: Work[list[Detection]]) -> Iterator[int]:
        done = 0
        for group in read_batches(prepare, places, batch=run.batch):
            good = [one for _, one in group if isinstance(one, Prepared)]
            for frame in look_at(engine, good, work.seconds, work.missing) if good else ():
                work.found[frame.index] = list(frame.found)
            for number, one in group:
                if isinstance(one, Unread):
                    work.unread[places[number]] = one
            done += len(group)
            yield done

    return shared_work(len(images), look, run)
