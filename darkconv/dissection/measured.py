"""Measurements for the page of a dissection: latency, and detections in sample pictures."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from darkconv.core.model import Model
from darkconv.darknet.weights import weights_size
from darkconv.dataset import Dataset
from darkconv.detection import detect
from darkconv.dissection.page import DissectionReport, Measured, Seen
from darkconv.dissection.result import Dissection
from darkconv.errors import DatasetError
from darkconv.evaluation.latency import measure_latency
from darkconv.report.histogram import Doubles
from darkconv.surgery.channels import find_classes
from darkconv.surgery.importance import score_classes

SHOWN_PICTURES = 4
THRESHOLD = 0.25


def make_report(done: Dissection) -> DissectionReport:
    """Return everything that the page shows; latency and sample pictures are measured now.

    Args:
        done: the dissection that is shown.
    """
    latency = measure_latency({"before": done.whole, "after": done.model})
    before, after = (
        Measured(weights_size(model), latency.milliseconds[moment])
        for model, moment in ((done.whole, "before"), (done.model, "after"))
    )
    return DissectionReport(
        original=done.whole,
        cut=done.uncut,
        final=done.model,
        profile=done.profile,
        plan=done.plan,
        score=done.plan.notes["score"],
        scores=scores_by_layer(done),
        measured=(before, after),
        conditions=latency.conditions,
        pictures=sample_pictures(done, latency.backend),
        threshold=THRESHOLD,
        state=done.state,
        quality=done.quality,
        measured_on=done.measured_on,
        search=done.search,
    )


def scores_by_layer(done: Dissection) -> dict[int, Doubles]:
    """Return the score of each channel of the uncut model; NaN where the channel is locked.

    Args:
        done: the dissection whose plan and profile give the scores.

    Returns:
        For each layer index, from 0, the float64 scores (channels,) of the classes of tied channels
        that its channels belong to; only layers with a channel that can be removed.
    """
    classes = find_classes(done.uncut.network)
    scores = score_classes(
        classes,
        done.uncut,
        done.planning.score,
        profile=done.profile,
        against=done.against,
        seed=done.planning.seed,
    )
    scores = np.where(classes.free, scores, np.nan)
    labels = {layer.index: classes.of(layer.index) for layer in classes.makers}
    return {index: scores[own] for index, own in labels.items() if classes.free[own].any()}


def sample_pictures(done: Dissection, backend: str) -> list[Seen]:
    """Return some of the profiled pictures with the detections of both models.

    Args:
        done: the dissection whose original and final model are run.
        backend: backend that runs both, "onnx" or "torch".

    Returns:
        Up to four pictures, evenly spread; none if the model finds no boxes. Pictures that cannot
        be read are left out.
    """
    if not done.whole.network.finds_boxes:
        return []
    files = _files(done.pictures.chosen)
    step = max(1, len(files) // SHOWN_PICTURES)
    seen = []
    for path in files[::step][:SHOWN_PICTURES]:
        with contextlib.suppress(DatasetError):  # it was reported when it was profiled
            seen.append(found_by_both(done.whole, done.model, path, backend))
    return seen


def _files(pictures: Dataset | Sequence[object]) -> list[Path]:
    if isinstance(pictures, Dataset):
        return [sample.image for sample in pictures.samples]
    return [Path(one) for one in pictures if not isinstance(one, np.ndarray)]  # type: ignore[arg-type]


def found_by_both(original: Model, final: Model, path: Path, backend: str) -> Seen:
    """Return a picture with the detections of both models, of the classes that both have.

    Args:
        original: model before the dissection.
        final: model after it; class ids are its own, also those of the original's detections.
        path: file of the picture.
        backend: backend that runs both, "onnx" or "torch".
    """
    ids = {name: number for number, name in enumerate(final.names)}
    before, after = (
        [
            replace(d, class_id=ids.get(d.name, d.class_id))
            for d in detect(model, path, threshold=THRESHOLD, backend=backend)
            if not ids or d.name in ids
        ]
        for model in (original, final)
    )
    return Seen(path, before, after)
