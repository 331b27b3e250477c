"""Read Darknet's .data files."""

from dataclasses import replace
from pathlib import Path

from darkconv.darknet.data import read_data, read_names
from darkconv.dataset.label import parse_count
from darkconv.dataset.listed import ListDescription, read_listed
from darkconv.dataset.locate import Locator
from darkconv.dataset.names import NamesNear
from darkconv.dataset.reading import ReadingRecord
from darkconv.dataset.sample import Dataset
from darkconv.dataset.source import DatasetSource, Options
from darkconv.dataset.splits import TRAIN, VALID
from darkconv.errors import DatasetError, Where

FORM = "Darknet's .data"
LISTS = ("train", "valid", "val", "test")
LIST_SUFFIXES = (".txt", ".list")
DIFFICULT = "difficult"
"""The key of the difficult labels of `valid`; other splits have `difficult_train` and so on."""
OTHERS = ("classes", "names", "labels", "backup", "results", "eval", "top", "map")
"""The keys of a .data file that do not name a list of pictures."""


def data_source(path: Path, options: Options) -> DatasetSource:
    """Return the source of a .data file.

    Args:
        path: the .data file; its lists are read when a split is opened.
        options: the options of reading.

    Raises:
        DatasetError: the file cannot be read, or names no list of pictures.
    """
    data = read_data(path)
    splits = data_splits(data)
    if not splits:
        where = Where(file=str(path))
        raise DatasetError(where=where, expected="valid or train =", found="neither")

    def read(split: str | None) -> Dataset:
        return _read(path, data, split or _default(splits), options, is_default=split is None)

    return DatasetSource(str(path), read, splits)


def data_splits(data: dict[str, str]) -> tuple[str, ...]:
    """Return the keys of a .data file that name lists of pictures.

    Args:
        data: the keys and values of the file.
    """
    return tuple(
        key
        for key, value in data.items()
        if key in LISTS
        or (
            value.lower().endswith(LIST_SUFFIXES)
            and key not in OTHERS
            and not key.startswith(DIFFICULT)
        )
    )


def _default(splits: tuple[str, ...]) -> str:
    """Return the list to read by default: `valid`, as in Darknet's `detector map`, or `train`."""
    return next((key for key in (VALID, "val", TRAIN) if key in splits), splits[0])


def _read(
    path: Path, data: dict[str, str], key: str, options: Options, *, is_default: bool
) -> Dataset:
    """Read a list of a .data file."""
    reading = ReadingRecord(str(path))
    if is_default and key not in (VALID, "val"):
        reading.note(f"{path}: has no valid =, so the list of its {key} = is read")
    if not data[key]:
        where = Where(file=str(path), option=key)
        raise DatasetError(where=where, expected="a list of pictures", found="nothing")
    listed = _named(path, data, key, options, reading)
    difficult = None
    for option in (DIFFICULT, f"{DIFFICULT}_{key}")[key not in (VALID, "val") :]:
        if data.get(option):
            difficult = _named(path, data, option, options, reading)
    names_of = NamesNear(_names(path, data, options, reading), listed.parent, reading)
    naming = ListDescription(files=(path,), difficult=difficult)
    dataset = read_listed([listed], names_of, options, naming, reading, form=FORM)
    (layout,) = dataset.layouts
    return replace(dataset, layouts=(replace(layout, split=key),))


def _named(
    path: Path, data: dict[str, str], key: str, options: Options, reading: ReadingRecord
) -> Path:
    """Return the file that a key names.

    Raises:
        DatasetError: the file does not exist, or lies outside the bounds.
    """
    locator = Locator(path, outside=options.outside, reading=reading)
    try:
        return locator.find(data[key], what="file" if key == "names" else "list")
    except DatasetError as error:
        if key == "names":
            error.hint = "--data-names FILE (in Python names=) names the classes of the labels"
        raise error.at(Where(file=str(path), option=key)) from None


def _names(
    path: Path, data: dict[str, str], options: Options, reading: ReadingRecord
) -> tuple[str, ...] | None:
    """Return the class names, or the indices as texts if only the number of classes is stated.

    Raises:
        DatasetError: the names file does not exist, or cannot be read.
    """
    if options.names:
        return options.names
    count = None
    try:
        count = parse_count(data["classes"]) if "classes" in data else None
    except DatasetError as error:
        reading.skip(error, path, part="classes")
    if not data.get("names"):
        return tuple(map(str, range(count))) if count else None
    file = _named(path, data, "names", options, reading)
    names = read_names(file).names
    reading.found_names(file)
    if count and count != len(names):
        expected = f"{len(names)}, as many as there are names"
        reading.skip(DatasetError(expected=expected, found=count), path, part="classes")
    return names
