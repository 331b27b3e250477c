"""Whether two files find the same boxes, where their values cannot be the same: in 8 bits.

One figure for everything, the relative error of an output, tells a damaged file from a right one
and little more. So the boxes are counted that both find.
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
"""Boxes that the model should find: the threshold is lowered until it does."""
LEAST, MOST = 0.01, 0.25
"""Between these the threshold is: scores below are chance, and boxes above count for detection."""
FEW = 10  # boxes of which a share says nothing
OVERLAP = 0.45  # above which two boxes of a class are the same
DIFFERENT = 0.6
"""Of 1 - F1 what is allowed.

Right files of five models have 0.02 to 0.51, by how well they bear 8 bits; with the last
convolutions halved it is 0.67 to 0.99, and with the filters of one early convolution in another
order 0.52 to 1.
"""


def compare_finds(
    pairs: Sequence[tuple[Candidates, Candidates]],
) -> tuple[list[Agreement], str]:
    """Return 1 less the F1 of the boxes that two find, and how it was measured.

    Of a model that finds next to nothing it would say nothing, and there is no row.

    Args:
        pairs: for each input all boxes of the model, and all of the file, with all their scores.
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
    """Return the score above which a model has as many boxes as are wanted, within limits."""
    scores = [kept(side, LEAST).scores for side in sides]
    every = np.sort(np.concatenate([values[values > 0] for values in scores]))[::-1]
    wanted = float(every[WANTED]) if len(every) > WANTED else LEAST
    return min(max(wanted, LEAST), MOST)


def kept(side: Candidates, threshold: float) -> Candidates:
    """Return what plain suppression leaves of the boxes above a threshold."""
    with np.errstate(invalid="ignore"):
        above = passing(side.scores, threshold)
    rows = above.any(axis=1)
    some = Candidates(side.boxes[rows], side.objectness[rows], above[rows])
    return suppress(some, threshold=OVERLAP)


def count(side: Candidates) -> int:
    """Return how many boxes there are, those of several classes once for each."""
    return int(np.count_nonzero(side.scores))


def count_same(expected: Candidates, found: Candidates) -> int:
    """Return how many boxes of both are of the same class and object, each taken once."""
    sides: list[Any] = []
    for side in (expected, found):
        rows, classes = np.nonzero(side.scores > 0)
        sides += [as_corners(side.boxes)[rows], classes]
    return len(pair_off(*sides))
