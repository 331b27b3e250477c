"""Classes as users name them: a list with commas, a names file, or the shown classes of one."""

import os

from darkconv.core.model import Model
from darkconv.core.names import Names, split_names
from darkconv.darknet.data import read_names
from darkconv.errors import PlanError

NAMES_SUFFIXES = (".names", ".txt")


def wanted_classes(model: Model, keep: str | None, encoding: str | None) -> list[str | int]:
    """Return the classes to keep, in the form that `reclass` takes.

    Args:
        model: the model whose classes they are.
        keep: names or indices separated by commas, or path of a names file; None for the classes
            that the model's own names file does not hide.
        encoding: encoding of a names file; None for UTF-8 or what a byte order mark says.

    Raises:
        PlanError: nothing says which classes to keep.
        DatasetError: the names file cannot be read.
    """
    if keep is None:
        return list(_shown(model.names))
    if is_names_file(keep):
        listed = read_names(keep, encoding=encoding)
        return list(_shown(listed)) if listed.hidden else list(listed)
    return list(split_names(keep, model.names))


def is_names_file(keep: str) -> bool:
    """Return True if a text is the path of a names file, and not a list.

    Args:
        keep: the text given by the user.
    """
    return keep.endswith(NAMES_SUFFIXES) and os.path.isfile(keep)


def split_list(text: str | None) -> list[str]:
    """Return the words between commas, without blanks around them.

    Args:
        text: the list; None for an empty one.
    """
    return split_names(text or "")


def _shown(names: Names) -> tuple[int, ...]:
    if not names:
        raise PlanError("no class to keep", hint="--keep person,car")
    if not names.hidden:
        raise PlanError(
            "no class to keep", hint="--keep person,car, or dont_show lines in the names file"
        )
    return names.shown
