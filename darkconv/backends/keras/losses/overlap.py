"""How much two boxes overlap, as a number that can be differentiated.

Boxes are (..., 4), xywh with the centre first, all in one unit; leading axes broadcast.
"""

import math

from keras import ops

from darkconv.backends.keras.scope import Tensor
from darkconv.layers.loss_rules import CIOU_EPSILON


def overlap(kind: str, a: Tensor, b: Tensor) -> Tensor:
    """A measure of overlap: 1 for equal boxes, less the less they agree.

    Args:
        kind: "giou", "diou" or "ciou"; every other name means plain IoU, as in Darknet.
        a: boxes.
        b: boxes of positive size.

    Returns: (...), the broadcast leading axes.
    """
    plain = iou(a, b)
    if kind == "giou":
        return plain - _empty_share(a, b, plain)
    if kind == "diou":
        return plain - _centre_distance(a, b)
    if kind == "ciou":
        return plain - _centre_distance(a, b) - _aspect_difference(a, b, plain)
    return plain


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union."""
    shared = area(_intersection(a, b))
    return shared / (area(a[..., 2:]) + area(b[..., 2:]) - shared)


def iou_or_none(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union, 0 where that is no number."""
    found = iou(a, b)
    return ops.where(ops.isnan(found), 0.0, found)


def shape_overlap(kind: str, a: Tensor, b: Tensor) -> Tensor:
    """The measure for boxes about the same centre, of sizes (..., 2)."""
    return overlap(kind, _centred(a), _centred(b))


def area(sizes: Tensor) -> Tensor:
    """Width * height."""
    return sizes[..., 0] * sizes[..., 1]


def _centred(sizes: Tensor) -> Tensor:
    return ops.concatenate([ops.zeros_like(sizes), sizes], axis=-1)


def _corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return centre - half, centre + half


def _intersection(a: Tensor, b: Tensor) -> Tensor:
    """Width and height of the common part, 0 where there is none."""
    (low_a, high_a), (low_b, high_b) = _corners(a), _corners(b)
    return ops.maximum(ops.minimum(high_a, high_b) - ops.maximum(low_a, low_b), 0.0)


def _enclosure(a: Tensor, b: Tensor) -> Tensor:
    """Width and height of the smallest box around both."""
    (low_a, high_a), (low_b, high_b) = _corners(a), _corners(b)
    return ops.maximum(high_a, high_b) - ops.minimum(low_a, low_b)


def _empty_share(a: Tensor, b: Tensor, plain: Tensor) -> Tensor:
    """GIoU: the share of the enclosing box that belongs to neither."""
    union = (area(a[..., 2:]) + area(b[..., 2:])) / (1 + plain)
    return 1 - union / area(_enclosure(a, b))


def _centre_distance(a: Tensor, b: Tensor) -> Tensor:
    """DIoU: squared distance of the centres over the enclosing box's squared diagonal."""
    distance = ops.sum(ops.square(a[..., :2] - b[..., :2]), axis=-1)
    return distance / ops.sum(ops.square(_enclosure(a, b)), axis=-1)


def _aspect_difference(a: Tensor, b: Tensor, plain: Tensor) -> Tensor:
    """CIoU: how far the aspect ratios are apart, weighted by Darknet's trade-off factor."""
    first, second = (ops.arctan2(boxes[..., 2], boxes[..., 3]) for boxes in (a, b))
    difference = 4 / math.pi**2 * ops.square(second - first)
    return ops.square(difference) / (1 - plain + difference + CIOU_EPSILON)
