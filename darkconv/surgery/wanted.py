"""Classes as users name them: a list with commas, a names file, or what a names file hides."""

import os

from darkconv.core.model import Model
from darkconv.core.names import Names, split_names
from darkconv.darknet.data import read_names
from darkconv.errors import PlanError

NAMES_SUFFIXES = (".names", ".txt")


def wanted_classes(model: Model, keep: str | None, encoding: str | None) -> list[str | int]:
    """Return the classes to keep, as `reclass` takes them.

    Args:
        model: whose classes they are.
        keep: what the user says: names or indices with commas between, or a names file.
        encoding: of a names file.

    Raises:
        PlanError: nothing says which.
    """
    if keep is None:
        return list(_shown(model.names))
    if is_names_file(keep):
        listed = read_names(keep, encoding=encoding)
        return list(_shown(listed)) if listed.hidden else list(listed)
    return list(split_names(keep, model.names))


def is_names_file(keep: str) -> bool:
    """Return True if a text is the path of a names file, and not a list."""
    return keep.endswith(NAMES_SUFFIXES) and os.path.isfile(keep)


def split_list(text: str | None) -> list[str]:
    """Return the words between commas."""
    return split_names(text or "")


def _shown(names: Names) -> tuple[int, ...]:
    if not names:
        raise PlanError("no class to keep", hint="--keep person,car")
    if not names.hidden:
        raise PlanError(
            "no class to keep", hint="--keep person,car, or dont_show lines in the names file"
        )
    return names.shown
