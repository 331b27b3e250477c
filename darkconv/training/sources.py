"""The pictures that a model learns from and is evaluated on, opened from any kind of source."""

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
"""A data set, or any source of `open_dataset`, for a classifier of `open_classified`."""
EVERYTHING = Selection()


@dataclass(frozen=True)
class RunPictures:
    """The pictures of a run.

    Attributes:
        model: model that learns, with class names.
        training: training pictures.
        valid: pictures for the evaluation; None for no evaluation.
        splits: names of the two splits if one source gave both; otherwise None.
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
) -> RunPictures:
    """Open the pictures to learn from, and those for the evaluation.

    A source that has splits for both gives both.

    Args:
        model: model that learns; without class names it gets those of the labels, where labels are
            used.
        source: training pictures.
        valid: labelled pictures for the evaluation; None for a split of the source, if it has one.
        labels: use the labels, and not the pictures alone.
        overfit: number of pictures to learn by heart, and to be evaluated on; None for all
            pictures.
        selection: which pictures of the sources are used.
        valid_split: name of the split for the evaluation; None for the usual names.

    Returns:
        The pictures, and the model with class names.

    Raises:
        DatasetError: a source cannot be read, or has no such split; none of its names is a class of
            a model without names.
    """
    both = None
    if valid is None and valid_split is None and not isinstance(source, Data):
        both = both_splits(source, model, selection, labels=labels)
    chosen = replace(selection, split=both[0]) if both else selection
    training = _opened(source, model, chosen, labels=labels)
    if labels or valid is not None:
        model = named_model(model, training)
    if overfit:
        if overfit > len(training):
            raise DatasetError(
                "pictures to learn by heart", expected=f"1 to {len(training)}", found=overfit
            )
        training = first_of(training, model, overfit)
        return RunPictures(model, training, training)
    if valid is None and not both and valid_split is None:
        return RunPictures(model, training, None)
    split = both[1] if both else valid_split
    held_out = replace(selection, split=split, limit=None, partly=True)
    measured = _opened(source if valid is None else valid, model, held_out)
    return RunPictures(model, training, measured, both)


def both_splits(
    source: PathLike | Sequence[PathLike], model: Model, selection: Selection, *, labels: bool
) -> tuple[str, str] | None:
    """Return the names of the splits for training and evaluation, if one source has both.

    Args:
        source: training pictures.
        model: model that learns.
        selection: which pictures of the source are used; one split that is named already means
            None.
        labels: the labels are used.
    """
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
    """Return a data set with the model's spelling of its classes; classes left out are reported."""
    if not labels:
        return dataset
    found, changed = with_model_names(dataset, model)
    report_problems(found)
    report_classes(found, changed, left_out_of(found, model))
    return found


def first_of(data: Data, model: Model, count: int) -> Data:
    """Return some pictures, those with objects of the model's classes before others.

    Args:
        data: all pictures.
        model: model that learns.
        count: number of pictures to return.
    """
    if not isinstance(data, Dataset):
        return replace(data, samples=data.samples[:count])
    known = set(distinct_names(model.names))
    order = sorted(data.samples, key=lambda sample: known.isdisjoint(sample.names))
    return replace(data, samples=tuple(order[:count]))
