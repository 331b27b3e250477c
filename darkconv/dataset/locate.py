"""Find the files that a file of a data set names, wherever the data set was unpacked."""

import functools
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote

from darkconv.dataset.label import shown
from darkconv.dataset.paths import Bounds, above, walk_pictures
from darkconv.dataset.reading import ReadingRecord
from darkconv.errors import DatasetError

_DRIVE = re.compile(r"^[A-Za-z]:[\\/]")


class Locator:
    r"""Finds the files that the lists and descriptions of a data set name.

    A path is searched in this order, where `\` may stand for `/`:
    1. beside the file that names it;
    2. there without its first part, if the data set has no such folder: CVAT writes
       `data/train.txt` whatever folder its archive is unpacked into;
    3. in the working folder and in the folder above, as Darknet does, unless another data set
       lies there: one with a file of the same name;
    4. by its last parts beside the file, for absolute paths of another machine.
    """

    def __init__(
        self,
        *files: Path,
        outside: bool,
        reading: ReadingRecord,
        images: Path | None = None,
        roots: Sequence[Path] = (),
    ) -> None:
        """Prepare the search for paths that some files name.

        Args:
            files: the files that name the paths.
            outside: paths may lead outside the folder above the files.
            reading: the record to which moved paths are reported.
            images: the only folder in which pictures are searched; None for the order above.
            roots: folders to which paths may be relative, before those of the files.
        """
        self.files = files
        self.bounds = Bounds.around(*files, outside=outside)
        self.reading = reading
        self.own = list(dict.fromkeys((*roots, *(file.parent for file in files))))
        self.others = list(dict.fromkeys((Path(), *map(above, self.own))))
        self._is_unpacked = False
        self._moved = Moved(self.own, self.bounds)
        self._below = None if images is None else PicturesBelow(images)

    def find(self, name: str, *, what: str = "picture") -> Path:
        """Return the file that a path leads to.

        Args:
            name: the path as the file writes it.
            what: the kind of file, for messages; a "picture" is searched in `images` only, if
                given.

        Raises:
            DatasetError: there is no such file, or it lies outside.
        """
        if self._below is not None and what == "picture":
            return self._below.find(name)
        refused = False
        for path in self._places(name):
            if os.path.isfile(path):
                if self.bounds.hold(path):
                    return path
                refused = True
        if refused:
            raise self.bounds.refusal(name)
        moved = self._moved.find(name, least=1 if is_absolute(name) else 2)
        if moved is None:
            raise DatasetError(f"no such {what}: {shown(name)}")
        self.reading.change("moved", f"{self.files[0]}: {shown(name)} is {moved}")
        return moved

    def find_for(self, name: str, find: Callable[[Path], Path | None]) -> Path | None:
        """Return the result of a function for the first place of a path where it finds something.

        Args:
            name: the path as the file writes it; the file itself need not exist.
            find: returns what belongs to a place, or None.

        Returns:
            None if the function finds nothing.
        """
        found = (find(path) for path in self._places(name))
        return next((path for path in found if path is not None and self.bounds.hold(path)), None)

    def _places(self, name: str) -> Iterator[Path]:
        for spelling in dict.fromkeys((name, name.replace("\\", "/"))):
            yield from (folder / spelling for folder in self.own)
            first, slash, rest = spelling.partition("/")
            if slash and first not in ("", ".", ".."):
                for folder in self.own:
                    if not os.path.isdir(folder / first) and os.path.isfile(folder / rest):
                        self._is_unpacked = True
                        yield folder / rest
            if not self._is_unpacked:
                yield from (
                    folder / spelling
                    for folder in self.others
                    if not self._is_another(folder / first)
                )

    def _is_another(self, folder: Path) -> bool:
        """Return True if a folder has a data set of its own."""
        return any(
            os.path.isfile(folder / file.name) and not os.path.samefile(folder / file.name, file)
            for file in self.files
        )


class Moved:
    """Finds files by the last parts of the paths that they had on another machine."""

    def __init__(self, folders: Sequence[Path], bounds: Bounds) -> None:
        """Prepare the search below some folders, within some bounds."""
        self.folders = folders
        self.bounds = bounds
        self._taken: dict[Path, str] = {}

    def find(self, name: str, *, least: int = 1) -> Path | None:
        """Return the file that the last parts of a path lead to, or None.

        Two paths with the same last parts are two pictures, of which one is not here.

        Args:
            name: the path on the other machine.
            least: the least number of parts that have to match.
        """
        for tail in dict.fromkeys(tail for one in spellings(name) for tail in tails(one, least)):
            for folder in self.folders:
                found = folder / tail
                if os.path.isfile(found) and self.bounds.hold(found):
                    return found if self.is_free(found, name) else None
        return None

    def is_free(self, found: Path, name: str) -> bool:
        """Return True if a file was found for no other path before, and reserve it for this one.

        Args:
            found: a file that exists here.
            name: the path that it was found for.
        """
        return self._taken.setdefault(found, name) == name


class PicturesBelow:
    """Finds pictures in the folder that the user names, and nowhere else."""

    def __init__(self, folder: Path) -> None:
        """Prepare the search in a folder and below it."""
        self.folder = folder
        self._moved = Moved([folder], Bounds(None))

    @functools.cached_property
    def by_name(self) -> dict[str, list[Path]]:
        """Return all pictures below the folder, by the name of their file."""
        found: dict[str, list[Path]] = {}
        for path in walk_pictures(self.folder):
            found.setdefault(path.name, []).append(path)
        return found

    def find(self, name: str) -> Path:
        """Return the picture that the last parts of a path lead to, or the only one of its name.

        Args:
            name: the path as the data set writes it.

        Raises:
            DatasetError: there is no such picture, or there are several.
        """
        moved = self._moved.find(name)
        if moved is not None:
            return moved
        last = (tail for one in spellings(name) for tail in tails(one))
        named = next((self.by_name[one] for one in last if one in self.by_name), [])
        if len(named) == 1 and self._moved.is_free(named[0], name):
            return named[0]
        several = f", but {len(named)} of this name" if len(named) > 1 else ""
        raise DatasetError(f"no such picture in {self.folder}: {shown(name)}{several}")


def spellings(name: str) -> Iterator[str]:
    """Yield a path as written, and decoded if it is encoded as in an address: `a%20b.jpg?key=1`.

    Args:
        name: a path or an address, as a file states it.
    """
    yield name
    if "://" in name:
        name = name.partition("://")[2].partition("?")[0].partition("#")[0]
        yield name
    if "%" in name:
        yield unquote(name, errors="surrogateescape")


def is_absolute(name: str) -> bool:
    r"""Return True for absolute paths of any system: `/a`, `C:\a`, `\\host\a`.

    Args:
        name: a path of this or another system.
    """
    return name.startswith(("/", "\\")) or _DRIVE.match(name) is not None


def tails(name: str, least: int = 1) -> Iterator[str]:
    """Yield the last parts of a path, the longest first.

    Args:
        name: the path of any system.
        least: the least number of parts.
    """
    parts = [part for part in _DRIVE.sub("", name).replace("\\", "/").split("/") if part]
    start = max((i + 1 for i, part in enumerate(parts) if part in (".", "..")), default=0)
    for first in range(start, len(parts) - least + 1):
        yield "/".join(parts[first:])
