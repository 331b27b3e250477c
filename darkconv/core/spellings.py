"""Spellings of one class: VOC's, Darknet's and COCO's, capitals or not, blanks or none."""

import unicodedata
from collections import Counter
from collections.abc import Sequence

SPELLINGS = (
    ("aeroplane", "airplane"),
    ("motorbike", "motorcycle"),
    ("sofa", "couch"),
    ("tvmonitor", "tv"),
    ("donut", "doughnut"),
    ("hairdrier", "hairdryer"),
)
"""How VOC and Darknet, and COCO, call the same class, where more than blanks differ."""

_SAME = {other: first for first, other in SPELLINGS}


def spelled(name: str) -> str:
    """Return what all known spellings of a class have in common."""
    whole = unicodedata.normalize("NFC", name).casefold()
    bare = "".join(c for c in whole if c not in "_-" and not c.isspace())
    return _SAME.get(bare, bare)


def matching_names(labels: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Return the class of a model for each class of labels that it only spells otherwise.

    A class that the model spells the same way stays, and so does one that several would match.
    """
    known = set(names)
    counts = Counter(map(spelled, names))
    by_spelling = {spelled(name): name for name in names}
    return {
        name: by_spelling[spelled(name)]
        for name in labels
        if name not in known and counts[spelled(name)] == 1
    }
