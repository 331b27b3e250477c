"""Read folders: recognise the tool that wrote a data set, and its splits by sub-folder or list."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from darkconv.darknet.data import read_data
from darkconv.dataset import voc
from darkconv.dataset.coco import PREFIX, is_coco_file, read_coco
from darkconv.dataset.darknet import SUFFIXES as TEXT_SUFFIXES
from darkconv.dataset.darknet import LabelFolders, find_labels, read_pictures
from darkconv.dataset.data_file import data_source, data_splits
from darkconv.dataset.description import find_description, find_descriptions, read_description
from darkconv.dataset.listed import LIST_WITH_BOXES, ListDescription, read_listed
from darkconv.dataset.names import LABEL_FOLDER, PICTURE_FOLDERS, NamesNear, holds_pictures
from darkconv.dataset.oidv4 import oidv4_source
from darkconv.dataset.paths import CACHES, above, files_in, named_in, walk_files, walk_pictures
from darkconv.dataset.reading import ReadingRecord
from darkconv.dataset.sample import Dataset
from darkconv.dataset.source import DatasetSource, Options
from darkconv.dataset.splits import ALIASES, canonical, match_split
from darkconv.dataset.ultralytics import yaml_source
from darkconv.dataset.union import unite
from darkconv.dataset.unread import OTHERS, has_labels, tell_of_orphans, tell_of_unread
from darkconv.errors import DatasetError, Where
from darkconv.pictures.image_file import is_picture

PARTS = (".yaml", ".yml", ".data", ".names", ".list", ".labels", *OTHERS)
"""The suffixes of files of a data set; a folder beside such a file is a part of the same set."""
PICTURES = "pictures without labels"
CONTAINERS = (*PICTURE_FOLDERS, "data", "img", "obj")
"""The names of picture folders that do not name a split, in lower case."""
LISTS_WITH_BOXES = ("_annotations.txt",)
"""Roboflow's list for Keras and for YOLOv4 in PyTorch, beside the pictures of each split."""
COCO_FOLDERS = ("annotations", "")
TOOLS = {
    "README.roboflow.txt": "Roboflow",
    "notes.json": "Label Studio",
    "obj_train_data": "CVAT's YOLO 1.1",
    "images.txt": "FiftyOne's YOLOv4",
}
"""The files and folders beside Darknet's labels by which tools are recognised."""
_PACKED = re.compile("obj_(.+)_data")


def folder_source(path: Path, options: Options) -> DatasetSource:
    """Return the source of a folder.

    Args:
        path: the folder; its pictures may lie in sub-folders.
        options: the options of reading.

    Raises:
        DatasetError: the folder cannot be read, or a description in it is broken.
    """
    own = _by_description(path, options)
    if own is not None:
        return own
    inner = _only_folder(path)
    if inner is not None and options.images is None:
        return replace(folder_source(inner, options), path=str(path))
    root = path if options.images is None else options.images
    images = walk_pictures(root)
    for elsewhere in _label_folders(path, options, images):
        if any(_has_labels(image, elsewhere) for image in images):
            return _darknet_source(path, images, elsewhere, options)
    return _other_source(path, images, options) or _darknet_source(path, images, None, options)


def described_source(path: Path, options: Options) -> DatasetSource:
    """Return the source of a `data.yaml`, or of its folder if the file states no splits.

    Args:
        path: the YAML file.
        options: the options of reading.

    Raises:
        DatasetError: the file cannot be read, or states neither splits nor class names.
    """
    description = read_description(path)
    if description.splits or not description.names:
        return yaml_source(path, options)
    own = replace(options, names=options.names or description.names)
    source = folder_source(path.parent, own)

    def read(split: str | None) -> Dataset:
        found = source.read(split)
        named = () if options.names else (str(path),)
        layouts = tuple(replace(one, names_from=named) for one in found.layouts)
        return replace(found, layouts=layouts)

    return replace(source, path=str(path), read=read)


def _other_source(path: Path, images: Sequence[Path], options: Options) -> DatasetSource | None:
    """Return the source of a folder with labels of other tools; None if none are recognised."""
    annotated = {file.with_suffix("") for file in walk_files(path) if _is_annotation(file)}
    if any(image.with_suffix("") in annotated for image in images):
        return _xml_source(path, images, options)
    for found in (
        _coco_source(path, options),
        oidv4_source(path, options),
        _listed_source(path, options),
    ):
        if found is not None:
            return found
    return _split_source(path, options)


def _has_labels(image: Path, elsewhere: LabelFolders | None) -> bool:
    found = find_labels(image, elsewhere)
    return found is not None and found.is_file()


def _by_description(path: Path, options: Options) -> DatasetSource | None:
    """Return the source of a folder with a `data.yaml`, or with the folders of VOC."""
    description = find_description(path)
    if description is not None:
        return replace(yaml_source(description, options), path=str(path))
    folders = voc.Folders.inside(path)
    return None if folders is None else voc.set_source(path, folders, options)


def _only_folder(path: Path) -> Path | None:
    """Return the only sub-folder of a folder with no data set files, as of an unpacked archive.

    A sub-folder with the name of a split or of a picture folder is a part of a data set itself.
    """
    entries = [one for one in sorted(path.iterdir()) if not one.name.startswith(".")]
    folders = [one for one in entries if one.is_dir() and one.name not in CACHES]
    is_bare = not any(one.suffix.lower() in PARTS or is_picture(one) for one in entries)
    if len(folders) != 1 or not is_bare or folders[0].is_symlink():
        return None
    name = folders[0].name.lower()
    known = (*CONTAINERS, *voc.ANNOTATION_FOLDERS, *voc.PICTURE_FOLDERS)
    is_part = name in known or canonical(name) in ALIASES
    return None if is_part else folders[0]


# Darknet's labels


def _label_folders(
    path: Path, options: Options, images: Sequence[Path]
) -> Iterator[LabelFolders | None]:
    """Yield the folders in which label files may lie apart from Darknet's places.

    makesense packs labels in `labels_PROJECT_DATE`. If the user names the folder of the pictures,
    the labels lie in the folder of the source.
    """
    root = path if options.images is None else options.images
    own = [path / LABEL_FOLDER, path] if options.images is not None else []
    yield LabelFolders.of(own, root, images) if own else None
    for folder in (path, above(path)) if holds_pictures(path.absolute().name) else (path,):
        packed = [one for one in sorted(folder.glob(f"{LABEL_FOLDER}_*")) if one.is_dir()]
        if len(packed) == 1:
            yield LabelFolders.of([*own, packed[0]], root, images)


def _darknet_source(
    path: Path, images: Sequence[Path], elsewhere: LabelFolders | None, options: Options
) -> DatasetSource:
    """Return the source of pictures with Darknet's labels, or without any labels."""
    root = path if options.images is None else options.images
    parts = by_folder(images, root)
    data = _data_file(path)
    lists = data_splits(read_data(data)) if data else ()
    others = tuple(name for name in lists if match_split(name, parts) is None)

    def read(split: str | None) -> Dataset:
        if data is not None and split in others:
            return data_source(data, options).read(split)
        reading = ReadingRecord(str(path))
        names_of = NamesNear(options.names, path, reading)
        chosen = images if split is None else parts[split]
        if not chosen:
            _require_no_labels(path)
        samples = read_pictures(chosen, names_of, reading, elsewhere=elsewhere)
        if split is None:
            tell_of_unread(path, samples, reading)
        else:
            tell_of_orphans(reading)
        _tell_of_unused(path, reading)
        form = (
            f"{form_of(reading)}{_tool(path, elsewhere, reading)}" if reading.labels else PICTURES
        )
        return reading.dataset(samples, names_of.all(), form=form, numbered=names_of.is_one_list)

    return DatasetSource(str(path), read, (*parts, *others))


def by_folder(images: Iterable[Path], root: Path) -> dict[str, list[Path]]:
    """Return pictures by the folder that names their split: `train/images` or `images/train`.

    CVAT's `obj_train_data` is `train`. Pictures in no such folder are left out.

    Args:
        images: pictures below `root`.
        root: the folder of the data set.
    """
    found: dict[str, list[Path]] = {}
    for image in images:
        folders = image.relative_to(root).parts[:-1]
        name = next((one for one in folders if one.lower() not in CONTAINERS), None)
        if name is not None:
            packed = _PACKED.fullmatch(name)
            found.setdefault(packed[1] if packed else name, []).append(image)
    return found


def _data_file(path: Path) -> Path | None:
    """Return the only .data file of a folder, whose lists are splits too."""
    found = files_in(path, ".data") or files_in(path / "data", ".data")
    return found[0] if len(found) == 1 else None


def _tool(path: Path, elsewhere: LabelFolders | None, reading: ReadingRecord) -> str:
    """Return the tool that wrote a folder, in brackets; "" if it is unknown."""
    tool = next((tool for name, tool in TOOLS.items() if (path / name).exists()), None)
    packed = {str(one) for one in (elsewhere.folders if elsewhere else ()) if "_" in one.name}
    if packed & reading.labels.keys():
        tool = "makesense"
    return f" ({tool})" if tool else ""


def form_of(reading: ReadingRecord) -> str:
    """Return a text that says by which tools the labels that were read were written.

    Args:
        reading: the record of reading.
    """
    forms = [f"{tool}'s files" for tool in reading.tools]
    if any(path.suffix in TEXT_SUFFIXES for path in reading.label_files):
        forms = ["Darknet's labels", *forms]
    return f"pictures with {' and '.join(forms)}"


def _require_no_labels(path: Path) -> None:
    """Check that a folder without pictures has no labels either.

    Raises:
        DatasetError: the folder has label files.
    """
    labels = [file for file in walk_files(path) if file.suffix == ".txt" and has_labels(file)]
    if labels:
        raise DatasetError(
            f"holds {len(labels):,} files of labels, but no picture",
            where=Where(file=str(path)),
            hint=f"the first is {labels[0]}; --data-images DIR (in Python images=) says where the "
            "pictures lie",
        )


def _tell_of_unused(path: Path, reading: ReadingRecord) -> None:
    """Add notes on descriptions of which none is used, and on folders that are not entered."""
    several = find_descriptions(path)
    if len(several) > 1:
        listed = ", ".join(one.name for one in several[:5])
        reading.note(
            f"{path}: has several descriptions ({listed}), of which none is taken: open one"
        )
    reading.notes += [
        f"{path / name}: holds copies that a program made for itself, and is not read"
        for name in CACHES
        if (path / name).is_dir()
    ]


# VOC and COCO


def _xml_source(path: Path, images: Sequence[Path], options: Options) -> DatasetSource:
    """Return the source of pictures with VOC annotations beside them."""
    parts = by_folder(images, path)

    def read(split: str | None) -> Dataset:
        reading = ReadingRecord(str(path))
        folders = voc.Folders(path, path)
        files = None
        if split is not None:
            wanted = {image.with_suffix("") for image in parts[split]}
            files = [file for file in folders.files() if file.with_suffix("") in wanted]
        return voc.read_voc(folders, files, options, reading)

    return DatasetSource(str(path), read, tuple(parts))


def _coco_source(path: Path, options: Options) -> DatasetSource | None:
    """Return the source of a folder with one COCO file, or with one for each split."""
    files = dict(_coco_files(path))
    if not files:
        return None

    def read(split: str | None) -> Dataset:
        chosen = list(files.values()) if split is None else [files[split]]
        return unite(
            [read_coco(file, options, ReadingRecord(str(file))) for file in chosen], str(path)
        )

    only = next(iter(files.values())) if len(files) == 1 else None
    is_whole = only is not None and only.parent == path
    return DatasetSource(str(path), read, () if is_whole else tuple(files))


def _coco_files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the name and the file of each split."""
    for folder in COCO_FOLDERS:
        files = list(filter(is_coco_file, files_in(path / folder, ".json")))
        instances = [one for one in files if one.name.startswith(PREFIX)]
        yield from ((one.stem.removeprefix(PREFIX), one) for one in instances or files)
        if files:
            return
    for below in sorted(one for one in path.iterdir() if one.is_dir()):
        files = list(filter(is_coco_file, files_in(below, ".json")))
        if len(files) == 1:
            yield below.name, files[0]


def _is_annotation(path: Path) -> bool:
    return path.suffix.lower() == voc.XML


# Lists with boxes, and folders of splits


def _listed_source(path: Path, options: Options) -> DatasetSource | None:
    """Return the source of a folder with a list of boxes, or with one in each split's folder."""
    below = [one for one in sorted(path.iterdir()) if one.is_dir()]
    lists = {one.name: named_in(one, LISTS_WITH_BOXES) for one in below}
    parts = {name: files for name, files in lists.items() if files}
    own = named_in(path, LISTS_WITH_BOXES)
    if not parts and not own:
        return None

    def read(split: str | None) -> Dataset:
        chosen = [own, *parts.values()] if split is None else [parts[split]]
        found = []
        for files in filter(None, chosen):
            reading = ReadingRecord(str(files[0]))
            names_of = NamesNear(options.names, files[0].parent, reading)
            form = LIST_WITH_BOXES
            found.append(
                read_listed(files, names_of, options, ListDescription(), reading, form=form)
            )
        return unite(found, str(path))

    return DatasetSource(str(path), read, tuple(parts))


def _split_source(path: Path, options: Options) -> DatasetSource | None:
    """Return the source of a folder whose sub-folders are the splits."""
    words = {word for others in ALIASES.values() for word in others}
    below = [one for one in sorted(path.iterdir()) if one.is_dir()]
    folders = {one.name: one for one in below if canonical(one.name) in words}
    if not folders or options.images is not None:
        return None
    sources = {name: folder_source(folder, options) for name, folder in folders.items()}

    def read(split: str | None) -> Dataset:
        chosen = list(sources.values()) if split is None else [sources[split]]
        return unite([source.open(None) for source in chosen], str(path))

    return DatasetSource(str(path), read, tuple(sources))
