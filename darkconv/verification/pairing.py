"""Find which boxes of two sides are the same object; each box is paired once."""

from typing import Any

import numpy as np
import numpy.typing as npt

from darkconv.boxes import Floats, iou

LIKE = 0.5
"""IoU from which boxes of the same class are the same object."""


def pair_off(
    boxes: Floats, classes: npt.NDArray[Any], others: Floats, other_classes: npt.NDArray[Any]
) -> list[tuple[int, int]]:
    """Pair each box with the free box of its class on the other side that it overlaps most.

    Args:
        boxes: (n, 4), xyxy; the first box chooses first.
        classes: class indices of these boxes, (n,).
        others: (m, 4), xyxy.
        other_classes: class indices of the other boxes, (m,).

    Returns:
        (index in `boxes`, index in `others`) of the pairs with an IoU of at least `LIKE`, sorted.

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
