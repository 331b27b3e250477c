"""Class names of Darknet's labels, found where the labelling tools put them."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from darkconv.core.names import distinct_names, shared_names
from darkconv.darknet.data import read_names
from darkconv.dataset.description import find_description
from darkconv.dataset.label import shown
from darkconv.dataset.paths import above, numbered_lines, read_text
from darkconv.dataset.reading import Reading
from darkconv.files import PathLike
from darkconv.pictures.image_file import SUFFIXES, is_picture

FILES = ("classes.txt", "_darknet.labels", "labels.txt")
"""Names files that have no suffix of their own: LabelImg's and Label Studio's, Roboflow's,
makesense's."""

PICTURE_FOLDERS = ("images", "JPEGImages")
LABEL_FOLDER = "labels"


class NamesNear:
    """Finds the names that belong to labels."""

    def __init__(self, given: tuple[str, ...] | None, root: Path | None, reading: Reading) -> None:
        """Find names.

        Args:
            given: names that the user or a file of the data set tells; nothing else counts then.
            root: folder of the source, or None where each picture is its own.
            reading: where it is told which files count.
        """
        self.root = root
        self.reading = reading
        self.given = self._distinct(given, reading.source) if given else None
        self.lists: dict[Path | None, tuple[str, ...]] = {None: self.given} if self.given else {}
        self._files: dict[Path, Path | None] = {}
        self._found: dict[tuple[Path, Path | None], tuple[str, ...] | None] = {}

    def __call__(self, image: Path, labels: Path | None = None) -> tuple[str, ...] | None:
        """Return the names for a picture's labels; None if nothing tells them.

        Raises:
            DatasetError: a file of names cannot be read.
        """
        if self.given:
            return self.given
        key = image.parent, labels.parent if labels else None
        if key not in self._found:
            file = next(filter(None, map(self._file, self._folders(*key))), None)
            self._found[key] = None if file is None else self._read(file)
        return self._found[key]

    @property
    def is_one_list(self) -> bool:
        """True where all labels are numbers of the same list, or of none."""
        return len(set(self.lists.values())) <= 1

    def all(self) -> tuple[str, ...]:
        """Return the names of all lists that were found, in their order."""
        return tuple(dict.fromkeys(name for names in self.lists.values() for name in names))

    def _folders(self, folder: Path, labels: Path | None) -> Iterator[Path]:
        """Yield where names may lie, the nearest first."""
        if labels is not None:
            yield labels
        root = folder if self.root is None else self.root
        yield folder
        while folder != root and folder.is_relative_to(root):
            folder = folder.parent
            yield folder
        yield from (root, root / LABEL_FOLDER)
        for _ in range(2):
            is_inner = root.absolute().name in PICTURE_FOLDERS
            root = above(root)
            yield root
            if not (is_inner or root.absolute().name in PICTURE_FOLDERS):
                break

    def _file(self, folder: Path) -> Path | None:
        """Return the file of class names in a folder, or None if there is no single one."""
        if folder not in self._files:
            listed = _listed(folder)
            if len(listed) > 1:
                self._tell_of_several(folder, listed)
            self._files[folder] = listed[0] if len(listed) == 1 else None
            if not listed:
                self._files[folder] = _by_name(folder)
        return self._files[folder]

    def _read(self, file: Path) -> tuple[str, ...]:
        if file not in self.lists:
            self.lists[file] = self._distinct(read_names(file).names, file)
            self.reading.found_names(file)
        return self.lists[file]

    def _distinct(self, names: tuple[str, ...], file: PathLike) -> tuple[str, ...]:
        """Return names that tell all numbers apart, and report those that several classes share."""
        own = distinct_names(names)
        for places in shared_names(names).values():
            listed = ", ".join(own[place] for place in places[:10])
            self.reading.change("numbered", f"{file}: {shown(names[places[0]])} is {listed}")
        return own

    def _tell_of_several(self, folder: Path, listed: Sequence[Path]) -> None:
        several = ", ".join(path.name for path in listed[:5])
        self.reading.note(
            f"{folder}: has several files of class names ({shown(several)}), of which none is "
            "taken: --data-names FILE (in Python names=) says which"
        )


def _by_name(folder: Path) -> Path | None:
    for name in FILES:
        if os.path.isfile(folder / name) and _is_names_file(folder / name):
            return folder / name
    return find_description(folder, needs_splits=False)


def _listed(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.names") if not path.name.startswith("."))


def _is_names_file(path: Path) -> bool:
    """Return False for the labels of a picture `classes.jpg`, and for a list of pictures."""
    if any(os.path.isfile(path.with_suffix(suffix)) for suffix in SUFFIXES):
        return False
    first = next((line for _, line in numbered_lines(read_text(path)) if line), "")
    return not is_picture(first)
