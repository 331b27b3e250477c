"""Which boxes of two sides are the same object, each taken once."""

from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.boxes import Floats, iou

LIKE = 0.5
"""Overlap from which boxes of a class are the same object."""


def pair_off(
    boxes: Floats, classes: npt.NDArray[Any], others: Floats, other_classes: npt.NDArray[Any]
) -> list[tuple[int, int]]:
    """Give each box the other one of its class that it overlaps most, if nobody has it yet.

    Args:
        boxes: (n, 4), xyxy; the first may choose first.
        classes: of those, (n,).
        others: (m, 4), xyxy.
        other_classes: of those, (m,).

    Returns: (place among the boxes, place among the others) of pairs that overlap by `LIKE`.

    Example:
        >>> one, two = np.array([[0, 0, 4, 4]]), np.array([[9, 9, 9, 9], [0, 0, 4, 3]])
        >>> pair_off(one, np.array([7]), two, np.array([7, 7]))
        [(0, 1)]
    """
    pairs = []
    for kind in np.unique(classes):
        (own,), (places,) = np.nonzero(classes == kind), np.nonzero(other_classes == kind)
        rivals = others[places]
        for place in own:
            if not len(places):
                break
            overlaps = iou(boxes[place], rivals)
            best = int(overlaps.argmax())
            if overlaps[best] >= LIKE:
                pairs.append((int(place), int(places[best])))
                places, rivals = np.delete(places, best), np.delete(rivals, best, axis=0)
    return sorted(pairs)
