"""Source: a data set whose layout is recognised, but whose pictures were not read yet."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from darkconv.dataset.sample import Dataset
from darkconv.dataset.splits import ALIASES, canonical, find_split
from darkconv.errors import one_line

SHOWN = 10
"""The most splits that a message names."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of reading a source.

    Attributes:
        names: the class names of labels that are indices; None for those of the source.
        images: the folder with the pictures; None for the places that the source states.
        outside: True if files may name paths outside the data set's folder.
    """

    names: tuple[str, ...] | None = None
    images: Path | None = None
    outside: bool = False


@dataclass(frozen=True)
class DatasetSource:
    """A data set whose layout is recognised.

    Attributes:
        path: the path that was opened.
        splits: the names of its splits, as the tool that wrote it spells them.
        read: a function that reads a split, or all pictures for None.
    """

    path: str
    read: Callable[[str | None], Dataset]
    splits: tuple[str, ...] = ()

    def open(self, split: str | None) -> Dataset:
        """Read the split that the user means, or all pictures.

        Args:
            split: the name of the split in any usual spelling; None for all.

        Raises:
            DatasetError: there is no such split; or as for `open_dataset`.
        """
        chosen = None if split is None else find_split(split, self.splits, self.path)
        dataset = self.read(chosen)
        notes = dataset.notes
        if split is None and self._is_read_as_one(dataset):
            more = f" and {len(self.splits) - SHOWN} more" if len(self.splits) > SHOWN else ""
            splits = one_line(", ".join(self.splits[:SHOWN])) + more
            notes += (
                f"{self.path}: its splits {splits} are read as one; --split NAME (in Python "
                "split=) reads one of them",
            )
        layouts = tuple(
            replace(one, splits=self.splits, split=one.split or chosen) for one in dataset.layouts
        )
        return replace(dataset, source=self.path, notes=notes, layouts=layouts)

    def _is_read_as_one(self, dataset: Dataset) -> bool:
        """Return True if a data set with training and evaluation splits was read whole."""
        words = ALIASES.keys() & set(map(canonical, self.splits))
        return len(words) > 1 and all(layout.split is None for layout in dataset.layouts)
