"""Find pictures, and follow the paths in files, but not beyond the allowed folders."""

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
"""Folders with copies that DarkMark, macOS and Synology make for themselves."""

_TURNED = (5, 6, 7, 8)  # the EXIF orientations that exchange width and height


def files_in(folder: Path, *suffixes: str) -> list[Path]:
    """Return the files of a folder that are not hidden and have one of some suffixes, sorted.

    Args:
        folder: the folder, without its sub-folders; it need not exist.
        suffixes: the suffixes in lower case; those of the files may be in any case.

    Raises:
        DatasetError: the folder cannot be read.
    """
    return _files(folder, lambda name: os.path.splitext(name)[1].lower() in suffixes)


def named_in(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the files of a folder that have one of some names, in the order of the names.

    Args:
        folder: the folder, without its sub-folders; it need not exist.
        names: the names in lower case; those of the files may be in any case.

    Raises:
        DatasetError: the folder cannot be read.
    """
    found = _files(folder, lambda name: name.lower() in names)
    return sorted(found, key=lambda path: names.index(path.name.lower()))


def entries(folder: Path) -> list[Path]:
    """Return the entries of a folder, sorted; none if it cannot be read.

    Args:
        folder: a folder that may be missing or closed to the user.
    """
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def folders_in(folder: Path, names: Sequence[str]) -> list[Path]:
    """Return the sub-folders that have one of some names, in the order of the names.

    Args:
        folder: the folder; none are found if it cannot be read.
        names: the names in lower case; those of the folders may be in any case.
    """
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

    Links to folders are followed, unless they lead to a folder that holds this one. A folder that
    is reached in several ways is entered once, and the folders of `CACHES` are not entered.

    Args:
        folder: the folder to start from.

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
    """Return all pictures below a folder, sorted; see `walk_files`.

    Pipes and devices are not pictures, whatever their names are.

    Args:
        folder: the folder to start from.

    Raises:
        DatasetError: a folder cannot be read.
    """
    found = filter(is_picture, walk_files(folder))
    return [path for path in found if os.path.isfile(path) or not os.path.exists(path)]


def _refuse(error: OSError) -> NoReturn:
    where = Where(file=str(error.filename))
    raise DatasetError(f"cannot read: {error.strerror}", where=where) from error


class PictureSize(NamedTuple):
    """The size of a picture, and its orientation in the file.

    Attributes:
        size: (width, height) in pixels of the upright picture, as `read_picture` gives it.
        orientation: the EXIF orientation, 1 to 8.
    """

    size: Size
    orientation: int

    @property
    def is_turned(self) -> bool:
        """Return True if width and height are exchanged in the file."""
        return self.orientation in _TURNED


def measure_picture(path: Path) -> PictureSize:
    """Return the size of a picture, reading only the start of the file.

    Args:
        path: a picture file of any format that is read.

    Raises:
        DatasetError: the file cannot be read or is no picture.
        MissingDependencyError: Pillow is not installed.
    """
    with opened(path) as image:
        lying = orientation(image, Where(file=os.fspath(path)))
        width, height = image.size
    return PictureSize((height, width) if lying in _TURNED else (width, height), lying)


def picture_size(path: Path) -> Size:
    """Return (width, height) of the upright picture in pixels; see `measure_picture`.

    Args:
        path: a picture file of any format that is read.
    """
    return measure_picture(path).size


def tidy(path: Path) -> Path:
    """Return a path without `..`, if that leads to the same place despite links.

    Args:
        path: the path, which exists.
    """
    if ".." not in path.parts:
        return path
    short = Path(os.path.normpath(path))
    return short if short.exists() and short.samefile(path) else path


def above(folder: Path) -> Path:
    """Return the folder that holds a folder.

    Args:
        folder: the folder; its last part may be `..`.
    """
    return folder.parent if folder.name not in ("", "..") else folder.resolve().parent


def read_text(path: PathLike) -> str:
    r"""Return the text of a file with `\n` as line ends; see `read_any_text`.

    Bytes that are not UTF-8 are kept, as os.fsdecode keeps them, so that paths in the text stay
    valid.

    Args:
        path: a text file; it is noted as an input that no output may replace.

    Raises:
        DatasetError: the file cannot be read, or has the byte order mark of UTF-16 and is not
            UTF-16.
    """
    note_input(path, is_lasting=True)
    return read_any_text(path).replace("\r\n", "\n")


def numbered_lines(text: str) -> Iterable[tuple[int, str]]:
    r"""Return the lines of a text, stripped, with their numbers from 1.

    Blank lines at the end do not count.

    Args:
        text: the text, with `\n` as line ends.

    Returns:
        Pairs of number and line.
    """
    lines = text.rstrip().split("\n")
    return enumerate(map(str.strip, lines), start=1) if lines != [""] else ()


@dataclass(frozen=True)
class Bounds:
    """The folders to which paths that a file names may lead.

    Attributes:
        folders: the resolved folders; None for any place.
    """

    folders: tuple[Path, ...] | None

    @classmethod
    def around(cls, *files: Path, outside: bool) -> "Bounds":
        """Build the bounds of some files: the folder above each file's folder.

        Where above the file's folder there is only the root, its own folder is the bound.

        Args:
            files: the files that name paths.
            outside: allow paths to lead anywhere.
        """
        if outside:
            return cls(None)
        folders = (file.resolve().parent for file in files)
        limits = (f if f.parent == f.parent.parent else f.parent for f in folders)
        return cls(tuple(dict.fromkeys(limits)))

    def hold(self, path: Path) -> bool:
        """Return True if a path, after following its links, lies within the bounds.

        Args:
            path: a path that may have links and `..` in it.
        """
        if self.folders is None:
            return True
        return is_inside(path, self.folders)

    def find(self, name: str, bases: Sequence[Path], *, what: str = "picture") -> Path:
        r"""Return the file of a name in the first folder that has it; `\` may stand for `/`.

        Args:
            name: the path as a file writes it.
            bases: the folders to which it may be relative.
            what: the kind of file, for messages.

        Raises:
            DatasetError: there is no such file, or it lies outside the bounds.
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
        """Return the error for a path that leads outside the bounds.

        Args:
            name: the path as a file writes it.
        """
        limit = " and ".join(map(str, self.folders or ()))
        return DatasetError(
            f"{shown(name)} leads outside {limit}, which needs --outside (in Python outside=True)"
        )
