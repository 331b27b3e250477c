"""How much two boxes overlap, as a number that can be differentiated.

Boxes are (..., 4), xywh with the centre first, all in one unit; leading axes broadcast.
"""

import math

import torch
from torch import Tensor

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
    shared = _area(_intersection(a, b))
    return shared / (_area(a[..., 2:]) + _area(b[..., 2:]) - shared)


def shape_overlap(kind: str, a: Tensor, b: Tensor) -> Tensor:
    """The measure for boxes about the same centre, of sizes (..., 2)."""
    return overlap(kind, _centred(a), _centred(b))


def _centred(sizes: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(sizes), sizes], -1)


def _area(sizes: Tensor) -> Tensor:
    return sizes[..., 0] * sizes[..., 1]


def _corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return centre - half, centre + half


def _intersection(a: Tensor, b: Tensor) -> Tensor:
    """Width and height of the common part, 0 where there is none."""
    (low_a, high_a), (low_b, high_b) = _corners(a), _corners(b)
    return (torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b)).clamp(min=0)


def _enclosure(a: Tensor, b: Tensor) -> Tensor:
    """Width and height of the smallest box around both."""
    (low_a, high_a), (low_b, high_b) = _corners(a), _corners(b)
    return torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b)


def _empty_share(a: Tensor, b: Tensor, plain: Tensor) -> Tensor:
    """GIoU: the share of the enclosing box that belongs to neither."""
    union = (_area(a[..., 2:]) + _area(b[..., 2:])) / (1 + plain)
    return 1 - union / _area(_enclosure(a, b))


def _centre_distance(a: Tensor, b: Tensor) -> Tensor:
    """DIoU: squared distance of the centres over the enclosing box's squared diagonal."""
    distance = (a[..., :2] - b[..., :2]).square().sum(-1)
    return distance / _enclosure(a, b).square().sum(-1)


def _aspect_difference(a: Tensor, b: Tensor, plain: Tensor) -> Tensor:
    """CIoU: how far the aspect ratios are apart, weighted by Darknet's trade-off factor."""
    angles = [torch.atan2(boxes[..., 2], boxes[..., 3]) for boxes in (a, b)]
    difference = 4 / math.pi**2 * (angles[1] - angles[0]).square()
    return difference.square() / (1 - plain + difference + CIOU_EPSILON)
