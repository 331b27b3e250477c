"""Names, data, label, tree and map files."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darkconv.core.tree import Tree
from darkconv.darknet.cfg import BYTE_ORDER_MARK
from darkconv.darknet.signatures import no_text
from darkconv.errors import DatasetError, Where
from darkconv.files import PathLike
from darkconv.notice import warn_once

HIDDEN = "dont_show"
"""Mark in front of a class name that AlexeyAB's program computes but does not draw."""

LONGEST_NAME = 1000
"""Characters of a class name."""

_LINE = re.compile(r"[^\n]*\n|[^\n]+")  # with its end; only a line feed is one, as for C


@dataclass(frozen=True)
class Names:
    """Class names in the order of the network's classes.

    Attributes:
        names: without marks.
        hidden: indices of those marked `dont_show`.
    """

    names: tuple[str, ...]
    hidden: frozenset[int] = frozenset()

    @property
    def shown(self) -> tuple[int, ...]:
        """Indices of the classes without the mark."""
        return tuple(i for i in range(len(self.names)) if i not in self.hidden)


def read_names(path: PathLike) -> Names:
    """Read one class name per line; blank lines at the end do not count.

    Raises:
        DatasetError: the file cannot be read or holds no name.
    """
    # a byte order mark stands inside where two files were joined
    names = [line.replace(BYTE_ORDER_MARK, "").strip() for line in _read_lines(path)]
    while names and not names[-1]:
        names.pop()
    if not names:
        raise DatasetError("holds no class names", where=Where(file=os.fspath(path)))
    _check_names(names, path)
    hidden = frozenset(i for i, name in enumerate(names) if name.startswith(HIDDEN))
    bare = (name.removeprefix(HIDDEN).strip() for name in names)
    return Names(tuple(name or str(i) for i, name in enumerate(bare)), hidden)


def _check_names(names: list[str], path: PathLike) -> None:
    """Refuse what cannot be a class name, and tell of names that occur twice."""
    for number, name in enumerate(names, start=1):
        if len(name) > LONGEST_NAME:
            raise DatasetError(
                where=Where(file=os.fspath(path), line=number),
                expected=f"a class name of at most {LONGEST_NAME} characters",
                found=f"{len(name):,}",
            )
    twice = dict.fromkeys(name for name, count in Counter(names).items() if name and count > 1)
    if twice:
        where = Where(file=os.fspath(path))
        warn_once(where, f"gives several classes the name {', '.join(list(twice)[:10])}")


def format_names(names: tuple[str, ...]) -> str:
    """The text of a names file."""
    return "".join(f"{name}\n" for name in names)


def read_data(path: PathLike) -> dict[str, str]:
    """Read `key = value` lines: classes, train, valid, names, backup ...

    As in a cfg, blanks in values are dropped and the first of repeated keys counts.

    Raises:
        DatasetError: the file cannot be read.
    """
    options: dict[str, str] = {}
    for line in _read_lines(path):
        text = "".join(line.split())
        if text and text[0] not in "#;" and "=" in text:
            key, _, value = text.partition("=")
            options.setdefault(key, value)
    return options


def read_labels(path: PathLike) -> npt.NDArray[np.float64]:
    """Read the boxes of a picture: `class x y width height` lines.

    Returns: (k, 5): class, centre x, centre y, width, height, relative to the picture.

    Raises:
        DatasetError: the file cannot be read, or a line is not five numbers.
    """
    rows = []
    for number, line in enumerate(_read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            class_id, x, y, width, height = map(float, line.split())
        except ValueError:
            raise DatasetError(
                where=Where(file=os.fspath(path), line=number),
                expected="a class and four numbers",
                found=line.strip(),
            ) from None
        rows.append((class_id, x, y, width, height))
    return np.array(rows).reshape(-1, 5)


def replaced_data(text: str, values: Mapping[str, object]) -> str:
    """The text of a data file with other values: only those lines change, missing ones follow."""
    lines = _LINE.findall(text)
    left = dict(values)
    for number, line in enumerate(lines):
        bare = "".join(line.split())
        key, equals, _ = bare.partition("=")
        if equals and bare[0] not in "#;" and key in left:
            end = line[len(line.rstrip("\r\n")) :]
            lines[number] = f"{line.partition('=')[0]}= {left.pop(key)}{end}"
    if left and lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return "".join([*lines, *(f"{key} = {value}\n" for key, value in left.items())])


def read_tree(path: PathLike) -> Tree:
    """Read `name parent` lines; the parent is a line number counted from 0, or -1.

    Raises:
        DatasetError: the file cannot be read, or a parent does not precede its child.
    """
    return parse_tree("\n".join(_read_lines(path)), file=os.fspath(path))


def parse_tree(text: str, *, file: str | None = None) -> Tree:
    """As `read_tree`, from the text of a tree file."""
    names: list[str] = []
    parents: list[int] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = Where(file=file, line=number)
        fields = line.split()
        try:
            name, parent = fields[0], int(fields[1])
        except (IndexError, ValueError):
            raise DatasetError(
                where=where, expected="a name and the number of its parent", found=line.strip()
            ) from None
        if not -1 <= parent < len(names):
            raise DatasetError(
                where=where,
                expected=f"a parent from -1 to {len(names) - 1}, above its child",
                found=parent,
            )
        names.append(name)
        parents.append(parent)
    if not names:
        raise DatasetError("holds no classes", where=Where(file=file))
    return Tree(tuple(names), tuple(parents))


def format_tree(tree: Tree) -> str:
    """The text of a tree file."""
    return "".join(
        f"{name} {parent}\n" for name, parent in zip(tree.names, tree.parents, strict=True)
    )


def read_map(path: PathLike) -> tuple[int, ...]:
    """Read one class index per line.

    Raises:
        DatasetError: the file cannot be read, or a line is no whole number.
    """
    numbers = []
    for number, line in enumerate(_read_lines(path), start=1):
        if not line.strip():
            continue
        try:
            numbers.append(int(line.split()[0]))
        except ValueError:
            raise DatasetError(
                where=Where(file=os.fspath(path), line=number),
                expected="a class index",
                found=line.strip(),
            ) from None
    return tuple(numbers)


def find_beside(name: str, cfg: str | None) -> Path | None:
    """A file that a cfg names: beside the cfg, in the folder above, or in the working folder.

    C looks in the working folder alone. Neither `..`, nor an absolute path, nor a link leads out
    of these folders.
    """
    folders = [Path()]
    if cfg:
        folder = Path(cfg).resolve().parent
        folders = [folder, folder.parent, *folders]
    limits = [folder for folder in folders if folder != folder.parent or folder == Path()]
    found = (folder / name for folder in folders if os.path.isfile(folder / name))
    return next((path for path in found if is_inside(path, limits)), None)


def is_inside(path: Path, folders: Iterable[Path]) -> bool:
    """Whether a path, its links followed, stays within one of some folders."""
    real = path.resolve()
    return any(real.is_relative_to(folder.resolve()) for folder in folders)


def _read_lines(path: PathLike) -> list[str]:
    where = Where(file=os.fspath(path))
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read: {error.strerror}", where=where) from error
    known = no_text(content)
    if known:
        raise DatasetError(f"is {known.what}", where=where, hint=known.hint)
    text = content.decode("utf-8-sig", "replace")
    return text.replace("\r\n", "\n").split("\n")
