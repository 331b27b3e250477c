"""Pictures that a command trains and evaluates on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from darkconv.cli.pictures import PictureOptions, open_classes, open_pictures
from darkconv.core.model import Model
from darkconv.dataset import Dataset
from darkconv.layers.head import decodes_boxes

if TYPE_CHECKING:
    from darkconv.finetune.tasks import Data


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where the pictures are."""

    data: tuple[str, ...]
    valid: tuple[str, ...]
    valid_split: str | None
    rename: str | None
    pictures: PictureOptions


def open_sources(
    sources: Sources, model: Model, overfit: int | None, *, labelled: bool
) -> "tuple[Data, Data | None]":
    """Pictures to train on, and to evaluate on.

    A .data file that has both lists gives both.
    """
    options = sources.pictures
    has_both = has_both_lists(sources)
    training = replace(options, split="train") if has_both else options
    data = open_one(sources.data, training, model, sources.rename, labelled=labelled)
    if overfit:
        data = first_of(data, model, overfit)
        return data, data
    if not sources.valid and not has_both and not sources.valid_split:
        return data, None
    split = "valid" if has_both else sources.valid_split
    held_out = replace(options, split=split, limit=None)
    return data, open_one(sources.valid or sources.data, held_out, model, sources.rename)


def has_both_lists(sources: Sources) -> bool:
    """Whether the data are one .data file that has pictures to train on and to evaluate on."""
    from darkconv.darknet.data import read_data

    is_description = len(sources.data) == 1 and sources.data[0].endswith(".data")
    if not is_description or sources.valid or sources.pictures.split is not None:
        return False
    return {"train", "valid"} <= set(read_data(sources.data[0]))


def open_one(
    paths: Sequence[str],
    options: PictureOptions,
    model: Model,
    rename: str | None,
    *,
    labelled: bool = True,
) -> "Data":
    """Pictures with boxes for a detector, with classes for a classifier that learns them."""
    if not labelled or any(decodes_boxes(head.spec) for head in model.network.heads):
        return renamed(open_pictures(paths, options, model=model), rename)
    if rename:
        raise click.UsageError("--rename is for the boxes of detectors")
    return open_classes(paths, options, model)


def first_of(data: "Data", model: Model, count: int) -> "Data":
    """Some pictures, those with objects of the model's classes before others."""
    if not isinstance(data, Dataset):
        return replace(data, samples=data.samples[:count])
    known = set(model.names)
    order = sorted(data.samples, key=lambda sample: known.isdisjoint(sample.names))
    return replace(data, samples=tuple(order[:count]))


def renamed(data: Dataset, pairs: str | None) -> Dataset:
    """Other class names, from `a=b,c=d`."""
    return data.renamed(dict(read_pairs(pairs, "--rename"))) if pairs else data


def read_pairs(text: str, option: str) -> list[tuple[str, str]]:
    """`a=b,c=d` as pairs."""
    pairs = []
    for item in text.split(","):
        name, equals, value = item.partition("=")
        if not (name.strip() and equals and value.strip()):
            raise click.UsageError(f"{option} wants A=B,C=D, not {item!r}")
        pairs.append((name.strip(), value.strip()))
    return pairs
