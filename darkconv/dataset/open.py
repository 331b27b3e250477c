"""open_dataset: any source of pictures, recognised by what it is and how it is laid out."""

import functools
import glob
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from darkconv.darknet.data import read_data, read_names
from darkconv.dataset import darknet, voc
from darkconv.dataset.coco import read_coco
from darkconv.dataset.label import problem, shown
from darkconv.dataset.lines import has_boxes, read_lines
from darkconv.dataset.paths import Bounds, above, read_text, walk_pictures
from darkconv.dataset.sample import Dataset
from darkconv.detection.image_file import is_picture
from darkconv.errors import DatasetError, Where
from darkconv.files import PathLike

KINDS = (
    "a source is a picture, a folder, a pattern such as 'photos/*.jpg', or a file that ends in "
    ".data, .txt, .list, .xml or .json"
)
DATA_KEYS = ("valid", "train")
"""Of a .data file, the first that it has counts."""

SPLIT_KEYS = {"val": "valid"}  # VOC's word -> Darknet's

MOST_CLASSES = 100_000  # of a .data file without names
MOST_DIGITS = 10


@dataclass(frozen=True)
class Options:
    """How to read a source.

    Attributes:
        names: class names of Darknet's indices, or None.
        split: part of the source to read, or None for its own choice.
        outside: whether files may name paths outside the data set's folder.
    """

    names: tuple[str, ...] | None
    split: str | None
    outside: bool


def open_dataset(
    source: PathLike | Sequence[PathLike],
    *,
    names: PathLike | Sequence[str] | None = None,
    split: str | None = None,
    outside: bool = False,
) -> Dataset:
    """Find the pictures of a source and their boxes. Pictures are not read, save for sizes.

    Kinds of sources:
    - a picture, a pattern (`photos/**/*.jpg`), or a folder, searched to the bottom. The labels
      are Darknet's: `images/a.jpg` has `labels/a.txt`, or `a.txt` beside it. Where there are
      none, VOC files beside the pictures count;
    - a folder of VOC: `Annotations` and `JPEGImages`, or `annotations` and `images`;
    - `.data`, Darknet's description of a data set: the list under `valid`, else `train`;
    - `.txt` or `.list`: a picture a line, or `image xmin,ymin,xmax,ymax,label ...`, told apart
      by the commas. Paths are relative to the list, to the .data file or to the working folder;
    - `.xml`, one annotation of VOC; `.json`, a data set of COCO;
    - several of these: a picture that two of them have is taken from the first.

    What cannot be used is skipped and told in `problems`.

    Args:
        source: path, pattern, or several.
        names: class names in the order of Darknet's indices, or a file of them. Without, they
            come from the .data file, or from the one .names file (or classes.txt) in the folder
            of the source or above it; else a class is named by its index.
        split: `train`, `valid` ...: which list of a .data file, or which image set of VOC.
            Other sources have no parts and are read as a whole.
        outside: follow paths in the source's files that lead outside the folder above the file
            that names them. Absolute paths in a list are no exception.

    Raises:
        DatasetError: a source does not exist, is of no known kind, or has no usable picture.
        MissingDependencyError: Darknet's labels need picture sizes, and Pillow is not installed.
    """
    own = read_names(names).names if isinstance(names, str | os.PathLike) else names
    options = Options(tuple(own) if own else None, split, outside)
    several = [source] if isinstance(source, str | os.PathLike) else source
    sources = list(dict.fromkeys(os.fspath(one) for one in several))
    if not sources:
        raise DatasetError("no source of pictures", hint=KINDS)
    parts: list[Dataset] = []
    for are_pictures, run in groupby(sources, _is_picture_file):
        if are_pictures:
            parts.append(_required(_open_pictures(list(map(Path, run)), options)))
        else:
            parts += (_required(_open_one(one, options)) for one in run)
    return unite(parts, _several(sources))


def unite(parts: Sequence[Dataset], source: str) -> Dataset:
    """One data set of several; a picture that occurs in two is taken from the first."""
    if len(parts) == 1:
        return replace(parts[0], source=source)
    samples = []
    taken: set[str] = set()
    for part in parts:
        paths = [os.path.abspath(sample.image) for sample in part.samples]
        pairs = zip(paths, part.samples, strict=True)
        samples += [sample for path, sample in pairs if path not in taken]
        taken.update(paths)
    return Dataset(
        samples=tuple(samples),
        names=tuple(dict.fromkeys(name for part in parts for name in part.names)),
        source=source,
        problems=tuple(line for part in parts for line in part.problems),
    )


def _several(sources: Sequence[str]) -> str:
    return sources[0] if len(sources) == 1 else f"{sources[0]} and {len(sources) - 1} more"


def _is_picture_file(path: str) -> bool:
    return is_picture(path) and os.path.isfile(path)


def _required(dataset: Dataset) -> Dataset:
    """A data set that has pictures.

    Raises:
        DatasetError: it has none; the hint tells the first problem.
    """
    if dataset.samples:
        return dataset
    where = Where(file=dataset.source)
    if not dataset.problems:
        raise DatasetError("holds no pictures", where=where, hint=KINDS)
    count = len(dataset.problems)
    hint = dataset.problems[0] if count == 1 else f"{count} problems: {dataset.problems[0]} ..."
    raise DatasetError("no picture can be used", where=where, hint=hint)


def _open_one(source: str, options: Options) -> Dataset:
    """A source that is no picture, or one that does not exist."""
    path = Path(source)
    if source and os.path.isdir(path):
        return _open_folder(path, options)
    if os.path.isfile(path):
        if path.suffix.lower() not in _READERS:
            raise DatasetError("is no data set", where=Where(file=source), hint=KINDS)
        return _READERS[path.suffix.lower()](path, options)
    if glob.has_magic(source):
        return _open_pattern(source, options)
    hint = None if path.is_absolute() else f"looked in {Path.cwd()}"
    raise DatasetError("no such file or folder", where=Where(file=source or "''"), hint=hint)


def _open_pattern(pattern: str, options: Options) -> Dataset:
    images = sorted(filter(_is_picture_file, glob.iglob(pattern, recursive=True)))
    if not images:
        raise DatasetError("no picture matches the pattern", where=Where(file=pattern))
    return replace(_open_pictures(list(map(Path, images)), options), source=pattern)


def _open_pictures(images: Sequence[Path], options: Options) -> Dataset:
    """Pictures that exist; the names of each come from its own folder."""
    source = _several([str(image) for image in images])
    if options.names:
        return darknet.read_pictures(images, options.names, source=source)
    names_of = functools.cache(darknet.names_near)
    groups = groupby(images, lambda image: names_of(image.parent))
    parts = [darknet.read_pictures(group, names, source=source) for names, group in groups]
    return unite(parts, source)


def _open_folder(path: Path, options: Options) -> Dataset:
    folders = voc.Folders.inside(path)
    if folders:
        return _open_voc(path, folders, options)
    images = walk_pictures(path)
    names = options.names or darknet.names_near(path)
    dataset = darknet.read_pictures(images, names, source=str(path))
    if dataset.labelled:
        return dataset
    if any(os.path.isfile(image.with_suffix(".xml")) for image in images):
        return voc.read_voc(
            voc.Folders(path, path), None, options.names, outside=options.outside, source=str(path)
        )
    unread = sorted([*path.glob("*.json"), *(path / "annotations").glob("*.json")])
    error = "is not read with its folder: open the file itself for its labels"
    lines = [problem(DatasetError(error), file) for file in unread]
    return _with_problems(lines, dataset)


def _open_voc(root: Path, folders: voc.Folders, options: Options) -> Dataset:
    """A VOC folder, or one of its image sets."""
    listed = voc.split_file(root, options.split) if options.split else None
    files, problems = voc.read_split(listed, folders.annotations) if listed else (None, [])
    dataset = voc.read_voc(folders, files, options.names, outside=options.outside, source=str(root))
    return _with_problems(problems, dataset)


def _open_annotation(path: Path, options: Options) -> Dataset:
    folders = voc.Folders.of(path)
    return voc.read_voc(folders, [path], options.names, outside=options.outside, source=str(path))


def _open_coco(path: Path, options: Options) -> Dataset:
    return read_coco(path, options.names, outside=options.outside, source=str(path))


def _open_data(path: Path, options: Options) -> Dataset:
    """A .data file: its list and its names."""
    data = read_data(path)
    present = [key for key in DATA_KEYS if key in data]
    split = SPLIT_KEYS.get(options.split or "", options.split)
    key = split or (present[0] if present else "")
    where = Where(file=str(path), option=key or None)
    if key not in data:
        found = ", ".join(present) or "neither"
        raise DatasetError(where=where, expected=f"{key or 'valid or train'} =", found=found)
    if not data[key]:
        raise DatasetError(where=where, expected="a list of pictures", found="nothing")
    bounds = Bounds.around(path, outside=options.outside)
    try:
        listed = bounds.find(data[key], _bases(path), what="list")
    except DatasetError as error:
        raise error.at(where) from None
    problems: list[str] = []
    names = options.names or _data_names(path, data, bounds, problems)
    return _with_problems(
        problems, replace(_open_list(listed, replace(options, names=names), path), source=str(path))
    )


def _data_names(
    path: Path, data: dict[str, str], bounds: Bounds, problems: list[str]
) -> tuple[str, ...] | None:
    """The names that a .data file tells; the indices where it tells only how many."""
    names, count = None, None
    try:
        count = _data_classes(data)
    except DatasetError as error:
        problems.append(problem(error, path, part="classes"))
    try:
        if "names" in data:
            names = read_names(bounds.find(data["names"], _bases(path), what="file")).names
    except DatasetError as error:
        problems.append(problem(error, path, part="names"))
    if names and count and count != len(names):
        expected = f"{len(names)}, as many as there are names"
        problems.append(problem(DatasetError(expected=expected, found=count), path, part="classes"))
    if names or not count or count > MOST_CLASSES:
        return names
    return tuple(map(str, range(count)))


def _data_classes(data: dict[str, str]) -> int | None:
    """How many classes a .data file tells.

    Raises:
        DatasetError: no whole number above 0.
    """
    text = data.get("classes")
    if text is None:
        return None
    if not text.isdecimal() or len(text) >= MOST_DIGITS or int(text) == 0:
        raise DatasetError(expected="a whole number above 0", found=shown(text) or "nothing")
    return int(text)


def _bases(*files: Path) -> list[Path]:
    """What the paths in a file may be relative to: the first that has the file counts."""
    folders = [file.parent for file in files]
    return list(dict.fromkeys((*folders, Path(), *map(above, folders))))


def _open_list(path: Path, options: Options, data: Path | None = None) -> Dataset:
    """A list of pictures, with or without boxes; `data` is the .data file that names it."""
    if path.absolute().parent.parts[-2:] == voc.SPLITS.parts:
        root = path.absolute().parents[2]
        folders = voc.Folders.inside(root)
        if folders:
            return _open_voc(root, folders, replace(options, split=path.stem))
    files = (path, data) if data else (path,)
    bounds, bases = Bounds.around(*files, outside=options.outside), _bases(*files)
    names = options.names or darknet.names_near(path.parent)
    if has_boxes(read_text(path)):
        return read_lines(path, names, bases=bases, bounds=bounds, source=str(path))
    images, problems = darknet.read_list(path, bases, bounds)
    return _with_problems(problems, darknet.read_pictures(images, names, source=str(path)))


def _with_problems(problems: Iterable[str], dataset: Dataset) -> Dataset:
    """Problems that came before those of reading."""
    return replace(dataset, problems=(*problems, *dataset.problems))


_READERS: dict[str, Callable[[Path, Options], Dataset]] = {
    ".data": _open_data,
    ".txt": _open_list,
    ".list": _open_list,
    ".xml": _open_annotation,
    ".json": _open_coco,
}
