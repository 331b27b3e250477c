"""Report files that may hold labels and were not read."""

import codecs
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from darkconv.dataset.paths import entries, files_in, walk_files
from darkconv.dataset.reading import ReadingRecord
from darkconv.dataset.sample import Sample
from darkconv.pictures.image_file import is_picture

TEXTS = (".txt",)
OTHERS = (".xml", ".json", ".csv", ".tfrecord", ".tfrecords", ".record")
"""The suffixes of annotations in other forms."""
BOX = 4  # the numbers after a class, in fractions of the picture
LOOK = 1 << 12
UNKNOWN = "its form is not known"
FOREIGN = (
    ((b"<annotations>",), "CVAT's own form, which CVAT also writes as COCO, Pascal VOC and YOLO"),
    ((b"<annotation",), "of Pascal VOC, and of another folder than is opened: open its own"),
    ((b'"images"', b'"annotations"'), "of COCO, and of another folder than is opened: open it"),
    ((b'"dm_format_version"',), "Datumaro's own form, which it converts to COCO, VOC and YOLO"),
    ((b'"shapes"', b'"flags"'), "labelme's form, which is read beside its picture, or in labels"),
    ((b'"coordinates"',), "Create ML's form"),
    ((b'"regions"',), "the form of the VGG Image Annotator, which also writes COCO"),
)
"""The texts at the start of a file by which its form is recognised, and the form in words."""


def tell_of_orphans(reading: ReadingRecord) -> None:
    """Report label files that lie among those that were read and belong to no picture.

    Args:
        reading: the record of reading, to which they are added.
    """
    beside: dict[Path, set[Path]] = defaultdict(set)
    for file, image in reading.label_files.items():
        beside[file.parent].add(image.parent)
    for folder, own in beside.items():
        shared = (place.parent for place in own if place.parent == folder.parent)
        places = own | {one for place in shared for one in entries(place) if one.is_dir()}
        stems = {path.stem for place in places for path in entries(place) if is_picture(path)}
        files = (path for path in files_in(folder, *TEXTS) if path.stem not in stems)
        _tell_of_orphans(files, reading)


def tell_of_unread(folder: Path, samples: Sequence[Sample], reading: ReadingRecord) -> None:
    """Report the files below a folder that may hold labels and were not read.

    Args:
        folder: the folder, whose pictures were all read.
        samples: the pictures of the folder, with or without boxes.
        reading: the record of reading, to which the files are added.
    """
    files = [path for path in walk_files(folder) if path.is_file()]
    _tell_of_orphans((path for path in files if path.suffix.lower() in TEXTS), reading)
    labelled = set(reading.label_files.values())
    bare = {sample.image.stem for sample in samples if sample.image not in labelled}
    known = {*reading.label_files, *map(Path, reading.names_from)}
    for path in files:
        is_other = path.suffix.lower() in OTHERS and not labelled
        is_beside = path.suffix.lower() in (*TEXTS, *OTHERS) and path.stem in bare
        if (is_other or is_beside) and path not in known and not has_labels(path):
            reading.change("unread", f"{path}: {_form(path)}")


def _tell_of_orphans(files: Iterable[Path], reading: ReadingRecord) -> None:
    for path in sorted(files):
        if path not in reading.label_files and has_labels(path):
            reading.change("orphans", str(path))


def has_labels(path: Path) -> bool:
    """Return True if the first line of a file is a class index and the numbers of a box or polygon.

    Args:
        path: the file; one that cannot be read gives False.
    """
    try:
        with path.open("rb") as file:
            line = file.readline(LOOK).removeprefix(codecs.BOM_UTF8)
        number, *shares = map(float, line.split())
    except (OSError, ValueError):
        return False
    is_class = number >= 0 and number.is_integer()
    return is_class and len(shares) >= BOX and all(-1 <= share <= 2 for share in shares[:BOX])


def _form(path: Path) -> str:
    """Return the form of a file in words, recognised by its start."""
    try:
        with path.open("rb") as file:
            start = file.read(LOOK)
    except OSError as error:
        return f"cannot read: {error.strerror}"
    return next((form for marks, form in FOREIGN if all(map(start.count, marks))), UNKNOWN)
