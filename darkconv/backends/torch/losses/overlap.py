"""Overlap measures of two boxes, which can be differentiated.

Boxes are (..., 4), xywh with the centre first, all in one unit; leading axes broadcast.
"""

import math

import torch
from torch import Tensor

from darkconv.layers.loss_rules import CIOU_EPSILON


def overlap(kind: str, a: Tensor, b: Tensor) -> Tensor:
    """Compute an overlap measure: 1 for equal boxes, and less the more they differ.

    Args:
        kind: "giou", "diou" or "ciou" (Rezatofighi et al. 2019, Zheng et al. 2020); every other
            name means plain IoU, as in Darknet.
        a: boxes (..., 4).
        b: boxes (..., 4) of positive size.

    Returns:
        A tensor of the broadcast leading axes.
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
    """Compute intersection over union (IoU).

    Args:
        a: boxes (..., 4).
        b: boxes (..., 4).

    Returns:
        A tensor of the broadcast leading axes; NaN where both boxes are empty.
    """
    shared = _area(_intersection(a, b))
    return shared / (_area(a[..., 2:]) + _area(b[..., 2:]) - shared)


def shape_overlap(kind: str, a: Tensor, b: Tensor) -> Tensor:
    """Compute an overlap measure of boxes with the same centre.

    Args:
        kind: name of the measure, see `overlap`.
        a: (..., 2) widths and heights.
        b: (..., 2) widths and heights, positive.

    Returns:
        A tensor of the broadcast leading axes.
    """
    return overlap(kind, _centred(a), _centred(b))


def _centred(sizes: Tensor) -> Tensor:
    return torch.cat([torch.zeros_like(sizes), sizes], -1)


def _area(sizes: Tensor) -> Tensor:
    return sizes[..., 0] * sizes[..., 1]


def _corners(boxes: Tensor) -> tuple[Tensor, Tensor]:
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return centre - half, centre + half


def _intersection(a: Tensor, b: Tensor) -> Tensor:
    """Return width and height of the intersection, 0 where there is none."""
    (low_a, high_a), (low_b, high_b) = _corners(a), _corners(b)
    return (torch.minimum(high_a, high_b) - torch.maximum(low_a, low_b)).clamp(min=0)


def _enclosure(a: Tensor, b: Tensor) -> Tensor:
    """Return width and height of the smallest box around both."""
    (low_a, high_a), (low_b, high_b) = _corners(a), _corners(b)
    return torch.maximum(high_a, high_b) - torch.minimum(low_a, low_b)


def _empty_share(a: Tensor, b: Tensor, plain: Tensor) -> Tensor:
    """Compute GIoU's term: the share of the enclosing box that belongs to neither box."""
    union = (_area(a[..., 2:]) + _area(b[..., 2:])) / (1 + plain)
    return 1 - union / _area(_enclosure(a, b))


def _centre_distance(a: Tensor, b: Tensor) -> Tensor:
    """Compute DIoU's term: squared centre distance over the enclosing box's squared diagonal."""
    distance = (a[..., :2] - b[..., :2]).square().sum(-1)
    return distance / _enclosure(a, b).square().sum(-1)


def _aspect_difference(a: Tensor, b: Tensor, plain: Tensor) -> Tensor:
    """Compute CIoU's term: the difference of the aspect ratios, with Darknet's weight."""
    angles = [torch.atan2(boxes[..., 2], boxes[..., 3]) for boxes in (a, b)]
    difference = 4 / math.pi**2 * (angles[1] - angles[0]).square()
    return difference.square() / (1 - plain + difference + CIOU_EPSILON)
