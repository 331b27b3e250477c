"""Reading and writing of names, data, label, tree and map files."""

import contextlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from darkconv.core.names import Names, same_name
from darkconv.core.tree import Tree
from darkconv.darknet.signatures import no_text
from darkconv.darknet.yaml_text import SUFFIXES as YAML_SUFFIXES
from darkconv.darknet.yaml_text import parse_yaml, yaml_names
from darkconv.encodings import decoded, encoded, keeps_bytes, likely_encodings
from darkconv.errors import DatasetError, Where
from darkconv.files import PathLike
from darkconv.files.notice import warn_once
from darkconv.files.outputs import note_input

_BLANKS = str.maketrans("", "", " \t\r\n")  # the characters that C's strip removes
_LINE = re.compile(r"[^\n]*\n|[^\n]+")  # a line with its ending; only a line feed ends it, as in C


def read_names(path: PathLike, *, encoding: str | None = None) -> Names:
    """Read class names, one per line; blank lines at the end do not count.

    For a `.yaml` file, such as Ultralytics' `data.yaml`, its `names` are read.

    Args:
        path: path of the names file.
        encoding: encoding of the file; None for UTF-8 or what a byte order mark says. Bytes that
            are not UTF-8 are then kept and written back unchanged, with a warning.

    Raises:
        DatasetError: the file cannot be read, or holds no name or an invalid one.
        MissingDependencyError: the file is YAML, and PyYAML is not installed.
    """
    text = read_text(path, encoding=encoding)
    if encoding is None:
        text = in_expected_encoding(text, Where(file=os.fspath(path)))
    is_yaml = os.fspath(path).lower().endswith(YAML_SUFFIXES)
    names = (_yaml_names if is_yaml else Names.parse)(text, file=os.fspath(path))
    _tell_of_names(names, path)
    return names if encoding is None else names.read_in(encoding)


def _yaml_names(text: str, *, file: str) -> Names:
    where = Where(file=file)
    names = yaml_names(parse_yaml(text, where), where)
    if not names:
        raise DatasetError("holds no class names", where=where, hint="it has no list names:")
    return names


def decoded_names(names: Names, encoding: str, file: PathLike) -> Names:
    """Return names decoded from the bytes that were kept when their file was read.

    Args:
        names: names read from a file that is not UTF-8.
        encoding: the encoding of that file.
        file: path of the file, used in messages.

    Raises:
        DatasetError: no bytes were kept, or they are no text in this encoding.
    """
    where = Where(file=os.fspath(file))
    if not keeps_bytes(names.text):
        raise DatasetError(
            "names_encoding: its class names are text already, with nothing to decode", where=where
        )
    text = _as_text(encoded(names.text), where, encoding)
    return Names.parse(text, file=where.file).read_in(encoding)


def require_encoding(encoding: str, where: Where) -> None:
    """Raise an error unless an encoding exists.

    Args:
        encoding: name of the encoding.
        where: place used in the message.

    Raises:
        DatasetError: Python knows no encoding of this name.
    """
    _as_text(b"", where, encoding)


def _tell_of_names(names: Names, path: PathLike) -> None:
    """Warn of names that occur twice, and of names that are not UTF-8."""
    where = Where(file=os.fspath(path))
    counts = Counter(map(same_name, names))
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        warn_once(where, f"gives several classes the name {', '.join(twice[:10])}")
    tell_of_bytes(names, where)


@dataclass
class Expected:
    """The encoding of files that name classes and are not UTF-8.

    Attributes:
        encoding: name of the encoding; None to keep the bytes without a warning.
        is_used: True once a file was read in this encoding.
    """

    encoding: str | None
    is_used: bool = False


_expected: ContextVar[Expected | None] = ContextVar("expected", default=None)


@contextlib.contextmanager
def names_in(encoding: str | None) -> Iterator[Expected]:
    """Return a context in which files that name classes and are not UTF-8 have a given encoding.

    Args:
        encoding: name of the encoding; None to keep the bytes without a warning.

    Yields:
        The encoding, and whether a file was read in it.
    """
    expected = Expected(encoding)
    token = _expected.set(expected)
    try:
        yield expected
    finally:
        _expected.reset(token)


def in_expected_encoding(text: str, where: Where) -> str:
    """Return the text of a file that names classes, decoded in the encoding set by `names_in`.

    Args:
        text: the text of the file, in which bytes that are not UTF-8 were kept.
        where: place of the file, used in messages.

    Raises:
        DatasetError: the bytes are no text in this encoding.
    """
    expected = _expected.get()
    if expected is None or expected.encoding is None or not keeps_bytes(text):
        return text
    expected.is_used = True
    return _as_text(encoded(text), where, expected.encoding)


def tell_of_bytes(names: Names, where: Where) -> None:
    """Warn once if names are not UTF-8, and say which encoding would read them.

    Args:
        names: the names, in which bytes that are not UTF-8 were kept.
        where: place of the names file.
    """
    if keeps_bytes(names.text) and _expected.get() is None:
        likely = likely_encodings(encoded(names.text))
        advice = " or ".join(f"--names-encoding {one}" for one in likely)
        warn_once(
            where,
            "class names are not UTF-8, and their bytes are kept as they are; "
            f"{advice or '--names-encoding'} reads them (in Python names_encoding=)",
        )


def format_names(names: Sequence[str]) -> str:
    """Return the text of a names file.

    Args:
        names: class names in class order; `Names` keep their marks.
    """
    return Names.of(names).text


def names_bytes(names: Sequence[str], file: PathLike) -> bytes:
    """Return the content of a names file that reads back as these names.

    Args:
        names: class names in class order.
        file: path of the file to write, used in messages.

    Raises:
        DatasetError: there are no names, or they would not be read back unchanged.
    """
    where = Where(file=os.fspath(file))
    if not names:
        raise DatasetError("the model has no class names to write", where=where)
    content = encoded(format_names(names))
    with contextlib.suppress(DatasetError):
        found = Names.parse(_text_only(_as_text(content, where), where))
        if (found, found.hidden) == (names, Names.of(names).hidden):
            return content
    raise DatasetError("these class names would not be read back as they are", where=where)


def read_data(path: PathLike) -> dict[str, str]:
    """Read the `key = value` lines of a data file: classes, train, valid, names, backup ...

    As in a cfg, blanks in values are removed, and the first of repeated keys counts.

    Args:
        path: path of the data file.

    Raises:
        DatasetError: the file cannot be read.
    """
    options: dict[str, str] = {}
    for number, line in enumerate(_read_lines(path), start=1):
        text = line.translate(_BLANKS)
        if text and text[0] not in "#;" and "=" in text:
            key, _, value = text.partition("=")
            first = options.setdefault(key, value)
            if value != first:
                where = Where(file=os.fspath(path), line=number, option=key)
                warn_once(where, f"{value} is its second value: {first} counts, as in C")
    return options


def read_labels(path: PathLike) -> npt.NDArray[np.float64]:
    """Read the boxes of a picture from lines of `class x y width height`.

    Args:
        path: path of the label file.

    Returns:
        float64 (boxes, 5): class index (from 0), centre x, centre y, width and height, relative to
            the picture.

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
    """Return the text of a data file with some values replaced; only their lines change.

    Args:
        text: the text of the data file.
        values: new values by key. Keys that the file does not have are added at the end, and the
            line of a key whose value is None is left out.
    """
    lines = []
    left = dict(values)
    for line in _LINE.findall(text):
        bare = line.translate(_BLANKS)
        key, equals, _ = bare.partition("=")
        if not equals or bare[0] in "#;" or key not in left:
            lines.append(line)
        elif left[key] is not None:
            end = line[len(line.rstrip("\r\n")) :]
            lines.append(f"{line.partition('=')[0]}= {left.pop(key)}{end}")
    missing = {key: value for key, value in left.items() if value is not None}
    if missing and lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    return "".join([*lines, *(f"{key} = {value}\n" for key, value in missing.items())])


def read_tree(path: PathLike) -> Tree:
    """Read a class tree from lines of `name parent`.

    Args:
        path: path of the tree file; a parent is the index (from 0) of a line before its child, or
            -1.

    Raises:
        DatasetError: the file cannot be read, or a parent does not precede its child.
    """
    return parse_tree("\n".join(_read_lines(path)), file=os.fspath(path))


def parse_tree(text: str, *, file: str | None = None) -> Tree:
    """Parse the text of a tree file; see `read_tree`.

    Args:
        text: text of the tree file.
        file: name of the file, used in messages.

    Raises:
        DatasetError: a line is malformed, a parent does not precede its child, or there are no
            classes.
    """
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
    """Return the text of a tree file.

    Args:
        tree: the class tree.
    """
    return "".join(
        f"{name} {parent}\n" for name, parent in zip(tree.names, tree.parents, strict=True)
    )


def read_map(path: PathLike) -> tuple[int, ...]:
    """Read class indices (from 0), one per line.

    Args:
        path: path of the map file.

    Raises:
        DatasetError: the file cannot be read, or a line does not begin with a whole number.
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
    """Find a file that a cfg names: beside the cfg, in the folder above, or in the working folder.

    C searches only the working folder. Neither `..`, nor an absolute path, nor a link can lead out
    of these folders.

    Args:
        name: the file name in the cfg.
        cfg: path of the cfg; None to search only the working folder.

    Returns:
        The path of the file; None if it was not found.
    """
    folders = [Path()]
    if cfg:
        folder = Path(cfg).resolve().parent
        folders = [folder, folder.parent, *folders]
    limits = [folder for folder in folders if folder != folder.parent or folder == Path()]
    found = (folder / name for folder in folders if os.path.isfile(folder / name))
    return next((path for path in found if is_inside(path, limits)), None)


def is_inside(path: Path, folders: Iterable[Path]) -> bool:
    """Return True if a path, with its links resolved, lies within one of some folders.

    Args:
        path: the path to examine.
        folders: the folders in which it may lie.
    """
    real = path.resolve()
    return any(real.is_relative_to(folder.resolve()) for folder in folders)


def _read_lines(path: PathLike) -> list[str]:
    return read_text(path).replace("\r\n", "\n").split("\n")


def read_text(path: PathLike, *, encoding: str | None = None) -> str:
    """Read a text file written by a user; see `darkconv.encodings`.

    Args:
        path: path of the file.
        encoding: encoding of the text; None for UTF-8 or what a byte order mark says.

    Raises:
        DatasetError: the file cannot be read, is not a text, or not one in this encoding.
    """
    where = Where(file=os.fspath(path))
    return _text_only(read_any_text(path, encoding=encoding), where)


def read_any_text(path: PathLike, *, encoding: str | None = None) -> str:
    """Read a file that may hold anything as text, without the check that it is a text.

    Args:
        path: path of the file.
        encoding: encoding of the text; None for UTF-8 or what a byte order mark says.

    Raises:
        DatasetError: the file cannot be read, or is not a text in this encoding.
    """
    where = Where(file=os.fspath(path))
    note_input(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read: {error.strerror}", where=where) from error
    return _as_text(content, where, encoding)


def _text_only(text: str, where: Where) -> str:
    """Return a text, or raise a DatasetError if it is a binary file or a failed download."""
    known = no_text(encoded(text))
    if known:
        raise DatasetError(f"is {known.what}", where=where, hint=known.hint)
    return text


def _as_text(content: bytes, where: Where, encoding: str | None = None) -> str:
    try:
        if "\0" in (encoding or ""):
            raise LookupError
        text = decoded(content, encoding)
        encoded(text)
    except LookupError:
        raise DatasetError(
            "unknown encoding",
            where=where,
            expected="a name that Python knows, such as gbk, cp1251, latin-1 or shift_jis",
            found=encoding,
        ) from None
    except UnicodeError as error:
        raise DatasetError(f"is no text in {encoding or 'UTF-16'}: {error}", where=where) from error
    return text
