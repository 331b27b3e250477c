"""The function open_dataset: open any source of pictures, whose layout is recognised."""

import contextlib
import glob
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

from darkconv.arguments import checked
from darkconv.darknet.data import Expected, names_in, read_names
from darkconv.dataset import voc
from darkconv.dataset.classes import decoded_splits, renamed
from darkconv.dataset.coco import coco_source
from darkconv.dataset.darknet import read_pictures
from darkconv.dataset.data_file import data_source
from darkconv.dataset.folder import PICTURES, described_source, folder_source, form_of
from darkconv.dataset.listed import list_source
from darkconv.dataset.names import NamesNear
from darkconv.dataset.reading import ReadingRecord
from darkconv.dataset.sample import Dataset
from darkconv.dataset.source import DatasetSource, Options
from darkconv.dataset.splits import ALIASES, canonical
from darkconv.dataset.union import unite
from darkconv.errors import DatasetError, Where
from darkconv.files import PathLike
from darkconv.files.outputs import note_pictures
from darkconv.pictures.image_file import is_picture

KINDS = (
    "a source is a picture, a folder, a pattern such as 'photos/*.jpg', or a file that ends in "
    ".yaml, .data, .txt, .list, .xml or .json"
)

ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")


@checked
def open_dataset(
    source: PathLike | Sequence[PathLike],
    *,
    split: str | None = None,
    names: PathLike | Sequence[str] | None = None,
    rename: Mapping[str, str] | None = None,
    images: PathLike | None = None,
    outside: bool = False,
    names_encoding: str | None = None,
) -> Dataset:
    """Find the pictures of a source and their boxes, in any layout that labelling tools write.

    Kinds of sources:
    - a picture, a pattern (`photos/**/*.jpg`), or a folder, which is searched recursively;
    - `data.yaml`, as Ultralytics, Roboflow, CVAT and Label Studio write it, or its folder;
    - `.data`, Darknet's description of a data set: the list under `valid`, else `train`;
    - `.txt` or `.list`: a picture on each line, or `image xmin,ymin,xmax,ymax,label ...`, which is
      known by its commas. Paths are relative to the list, the .data file or the working folder;
    - a folder of Pascal VOC, or `.xml`, one annotation of it;
    - `.json`, a COCO data set, or its folder;
    - a folder of LabelImg, labelme, Yolo_mark, makesense, DarkMark, OIDv4 or FiftyOne;
    - a folder that holds nothing but one of these, such as an unpacked archive;
    - several of these: a picture that occurs in two of them is taken from the first.

    Boxes are scaled to the picture if they were made for another size, and clipped at its borders;
    see `changes`. What cannot be used is skipped and reported in `problems`.

    Args:
        source: a path, a pattern, or several of them.
        split: the split to read: an entry of `data.yaml`, a list of a .data file, an image set of
            VOC, a sub-folder; `val` and `valid` are the same. None reads all of the source, and of
            a .data file `valid`.
        names: the class names in the order of Darknet's indices, or a file of them. None takes
            those of the source; if it has none, a class is named by its index.
        rename: new class names by the old ones; several classes may get the same name.
        images: the folder with the pictures, if the source's own paths lead nowhere.
        outside: follow paths in the source's files that lead outside the folder above the file that
            names them. Absolute paths in a list are no exception.
        names_encoding: the encoding of class names that are not UTF-8, such as "gbk"; None keeps
            their bytes.

    Returns:
        The pictures with their boxes, xyxy in pixels, and the class names.

    Raises:
        DatasetError: a source does not exist, is of no known kind, lacks the split or a class to
            rename, or has no usable picture; or no class name is in the encoding.
        MissingDependencyError: Pillow, which reads the sizes of pictures, or PyYAML, which reads
            descriptions in YAML, is not installed.

    Example:
        >>> import darkconv as dc
        >>> from darkconv.assets import digits10_folder
        >>> folder = digits10_folder()
        >>> data = dc.open_dataset(folder / "digits10.data", split="valid", rename={"one": "uno"})
        >>> len(data), data.names[1]
        (30, 'uno')
    """
    several = [source] if isinstance(source, str | os.PathLike) else source
    with _naming(names_encoding) as expected:
        options = _options(names, images, outside=outside)
        parts = [_required(one.open(split)) for one in _sources(several, options)]
    dataset = _named_by(names, unite(parts, _several([os.fspath(one) for one in several])))
    note_pictures(sample.image for sample in dataset.samples)
    if expected:
        dataset = decoded_splits({None: dataset}, expected)[None]
    return renamed(dataset, rename) if rename else dataset


def open_splits(
    source: PathLike | Sequence[PathLike],
    *,
    split: str | None = None,
    names: PathLike | Sequence[str] | None = None,
    images: PathLike | None = None,
    outside: bool = False,
    names_encoding: str | None = None,
) -> dict[str | None, Dataset]:
    """Open each split of a source; None stands for a source without splits, or for several sources.

    A split that cannot be read, and pictures that are in no split, are reported as problems.

    Args:
        source: a path, a pattern, or several of them: see `open_dataset`.
        split: the only split to open; None opens all.
        names: the class names by index, or a file of them: see `open_dataset`.
        images: the folder with the pictures: see `open_dataset`.
        outside: follow paths that lead outside the data set's folder: see `open_dataset`.
        names_encoding: the encoding of class names that are not UTF-8: see `open_dataset`.

    Returns:
        The data set of each split.

    Raises:
        DatasetError: as for `open_dataset`; or no split can be read.
    """
    several = [source] if isinstance(source, str | os.PathLike) else source
    with _naming(names_encoding) as expected:
        opened = _opened(several, _options(names, images, outside=outside), split)
    note_pictures(sample.image for one in opened.values() for sample in one.samples)
    opened = {name: _named_by(names, one) for name, one in opened.items()}
    return decoded_splits(opened, expected) if expected else opened


def _named_by(names: PathLike | Sequence[str] | None, dataset: Dataset) -> Dataset:
    """Return a data set whose layouts state the file of names that the user gave."""
    if not isinstance(names, str | os.PathLike):
        return dataset
    file = (os.fspath(names),)
    layouts = (replace(one, names_from=one.names_from or file) for one in dataset.layouts)
    return replace(dataset, layouts=tuple(layouts))


def _naming(encoding: str | None) -> contextlib.AbstractContextManager[Expected | None]:
    return contextlib.nullcontext() if encoding is None else names_in(encoding)


def _opened(
    several: Sequence[PathLike], options: Options, split: str | None
) -> dict[str | None, Dataset]:
    found = list(_sources(several, options))
    if len(found) == 1 and (found[0].splits or split is not None):
        return _each_split(found[0], split)
    parts = [_required(one.open(split)) for one in found]
    return {split: unite(parts, _several([os.fspath(one) for one in several]))}


def _each_split(source: DatasetSource, split: str | None) -> dict[str | None, Dataset]:
    """Open the splits of a source, or one split with the class names of all.

    VOC has no list of names: without the names of the other splits, class indices would differ.
    """
    if split is not None:
        one = _required(source.open(split))
        every = _each_split(source, None).values()
        names = dict.fromkeys(name for part in (*every, one) for name in part.names)
        return {one.layouts[0].split: replace(one, names=tuple(names))}
    opened: dict[str | None, Dataset] = {}
    errors = []
    for name in source.splits:
        try:
            opened[name] = source.open(name)
        except DatasetError as error:
            errors.append(error)
    if not opened:
        raise errors[0]
    problems = [str(error).replace("\n", " ") for error in errors]
    whole = source.open(None)
    if all(layout.split is None for layout in whole.layouts):
        taken = {sample.image for part in opened.values() for sample in part.samples}
        left = [sample.image for sample in whole.samples if sample.image not in taken]
        if left and not ALIASES.keys() & set(map(canonical, source.splits)):
            return {None: whole}  # sub-folders that are no splits, beside pictures
        if left:
            problems.append(
                f"{source.path}: {len(left)} of {len(whole)} pictures are in no split and are left "
                f"out, the first is {left[0]}"
            )
    first = next(iter(opened))
    opened[first] = replace(opened[first], problems=(*opened[first].problems, *problems))
    return opened


def list_splits(source: PathLike, *, outside: bool = False) -> tuple[str, ...]:
    """Return the names of a source's splits.

    Args:
        source: a path or a pattern: see `open_dataset`.
        outside: follow paths that lead outside the data set's folder: see `open_dataset`.

    Raises:
        DatasetError: as for `open_dataset`.
    """
    found = list(_sources([source], Options(outside=outside)))
    return found[0].splits if len(found) == 1 else ()


def _options(
    names: PathLike | Sequence[str] | None, images: PathLike | None, *, outside: bool
) -> Options:
    own = read_names(names).names if isinstance(names, str | os.PathLike) else names
    folder = None if images is None else Path(images)
    if folder is not None and not folder.is_dir():
        raise DatasetError("is no folder of pictures", where=Where(file=str(images)))
    own = None if own is None else tuple(own)
    return Options(names=own or None, images=folder, outside=outside)


def _sources(several: Sequence[PathLike], options: Options) -> Iterator[DatasetSource]:
    """Yield the sources of some paths; consecutive pictures form one source."""
    paths = list(dict.fromkeys(os.fspath(one) for one in several))
    if not paths:
        raise DatasetError("no source of pictures", hint=KINDS)
    for are_pictures, run in groupby(paths, _is_picture_file):
        if are_pictures:
            images = list(map(Path, run))
            yield _pictures(images, _several([str(image) for image in images]), options)
        else:
            yield from (recognise(one, options) for one in run)


def _several(sources: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(sources))
    return distinct[0] if len(distinct) == 1 else f"{distinct[0]} and {len(distinct) - 1} more"


def _is_picture_file(path: str) -> bool:
    return is_picture(path) and os.path.isfile(path)


def _required(dataset: Dataset) -> Dataset:
    """Return a data set after checking that it has pictures.

    Raises:
        DatasetError: it has none; the hint states the first problem.
    """
    if dataset.samples:
        return dataset
    where = Where(file=dataset.source)
    if not dataset.problems:
        raise DatasetError("holds no pictures", where=where, hint=KINDS)
    count = len(dataset.problems)
    hint = dataset.problems[0] if count == 1 else f"{count} problems: {dataset.problems[0]} ..."
    if "no such picture" in hint:
        hint += "\n  --data-images DIR (in Python images=) says where the pictures lie"
    raise DatasetError("no picture can be used", where=where, hint=hint)


def recognise(source: str, options: Options) -> DatasetSource:
    """Return the source of a path that is not a picture.

    Args:
        source: the path, or a pattern.
        options: the options of reading.

    Raises:
        DatasetError: the path does not exist, or is of no known kind.
    """
    path = Path(source)
    if source and os.path.isdir(path):
        return folder_source(path, options)
    if os.path.isfile(path):
        reader = _READERS.get(path.suffix.lower())
        if reader is None and path.suffix.lower() in ARCHIVES:
            where, what_to_do = Where(file=source), "unpack it, and open the folder"
            raise DatasetError("is an archive", where=where, hint=what_to_do)
        if reader is None:
            raise DatasetError("is no data set", where=Where(file=source), hint=KINDS)
        return reader(path, options)
    if glob.has_magic(source):
        return _pattern(source, options)
    hint = None
    with contextlib.suppress(OSError):  # the working folder may be gone
        hint = None if path.is_absolute() else f"looked in {Path.cwd()}"
    raise DatasetError("no such file or folder", where=Where(file=source or "''"), hint=hint)


def _pattern(pattern: str, options: Options) -> DatasetSource:
    images = sorted(filter(_is_picture_file, glob.iglob(pattern, recursive=True)))
    if not images:
        raise DatasetError("no picture matches the pattern", where=Where(file=pattern))
    return _pictures(list(map(Path, images)), pattern, options)


def _pictures(images: Sequence[Path], source: str, options: Options) -> DatasetSource:
    """Return the source of pictures that exist; class names come from each picture's folder."""
    if options.images is not None:
        raise DatasetError(
            "are pictures themselves, so there is no folder to look for them in",
            where=Where(file=source),
            hint="leave out --data-images (in Python images=)",
        )

    def read(split: str | None) -> Dataset:
        reading = ReadingRecord(source)
        names_of = NamesNear(options.names, None, reading)
        samples = read_pictures(images, names_of, reading)
        form = form_of(reading) if reading.labels else PICTURES
        return reading.dataset(samples, names_of.all(), form=form, numbered=names_of.is_one_list)

    return DatasetSource(source, read)


_READERS: dict[str, Callable[[Path, Options], DatasetSource]] = {
    ".data": data_source,
    ".yaml": described_source,
    ".yml": described_source,
    ".txt": list_source,
    ".list": list_source,
    ".xml": voc.annotation_source,
    ".json": coco_source,
}
