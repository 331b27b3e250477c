"""The C program's gradients of overlap measures, with all their peculiarities.

Those of w and h are twice the derivative; the term of DIoU's enclosing box has the wrong sign at x
and y; CIoU's aspect term is not divided by w^2 + h^2; the intersection of boxes that lie apart has
negative sides (golden/loss/README.md).
"""

import math

from keras import ops

from darkconv.backends.keras.losses.overlap import area
from darkconv.backends.keras.scope import Tensor
from darkconv.layers.loss_rules import CIOU_EPSILON


def overlap_gradient(kind: str, predicted: Tensor, truths: Tensor) -> Tensor:
    """Compute C's gradient of an overlap measure by x, y, w, h of the predicted boxes.

    Args:
        kind: "giou", "diou" or "ciou"; every other name means plain IoU.
        predicted: (..., 4) predicted boxes, xywh; a size of 0 counts as 1.
        truths: (..., 4) ground truth boxes, xywh in the same unit.

    Returns:
        (..., 4) the direction that raises the measure.
    """
    sizes = ops.where(predicted[..., 2:] == 0, 1.0, predicted[..., 2:])
    pair = _Pair(ops.concatenate([predicted[..., :2], sizes], axis=-1), truths)
    edges = pair.iou_gradient()
    if kind == "giou":
        enclosing = pair.enclosure_gradient()
        edges = ops.where(pair.apart[..., None, None], enclosing, edges + enclosing)
    low, high = _ends(edges)
    gradient = ops.concatenate([low + high, high - low], axis=-1)
    if kind not in ("diou", "ciou"):
        return gradient
    added = pair.distance_gradient()
    if kind == "ciou":
        added = added + pair.aspect_gradient()
    return ops.where(pair.apart[..., None], added, gradient + added)


class _Pair:
    """Predicted boxes and truths; edges are (..., 2, 2): low, then high ones, each of x, then y."""

    def __init__(self, predicted: Tensor, truths: Tensor) -> None:
        self.predicted, self.truths = predicted, truths
        self.edges, self.others = _edges(predicted), _edges(truths)
        low, high = _ends(self.edges)
        other_low, other_high = _ends(self.others)
        self.sides = high - low
        self.common = ops.minimum(high, other_high) - ops.maximum(low, other_low)
        self.enclosing = ops.maximum(high, other_high) - ops.minimum(low, other_low)
        self.inside = ops.stack([low > other_low, high < other_high], axis=-2)
        self.outside = ops.stack([low < other_low, high > other_high], axis=-2)
        self.shared = area(self.common)
        self.union = area(self.sides) + area(other_high - other_low) - self.shared

    @property
    def apart(self) -> Tensor:
        """True for pairs of boxes that do not intersect, (...)."""
        return ops.any(self.common <= 0, axis=-1)

    def shared_slope(self) -> Tensor:
        """Compute the derivative of the intersection's area by each edge."""
        return ops.where(self.inside, _area_slope(self.common), 0.0)

    def union_slope(self) -> Tensor:
        """Compute the derivative of the union's area by each edge."""
        return _area_slope(self.sides) - self.shared_slope()

    def iou_gradient(self) -> Tensor:
        """Compute the gradient of IoU by each edge; 0 where the union's area is not positive."""
        shared, union = self.shared[..., None, None], self.union[..., None, None]
        found = union * self.shared_slope() - shared * self.union_slope()
        return ops.where(union > 0, found / ops.square(union), 0.0)

    def enclosure_gradient(self) -> Tensor:
        """Compute the term that GIoU adds: of the union's share in the enclosing box."""
        union, whole = self.union[..., None, None], area(self.enclosing)[..., None, None]
        slope = ops.where(self.outside, _area_slope(self.enclosing), 0.0)
        return (whole * self.union_slope() - union * slope) / ops.square(whole)

    def distance_gradient(self) -> Tensor:
        """Compute the term that DIoU adds, by x, y, w, h."""
        way = self.truths[..., :2] - self.predicted[..., :2]
        distance = ops.sum(ops.square(way), axis=-1, keepdims=True)
        diagonal = ops.sum(ops.square(self.enclosing), axis=-1, keepdims=True)
        low, high = _ends(ops.cast(self.outside, way.dtype))
        pull = 2 * self.enclosing * distance
        position = 2 * way * diagonal - pull * (high - low)
        slopes = ops.concatenate([position, pull * (high + low) / 2], axis=-1)
        return slopes / ops.square(diagonal)

    def aspect_gradient(self) -> Tensor:
        """Compute the term that CIoU adds to that of DIoU."""
        width, height = self.predicted[..., 2], self.predicted[..., 3]
        wanted = ops.arctan(self.truths[..., 2] / self.truths[..., 3])
        difference = wanted - ops.arctan(width / height)
        v = 4 / math.pi**2 * ops.square(difference)
        alpha = v / (1 - self.shared / self.union + v + CIOU_EPSILON)
        factor = 8 / math.pi**2 * alpha * difference
        none = ops.zeros_like(factor)
        return ops.stack([none, none, factor * height, -factor * width], axis=-1)


def _edges(boxes: Tensor) -> Tensor:
    centres, half = boxes[..., :2], boxes[..., 2:] / 2
    return ops.stack([centres - half, centres + half], axis=-2)


def _ends(edges: Tensor) -> tuple[Tensor, Tensor]:
    """Return the low and the high edges, (..., 2) each."""
    return edges[..., 0, :], edges[..., 1, :]


def _area_slope(sides: Tensor) -> Tensor:
    """Return an area's derivative by each of its edges: the other side, negated for low edges."""
    others = ops.flip(sides, axis=-1)
    return ops.stack([-others, others], axis=-2)
