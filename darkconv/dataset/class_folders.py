"""The function open_classified: pictures with one class each, from folders or Darknet's files."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from darkconv.core.names import distinct_names, same_name
from darkconv.darknet.data import names_in, read_data, read_names
from darkconv.dataset.data_file import data_splits
from darkconv.dataset.label import problem, shown
from darkconv.dataset.paths import Bounds, above, numbered_lines, read_text, walk_pictures
from darkconv.dataset.splits import ALIASES, TRAIN, canonical, find_split, match_split
from darkconv.encodings import encoded, keeps_bytes
from darkconv.errors import DatasetError, Where
from darkconv.files import PathLike
from darkconv.files.outputs import note_pictures

KINDS = "a source is a folder with one folder per class, or Darknet's .data, .txt or .list"


@dataclass(frozen=True)
class ClassifiedDataset:
    """A data set of pictures with one class each.

    Attributes:
        samples: path and class index, from 0, of each picture.
        names: the class names, in the order of their indices.
        source: the path that was opened.
        problems: what was skipped, a line each.
    """

    samples: tuple[tuple[Path, int], ...]
    names: tuple[str, ...]
    source: str
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.samples)


def open_classified(
    source: PathLike,
    names: PathLike | Sequence[str] | None = None,
    split: str | None = None,
    *,
    outside: bool = False,
    names_encoding: str | None = None,
) -> ClassifiedDataset:
    """Find the pictures of a source and their classes, without reading the pictures.

    Kinds of sources:
    - a folder: each folder in it is a class, and all pictures below belong to it. If the folder has
      a sub-folder with the name of the split, or `train` if no split is given, that one counts;
    - `.data`, Darknet's description: the list under the split, else under `train`. The class of a
      picture is the line of the `labels` file that occurs in its path in the list. Without
      `labels`, the lines of `names` count;
    - `.txt` or `.list`: a picture on each line, whose path holds the name of its class.

    If one label is part of another that occurs too, the longer one counts; C takes both.

    Args:
        source: the folder or file.
        names: the network's classes in its order, or a file of them; pictures of other classes are
            left out. None takes those of the source: its names, labels, or folders, sorted.
        split: the split to read, such as `train` or `valid`; it is an error if the source lacks it.
        outside: follow paths in the source's files that lead outside its folder: see
            `open_dataset`.
        names_encoding: the encoding of names in the source that are not UTF-8; None keeps their
            bytes.

    Raises:
        DatasetError: the source does not exist, is of no known kind, or has no usable picture.
    """
    path = Path(source)
    own = read_names(names).names if isinstance(names, str | os.PathLike) else names
    wanted = tuple(own) if own else None
    if os.path.isdir(path):
        dataset = _open_folder(path, wanted, split, names_encoding)
    elif not os.path.isfile(path):
        raise DatasetError("no such file or folder", where=Where(file=str(source)))
    elif path.suffix.lower() == ".data":
        dataset = _open_data(path, wanted, split, names_encoding, outside=outside)
    elif path.suffix.lower() in (".txt", ".list"):
        if split is not None:
            find_split(split, (), path)
        bounds = Bounds.around(path, outside=outside)
        labels = PathLabels.of(wanted or (), wanted)
        dataset = _read_list(path, labels, bounds, _bases(path))
    else:
        raise DatasetError("is no data set", where=Where(file=str(source)), hint=KINDS)
    note_pictures(image for image, _ in dataset.samples)
    return _required(replace(dataset, source=str(source)))


def _required(dataset: ClassifiedDataset) -> ClassifiedDataset:
    if dataset.samples:
        return dataset
    hint = dataset.problems[0] if dataset.problems else KINDS
    raise DatasetError("no picture can be used", where=Where(file=dataset.source), hint=hint)


def _decoded(names: Sequence[str], encoding: str | None) -> list[str]:
    """Return the names of folders, decoded if all of them are in an encoding or in UTF-8."""
    if encoding is None or not any(map(keeps_bytes, names)):
        return list(names)
    with contextlib.suppress(UnicodeError):
        return [encoded(name).decode(encoding) for name in names]
    return list(names)


def _open_folder(
    path: Path, names: tuple[str, ...] | None, split: str | None, encoding: str | None
) -> ClassifiedDataset:
    """Read a folder whose sub-folders are classes, or the folder of a split in it."""
    root = path / _split_folder(path, split)
    folders = _folders(root)
    called = _decoded([folder.name for folder in folders], encoding)
    known = names or tuple(sorted(called, key=_by_value))
    numbers = {same_name(name): number for number, name in enumerate(distinct_names(known))}
    samples: list[tuple[Path, int]] = []
    problems = []
    for folder, own in zip(folders, map(same_name, called), strict=True):
        found = walk_pictures(folder)
        if own in numbers:
            samples += ((image, numbers[own]) for image in found)
        elif found:
            several = sum(same_name(name) == own for name in known)
            which = f"{several} classes have the name" if several else "is none of the classes"
            error = f"{len(found)} pictures left out: {shown(folder.name)} {which}"
            problems.append(problem(DatasetError(error), folder))
    return ClassifiedDataset(tuple(samples), known, str(path), tuple(problems))


def _folders(path: Path) -> list[Path]:
    return [f for f in sorted(path.iterdir()) if f.is_dir() and not f.name.startswith(".")]


def _split_folder(path: Path, split: str | None) -> str:
    """Return the folder of a split; if no split is given, that of `train`, or "" for all.

    Raises:
        DatasetError: there is no folder of the split.
    """
    names = [folder.name for folder in _folders(path)]
    splits = [name for name in names if canonical(name) in ALIASES]
    if split is None:
        return match_split(TRAIN, splits) or ""
    return split if split in names else find_split(split, splits, path)


def _by_value(name: str) -> tuple[bool, int, str]:
    """Return a sort key that puts numbers, by their value, before other names."""
    return (False, len(name), name) if name.isdecimal() else (True, 0, name)


def _open_data(
    path: Path,
    names: tuple[str, ...] | None,
    split: str | None,
    encoding: str | None,
    *,
    outside: bool,
) -> ClassifiedDataset:
    """Read Darknet's description of a data set for its classifier."""
    data = read_data(path)
    splits = data_splits(data)
    key = (
        (match_split(TRAIN, splits) or TRAIN) if split is None else find_split(split, splits, path)
    )
    bounds, bases = Bounds.around(path, outside=outside), _bases(path)
    if key not in data:
        where = Where(file=str(path), option=key)
        raise DatasetError(where=where, expected=f"{key} =", found=", ".join(data) or "nothing")
    listed = _named(path, data, key, bounds, what="list")
    files = {
        option: _named(path, data, option, bounds, what="file")
        for option in ("labels", "names")
        if option in data
    }
    with names_in(None) if encoding else contextlib.nullcontext():  # as bytes, like the paths
        found = {option: read_names(file).names for option, file in files.items()}
    texts = found.get("labels") or found.get("names")
    if encoding:
        with names_in(encoding):
            found = {option: read_names(file).names for option, file in files.items()}
    called = found.get("names", ())
    if len(called) != len(texts or ()):
        called = found.get("labels") or called
    labels = PathLabels.of(texts or names or (), names, called)
    around = Bounds.around(listed, path, outside=outside)
    return _read_list(listed, labels, around, [*_bases(listed), *bases])


def _named(path: Path, data: Mapping[str, str], key: str, bounds: Bounds, *, what: str) -> Path:
    """Return the file that an option names.

    Raises:
        DatasetError: the file does not exist, or lies outside the bounds.
    """
    try:
        return bounds.find(data[key], _bases(path), what=what)
    except DatasetError as error:
        raise error.at(Where(file=str(path), option=key)) from None


def _bases(file: Path) -> list[Path]:
    """Return the folders to which the paths in a file may be relative."""
    return [file.parent, Path(), above(file.parent)]


def _read_list(
    path: Path, labels: "PathLabels", bounds: Bounds, bases: Sequence[Path]
) -> ClassifiedDataset:
    """Read a list with a picture on each line, whose class occurs in its path."""
    if not labels.numbers:
        raise DatasetError(
            "the classes of its pictures are not known",
            where=Where(file=str(path)),
            hint="give class names, or a .data file with labels",
        )
    samples, problems = [], []
    others = 0
    for line_number, line in numbered_lines(read_text(path)):
        try:
            number = labels.find(line) if line else None
            if number is not None:
                samples.append((bounds.find(line, bases), number))
            others += bool(line) and number is None
        except DatasetError as error:
            problems.append(problem(error, path, line_number))
    if others:
        left_out = f"{others} pictures left out: they are of none of the classes"
        problems.append(problem(DatasetError(left_out), path))
    return ClassifiedDataset(tuple(samples), labels.names, str(path), tuple(problems))


@dataclass(frozen=True)
class PathLabels:
    """The texts in a path that tell the class of a picture.

    Attributes:
        numbers: the class indices of each text; None for a class that the network lacks.
        names: the class names.
    """

    numbers: dict[str, tuple[int | None, ...]]
    names: tuple[str, ...]

    @classmethod
    def of(
        cls,
        texts: Sequence[str],
        names: tuple[str, ...] | None,
        display: Sequence[str] = (),
    ) -> "PathLabels":
        """Build the labels for a network's classes.

        Args:
            texts: the texts of the labels, as they occur in paths.
            names: the network's class names; None for those of the labels.
            display: the names of the labels, one for each text; () if they have none.
        """
        called = tuple(display) if len(display) == len(texts) else tuple(texts)
        known = names or called
        if called == known:
            places: list[int | None] = list(range(len(texts)))
        else:
            order = {same_name(name): n for n, name in reversed(list(enumerate(known)))}
            pairs = zip(map(same_name, called), map(same_name, texts), strict=True)
            places = [order.get(name, order.get(text)) for name, text in pairs]
        numbers: dict[str, tuple[int | None, ...]] = {}
        for text, place in zip(texts, places, strict=True):
            numbers[text] = (*numbers.get(text, ()), place)
        return cls(numbers, known)

    def find(self, path: str) -> int | None:
        """Return the class index of a path; None if the network lacks the class.

        Args:
            path: the path of a picture, as the list has it.

        Raises:
            DatasetError: no label occurs in the path, or several do.
        """
        found = set(self._occurring(path))
        longest = sorted(text for text in found if not any(text in o for o in found - {text}))
        numbers = [number for text in longest for number in self.numbers[text]]
        if len(numbers) != 1:
            several = f"{len(numbers)}: {', '.join(longest)}" if longest else "none"
            raise DatasetError(expected="one label in the path", found=shown(several))
        return numbers[0]

    def _occurring(self, path: str) -> Iterator[str]:
        for length in {len(text) for text in self.numbers}:
            places = range(len(path) - length + 1)
            yield from {path[i : i + length] for i in places} & self.numbers.keys()
