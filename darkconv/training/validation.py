"""How good a module is on held-out pictures while it is trained."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from darkconv.backends.torch import DarknetModule
from darkconv.core.model import Model
from darkconv.dataset import Dataset, Sample
from darkconv.dataset.for_model import common_classes
from darkconv.detection import Detection
from darkconv.detection.detect import detections, fitted_picture
from darkconv.detection.draw import draw, write_picture
from darkconv.detection.image_file import pillow
from darkconv.detection.picture import Fit, Picture
from darkconv.errors import DatasetError
from darkconv.evaluation.classification import Classification, classification
from darkconv.evaluation.comparison import Comparison, rule_of
from darkconv.evaluation.figures import Figures
from darkconv.files import make_folder
from darkconv.files.notice import tell_once
from darkconv.training.classified import ClassifiedPictures, collate_classified
from darkconv.training.order import Draw

BATCH = 8
THRESHOLD, NMS = 0.005, 0.45
SHOWN_SCORE = 0.25
SHEET, SHEET_COLUMNS, SHEET_WIDTH = 6, 3, 480
"""Pictures on a sheet of predictions, in so many columns, each so many pixels wide."""


def evaluate_module(
    module: DarknetModule, model: Model, dataset: Dataset, *, letterbox: bool
) -> Figures:
    """Average precision of a detector's module in evaluation mode.

    Args:
        module: the network.
        model: for class names and heads.
        dataset: labelled pictures; classes that the model or the labels lack do not count.
        letterbox: how pictures are fitted; JPEG files are decoded the fast way.
    """
    classes = common_classes(model, dataset)
    found = [found for _, found in predict(module, model, dataset.samples, letterbox=letterbox)]
    return Comparison.of(found, dataset, classes, rule_of("voc", 0.5)).figures(SHOWN_SCORE)[1]


@torch.inference_mode()
def predict(
    module: DarknetModule, model: Model, samples: Sequence[Sample], *, letterbox: bool
) -> Iterator[tuple[Picture | None, list[Detection]]]:
    """Each picture and what is found in it; broken files are (None, [])."""
    device = next(module.parameters()).device
    mode = "letterbox" if letterbox else "stretch"
    for start in range(0, len(samples), BATCH):
        fitted = [_fitted(model, sample, mode) for sample in samples[start : start + BATCH]]
        good = [fit.apply(picture) for picture, fit in filter(None, fitted)]
        outputs = []
        if good:
            outputs = [
                v.float().cpu().numpy() for v in module(torch.from_numpy(np.stack(good)).to(device))
            ]
        place = 0
        for one in fitted:
            if one is None:
                yield None, []
                continue
            picture, fit = one
            values = [value[place] for value in outputs]
            yield picture, detections(model, values, fit, threshold=THRESHOLD, nms=NMS)
            place += 1


def _fitted(model: Model, sample: Sample, mode: str) -> tuple[Picture, Fit] | None:
    try:
        return fitted_picture(model.network, sample.image, mode, exact=False)
    except DatasetError as error:
        tell_once(error, ": left out of the evaluation")
        return None


def write_sheet(
    module: DarknetModule, model: Model, samples: Sequence[Sample], path: Path, *, letterbox: bool
) -> None:
    """Draw what a module finds in the first pictures, side by side, into a JPEG file."""
    image_module = pillow("drawing predictions")
    drawn = []
    for picture, found in predict(module, model, samples[:SHEET], letterbox=letterbox):
        if picture is not None:
            levels = picture if picture.shape[2] == 3 else picture.repeat(3, axis=2)
            image = draw(levels, [d for d in found if d.score > SHOWN_SCORE])
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


@torch.inference_mode()
def evaluate_classifier(module: DarknetModule, pictures: ClassifiedPictures) -> Classification:
    """Top-1 and top-5 of a classifier's module in evaluation mode.

    Args:
        module: the network; its last output counts.
        pictures: not changed at random.
    """
    device = next(module.parameters()).device
    scores, labels = [], []
    for start in range(0, len(pictures), BATCH):
        numbers = range(start, min(start + BATCH, len(pictures)))
        x, truths = collate_classified([pictures[Draw(i, i)] for i in numbers])
        scores.append(module(x.to(device))[-1].float().flatten(1).cpu().numpy())
        labels.append(truths.argmax(1).numpy())
    return classification(np.concatenate(scores), np.concatenate(labels))
