"""Pictures that a command trains and evaluates on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from darkconv.cli.pictures import PictureOptions, open_classes, open_pictures
from darkconv.cli.printing import echo
from darkconv.core.model import Model
from darkconv.core.processes import is_first_process
from darkconv.dataset import Dataset, list_splits
from darkconv.dataset.splits import TRAIN, VALID, match_split

if TYPE_CHECKING:
    from darkconv.finetune.tasks import Data


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where the pictures are."""

    data: tuple[str, ...]
    valid: tuple[str, ...]
    valid_split: str | None
    pictures: PictureOptions


def open_sources(
    sources: Sources, model: Model, overfit: int | None, *, labelled: bool
) -> "tuple[Data, Data | None]":
    """Pictures to train on, and to evaluate on.

    A source that has splits for both gives both.

    Raises:
        DatasetError: a source cannot be read, or has no such split.
    """
    options = sources.pictures
    both = both_splits(sources, model, labelled=labelled)
    training = replace(options, split=both[0]) if both else options
    data = open_one(sources.data, training, model, labelled=labelled)
    if overfit:
        data = first_of(data, model, overfit)
        return data, data
    if not sources.valid and not both and not sources.valid_split:
        return data, None
    split = both[1] if both else sources.valid_split
    held_out = replace(options, split=split, limit=None, partly=True)
    valid = open_one(sources.valid or sources.data, held_out, model)
    if both and is_first_process():
        echo(
            f"training on split {both[0]} ({len(data)} pictures), evaluating on {both[1]} "
            f"({len(valid)} pictures)",
            err=True,
        )
    return data, valid


def both_splits(sources: Sources, model: Model, *, labelled: bool) -> tuple[str, str] | None:
    """Return the splits to train and to evaluate on, where the data are one source with both."""
    if len(sources.data) > 1 or sources.valid or sources.valid_split or sources.pictures.split:
        return None
    (source,) = sources.data
    is_detector = model.network.finds_boxes
    if not source.endswith(".data") and not (labelled and is_detector):
        return None
    splits = list_splits(source, outside=sources.pictures.outside)
    train, valid = match_split(TRAIN, splits), match_split(VALID, splits)
    return (train, valid) if train and valid else None


def open_one(
    paths: Sequence[str], options: PictureOptions, model: Model, *, labelled: bool = True
) -> "Data":
    """Pictures with boxes for a detector, with classes for a classifier that learns them."""
    if not labelled or model.network.finds_boxes:
        return open_pictures(paths, options, model=model, uses_labels=labelled)
    return open_classes(paths, options, model)


def first_of(data: "Data", model: Model, count: int) -> "Data":
    """Some pictures, those with objects of the model's classes before others."""
    if not isinstance(data, Dataset):
        return replace(data, samples=data.samples[:count])
    known = set(model.names)
    order = sorted(data.samples, key=lambda sample: known.isdisjoint(sample.names))
    return replace(data, samples=tuple(order[:count]))
