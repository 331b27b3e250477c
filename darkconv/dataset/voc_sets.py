"""Read VOC's image sets: lists of the pictures of a split, without suffixes."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from darkconv.dataset.label import shown
from darkconv.dataset.locate import tails
from darkconv.dataset.paths import files_in, numbered_lines, read_text
from darkconv.dataset.reading import ReadingRecord
from darkconv.errors import DatasetError
from darkconv.pictures.image_file import is_picture

FOLDERS = (Path("ImageSets", "Main"), Path("ImageSets"))
_MARK = re.compile(r"\s+(-?[01])$")  # after an id, in the list of a single class


class ImageSet(NamedTuple):
    """The content of some image sets.

    Attributes:
        annotations: the annotation files.
        bare: the pictures without annotation, from lists that also name annotated ones.
    """

    annotations: list[Path]
    bare: list[Path]


def split_lists(root: Path) -> dict[str, Path]:
    """Return the image sets of a data set by name; lists of a single class come last.

    Args:
        root: the folder of the data set.
    """
    lists = next(filter(None, (files_in(root / one, ".txt") for one in FOLDERS)), [])
    return {path.stem: path for path in sorted(lists, key=is_of_one_class)}


def is_of_one_class(path: Path) -> bool:
    """Return True for a list that marks pictures with a class by 1, and those without it by -1.

    Args:
        path: the list, of which the first line is examined.
    """
    lines = (line for _, line in numbered_lines(read_text(path)) if line)
    return _MARK.search(next(lines, "")) is not None


def read_image_sets(
    lists: Iterable[Path],
    annotations: Mapping[Path, Path],
    pictures: Mapping[Path, Sequence[Path]],
    reading: ReadingRecord,
) -> ImageSet:
    """Read the pictures that some image sets name, each once; missing ones are reported.

    Lists of a single class mark pictures without it by -1; these are left out.

    Args:
        lists: the image sets, as text files.
        annotations: the data set's annotations by stem: see `Folders.annotations_by_stem`.
        pictures: the data set's pictures by stem: see `Folders.pictures_by_stem`.
        reading: the record to which problems are reported.

    Raises:
        DatasetError: a list cannot be read.
    """
    found: dict[Path, None] = {}
    bare: dict[Path, None] = {}
    for path in lists:
        own = dict(_lines(path))
        places = {number: _place(name, annotations) for number, name in own.items()}
        found |= {annotations[place]: None for place in places.values() if place is not None}
        is_annotated = any(place is not None for place in places.values())
        for number in (number for number, place in places.items() if place is None):
            place = _place(own[number], pictures) if is_annotated else None
            if place is None:
                error = DatasetError(f"no such annotation: {shown(own[number])}.xml")
                reading.skip(error, path, number)
            else:
                bare[pictures[place][0]] = None
    if bare:
        message = (
            f"no annotation for {len(bare)} of {len(bare) + len(found)} pictures of its image "
            f"sets, which count as empty, the first is {next(iter(bare))}"
        )
        reading.skip(DatasetError(message), reading.source)
    return ImageSet(list(found), list(bare))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line, without marks."""
    for number, line in numbered_lines(read_text(path)):
        mark = _MARK.search(line)
        if line and not (mark and mark[1] == "-1"):
            yield number, _MARK.sub("", line)


def _place(name: str, known: Mapping[Path, object]) -> Path | None:
    """Return the stem that a line stands for: some tools write paths, or the picture's suffix."""
    places = (Path(tail) for tail in tails(name))
    if is_picture(name):
        places = (place.with_suffix("") for place in places)
    return next((place for place in places if place in known), None)
