"""Find the class names of Darknet's labels where labelling tools put them."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from darkconv.core.names import distinct_names, shared_names
from darkconv.darknet.data import read_names
from darkconv.dataset.description import find_description
from darkconv.dataset.label import shown
from darkconv.dataset.paths import above, files_in, named_in, numbered_lines, read_text
from darkconv.dataset.reading import ReadingRecord
from darkconv.files import PathLike
from darkconv.pictures.image_file import SUFFIXES, is_picture

FILES = ("classes.txt", "_darknet.labels", "_classes.txt", "labels.txt")
"""The names files without a suffix of their own: of LabelImg and Label Studio, two of Roboflow, and
of makesense. They are in lower case here; a file's name may be in any case."""

PICTURE_FOLDERS = ("images", "jpegimages")
"""The folders of pictures whose labels lie in `labels` beside them; in lower case."""
LABEL_FOLDER = "labels"


def holds_pictures(folder: str) -> bool:
    """Return True if a folder has a name of `PICTURE_FOLDERS`.

    Args:
        folder: the folder's name, in any case.
    """
    return folder.lower() in PICTURE_FOLDERS


def label_folders(folder: str) -> Iterator[str]:
    """Yield the possible names of the label folder beside a folder of pictures.

    Args:
        folder: the name of the folder of pictures, whose case the label folder may follow.
    """
    yield LABEL_FOLDER
    if not folder.islower():
        yield LABEL_FOLDER.upper() if folder.isupper() else LABEL_FOLDER.title()


class NamesNear:
    """Finds the class names that belong to labels."""

    def __init__(
        self,
        given: tuple[str, ...] | None,
        root: Path | None,
        reading: ReadingRecord,
        *,
        fallback: tuple[str, ...] | None = None,
    ) -> None:
        """Prepare the search for names.

        Args:
            given: the names that the user or a file of the data set states, which then alone count;
                None for a search.
            root: the folder of the source; None if each picture stands for itself.
            reading: the record to which the files of names are reported.
            fallback: the names to use if no file states any.
        """
        self.root = root
        self.reading = reading
        self.fallback = fallback
        self.given = self._distinct(given, reading.source) if given else None
        self.lists: dict[Path | None, tuple[str, ...]] = {None: self.given} if self.given else {}
        self._files: dict[Path, Path | None] = {}
        self._found: dict[tuple[Path, Path | None], tuple[str, ...] | None] = {}

    def __call__(self, image: Path, labels: Path | None = None) -> tuple[str, ...] | None:
        """Return the class names for a picture's labels; None if no file states them.

        Raises:
            DatasetError: a names file cannot be read.
        """
        if self.given:
            return self.given
        key = image.parent, labels.parent if labels else None
        if key not in self._found:
            file = next(filter(None, map(self._file, self._folders(*key))), None)
            self._found[key] = self._fallen_back() if file is None else self._read(file)
        return self._found[key]

    def _fallen_back(self) -> tuple[str, ...] | None:
        if self.fallback:
            self.lists[None] = self.fallback
        return self.fallback

    @property
    def is_one_list(self) -> bool:
        """Return True if all labels are indices into the same list, or into none."""
        return len(set(self.lists.values())) <= 1

    def all(self) -> tuple[str, ...]:
        """Return the names of all lists that were found, each once and in their order."""
        return tuple(dict.fromkeys(name for names in self.lists.values() for name in names))

    def _folders(self, folder: Path, labels: Path | None) -> Iterator[Path]:
        """Yield the folders in which names may lie, the nearest first."""
        if labels is not None:
            yield labels
        root = folder if self.root is None else self.root
        yield folder
        while folder != root and folder.is_relative_to(root):
            folder = folder.parent
            yield folder
        yield from (root, root / LABEL_FOLDER)
        for _ in range(2):
            is_inner = holds_pictures(root.absolute().name)
            root = above(root)
            yield root
            if not (is_inner or holds_pictures(root.absolute().name)):
                break

    def _file(self, folder: Path) -> Path | None:
        """Return the file of class names in a folder, or None unless there is exactly one."""
        if folder not in self._files:
            listed = files_in(folder, ".names")
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
        """Return names that are distinct for all indices, and report names that classes share."""
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
    found = filter(_is_names_file, named_in(folder, FILES))
    return next(found, None) or find_description(folder, needs_splits=False)


def _is_names_file(path: Path) -> bool:
    """Return False for the labels of a picture `classes.jpg`, and for a list of pictures."""
    if any(os.path.isfile(path.with_suffix(suffix)) for suffix in SUFFIXES):
        return False
    first = next((line for _, line in numbered_lines(read_text(path)) if line), "")
    return not is_picture(first)
