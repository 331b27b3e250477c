"""Finding pictures, and following paths that files name, no further than allowed."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, NoReturn

from darkconv.darknet.data import is_inside, read_any_text
from darkconv.dataset.label import Size, shown
from darkconv.errors import DatasetError, Where
from darkconv.files import PathLike
from darkconv.files.outputs import note_input
from darkconv.pictures.image_file import is_picture, opened, orientation

CACHES = ("darkmark_image_cache", "__MACOSX", "@eaDir")
"""Folders of copies that programs make for themselves: DarkMark, macOS and Synology."""

_TURNED = (5, 6, 7, 8)  # EXIF's orientations that exchange width and height


def files_in(folder: Path, *suffixes: str) -> list[Path]:
    """Return the files of a folder that are not hidden and end in a suffix, sorted.

    Args:
        folder: is not searched below; it need not exist.
        suffixes: in lower case; those of the files may have any.

    Raises:
        DatasetError: the folder cannot be read.
    """
    return _files(folder, lambda name: os.path.splitext(name)[1].lower() in suffixes)


def named_in(folder: Path, names: Sequence[str]) -> list[Path]:
    """As `files_in`, the files that have one of some names, in lower case, in their order."""
    found = _files(folder, lambda name: name.lower() in names)
    return sorted(found, key=lambda path: names.index(path.name.lower()))


def entries(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted; nothing where it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def folders_in(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the folders in a folder that have one of some names, in lower case, in their order."""
    found = [one for one in entries(folder) if one.name.lower() in names and one.is_dir()]
    return sorted(found, key=lambda one: names.index(one.name.lower()))


def _files(folder: Path, is_wanted: Callable[[str], bool]) -> list[Path]:
    if not os.path.isdir(folder):
        return []
    try:
        names = sorted(filter(is_wanted, os.listdir(folder)))
    except OSError as error:
        _refuse(error)
    found = (folder / name for name in names if not name.startswith("."))
    return [path for path in found if os.path.isfile(path)]


def walk_files(folder: Path) -> list[Path]:
    """Return all files below a folder that are not hidden, sorted.

    Links to folders are followed, but not to a folder that holds this one. A folder that is
    reached in several ways is entered once, `CACHES` are not.

    Raises:
        DatasetError: a folder cannot be read.
    """
    found: list[Path] = []
    entered: set[Path] = set()
    starts = [folder]
    while starts:
        links: list[Path] = []
        for start in starts:
            found += _walk(start, entered, links)
        starts = [link for link in links if not folder.resolve().is_relative_to(link.resolve())]
    return sorted(found)


def _walk(start: Path, entered: set[Path], links: list[Path]) -> Iterator[Path]:
    """Yield the files below a folder, and collect the links to other folders."""
    for root, folders, files in os.walk(start, onerror=_refuse):
        own = [name for name in folders if not name.startswith(".") and name not in CACHES]
        real = Path(root).resolve()
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        linked = [name for name in own if os.path.islink(os.path.join(root, name))]
        links += [Path(root, name) for name in linked]
        folders[:] = [name for name in own if name not in linked]
        yield from (Path(root, name) for name in files if not name.startswith("."))


def walk_pictures(folder: Path) -> list[Path]:
    """As `walk_files`, pictures only; pipes and devices are none, whatever they are called."""
    found = filter(is_picture, walk_files(folder))
    return [path for path in found if os.path.isfile(path) or not os.path.exists(path)]


def _refuse(error: OSError) -> NoReturn:
    where = Where(file=str(error.filename))
    raise DatasetError(f"cannot read: {error.strerror}", where=where) from error


class Measured(NamedTuple):
    """The size of a picture.

    Attributes:
        size: (width, height) as `read_picture` gives it: upright.
        orientation: how the file has it, by EXIF's numbers.
    """

    size: Size
    orientation: int

    @property
    def is_turned(self) -> bool:
        """True where width and height of the file are exchanged."""
        return self.orientation in _TURNED


def measure_picture(path: Path) -> Measured:
    """Return the size of a picture, of which only the start is read.

    Raises:
        DatasetError: the file cannot be read or is no picture.
        MissingDependencyError: Pillow is not installed.
    """
    with opened(path) as image:
        lying = orientation(image, Where(file=os.fspath(path)))
        width, height = image.size
    return Measured((height, width) if lying in _TURNED else (width, height), lying)


def picture_size(path: Path) -> Size:
    """Return (width, height) of a picture; see `measure_picture`."""
    return measure_picture(path).size


def tidy(path: Path) -> Path:
    """Return a path without `..` where that leads to the same place, links considered."""
    if ".." not in path.parts:
        return path
    short = Path(os.path.normpath(path))
    return short if short.exists() and short.samefile(path) else path


def above(folder: Path) -> Path:
    """The folder that holds a folder."""
    return folder.parent if folder.name not in ("", "..") else folder.resolve().parent


def read_text(path: PathLike) -> str:
    r"""Return the text of a file with `\n` at line ends; see `read_any_text`.

    Bytes that are no UTF-8 are kept: paths in the text stay paths, as in os.fsdecode.

    Raises:
        DatasetError: the file cannot be read, or is marked as UTF-16 and is not.
    """
    note_input(path, is_lasting=True)
    return read_any_text(path).replace("\r\n", "\n")


def numbered_lines(text: str) -> Iterable[tuple[int, str]]:
    """Lines with their numbers from 1, stripped; blank lines at the end do not count."""
    lines = text.rstrip().split("\n")
    return enumerate(map(str.strip, lines), start=1) if lines != [""] else ()


@dataclass(frozen=True)
class Bounds:
    """Where paths that a file names may lead.

    Attributes:
        folders: resolved; None for anywhere.
    """

    folders: tuple[Path, ...] | None

    @classmethod
    def around(cls, *files: Path, outside: bool) -> "Bounds":
        """The folder above that of each file; that of the file where above it is only the root."""
        if outside:
            return cls(None)
        folders = (file.resolve().parent for file in files)
        limits = (f if f.parent == f.parent.parent else f.parent for f in folders)
        return cls(tuple(dict.fromkeys(limits)))

    def hold(self, path: Path) -> bool:
        """Whether a path, its links followed, stays within."""
        if self.folders is None:
            return True
        return is_inside(path, self.folders)

    def find(self, name: str, bases: Sequence[Path], *, what: str = "picture") -> Path:
        r"""The file of that name in the first base folder that has it; `\` may stand for `/`.

        Raises:
            DatasetError: there is none, or it lies outside.
        """
        spellings = dict.fromkeys((name, name.replace("\\", "/")))
        refused = False
        for path in (base / spelling for spelling in spellings for base in bases):
            if os.path.isfile(path):
                if self.hold(path):
                    return path
                refused = True
        if refused:
            raise self.refusal(name)
        raise DatasetError(f"no such {what}: {shown(name)}")

    def refusal(self, name: str) -> DatasetError:
        """Return the error for a path that leads outside."""
        limit = " and ".join(map(str, self.folders or ()))
        return DatasetError(
            f"{shown(name)} leads outside {limit}, which needs --outside (in Python outside=True)"
        )
