"""Write data sets in the layouts of Darknet, Ultralytics, VOC and COCO."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from darkconv.dataset.coco_files import coco_files
from darkconv.dataset.collection import CollectedPicture, Collection, collect
from darkconv.dataset.darknet_files import data_files, yolo_files
from darkconv.dataset.open import open_splits
from darkconv.dataset.sample import Dataset
from darkconv.dataset.voc_files import voc_files
from darkconv.errors import DatasetError, Where
from darkconv.files import PathLike, replacing_folder, writing

MARK = ".darkconv"
"""The file in each folder that darkconv has written, which marks it as replaceable."""
Files = Iterator[tuple[str, bytes]]


@dataclass(frozen=True)
class Form:
    """A layout in which data sets are written.

    Attributes:
        files: yields the paths and contents of all files except the pictures.
        pictures: the name of the folder of pictures.
        main: the path, within the folder, that is opened to read the data set; "" for the folder.
    """

    files: Callable[[Collection], Files]
    pictures: str
    main: str


FORMS = {
    "darknet": Form(data_files, "images", "obj.data"),
    "yolo": Form(yolo_files, "images", "data.yaml"),
    "voc": Form(voc_files, "JPEGImages", ""),
    "coco": Form(coco_files, "images", ""),
}


@dataclass(frozen=True)
class Written:
    """The record of a data set that was written.

    Attributes:
        path: the path that is opened to read it.
        pictures: the number of pictures.
        boxes: the number of boxes.
        names: the class names.
        splits: the number of pictures of each split.
        leads_outside: the number of pictures that are links out of the folder.
        problems: what was left out, a line each.
    """

    path: Path
    pictures: int
    boxes: int
    names: tuple[str, ...]
    splits: dict[str, int]
    leads_outside: int
    problems: tuple[str, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what was left out, and a warning if links lead out of the folder."""
        if not self.leads_outside:
            return self.problems
        outside = (
            f"{self.path}: {self.leads_outside} pictures are links that lead out of its folder: "
            "commands need --outside to follow them, or --copy writes them whole"
        )
        return (*self.problems, outside)

    @property
    def summary(self) -> str:
        """Return a line with the path and the counts."""
        splits = ", ".join(f"{name} {count}" for name, count in self.splits.items())
        counts = (
            (self.pictures, "picture", "pictures"),
            (self.boxes, "box", "boxes"),
            (len(self.names), "class", "classes"),
        )
        words = ", ".join(f"{n:,} {one if n == 1 else many}" for n, one, many in counts)
        return f"wrote {self.path}: {words}{f', splits {splits}' if splits else ''}"


def write_dataset(
    parts: Mapping[str | None, Dataset],
    folder: PathLike,
    form: str,
    *,
    names: Sequence[str] | None = None,
    copy: bool = False,
) -> Written:
    """Write a data set as a folder of its own, and read it back as a check.

    Pictures are linked rather than copied: by hard links, or by symbolic ones where those are not
    possible.

    Args:
        parts: the data set of each split, or one under None: see `open_splits`.
        folder: the folder: a new one, or one that darkconv has written before.
        form: the layout, a key of `FORMS`.
        names: the class names to write; None for all names of the parts.
        copy: copy the pictures instead of linking them.

    Returns:
        The record of what was written.

    Raises:
        DatasetError: the folder holds something else, a class has a name that no file can hold, or
            the data set does not read back as it was.
        DarkconvError: the folder cannot be written.
    """
    layout = FORMS[form]
    collection = collect(parts, names)
    return write_collection(collection, folder, layout, copy=copy)


def write_collection(
    collection: Collection, folder: PathLike, layout: Form, *, copy: bool = False
) -> Written:
    """Write a collection as `write_dataset` writes a data set.

    Args:
        collection: the pictures with their splits and class names.
        folder: the folder: a new one, or one that darkconv has written before.
        layout: the layout to write, a value of `FORMS` or another.
        copy: copy the pictures instead of linking them.

    Returns:
        The record of what was written.
    """
    target = Path(folder)
    check_target(target)
    with replacing_folder(target) as fresh, writing(target):
        (fresh / layout.pictures).mkdir(parents=True)
        outside = 0
        for item in collection.items:
            outside += place(item, fresh / layout.pictures / item.name, target.parent, copy=copy)
        (fresh / MARK).write_text("written by darkconv\n")
        for name, content in layout.files(collection):
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_bytes(content)
        splits = _checked(fresh / layout.main, collection)
    return Written(
        target / layout.main,
        len(collection.items),
        collection.boxes,
        tuple(collection.names),
        splits,
        outside,
        collection.problems,
    )


def check_target(folder: Path) -> None:
    """Check that a folder is free for a data set, or holds one that darkconv has written.

    Args:
        folder: the folder; it need not exist.

    Raises:
        DatasetError: the folder holds something else.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MARK).is_file():
        raise DatasetError(
            "is there already, and was not written by darkconv",
            where=Where(file=str(folder)),
            hint="name a new folder",
        )


def place(item: CollectedPicture, path: Path, limit: Path, *, copy: bool) -> bool:
    """Link or copy a picture into a folder.

    Args:
        item: the picture, whose links are followed first.
        path: the new path of the picture.
        limit: the folder that a link should stay within.
        copy: copy the picture instead of linking it.

    Returns:
        True if the picture is a link that leads out of `limit`.
    """
    source = item.sample.image.resolve()
    if copy:
        shutil.copyfile(source, path)
        return False
    try:
        os.link(source, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        path.symlink_to(source)
        return not source.is_relative_to(limit.resolve())
    return False


def _checked(path: Path, collection: Collection) -> dict[str, int]:
    """Read back what was written, and return the number of pictures of each split.

    Raises:
        DatasetError: the data set does not read back as it was.
    """
    found = open_splits(path, outside=True)
    images = {s.image.name: len(s.names) for part in found.values() for s in part.samples}
    expected = {item.name: len(item.sample.names) for item in collection.items}
    if images != expected:
        raise DatasetError(
            "does not read back as it was",
            where=Where(file=str(path)),
            expected=f"{sum(expected.values())} boxes in {len(expected)} pictures",
            found=f"{sum(images.values())} in {len(images)}",
        )
    return {str(split): len(part) for split, part in found.items() if split is not None}
