"""Folders: which tool wrote the data set in one, and its splits by sub-folder or list."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from darkconv.darknet.data import read_data
from darkconv.dataset import voc
from darkconv.dataset.coco import PREFIX, is_coco_file, read_coco
from darkconv.dataset.darknet import label_path, read_pictures
from darkconv.dataset.data_file import data_source, data_splits
from darkconv.dataset.description import find_description
from darkconv.dataset.names import LABEL_FOLDER, PICTURE_FOLDERS, NamesNear
from darkconv.dataset.oidv4 import oidv4_source
from darkconv.dataset.paths import above, walk_pictures
from darkconv.dataset.reading import Reading
from darkconv.dataset.sample import Dataset
from darkconv.dataset.source import Options, Source
from darkconv.dataset.splits import ALIASES, canonical, match_split
from darkconv.dataset.ultralytics import yaml_source
from darkconv.dataset.union import unite
from darkconv.errors import DatasetError

PICTURES = "pictures without labels"
DARKNET = "pictures with Darknet's labels"
CONTAINERS = (*PICTURE_FOLDERS, "data", "img", "obj")
"""Folders of pictures that are no split by their name."""
COCO_FOLDERS = ("annotations", "")
TOOLS = {
    "README.roboflow.txt": "Roboflow",
    "notes.json": "Label Studio",
    "obj_train_data": "CVAT's YOLO 1.1",
    "images.txt": "FiftyOne's YOLOv4",
}
"""What lies in a folder with Darknet's labels, and the tool that writes it."""


def folder_source(path: Path, options: Options) -> Source:
    """Return the source of a folder.

    Raises:
        DatasetError: the folder cannot be read, or a description in it is broken.
    """
    own = _by_description(path, options)
    if own is not None:
        return own
    images = walk_pictures(path if options.images is None else options.images)
    labels = _label_folders(path, options)
    if any(label_path(image, labels) is not None for image in images):
        return _darknet_source(path, images, labels, options)
    if any(os.path.isfile(image.with_suffix(".xml")) for image in images):
        return _xml_source(path, images, options)
    for found in (_coco_source(path, options), oidv4_source(path, options)):
        if found is not None:
            return found
    return _split_source(path, options) or _darknet_source(path, images, labels, options)


def _by_description(path: Path, options: Options) -> Source | None:
    """Return the source of a folder with a `data.yaml`, or with the folders of VOC."""
    description = find_description(path)
    if description is not None:
        return replace(yaml_source(description, options), path=str(path))
    folders = voc.Folders.inside(path)
    return None if folders is None else voc.set_source(path, folders, options)


# Darknet's labels


def _label_folders(path: Path, options: Options) -> list[Path]:
    """Return where label files may lie that Darknet would not find.

    makesense packs them in `labels_PROJECT_DATE`; where the user names the folder of the
    pictures, the labels lie in that of the source.
    """
    found = []
    if options.images is not None:
        found = [path / LABEL_FOLDER, path]
    for folder in (path, above(path)):
        packed = [one for one in sorted(folder.glob(f"{LABEL_FOLDER}_*")) if one.is_dir()]
        if len(packed) == 1:
            return [*found, packed[0]]
    return found


def _darknet_source(
    path: Path, images: Sequence[Path], labels: Sequence[Path], options: Options
) -> Source:
    """Return the source of pictures with Darknet's labels, or with none."""
    root = path if options.images is None else options.images
    parts = by_folder(images, root)
    data = _data_file(path)
    lists = data_splits(read_data(data)) if data else ()
    others = tuple(name for name in lists if match_split(name, parts) is None)

    def read(split: str | None) -> Dataset:
        if data is not None and split in others:
            return data_source(data, options).read(split)
        reading = Reading(str(path))
        names_of = NamesNear(options.names, path, reading)
        chosen = images if split is None else parts[split]
        samples = read_pictures(chosen, names_of, reading, label_folders=labels)
        if not reading.labels:
            _tell_of_unread(path, reading)
        form = f"{DARKNET}{_tool(path, labels)}" if reading.labels else PICTURES
        return reading.dataset(samples, names_of.all(), form=form, numbered=names_of.is_one_list)

    return Source(str(path), read, (*parts, *others))


def by_folder(images: Iterable[Path], root: Path) -> dict[str, list[Path]]:
    """Return pictures by the folder that tells their split: `train/images` or `images/train`."""
    found: dict[str, list[Path]] = {}
    for image in images:
        folders = image.relative_to(root).parts[:-1]
        name = next((one for one in folders if one not in CONTAINERS), None)
        if name is not None:
            found.setdefault(name, []).append(image)
    return found


def _data_file(path: Path) -> Path | None:
    """Return the one .data file of a folder: its lists are splits too."""
    found = sorted(path.glob("*.data")) or sorted((path / "data").glob("*.data"))
    return found[0] if len(found) == 1 and found[0].is_file() else None


def _tool(path: Path, labels: Sequence[Path]) -> str:
    """Return which tool wrote a folder, in brackets, if that shows."""
    tool = next((tool for name, tool in TOOLS.items() if (path / name).exists()), None)
    if any(folder.name.startswith(f"{LABEL_FOLDER}_") for folder in labels):
        tool = "makesense"
    return f" ({tool})" if tool else ""


def _tell_of_unread(path: Path, reading: Reading) -> None:
    """Report files that may hold the labels and are of no known form."""
    unread = sorted([*path.glob("*.json"), *(path / "annotations").glob("*.json")])
    for file in unread:
        reading.skip(DatasetError("is no annotation file of COCO, and is not read"), file)


# VOC and COCO


def _xml_source(path: Path, images: Sequence[Path], options: Options) -> Source:
    """Return the source of pictures with annotations of VOC beside them."""
    parts = by_folder(images, path)

    def read(split: str | None) -> Dataset:
        reading = Reading(str(path))
        folders = voc.Folders(path, path)
        files = None
        if split is not None:
            files = [image.with_suffix(".xml") for image in parts[split]]
        return voc.read_voc(folders, files, options, reading)

    return Source(str(path), read, tuple(parts))


def _coco_source(path: Path, options: Options) -> Source | None:
    """Return the source of a folder with files of COCO: one, or one for each split."""
    files = dict(_coco_files(path))
    if not files:
        return None

    def read(split: str | None) -> Dataset:
        chosen = list(files.values()) if split is None else [files[split]]
        return unite([read_coco(file, options, Reading(str(file))) for file in chosen], str(path))

    only = next(iter(files.values())) if len(files) == 1 else None
    is_whole = only is not None and only.parent == path
    return Source(str(path), read, () if is_whole else tuple(files))


def _coco_files(path: Path) -> Iterator[tuple[str, Path]]:
    """Yield the names of splits and their files."""
    for folder in COCO_FOLDERS:
        files = [one for one in sorted((path / folder).glob("*.json")) if is_coco_file(one)]
        instances = [one for one in files if one.name.startswith(PREFIX)]
        yield from ((one.stem.removeprefix(PREFIX), one) for one in instances or files)
        if files:
            return
    for below in sorted(one for one in path.iterdir() if one.is_dir()):
        files = [one for one in sorted(below.glob("*.json")) if is_coco_file(one)]
        if len(files) == 1:
            yield below.name, files[0]


# Folders of splits


def _split_source(path: Path, options: Options) -> Source | None:
    """Return the source of a folder whose sub-folders are data sets, each a split."""
    words = {word for others in ALIASES.values() for word in others}
    below = [one for one in sorted(path.iterdir()) if one.is_dir()]
    folders = {one.name: one for one in below if canonical(one.name) in words}
    if not folders or options.images is not None:
        return None
    sources = {name: folder_source(folder, options) for name, folder in folders.items()}

    def read(split: str | None) -> Dataset:
        chosen = list(sources.values()) if split is None else [sources[split]]
        return unite([source.open(None) for source in chosen], str(path))

    return Source(str(path), read, tuple(sources))
