"""The choice of pictures that show what a model's channels do for the kept classes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from darkconv.core.model import Model
from darkconv.core.spreading import evenly_spread
from darkconv.dataset import Dataset
from darkconv.dataset.for_model import (
    NoneExclusiveError,
    exclusive,
    left_out_of,
    limited,
    open_for_model,
    with_model_names,
)
from darkconv.dataset.telling import report_classes, report_problems
from darkconv.errors import DarkconvError
from darkconv.profiling.loader import Image, Images, given_pictures

Pictures = Dataset | Sequence[Image]

ALL = "all"
"""Description of a choice of all pictures; a reason may follow."""


@dataclass(frozen=True, eq=False)
class Choice:
    """The pictures that are profiled, of all pictures.

    Attributes:
        found: all pictures; weights are refitted on these.
        chosen: the pictures that are profiled.
        which: description of the chosen pictures.
    """

    found: Pictures
    chosen: Pictures
    which: str

    @property
    def others(self) -> Dataset | None:
        """Pictures that were not chosen; None if there are none, or they do not come from files."""
        if not isinstance(self.found, Dataset) or not isinstance(self.chosen, Dataset):
            return None
        taken = {sample.image for sample in self.chosen.samples}
        left = tuple(sample for sample in self.found.samples if sample.image not in taken)
        return replace(self.found, samples=left) if left else None

    def __str__(self) -> str:
        """Return how many pictures are profiled, and which."""
        chosen, found = len(self.chosen), len(self.found)
        if not self.which.startswith(ALL):
            return f"{chosen} of {found} pictures: {self.which}"
        count = f"all {found}" if chosen == found else f"{chosen} of {found}"
        return f"{count} pictures{self.which.removeprefix(ALL)}"


def choose_pictures(
    images: Images,
    whole: Model,
    kept: Sequence[str],
    *,
    only_classes: Sequence[str] | None = None,
    all_pictures: bool = False,
    limit: int | None = None,
) -> Choice:
    """Choose the pictures that show nothing but the kept classes, if there are labels.

    If there are no such pictures, all are taken, unless `only_classes` is given.

    Args:
        images: a source or several, a data set, or files and arrays of 8-bit RGB levels.
        whole: the model before its classes were cut; its names are those of the labels.
        kept: names of its classes that are kept, or that kept classes are made of.
        only_classes: choose pictures that show one of these classes and no other instead; an empty
            list stands for the kept classes.
        all_pictures: take all pictures, whatever they show.
        limit: number of pictures that are taken, evenly spread; None for all.

    Raises:
        DatasetError: a source cannot be read, or no picture shows only the wanted classes.
        PlanError: the model does not have one of the classes.
        DarkconvError: `only_classes` beside `all_pictures`.
    """
    if all_pictures and only_classes is not None:
        raise DarkconvError("only_classes: would do nothing beside all_pictures")
    found = _opened(images, whole, uses_labels=not all_pictures)
    if not isinstance(found, Dataset):
        return Choice(found, evenly_spread(found, limit), ALL)
    every = limited(found, limit)
    if all_pictures or (only_classes is None and not found.labelled):
        return Choice(every, every, ALL)
    if only_classes is None and not whole.names:
        return Choice(every, every, f"{ALL}, since the model has no class names")
    try:
        chosen = exclusive(found, only_classes or kept, whole)
    except NoneExclusiveError as error:
        if only_classes is not None:
            raise
        return Choice(every, every, f"{ALL}, since {error.reason}")
    return Choice(every, limited(chosen, limit), "those that show nothing but the kept classes")


def _opened(images: Images, whole: Model, *, uses_labels: bool) -> Pictures:
    """Return a data set if the pictures come from files, which may have labels."""
    if isinstance(images, Dataset):
        dataset, changed = with_model_names(images, whole)
        report_problems(dataset)
        if uses_labels:
            report_classes(dataset, changed, left_out_of(dataset, whole))
        return dataset
    if isinstance(images, str | os.PathLike):
        return open_for_model(images, whole, uses_labels=uses_labels)
    pictures = given_pictures(images)
    files = [one for one in pictures if isinstance(one, str | os.PathLike)]
    if len(files) == len(pictures):
        return open_for_model(files, whole, uses_labels=uses_labels)
    return pictures
