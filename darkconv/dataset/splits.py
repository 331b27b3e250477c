"""Splits: the parts of a data set, and the names that different tools give them."""

import re
from collections.abc import Iterable

from darkconv.errors import DatasetError, Where, one_line
from darkconv.files import PathLike

TRAIN, VALID, TEST = "train", "valid", "test"

ALIASES = {
    TRAIN: ("train", "training"),
    VALID: ("valid", "val", "validation", "dev"),
    TEST: ("test", "testing"),
}
"""Darknet's name of a split, with the names that other tools use."""

_YEAR = re.compile(r"[-_. ]?\d+$")


def canonical(split: str) -> str:
    """Return Darknet's name of a split: `val2017` and `validation` are `valid`.

    Args:
        split: the name of a split; an unknown one is returned as it is.
    """
    bare = _YEAR.sub("", split).casefold()
    return next((word for word, others in ALIASES.items() if bare in others), split)


def match_split(split: str, known: Iterable[str]) -> str | None:
    """Return the split of a data set that the user means, or None if it has no such split.

    The name itself counts first, then another spelling of it: `val` is `valid`, and `train` is
    `train2017` if no other split is called so.

    Args:
        split: the name that the user gave.
        known: the names of the data set's splits.
    """
    splits = list(known)
    if split in splits:
        return split
    for same in (str.casefold, canonical):
        found = [one for one in splits if same(one) == same(split)]
        if len(found) == 1:
            return found[0]
    return None


def find_split(split: str, known: Iterable[str], source: PathLike) -> str:
    """Return the split of a data set that the user means.

    Args:
        split: the name that the user gave.
        known: the names of the data set's splits.
        source: the data set, for messages.

    Raises:
        DatasetError: the data set has no such split, or none at all.
    """
    splits = tuple(known)
    found = match_split(split, splits)
    if found is not None:
        return found
    where = Where(file=str(source))
    if not splits:
        raise DatasetError(
            f"has no splits, so there is no split {split!r}",
            where=where,
            hint="leave the split out to read all of it",
        )
    listed = one_line(", ".join(splits[:20]))
    raise DatasetError(where=where, expected=f"one of the splits {listed}", found=split)
