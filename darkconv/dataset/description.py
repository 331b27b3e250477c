"""Read data.yaml, the description of a data set that Ultralytics' and many other tools write."""

import re
from dataclasses import dataclass
from pathlib import Path

from darkconv.darknet.data import in_expected_encoding, read_text
from darkconv.darknet.yaml_text import LONGEST, SUFFIXES, Yaml, parse_yaml, yaml_names
from darkconv.dataset.label import shown
from darkconv.dataset.paths import files_in
from darkconv.errors import DatasetError, Where

OWN_NAMES = ("data", "dataset")
"""The stems of files that are descriptions by their name, so that a broken one is an error."""
SPLITS = ("train", "val", "test")
DIFFICULT = "difficult"
OTHERS = ("path", "names", "nc", "download", "yaml_file")
LIST_SUFFIXES = (".txt", ".list")
_KEY = re.compile(r"^['\"]?(names|nc|train|val|test|valid)['\"]?\s*:", re.MULTILINE)


@dataclass(frozen=True)
class Description:
    """The content of a `data.yaml`.

    Attributes:
        file: the path of the file.
        names: the class names; None if the file has none.
        names_path: the names file that it states in place of names.
        count: the number of classes that `nc` states, as text.
        folder: the folder that `path` states, to which other paths are relative.
        splits: the folders and lists of each split.
        has_keypoints: True if keypoints follow the boxes in the labels.
        difficult: the list of difficult labels of each split, which darkconv writes.
    """

    file: Path
    names: tuple[str, ...] | None
    names_path: str | None
    count: str | None
    folder: str | None
    splits: dict[str, tuple[str, ...]]
    has_keypoints: bool
    difficult: dict[str, str]


def read_description(path: Path) -> Description:
    """Read a `data.yaml`.

    Args:
        path: the YAML file, under any name.

    Raises:
        DatasetError: the file cannot be read, or is not such a description.
    """
    where = Where(file=str(path))
    content = parse_yaml(in_expected_encoding(read_text(path), where), where)
    if not isinstance(content, dict):
        raise DatasetError(where=where, expected="names:, train:, val:", found="no keys")
    names = yaml_names(content, where)
    own = content.get("names")
    splits = {key: _paths(content[key], key, where) for key in _split_keys(content)}
    return Description(
        file=path,
        names=names,
        names_path=own if isinstance(own, str) and own else None,
        count=_text(content, "nc"),
        folder=_text(content, "path"),
        splits={key: paths for key, paths in splits.items() if paths},
        has_keypoints="kpt_shape" in content,
        difficult={
            key: value
            for key in splits
            if (value := _text(content, f"{DIFFICULT}_{key}")) is not None
        },
    )


def _split_keys(content: dict[str, Yaml]) -> list[str]:
    """Return the keys that name pictures: the usual ones, and others whose value is a list file."""
    own = [key for key in (*SPLITS, "valid") if key in content]
    others = [
        key
        for key, value in content.items()
        if key not in (*own, *OTHERS) and not key.startswith(DIFFICULT) and _is_list(value)
    ]
    return [*own, *others]


def _is_list(value: Yaml) -> bool:
    return isinstance(value, str) and value.lower().endswith(LIST_SUFFIXES)


def _text(content: dict[str, Yaml], key: str) -> str | None:
    value = content.get(key)
    return value if isinstance(value, str) and value else None


def _paths(value: Yaml, key: str, where: Where) -> tuple[str, ...]:
    """Return the folders and lists of a split; there may be none or several."""
    paths = value if isinstance(value, list) else [value]
    if not all(isinstance(path, str) for path in paths):
        place = Where(file=where.file, option=key)
        raise DatasetError(where=place, expected="a path, or a list of paths", found=shown(value))
    return tuple(path for path in paths if path and path not in ("null", "~", "None"))


def find_description(folder: Path, *, needs_splits: bool = True) -> Path | None:
    """Return the description of a data set in a folder, or None unless there is exactly one.

    Args:
        folder: the folder, without its sub-folders.
        needs_splits: ignore files that state class names but no splits.

    Raises:
        DatasetError: a file whose name is that of a description is broken.
    """
    found = find_descriptions(folder, needs_splits=needs_splits)
    own = [path for path in found if path.stem.lower() in OWN_NAMES]
    if len(own) == 1:
        return own[0]
    return found[0] if len(found) == 1 else None


def find_descriptions(folder: Path, *, needs_splits: bool = True) -> list[Path]:
    """Return all descriptions in a folder; see `find_description`.

    Args:
        folder: the folder, without its sub-folders.
        needs_splits: ignore files that state class names but no splits.

    Raises:
        DatasetError: a file whose name is that of a description is broken.
    """
    files = files_in(folder, *SUFFIXES)
    return [path for path in files if _is_description(path, needs_splits=needs_splits)]


def _is_description(path: Path, *, needs_splits: bool) -> bool:
    if path.stat().st_size > 4 * LONGEST:
        return False
    try:
        if not _KEY.search(read_text(path)):
            return False
        found = read_description(path)
    except DatasetError:
        if path.stem.lower() in OWN_NAMES:
            raise
        return False
    return bool(found.splits) if needs_splits else bool(found.names)
