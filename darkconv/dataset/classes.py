"""Match the classes of labels with the classes of models, and rename classes."""

import difflib
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from darkconv.core.names import Names, distinct_names, find_name, same_name
from darkconv.core.spellings import matching_names
from darkconv.darknet.data import Expected, read_names, require_encoding
from darkconv.dataset.sample import Dataset
from darkconv.encodings import keeps_bytes
from darkconv.errors import DatasetError, Where


@dataclass(frozen=True)
class UnknownClass:
    """A class of labels that a model does not have.

    Attributes:
        name: the name of the class.
        boxes: the number of its boxes, which are left out.
        nearest: the classes of the model with the most similar names.
    """

    name: str
    boxes: int
    nearest: tuple[str, ...]

    def __str__(self) -> str:
        """Return a message with what the user can do."""
        boxes = "1 box of it is" if self.boxes == 1 else f"{self.boxes:,} boxes of it are"
        nearest = f" (the nearest are {', '.join(self.nearest)})" if self.nearest else ""
        return (
            f"the model has no class {self.name}{nearest}, so {boxes} left out; "
            f"--rename {self.renaming} counts them"
        )

    @property
    def renaming(self) -> str:
        """Return the value of --rename that makes the boxes count, as a shell takes it."""
        return shlex.quote(f"{self.name}={self.nearest[0] if self.nearest else 'CLASS'}")


def matched(dataset: Dataset, names: Sequence[str]) -> tuple[Dataset, dict[str, str]]:
    """Return a data set with a model's spelling of class names, and the names that were changed.

    If several classes of the model share a name, each gets the boxes of its own number, provided
    that the data set's list shares the name in the same way: see `distinct_names`.

    Args:
        dataset: a data set whose class names may be spelled in another way than the model's.
        names: the class names of the model.

    Returns:
        The data set, and the new names by the old ones.
    """
    mapping = matching_names(dataset.names, distinct_names(names))
    return (dataset.renamed(mapping) if mapping else dataset), mapping


def unknown_classes(dataset: Dataset, names: Sequence[str]) -> tuple[UnknownClass, ...]:
    """Return the classes with boxes that a model does not have, those with most boxes first.

    Args:
        dataset: a data set whose class names are spelled as the model's: see `matched`.
        names: the class names of the model.
    """
    counts = Counter(name for sample in dataset.samples for name in sample.names)
    names = distinct_names(names)
    known = set(map(same_name, names))
    by_case = {name.casefold(): name for name in names}
    return tuple(
        UnknownClass(
            name,
            count,
            tuple(by_case[one] for one in difflib.get_close_matches(name.casefold(), by_case, 3)),
        )
        for name, count in counts.most_common()
        if same_name(name) not in known
    )


def names_for_model(dataset: Dataset, count: int, file: str) -> Names:
    """Return the class names of a model that has none, from a data set with numbered labels.

    Args:
        dataset: the data set, whose labels have to be indices into one list of names.
        count: the number of classes of the model.
        file: the model's file, for messages.

    Raises:
        DatasetError: the labels are names, or the list has another number of names.
    """
    numbers = Names(map(str, range(count)))
    if all(name.isdecimal() for name in dataset.names) and set(dataset.names) <= set(numbers):
        return numbers
    is_numbered = bool(dataset.layouts) and all(one.numbered for one in dataset.layouts)
    if is_numbered and len(dataset.names) == count:
        files = {file for layout in dataset.layouts for file in layout.names_from}
        own = read_names(next(iter(files))) if len(files) == 1 else dataset.names
        return Names.of(own if distinct_names(own) == dataset.names else dataset.names)
    found = f"{len(dataset.names)} of {dataset.source}"
    raise DatasetError(
        where=Where(file=file),
        expected=f"names for {count} classes",
        found=found if is_numbered else f"none, and labels with names in {dataset.source}",
        hint="--names FILE names the model's classes",
    )


def renamed(dataset: Dataset, mapping: Mapping[str, str], *, partly: bool = False) -> Dataset:
    """Return a data set with other class names; two classes may get the same one.

    Args:
        dataset: the data set whose `names` are searched for the old names.
        mapping: the new names by the old ones.
        partly: ignore old names that the data set does not have.

    Raises:
        DatasetError: the data set has no class of an old name.
    """
    unknown = [name for name in mapping if find_name(dataset.names, name) is None]
    if unknown and not partly:
        listed = ", ".join(dataset.names[:20])
        raise DatasetError(
            f"no label is of the class {', '.join(unknown)}, which is to be renamed",
            where=Where(file=dataset.source),
            expected=f"one of {listed}" if listed else "labels",
        )
    return dataset.renamed(mapping)


def decoded_splits(
    parts: Mapping[str | None, Dataset], expected: Expected
) -> dict[str | None, Dataset]:
    """Return splits whose class names are decoded where they are bytes rather than UTF-8 text.

    Args:
        parts: the data set of each split.
        expected: the encoding that the user gave, and whether reading has used it.

    Raises:
        DatasetError: the encoding is unknown, no name is bytes, or a name is not text in it.
    """
    where, encoding = Where(file=next(iter(parts.values())).source), expected.encoding or ""
    require_encoding(encoding, where)
    has_bytes = any(keeps_bytes(name) for part in parts.values() for name in part.names)
    if not has_bytes and not expected.is_used:
        raise DatasetError(
            "names_encoding: its class names are text already, with nothing to decode", where=where
        )
    found = {split: part.decoded(encoding) for split, part in parts.items()}
    left = [name for part in found.values() for name in part.names if keeps_bytes(name)]
    if left:
        raise DatasetError(f"names_encoding: is no text in {encoding}", where=where, found=left[0])
    return found


def renamed_splits(
    parts: Mapping[str | None, Dataset], mapping: Mapping[str, str]
) -> dict[str | None, Dataset]:
    """Return splits with other class names.

    Args:
        parts: the data set of each split.
        mapping: the new names by the old ones.

    Raises:
        DatasetError: no split has a class of an old name.
    """
    known = {name for part in parts.values() for name in part.names}
    first = next(iter(parts.values()))
    renamed(replace(first, names=tuple(known)), mapping)
    return {split: renamed(part, mapping, partly=True) for split, part in parts.items()}
