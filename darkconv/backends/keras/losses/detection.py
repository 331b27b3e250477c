"""The loss of a [detection] head (YOLOv1).

The rules are those of `darkconv.backends.torch.losses.detection`, which describes where they differ
from C. What C does at random (`random=1`) depends here on digits of the predictions: a compiled
loss has no state that a generator could have.
"""

from dataclasses import dataclass
from typing import Self

from keras import ops

from darkconv.backends.keras.losses.delta import with_delta
from darkconv.backends.keras.losses.overlap import area, iou
from darkconv.backends.keras.losses.parts import LossParts
from darkconv.backends.keras.losses.places import cell_of, computed_dtype
from darkconv.backends.keras.losses.registry import PartsFunction, costs
from darkconv.backends.keras.losses.selection import Matches, is_class, rows_at
from darkconv.backends.keras.losses.values import flat, unflat
from darkconv.backends.keras.scope import Tensor
from darkconv.core.network import Layer
from darkconv.layers.head import Detection
from darkconv.layers.loss_rules import (
    RANDOM_PICTURES,
    SMALL_AREA,
    Setting,
    class_factors,
    trainable_detection,
)

NO_BOX = (0.5, 0.5, 0.5, 0.5)
"""Box of cells without a truth, so that the values that are masked there are finite."""
MANY = 1e4
"""Factor of a sum of predictions, whose fraction then serves as a random number."""


@dataclass(frozen=True)
class CellValues:
    """Predictions of the cells of pictures, or one number about each of these values.

    Attributes:
        scores: (N, cells, classes) class scores; cells are numbered over rows and columns.
        known: (N, cells, boxes of a cell) objectness.
        boxes: (N, cells, boxes of a cell, 4): x and y within the cell, in cells; w and h relative
            to the picture, or their square roots with `sqrt=1`.
    """

    scores: Tensor
    known: Tensor
    boxes: Tensor

    @classmethod
    def of(cls, spec: Detection, values: Tensor) -> Self:
        """Split the input of a head by cells.

        Args:
            spec: the head.
            values: (N, values) input of the head.

        Returns:
            The values by cells.
        """
        first, second = spec.cells * spec.classes, spec.cells * (spec.classes + spec.num)
        return cls(
            ops.reshape(values[:, :first], (-1, spec.cells, spec.classes)),
            ops.reshape(values[:, first:second], (-1, spec.cells, spec.num)),
            ops.reshape(values[:, second:], (-1, spec.cells, spec.num, 4)),
        )

    def flat(self) -> Tensor:
        """Join the values again: the inverse of `of`.

        Returns:
            A tensor (N, values).
        """
        parts = (self.scores, self.known, self.boxes)
        rows = [ops.reshape(part, (ops.shape(part)[0], -1)) for part in parts]
        return ops.concatenate(rows, axis=1)

    def stopped(self) -> "CellValues":
        """Return the same values without derivatives."""
        return CellValues(*(ops.stop_gradient(part) for part in vars(self).values()))


@dataclass(frozen=True)
class CellTruths:
    """The truths that cells have, one for each cell.

    Attributes:
        valid: (N, cells) True if the cell has a truth.
        boxes: (N, cells, 4) boxes as in `CellValues`, with w and h themselves.
        classes: (N, cells) classes, from 0.
        weights: (N, cells) factors of the classes.
    """

    valid: Tensor
    boxes: Tensor
    classes: Tensor
    weights: Tensor

    @classmethod
    def of(cls, spec: Detection, truths: Tensor, setting: Setting) -> Self:
        """Build the first truth of each cell.

        Args:
            spec: the head.
            truths: (N, T, 5) rows of class and box.
            setting: the class weights.
        """
        padded = ops.pad(truths, ((0, 0), (0, 1), (0, 0)), constant_values=-1)
        classes, boxes = ops.cast(padded[..., 0], "int32"), padded[..., 1:]
        valid = (classes >= 0) & (classes < spec.classes) & ops.all(boxes[..., 2:] > 0, axis=-1)
        cells = cell_of(boxes[..., :2], spec.side, spec.side)
        owners = Matches.of(valid[..., None], cells[..., None]).round(0, spec.cells)
        has_one, order = owners >= 0, ops.arange(spec.cells, dtype="int32")
        none = ops.convert_to_tensor(NO_BOX, dtype=boxes.dtype)
        boxes = ops.where(has_one[..., None], rows_at(boxes, owners), none)
        corner = ops.cast(ops.stack([order % spec.side, order // spec.side], axis=-1), boxes.dtype)
        inside = ops.concatenate([boxes[..., :2] * spec.side - corner, boxes[..., 2:]], axis=-1)
        numbers = ops.where(has_one, rows_at(classes, owners), 0)
        table = class_factors(setting, spec.classes)
        factors = ops.convert_to_tensor(table, dtype=boxes.dtype)
        return cls(has_one, inside, numbers, ops.take(factors, numbers, axis=0))


@dataclass(frozen=True)
class CellTargets:
    """The target of every value, and its weight (0 where there is no target).

    Attributes:
        wanted: targets.
        scale: weights.
        matched: (N, cells, boxes of a cell) True if the box is responsible for a truth.
    """

    wanted: CellValues
    scale: CellValues
    matched: Tensor


@costs(Detection)
def detection_loss(layer: Layer, setting: Setting) -> PartsFunction:
    """Build the loss of a [detection] head; see `head_loss`.

    Args:
        layer: [detection] layer.
        setting: rule, number of pictures seen, and class weights.

    Raises:
        UnsupportedError: the boxes do not have four coordinates.
        OptionError: the number of class weights is not that of the classes.
    """
    spec = trainable_detection(layer)
    class_factors(setting, spec.classes)

    def parts(truths: Tensor, x: Tensor) -> LossParts:
        dtype = computed_dtype(x)
        given = CellValues.of(spec, ops.cast(flat(x), dtype))
        objects = CellTruths.of(spec, ops.cast(truths, dtype), setting)
        aims = _aims(spec, given.stopped(), objects, setting)
        if setting.rule == "default":
            return _parts(_costs(spec, given, aims), aims)
        delta = _delta(spec, given.stopped(), aims)
        found = _parts(CellValues(*(ops.square(part) for part in vars(delta).values())), aims)
        total = with_delta(found.total, x, unflat(delta.flat(), x))
        return LossParts(total, found.box, found.objectness, found.no_object, found.classes)

    return parts


def _responsible(
    spec: Detection, predicted: Tensor, objects: CellTruths, setting: Setting
) -> tuple[Tensor, Tensor]:
    """Return for each cell's object the index of its box in the cell, and their IoU."""
    boxes, truths = predicted, objects.boxes[:, :, None]
    if spec.sqrt:
        boxes = ops.concatenate([boxes[..., :2], ops.square(boxes[..., 2:])], axis=-1)
    unit = ops.convert_to_tensor([1 / spec.side, 1 / spec.side, 1, 1], dtype=boxes.dtype)
    boxes, truths = boxes * unit, truths * unit
    overlaps = iou(boxes, truths)
    overlaps = ops.where(ops.isfinite(overlaps), overlaps, 0.0)
    nearest = ops.argmin(ops.sum(ops.square(boxes - truths), axis=3), axis=2)
    chosen = ops.where(ops.any(overlaps > 0, axis=2), ops.argmax(overlaps, axis=2), nearest)
    chosen = ops.cast(chosen, "int32")
    if spec.forced:
        small = ops.cast(area(objects.boxes[..., 2:]) < SMALL_AREA, "int32")
        chosen = ops.minimum(small, spec.num - 1)
    if spec.random and setting.rule == "darknet" and setting.seen < RANDOM_PICTURES:
        digits = ops.abs(ops.sum(predicted, axis=(2, 3))) * MANY
        share = digits - ops.floor(digits)
        chosen = ops.cast(ops.minimum(share * spec.num, spec.num - 1), "int32")
    return chosen, ops.take_along_axis(overlaps, chosen[..., None], axis=2)[..., 0]


def _aims(spec: Detection, given: CellValues, objects: CellTruths, setting: Setting) -> CellTargets:
    """Return the targets: no object but the truths, each in its box."""
    chosen, overlaps = _responsible(spec, given.boxes, objects, setting)
    has_one, weights, boxes = objects.valid[..., None], objects.weights[..., None], objects.boxes
    matched = is_class(chosen, spec.num) & has_one
    sizes = ops.sqrt(boxes[..., 2:]) if spec.sqrt else boxes[..., 2:]
    coordinates = ops.concatenate([boxes[..., :2], sizes], axis=-1)[:, :, None]
    known = overlaps if spec.rescore else ops.ones_like(overlaps)
    hot = ops.cast(is_class(objects.classes, spec.classes) & has_one, known.dtype)
    wanted = CellValues(
        hot,
        ops.where(matched, known[..., None], 0.0),
        ops.where(matched[..., None], coordinates, 0.0),
    )
    scale = CellValues(
        ops.where(has_one, spec.class_scale * weights, 0.0) + ops.zeros_like(hot),
        ops.where(matched, spec.object_scale * weights, spec.noobject_scale),
        ops.where(matched, spec.coord_scale * weights, 0.0)[..., None],
    )
    return CellTargets(wanted, scale, matched)


def _delta(spec: Detection, given: CellValues, aims: CellTargets) -> CellValues:
    """Compute C's deltas."""
    scores = ops.softmax(given.scores, axis=-1) if spec.softmax else given.scores
    wanted, scale = aims.wanted, aims.scale
    return CellValues(
        scale.scores * (wanted.scores - scores),
        scale.known * (wanted.known - given.known),
        scale.boxes * (wanted.boxes - given.boxes),
    )


def _costs(spec: Detection, given: CellValues, aims: CellTargets) -> CellValues:
    """Compute the loss of every value by the default rule."""
    wanted, scale = aims.wanted, aims.scale
    if spec.softmax:
        scores = -scale.scores * wanted.scores * ops.log_softmax(given.scores, axis=-1)
    else:
        scores = scale.scores * ops.square(wanted.scores - given.scores) / 2
    return CellValues(
        scores,
        scale.known * ops.square(wanted.known - given.known) / 2,
        scale.boxes * ops.square(wanted.boxes - given.boxes) / 2,
    )


def _parts(costs: CellValues, aims: CellTargets) -> LossParts:
    """Build the parts of the loss from the losses of all values."""
    return LossParts.of_places(costs.boxes, costs.known, aims.matched, costs.scores)
