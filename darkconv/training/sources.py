"""The pictures that a model learns from and is evaluated on, from whatever the user names."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from darkconv.core.model import Model
from darkconv.core.names import distinct_names
from darkconv.dataset import ClassifiedDataset, Dataset, list_splits
from darkconv.dataset.for_model import (
    Selection,
    left_out_of,
    named_model,
    open_classes,
    open_for_model,
    with_all_classes,
    with_model_names,
)
from darkconv.dataset.splits import TRAIN, VALID, match_split
from darkconv.dataset.telling import report_classes, report_problems
from darkconv.errors import DatasetError
from darkconv.files import PathLike
from darkconv.training.tasks import Data

Source = Data | PathLike | Sequence[PathLike]
"""A data set, or what `open_dataset` or, for a classifier, `open_classified` takes."""
EVERYTHING = Selection()


@dataclass(frozen=True)
class Pictures:
    """The pictures of a run.

    Attributes:
        model: the model, with class names.
        training: to learn from.
        valid: to be evaluated on; None for no evaluation.
        splits: names of the two splits, where one source gave both.
    """

    model: Model
    training: Data
    valid: Data | None
    splits: tuple[str, str] | None = None


def open_pictures(
    model: Model,
    source: Source,
    valid: Source | None = None,
    *,
    labels: bool = True,
    overfit: int | None = None,
    selection: Selection = EVERYTHING,
    valid_split: str | None = None,
) -> Pictures:
    """Open the pictures to learn from, and those to be evaluated on.

    A source that has splits for both gives both.

    Args:
        model: that learns; without class names it gets those of the labels.
        source: pictures to learn from.
        valid: labelled pictures to be evaluated on.
        labels: the labels count, and not the pictures alone.
        overfit: learn so many of the pictures by heart, and be evaluated on them.
        selection: which pictures of the sources count.
        valid_split: the part to be evaluated on.

    Raises:
        DatasetError: a source cannot be read, or has no such split; none of its names is a class
            of a model without names.
    """
    both = None
    if valid is None and valid_split is None and not isinstance(source, Data):
        both = both_splits(source, model, selection, labels=labels)
    chosen = replace(selection, split=both[0]) if both else selection
    training = _opened(source, model, chosen, labels=labels)
    model = named_model(model, training)
    if overfit:
        if overfit > len(training):
            raise DatasetError(
                "pictures to learn by heart", expected=f"1 to {len(training)}", found=overfit
            )
        training = first_of(training, model, overfit)
        return Pictures(model, training, training)
    if valid is None and not both and valid_split is None:
        return Pictures(model, training, None)
    split = both[1] if both else valid_split
    held_out = replace(selection, split=split, limit=None, partly=True)
    measured = _opened(source if valid is None else valid, model, held_out)
    return Pictures(model, training, measured, both)


def both_splits(
    source: PathLike | Sequence[PathLike], model: Model, selection: Selection, *, labels: bool
) -> tuple[str, str] | None:
    """Return the splits to train and to evaluate on, where the data are one source with both."""
    several = [source] if isinstance(source, str | os.PathLike) else source
    if len(several) != 1 or selection.split is not None:
        return None
    is_description = os.fspath(several[0]).endswith(".data")
    if not is_description and not (labels and model.network.finds_boxes):
        return None
    splits = list_splits(several[0], outside=selection.outside)
    train, valid = match_split(TRAIN, splits), match_split(VALID, splits)
    return (train, valid) if train and valid else None


def _opened(source: Source, model: Model, selection: Selection, *, labels: bool = True) -> Data:
    """Return pictures with boxes for a detector, with classes for a classifier that learns them."""
    if isinstance(source, ClassifiedDataset):
        return with_all_classes(source, model)
    if isinstance(source, Dataset):
        return _with_names(source, model, labels=labels)
    if not labels or model.network.finds_boxes:
        return open_for_model(source, model, selection, uses_labels=labels)
    several = [source] if isinstance(source, str | os.PathLike) else source
    if len(several) != 1:
        raise DatasetError("a classifier's pictures come from one source")
    return open_classes(several[0], model, selection)


def _with_names(dataset: Dataset, model: Model, *, labels: bool) -> Dataset:
    """Return a data set with the model's spelling of its classes; what that leaves out is told."""
    if not labels:
        return dataset
    found, changed = with_model_names(dataset, model)
    report_problems(found)
    report_classes(found, changed, left_out_of(found, model))
    return found


def first_of(data: Data, model: Model, count: int) -> Data:
    """Return some pictures, those with objects of the model's classes before others."""
    if not isinstance(data, Dataset):
        return replace(data, samples=data.samples[:count])
    known = set(distinct_names(model.names))
    order = sorted(data.samples, key=lambda sample: known.isdisjoint(sample.names))
    return replace(data, samples=tuple(order[:count]))
