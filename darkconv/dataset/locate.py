"""Locator: finding the files that a file of a data set names, wherever it was unpacked."""

import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from darkconv.dataset.label import shown
from darkconv.dataset.paths import Bounds, above
from darkconv.dataset.reading import Reading
from darkconv.errors import DatasetError

_DRIVE = re.compile(r"^[A-Za-z]:[\\/]")


class Locator:
    r"""Finds what the lists and descriptions of a data set name.

    A path is looked for, in this order, and `\` may stand for `/`:
    1. beside the file that names it;
    2. there without its first part, where the data set has no such folder: CVAT writes
       `data/train.txt` whatever folder its archive is unpacked into;
    3. in the working folder and in the folder above, as for Darknet, unless another data set
       lies there: one with a file of the same name;
    4. by its last parts beside the file: whole paths of another machine.
    """

    def __init__(
        self,
        *files: Path,
        outside: bool,
        reading: Reading,
        images: Path | None = None,
        roots: Sequence[Path] = (),
    ) -> None:
        """Find what some files name.

        Args:
            files: which name it.
            outside: whether they may name paths outside the folder above them.
            reading: where paths of other machines are reported.
            images: the folder that pictures lie in, and nowhere else.
            roots: folders that the paths may be relative to, before those of the files.
        """
        self.files = files
        self.bounds = Bounds.around(*files, outside=outside)
        self.reading = reading
        self.images = images
        self.own = list(dict.fromkeys((*roots, *(file.parent for file in files))))
        self.others = list(dict.fromkeys((Path(), *map(above, self.own))))
        self._is_unpacked = False
        self._taken: dict[Path, str] = {}

    def find(self, name: str, *, what: str = "picture") -> Path:
        """Return the file of that name.

        Raises:
            DatasetError: there is none, or it lies outside.
        """
        if self.images is not None and what == "picture":
            return self._in_images(self.images, name)
        refused = False
        for path in self._places(name):
            if os.path.isfile(path):
                if self.bounds.hold(path):
                    return path
                refused = True
        if refused:
            raise self.bounds.refusal(name)
        moved = self._moved(name)
        if moved is None:
            raise DatasetError(f"no such {what}: {shown(name)}")
        self.reading.change("moved", f"{self.files[0]}: {shown(name)} is {moved}")
        return moved

    def find_for(self, name: str, find: Callable[[Path], Path | None]) -> Path | None:
        """Return what a function finds for a path that need not exist, or None."""
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
        """Return True if a folder has a data set of its own, not the one of the files."""
        return any(
            os.path.isfile(folder / file.name) and not os.path.samefile(folder / file.name, file)
            for file in self.files
        )

    def _moved(self, name: str) -> Path | None:
        """Return what the last parts of a path lead to beside the files.

        Two paths with the same last parts are two pictures, of which one is not here.
        """
        least = 1 if is_absolute(name) else 2
        for tail in tails(name, least):
            for folder in self.own:
                found = folder / tail
                if os.path.isfile(found) and self.bounds.hold(found):
                    is_free = self._taken.setdefault(found, name) == name
                    return found if is_free else None
        return None

    def _in_images(self, images: Path, name: str) -> Path:
        """Return the picture below the folder that the user names.

        Raises:
            DatasetError: there is none.
        """
        found = next((images / tail for tail in tails(name) if os.path.isfile(images / tail)), None)
        if found is None:
            raise DatasetError(f"no such picture in {images}: {shown(name)}")
        return found


def is_absolute(name: str) -> bool:
    r"""Return True for the whole paths of any system: `/a`, `C:\a`, `\\host\a`."""
    return name.startswith(("/", "\\")) or _DRIVE.match(name) is not None


def tails(name: str, least: int = 1) -> Iterator[str]:
    """Yield the last parts of a path, the longest first, at least so many."""
    parts = [part for part in _DRIVE.sub("", name).replace("\\", "/").split("/") if part]
    start = max((i + 1 for i, part in enumerate(parts) if part in (".", "..")), default=0)
    for first in range(start, len(parts) - least + 1):
        yield "/".join(parts[first:])
