"""Quality of a model beside the uncut one, by ground truth or by the uncut model's detections."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from darkconv.core.model import Model
from darkconv.core.names import distinct_names
from darkconv.core.processes import working_together
from darkconv.dataset import Dataset, Sample
from darkconv.dataset.classes import renamed
from darkconv.dataset.for_model import common_classes
from darkconv.dataset.label import Label
from darkconv.detection import Detection
from darkconv.detection.engine import make_engine
from darkconv.dissection.running import Running
from darkconv.errors import DatasetError
from darkconv.evaluation.detectors import AT, find_all
from darkconv.evaluation.evaluate import evaluate
from darkconv.evaluation.result import BoxEvaluation
from darkconv.evaluation.sharing import RunSettings
from darkconv.layers.box_heads import scored_classes
from darkconv.presentation.numerals import counted, per_cent
from darkconv.surgery.recipes import ClassRecipe
from darkconv.verification.likeness import f1_of

UNCUT, REFITTED, RECOVERED = "uncut", "refitted", "recovered"
"""The states of a model in which it is measured."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """The quality of a model on the pictures that all models are measured on.

    Attributes:
        ap: mean average precision, 0..1; None if there are no labels.
        agreement: F1 of the detections above 0.25 with those of the uncut model, 0..1; None if
            neither finds anything.
        recall: for each class, the share of ground-truth boxes that are found above 0.25; without
            labels, of the boxes that the uncut model finds.
    """

    ap: float | None
    agreement: float | None
    recall: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, for programs."""
        return asdict(self)

    def value(self, measure: str) -> float | None:
        """Return the value of a measure, 0..1; None if it could not be computed.

        Args:
            measure: "AP" or "agreement", see `Yardstick.measure`.
        """
        return self.ap if measure == "AP" else self.agreement

    def points_lost(self, uncut: "Quality") -> float:
        """Return how many points of AP are lost; without labels, how many of the agreement.

        Args:
            uncut: quality of the uncut model on the same pictures.
        """
        if self.ap is not None and uncut.ap is not None:
            return 100 * (uncut.ap - self.ap)
        return 100 * (1 - (self.agreement or 0.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class Yardstick:
    """The pictures that models are measured on, and their ground truth.

    Attributes:
        uncut: the model of the kept classes with all channels.
        truths: pictures with labels of the kept classes; without labels, with the boxes that the
            uncut model finds.
        is_labelled: the ground truth comes from labels.
        is_held_out: nothing was profiled, refitted or trained on these pictures.
        sure: detections of the uncut model above 0.25 in each picture.
        quality: quality of the uncut model.
    """

    uncut: Model
    truths: Dataset
    is_labelled: bool
    is_held_out: bool
    sure: Sequence[Sequence[Detection]]
    quality: Quality

    @property
    def measure(self) -> str:
        """Name of the compared measure: "AP", or "agreement" if there are no labels."""
        return "AP" if self.is_labelled else "agreement"

    def __str__(self) -> str:
        """Return a description of the pictures and their ground truth."""
        truth = "their labels" if self.is_labelled else "what the uncut model finds"
        pictures = counted(len(self.truths), "picture")
        where = pictures if self.is_held_out else f"the {pictures} that it was cut and refitted by"
        return f"{where}, compared with {truth}"

    def quality_of(self, model: Model, running: Running, task: str) -> Quality:
        """Measure a model.

        Args:
            model: model with the classes of the uncut one.
            running: how pictures are run.
            task: name of the task for the progress.
        """
        result = _evaluated(model, self.truths, running, task)
        pairs = zip(self.sure, _sure(result.found), strict=True)
        return _quality(result, f1_of(pairs), is_labelled=self.is_labelled)


def make_yardstick(
    uncut: Model,
    dataset: Dataset,
    classes: Sequence[ClassRecipe] | None,
    whole: Model,
    *,
    is_held_out: bool,
    running: Running,
) -> Yardstick | None:
    """Return what models are measured with; None if the uncut model finds nothing to compare.

    Args:
        uncut: the model of the kept classes with all channels.
        dataset: the pictures; labels have the names of the whole model's classes.
        classes: what the kept classes are made of; None if all are kept.
        whole: the model before its classes were cut.
        is_held_out: nothing was profiled, refitted or trained on these pictures.
        running: how pictures are run.
    """
    labels = kept_labels(dataset, classes, whole)
    is_labelled = _fits(labels, uncut)
    truths = labels if is_labelled else _found_by_uncut(uncut, dataset, running)
    if truths is None:
        return None
    result = _evaluated(uncut, truths, running, "pictures, uncut model")
    return Yardstick(
        uncut=uncut,
        truths=truths,
        is_labelled=is_labelled,
        is_held_out=is_held_out,
        sure=_sure(result.found),
        quality=_quality(result, 1.0, is_labelled=is_labelled),
    )


def _fits(labels: Dataset, model: Model) -> bool:
    """Return True if some labels are of a model's classes."""
    try:
        common_classes(model, labels)
    except DatasetError:
        return False
    return True


def kept_labels(dataset: Dataset, classes: Sequence[ClassRecipe] | None, whole: Model) -> Dataset:
    """Return a data set with labels of the kept classes alone, under their new names.

    Args:
        dataset: data set with labels of the whole model's classes.
        classes: what the kept classes are made of; None if all are kept.
        whole: the model before its classes were cut.
    """
    if classes is None:
        return dataset
    made = new_names(distinct_names(whole.names), classes)
    changed = {old: new for old, new in made.items() if old != new}
    return renamed(dataset.keep_classes(list(made)), changed, partly=True)


def new_names(own: Sequence[str], classes: Sequence[ClassRecipe]) -> dict[str, str]:
    """Return the new name of each class of a model that a new class is made of.

    Args:
        own: names of the model's classes.
        classes: the new classes; their members are class ids, from 0.
    """
    return {own[place]: one.name for one in classes for place in one.members if place < len(own)}


def _found_by_uncut(uncut: Model, dataset: Dataset, running: Running) -> Dataset | None:
    """Return the pictures with the uncut model's detections as labels; None if it finds nothing.

    Classes that a names file has no name for are left out, as they are beside labels.
    """
    count = scored_classes(uncut.network)
    names = distinct_names(uncut.names) or tuple(map(str, range(count)))
    labels = [
        [Label(names[one.class_id], one.box) for one in own if one.class_id < len(names)]
        for own in _found_by(uncut, dataset, running)
    ]
    if not any(labels):
        return None
    samples = [
        Sample.of(sample.image, own, sample.size)
        for sample, own in zip(dataset.samples, labels, strict=True)
    ]
    return replace(dataset, samples=tuple(samples), names=names, problems=(), changes={})


def _found_by(model: Model, dataset: Dataset, running: Running) -> list[list[Detection]]:
    """Return the detections of a model above `AT` in each picture; none if it cannot be read."""
    images = [sample.image for sample in dataset.samples]
    engine = make_engine(model, threshold=AT, resize=running.resize, device=running.device)
    with working_together() as processes:
        run = RunSettings(
            name="uncut model",
            runner="PyTorch",
            batch=running.batch,
            skips=running.unreadable == "skip",
            progress=running.told("pictures, uncut model", len(images)),
            processes=processes,
            needs_values=False,
        )
        found = find_all(engine, images, run).found
    return _sure(found.get(place, []) for place in range(len(images)))


def _evaluated(model: Model, truths: Dataset, running: Running, task: str) -> BoxEvaluation:
    result = evaluate(
        model,
        truths,
        at=AT,
        coco=False,
        resize=running.resize,
        device=running.device,
        batch=running.batch,
        unreadable="skip" if running.unreadable == "skip" else "raise",
        progress=running.told(task, len(truths)),
    )
    assert isinstance(result, BoxEvaluation)
    return result


def _sure(found: Iterable[Sequence[Detection]]) -> list[list[Detection]]:
    return [[one for one in own if one.score > AT] for own in found]


def _quality(result: BoxEvaluation, agreement: float | None, *, is_labelled: bool) -> Quality:
    recall = {one.name: one.recall or 0.0 for one in result.classes}
    ap = result.mean.ap if is_labelled else None
    return Quality(ap=ap, agreement=agreement, recall=recall)


def quality_table(qualities: Mapping[str, Quality]) -> tuple[list[str], list[list[str]]]:
    """Return the headers and rows of a table with a column for each state, in per cent.

    Args:
        qualities: quality of each state, in the order in which the model had them.
    """
    shown = qualities.values()
    rows = [
        [f"recall of {name}", *(per_cent(one.recall.get(name)) for one in shown)]
        for name in next(iter(shown)).recall
    ]
    if any(one.ap is not None for one in shown):
        rows.append(["mean AP", *(per_cent(one.ap) for one in shown)])
    rows.append(["agreement F1", *(per_cent(one.agreement) for one in shown)])
    return ["per cent", *qualities], rows
