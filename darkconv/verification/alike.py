"""Compare the boxes that two files find, where their values cannot be the same: in 8 bits.

The relative error of an output is one figure for everything. It separates a badly damaged file
from a right one, and not much more. So the boxes that both find are counted.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from darkconv.boxes import as_corners
from darkconv.detection.decode import Candidates, passing
from darkconv.detection.suppress import suppress
from darkconv.verification.agreement import HELP, Agreement
from darkconv.verification.pairing import pair_off

WANTED = 40
"""Number of boxes that the model should find: the threshold is lowered until it finds so many."""
LEAST, MOST = 0.01, 0.25
"""Limits of the threshold: scores below are chance, and boxes above count as detections."""
FEW = 10  # fewer boxes than these are too few for an F1
OVERLAP = 0.45  # IoU above which non-maximum suppression removes the lower box
DIFFERENT = 0.6
"""The largest 1 - F1 that is allowed.

Right files of five models have 0.02 to 0.51, depending on how well they bear 8 bits. Files whose
last convolutions were halved have 0.67 to 0.99, and files with the filters of one early
convolution in another order 0.52 to 1.
"""


def compare_finds(
    pairs: Sequence[tuple[Candidates, Candidates]],
) -> tuple[list[Agreement], str]:
    """Return 1 - F1 of the boxes that a model and a file find, and a note on how it was measured.

    Args:
        pairs: for each input all boxes of the model and all boxes of the file, with all their
            scores.

    Returns:
        One row, or none where the model finds fewer than `FEW` boxes; and the note.
    """
    threshold = common_threshold([expected for expected, _ in pairs])
    both = ours = theirs = 0
    for expected, found in pairs:
        one, two = (kept(side, threshold) for side in (expected, found))
        ours, theirs = ours + count(one), theirs + count(two)
        both += count_same(one, two)
    if ours < FEW:
        return [], f"the model finds too few boxes above {threshold:.2g}, {ours}; {HELP}"
    row = Agreement("1 - F1 of boxes", 1 - 2 * both / (ours + theirs), DIFFERENT, ours + theirs)
    note = (
        f"of boxes that score above {threshold:.2g} the model finds {ours} and the file {theirs}; "
        f"{both} are the same ones"
    )
    return [row], note


def common_threshold(sides: Sequence[Candidates]) -> float:
    """Return the score above which the model has `WANTED` boxes, between `LEAST` and `MOST`.

    Args:
        sides: the model's boxes, one entry for each input.
    """
    scores = [kept(side, LEAST).scores for side in sides]
    every = np.sort(np.concatenate([values[values > 0] for values in scores]))[::-1]
    wanted = float(every[WANTED]) if len(every) > WANTED else LEAST
    return min(max(wanted, LEAST), MOST)


def kept(side: Candidates, threshold: float) -> Candidates:
    """Return the boxes above a threshold that non-maximum suppression keeps.

    Args:
        side: boxes with their scores of every class.
        threshold: score in 0..1 that a box has to exceed.
    """
    with np.errstate(invalid="ignore"):
        above = passing(side.scores, threshold)
    rows = above.any(axis=1)
    some = Candidates(side.boxes[rows], side.objectness[rows], above[rows])
    return suppress(some, threshold=OVERLAP)


def count(side: Candidates) -> int:
    """Return the number of boxes; a box of several classes counts once for each.

    Args:
        side: boxes after suppression; a score of 0 means that the box is not of that class.
    """
    return int(np.count_nonzero(side.scores))


def count_same(expected: Candidates, found: Candidates) -> int:
    """Return how many boxes of both sides are the same class and object; each is paired once.

    Args:
        expected: the model's boxes after suppression.
        found: the file's boxes after suppression.
    """
    sides: list[Any] = []
    for side in (expected, found):
        rows, classes = np.nonzero(side.scores > 0)
        sides += [as_corners(side.boxes)[rows], classes]
    return len(pair_off(*sides))
