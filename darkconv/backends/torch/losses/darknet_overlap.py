"""The C program's gradients of overlap measures, with all their peculiarities.

Those of w and h are twice the derivative; the term of DIoU's enclosing box has the wrong sign at x
and y; CIoU's aspect term is not divided by w^2 + h^2; the intersection of boxes that lie apart has
negative sides (golden/loss/README.md).
"""

import math

import torch
from torch import Tensor

from darkconv.layers.loss_rules import CIOU_EPSILON


def overlap_gradient(kind: str, predicted: Tensor, truths: Tensor) -> Tensor:
    """Compute C's gradient of an overlap measure by x, y, w, h of the predicted boxes.

    Args:
        kind: "giou", "diou" or "ciou"; every other name means plain IoU.
        predicted: (k, 4) predicted boxes, xywh; a size of 0 counts as 1.
        truths: (k, 4) ground truth boxes, xywh in the same unit.

    Returns:
        (k, 4) the direction that raises the measure.
    """
    sizes = torch.where(predicted[:, 2:] == 0, 1, predicted[:, 2:])
    pair = _Pair(torch.cat([predicted[:, :2], sizes], 1), truths)
    edges = pair.iou_gradient()
    if kind == "giou":
        enclosing = pair.enclosure_gradient()
        edges = torch.where(pair.apart, enclosing, edges + enclosing)
    low, high = edges.unbind(1)
    gradient = torch.cat([low + high, high - low], 1)
    if kind not in ("diou", "ciou"):
        return gradient
    added = pair.distance_gradient()
    if kind == "ciou":
        added = added + pair.aspect_gradient()
    return torch.where(pair.apart.squeeze(1), added, gradient + added)


class _Pair:
    """Predicted boxes and truths; edges are (k, 2, 2): low, then high ones, each of x, then y."""

    def __init__(self, predicted: Tensor, truths: Tensor) -> None:
        self.predicted, self.truths = predicted, truths
        self.edges, self.others = _edges(predicted), _edges(truths)
        self.sides = self.edges[:, 1] - self.edges[:, 0]
        least, most = torch.minimum(self.edges, self.others), torch.maximum(self.edges, self.others)
        self.common = least[:, 1] - most[:, 0]
        self.enclosing = most[:, 1] - least[:, 0]
        self.shared = self.common.prod(1)
        other_sides = self.others[:, 1] - self.others[:, 0]
        self.union = self.sides.prod(1) + other_sides.prod(1) - self.shared

    @property
    def apart(self) -> Tensor:
        """True for pairs of boxes that do not intersect, (k, 1, 1)."""
        return (self.common <= 0).any(1)[:, None, None]

    @property
    def inside(self) -> Tensor:
        """True for predicted edges that bound the intersection, (k, 2, 2)."""
        low, high = self.edges.unbind(1)
        other_low, other_high = self.others.unbind(1)
        return torch.stack([low > other_low, high < other_high], 1)

    @property
    def outside(self) -> Tensor:
        """True for predicted edges that bound the enclosing box, (k, 2, 2)."""
        low, high = self.edges.unbind(1)
        other_low, other_high = self.others.unbind(1)
        return torch.stack([low < other_low, high > other_high], 1)

    def shared_slope(self) -> Tensor:
        """Compute the derivative of the intersection's area by each edge."""
        return torch.where(self.inside, _area_slope(self.common), 0)

    def union_slope(self) -> Tensor:
        """Compute the derivative of the union's area by each edge."""
        return _area_slope(self.sides) - self.shared_slope()

    def iou_gradient(self) -> Tensor:
        """Compute the gradient of IoU by each edge; 0 where the union's area is not positive."""
        shared, union = self.shared[:, None, None], self.union[:, None, None]
        found = (union * self.shared_slope() - shared * self.union_slope()) / union.square()
        return torch.where(union > 0, found, 0)

    def enclosure_gradient(self) -> Tensor:
        """Compute the term that GIoU adds: of the union's share in the enclosing box."""
        union, area = self.union[:, None, None], self.enclosing.prod(1)[:, None, None]
        slope = torch.where(self.outside, _area_slope(self.enclosing), 0)
        return (area * self.union_slope() - union * slope) / area.square()

    def distance_gradient(self) -> Tensor:
        """Compute the term that DIoU adds, by x, y, w, h."""
        way = self.truths[:, :2] - self.predicted[:, :2]
        distance = way.square().sum(1, keepdim=True)
        diagonal = self.enclosing.square().sum(1, keepdim=True)
        low, high = self.outside.to(way.dtype).unbind(1)
        pull = 2 * self.enclosing * distance
        position = 2 * way * diagonal - pull * (high - low)
        return torch.cat([position, pull * (high + low) / 2], 1) / diagonal.square()

    def aspect_gradient(self) -> Tensor:
        """Compute the term that CIoU adds to that of DIoU."""
        sizes = self.predicted[:, 2:]
        wanted, present = (torch.atan(b[:, 2] / b[:, 3]) for b in (self.truths, self.predicted))
        difference = wanted - present
        v = 4 / math.pi**2 * difference.square()
        alpha = v / (1 - self.shared / self.union + v + CIOU_EPSILON)
        factor = 8 / math.pi**2 * alpha * difference
        slope = factor.unsqueeze(1) * sizes.flip(1) * sizes.new_tensor([1.0, -1.0])
        return torch.cat([torch.zeros_like(slope), slope], 1)


def _edges(boxes: Tensor) -> Tensor:
    centres, half = boxes[:, :2], boxes[:, 2:] / 2
    return torch.stack([centres - half, centres + half], 1)


def _area_slope(sides: Tensor) -> Tensor:
    """Return an area's derivative by each of its edges: the other side, negated for low edges."""
    others = sides.flip(1)
    return torch.stack([-others, others], 1)
