"""Evaluation of a module on held-out pictures during training."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from darkconv.backends.torch import DarknetModule, module_runner
from darkconv.core.model import Model
from darkconv.core.processes import ALONE, Processes
from darkconv.dataset import ClassifiedDataset, Dataset, Sample
from darkconv.detection.engine import ModuleEngine
from darkconv.detection.sources import SourcePicture
from darkconv.detection.stream import Prepared, Seconds, look_at, prepare_item
from darkconv.errors import DatasetError
from darkconv.evaluation.classifiers import evaluate_classifier
from darkconv.evaluation.detectors import AT, THRESHOLD, evaluate_detector
from darkconv.evaluation.result import BoxEvaluation, ClassEvaluation
from darkconv.evaluation.sharing import RunSettings
from darkconv.files import make_folder
from darkconv.pictures.drawing import write_picture
from darkconv.pictures.image_file import pillow

SHEET, SHEET_COLUMNS, SHEET_WIDTH = 6, 3, 480
"""Number of pictures and of columns of a sheet of predictions, and a picture's width in pixels."""


def evaluate_module(
    module: DarknetModule,
    model: Model,
    dataset: Dataset,
    *,
    letterbox: bool,
    processes: Processes = ALONE,
) -> BoxEvaluation:
    """Measure a detector's module in evaluation mode, as `darkconv.evaluate` does a model.

    Args:
        module: module of the network.
        model: model with class names and heads.
        dataset: labelled pictures; classes that the model or the labels lack do not count.
        letterbox: keep the aspect ratio of pictures; otherwise they are stretched.
        processes: processes that share the pictures, each with an equal module.
    """
    engine = _engine(module, model, letterbox=letterbox, threshold=THRESHOLD)
    return evaluate_detector(engine, model, dataset, _run_of(model, processes))


def _run_of(model: Model, processes: Processes) -> RunSettings:
    name = Path(model.network.file).stem
    return RunSettings(name=name, runner="PyTorch", needs_values=False, processes=processes)


def _engine(
    module: DarknetModule, model: Model, *, letterbox: bool, threshold: float
) -> ModuleEngine:
    resize = "letterbox" if letterbox else "stretch"
    return ModuleEngine(model, module, threshold=threshold, resize=resize)


def _readable(engine: ModuleEngine, samples: Sequence[Sample]) -> Iterator[Prepared]:
    """Yield the pictures that can be read; training and evaluation report the others."""
    for place, sample in enumerate(samples):
        with contextlib.suppress(DatasetError):
            yield prepare_item(engine, SourcePicture(sample.image, str(sample.image), place))


def write_sheet(
    module: DarknetModule, model: Model, samples: Sequence[Sample], path: Path, *, letterbox: bool
) -> None:
    """Draw the boxes that a module finds in the first pictures, into one JPEG file.

    Args:
        module: module in evaluation mode.
        model: model with class names and heads.
        samples: pictures, the first six of which are drawn.
        path: the JPEG file.
        letterbox: keep the aspect ratio of pictures; otherwise they are stretched.
    """
    image_module = pillow("drawing predictions")
    engine = _engine(module, model, letterbox=letterbox, threshold=AT)
    pictures = list(_readable(engine, samples[:SHEET]))
    drawn = []
    for frame in look_at(engine, pictures, Seconds()) if pictures else ():
        image = frame.found.draw(frame.picture)
        height = round(image.height * SHEET_WIDTH / image.width)
        drawn.append(image.resize((SHEET_WIDTH, height)))
    rows = [drawn[i : i + SHEET_COLUMNS] for i in range(0, len(drawn), SHEET_COLUMNS)]
    heights = [max(image.height for image in row) for row in rows]
    sheet = image_module.new("RGB", (SHEET_WIDTH * SHEET_COLUMNS, max(1, sum(heights))), "white")
    for number, row in enumerate(rows):
        for column, image in enumerate(row):
            sheet.paste(image, (column * SHEET_WIDTH, sum(heights[:number])))
    make_folder(path.parent)
    write_picture(sheet, path)


def evaluate_classifier_module(
    module: DarknetModule,
    model: Model,
    dataset: ClassifiedDataset,
    processes: Processes = ALONE,
) -> ClassEvaluation:
    """Measure a classifier's module in evaluation mode, as `darkconv.evaluate` does a model.

    Args:
        module: module of the network; its last output counts.
        model: model of the network.
        dataset: pictures with their classes.
        processes: processes that share the pictures, each with an equal module.
    """
    run = module_runner(module, model.network.outputs[-1:])
    return evaluate_classifier(
        lambda crops: run(crops)[-1].reshape(len(crops), -1),
        dataset,
        model.network.input_shape,
        _run_of(model, processes),
    )
