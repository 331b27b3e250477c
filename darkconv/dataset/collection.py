"""Collection: data sets to be written, with each picture once and under a unique name."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from darkconv.core.names import Names
from darkconv.dataset.label import Size, problem
from darkconv.dataset.paths import picture_size
from darkconv.dataset.sample import Dataset, Sample
from darkconv.errors import DatasetError


@dataclass(frozen=True)
class CollectedPicture:
    """A picture of a collection.

    Attributes:
        name: the name of its file; its stem is unique in the collection.
        sample: the picture and its boxes.
    """

    name: str
    sample: Sample

    @property
    def stem(self) -> str:
        """Return the name without suffix, which is also that of its label file."""
        return Path(self.name).stem

    @property
    def size(self) -> Size:
        """Return (width, height) of the picture in pixels."""
        return self.sample.size or picture_size(self.sample.image)

    def labels(self, *, difficult: bool | None = None) -> Iterator[tuple[str, list[float], bool]]:
        """Yield name, box (xyxy in pixels) and difficult mark of the labels.

        Args:
            difficult: True for difficult labels only, False for the others only, None for all.
        """
        rows = zip(
            self.sample.names, self.sample.boxes.tolist(), self.sample.difficult, strict=True
        )
        for name, box, mark in rows:
            if difficult is None or bool(mark) is difficult:
                yield name, box, bool(mark)

    @property
    def is_difficult(self) -> bool:
        """Return True if one of its boxes is marked as difficult."""
        return bool(self.sample.difficult.any())


@dataclass(frozen=True)
class Collection:
    """Data sets that will be written together.

    Attributes:
        names: the class names, in the order of their indices.
        items: all pictures.
        splits: the pictures of each split; empty if the source has no splits.
        problems: what was left out, a line each.
    """

    names: Names
    items: tuple[CollectedPicture, ...]
    splits: dict[str, tuple[CollectedPicture, ...]]
    problems: tuple[str, ...] = ()

    @property
    def boxes(self) -> int:
        """Return the number of boxes."""
        return sum(len(item.sample.names) for item in self.items)


def collect(parts: Mapping[str | None, Dataset], names: Sequence[str] | None = None) -> Collection:
    """Collect the pictures of some splits, or of a whole data set under None.

    Args:
        parts: the data set of each split.
        names: the class names to write; None for all names of the parts.

    Raises:
        DatasetError: a class has a name that no file can hold, a label is of none of the given
            classes, or no picture is left.
    """
    known = dict.fromkeys(name for part in parts.values() for name in part.names)
    samples: dict[Path, Sample] = {}
    problems: list[str] = []
    for part in parts.values():
        for sample in part.samples:
            other = samples.setdefault(sample.image, sample)
            if not _is_same(sample, other):
                error = DatasetError("has other labels in another split, of which the first count")
                problems.append(problem(error, sample.image))
    items = dict(_named(samples, problems))
    splits = {
        split: tuple(items[s.image] for s in part.samples if s.image in items)
        for split, part in parts.items()
        if split is not None
    }
    if not items:
        raise DatasetError("no picture is left to write", hint=problems[0] if problems else None)
    own = Names.of(tuple(known) if names is None else names)
    unknown = {name for sample in samples.values() for name in sample.names}.difference(own)
    if unknown:
        raise DatasetError(expected="labels of the classes to write", found=sorted(unknown)[0])
    return Collection(own, tuple(items.values()), splits, tuple(problems))


def _is_same(sample: Sample, other: Sample) -> bool:
    return sample is other or (
        sample.names == other.names
        and np.array_equal(sample.boxes, other.boxes)
        and np.array_equal(sample.difficult, other.difficult)
    )


def _named(
    samples: Mapping[Path, Sample], problems: list[str]
) -> Iterator[tuple[Path, CollectedPicture]]:
    """Yield pictures with unique file names; those of unknown size are reported."""
    taken: set[str] = set()
    for image, sample in samples.items():
        try:
            whole = sample
            if sample.size is None:
                whole = replace(sample, size=picture_size(image))
        except DatasetError as error:
            problems.append(problem(error, image))
            continue
        name = next(one for one in _names(image) if Path(one).stem.casefold() not in taken)
        taken.add(Path(name).stem.casefold())
        yield image, CollectedPicture(name, whole)


def _names(image: Path) -> Iterator[str]:
    """Yield possible names for a picture: its own, with its folders before it, then numbered."""
    folders = [part for part in image.absolute().parts[1:-1]]
    for count in range(len(folders) + 1):
        yield "_".join([*folders[len(folders) - count :], image.name])
    number = 2
    while True:
        yield f"{image.stem}_{number}{image.suffix}"
        number += 1


def joined(lines: Iterable[str]) -> bytes:
    """Return lines as the content of a text file.

    Args:
        lines: the lines, without line ends.
    """
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")
