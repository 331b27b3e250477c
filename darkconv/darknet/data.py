"""Names, data, label, tree and map files."""

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

_BLANKS = str.maketrans("", "", " \t\r\n")  # that C's strip takes out
_LINE = re.compile(r"[^\n]*\n|[^\n]+")  # with its end; only a line feed is one, as for C


def read_names(path: PathLike, *, encoding: str | None = None) -> Names:
    """Read one class name per line; blank lines at the end do not count.

    Of a `.yaml` file, such as Ultralytics' `data.yaml`, its `names` are read.

    Args:
        path: the file.
        encoding: of the file; by default UTF-8, or what a byte order mark says. Bytes that are
            neither are kept and written back, with a warning.

    Raises:
        DatasetError: the file cannot be read or holds no name, or a name cannot be one.
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
    """Return the names that the bytes which a file has kept are in some encoding.

    Raises:
        DatasetError: no bytes were kept, or they are no text in it.
    """
    where = Where(file=os.fspath(file))
    if not keeps_bytes(names.text):
        raise DatasetError(
            "names_encoding: its class names are text already, with nothing to decode", where=where
        )
    text = _as_text(encoded(names.text), where, encoding)
    return Names.parse(text, file=where.file).read_in(encoding)


def require_encoding(encoding: str, where: Where) -> None:
    """Raise DatasetError if there is no such encoding."""
    _as_text(b"", where, encoding)


def _tell_of_names(names: Names, path: PathLike) -> None:
    """Tell of names that occur twice, and of those that are bytes."""
    where = Where(file=os.fspath(path))
    counts = Counter(map(same_name, names))
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        warn_once(where, f"gives several classes the name {', '.join(twice[:10])}")
    tell_of_bytes(names, where)


@dataclass
class Expected:
    """The encoding of files that name classes, where they are no UTF-8.

    Attributes:
        encoding: its name; None keeps the bytes, and nothing is said of them.
        is_used: a file was read in it.
    """

    encoding: str | None
    is_used: bool = False


_expected: ContextVar[Expected | None] = ContextVar("expected", default=None)


@contextlib.contextmanager
def names_in(encoding: str | None) -> Iterator[Expected]:
    """Read all files that name classes and are no UTF-8 in an encoding, or say nothing of them."""
    expected = Expected(encoding)
    token = _expected.set(expected)
    try:
        yield expected
    finally:
        _expected.reset(token)


def in_expected_encoding(text: str, where: Where) -> str:
    """Return the text of a file that names classes in the encoding of `names_in`.

    Raises:
        DatasetError: it is no text in it.
    """
    expected = _expected.get()
    if expected is None or expected.encoding is None or not keeps_bytes(text):
        return text
    expected.is_used = True
    return _as_text(encoded(text), where, expected.encoding)


def tell_of_bytes(names: Names, where: Where) -> None:
    """Say once which encoding would read names that are bytes."""
    if keeps_bytes(names.text) and _expected.get() is None:
        likely = likely_encodings(encoded(names.text))
        advice = " or ".join(f"--names-encoding {one}" for one in likely)
        warn_once(
            where,
            "class names are not UTF-8, and their bytes are kept as they are; "
            f"{advice or '--names-encoding'} reads them (in Python names_encoding=)",
        )


def format_names(names: Sequence[str]) -> str:
    """Return the text of a names file."""
    return Names.of(names).text


def names_bytes(names: Sequence[str], file: PathLike) -> bytes:
    """Return the content of a names file that reads back as these names.

    Raises:
        DatasetError: there is no name, or no file gives them back.
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
    """Read `key = value` lines: classes, train, valid, names, backup ...

    As in a cfg, blanks in values are dropped and the first of repeated keys counts.

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
    """Return the text of a data file with other values: only those lines change.

    Missing ones follow. The line of a value that is None is left out.
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
    return read_text(path).replace("\r\n", "\n").split("\n")


def read_text(path: PathLike, *, encoding: str | None = None) -> str:
    """Return a text that a user wrote: see `darkconv.encodings`.

    Args:
        path: the file.
        encoding: of the text, where it is known.

    Raises:
        DatasetError: the file cannot be read, is no text, or none in this encoding.
    """
    where = Where(file=os.fspath(path))
    return _text_only(read_any_text(path, encoding=encoding), where)


def read_any_text(path: PathLike, *, encoding: str | None = None) -> str:
    """Return a text as `read_text` does, of a file that may hold anything: lines are checked later.

    Args:
        path: the file.
        encoding: of the text, where it is known.

    Raises:
        DatasetError: the file cannot be read, or is no text in this encoding.
    """
    where = Where(file=os.fspath(path))
    note_input(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DatasetError(f"cannot read: {error.strerror}", where=where) from error
    return _as_text(content, where, encoding)


def _text_only(text: str, where: Where) -> str:
    """Return a text, or raise DatasetError where it is something else or was no download."""
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
