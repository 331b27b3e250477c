"""Different spellings of the same class in VOC, Darknet and COCO, in letter case and blanks."""

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
"""Names of the same class in VOC or Darknet and in COCO, if they differ in more than blanks."""

_SAME = {other: first for first, other in SPELLINGS}


def spelled(name: str) -> str:
    """Return a normal form that all known spellings of a class share.

    Args:
        name: a class name in any spelling.
    """
    whole = unicodedata.normalize("NFC", name).casefold()
    bare = "".join(c for c in whole if c not in "_-" and not c.isspace())
    return _SAME.get(bare, bare)


def matching_names(labels: Sequence[str], names: Sequence[str]) -> dict[str, str]:
    """Return the model's class name for each label name that is only spelled differently.

    A label name that the model also has is left out, as is one that matches several classes.

    Args:
        labels: class names of the labels.
        names: class names of the model.

    Returns:
        Class names of the model by those of the labels.
    """
    known = set(names)
    counts = Counter(map(spelled, names))
    by_spelling = {spelled(name): name for name in names}
    return {
        name: by_spelling[spelled(name)]
        for name in labels
        if name not in known and counts[spelled(name)] == 1
    }
