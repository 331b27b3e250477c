"""Targets of a [region] head: one for every entry of every place, with its weight.

The targets are Darknet's (golden/loss/README.md), the same for both rules of the loss: first
objectness of all places, then the truths in order, later ones overwriting. scale * (wanted - value)
is C's delta without its factors for activations.
"""

from typing import NamedTuple

import numpy as np
from keras import ops

from darkconv.backends.keras.losses.overlap import area
from darkconv.backends.keras.losses.region_places import Scene
from darkconv.backends.keras.losses.selection import is_class, rows_at
from darkconv.backends.keras.scope import Tensor
from darkconv.core.dialect import ALEXEYAB, PJREDDIE
from darkconv.layers.loss_rules import OBJECTNESS, PRIOR_PICTURES, PRIOR_SCALE

PRIOR = np.array([0.5, 0.5, 0.0, 0.0])
"""Target of boxes at the start of training: the middle of the cell and the anchor's shape."""
NO_BOX = (0.5, 0.5, 0.5, 0.5)
"""Box of places without a truth, so that the values that are masked there are finite."""


class RegionTargets(NamedTuple):
    """Targets of entries behind their activation, with their weights (0 where there is no target).

    Attributes:
        box: (N, P, 4) targets of x, y, w, h.
        box_scale: (N, P) their weights.
        known: (N, P) targets of objectness.
        known_scale: (N, P) their weights.
        classes: (N, P, classes) targets of class scores.
        class_scale: (N, P, classes) their weights.
    """

    box: Tensor
    box_scale: Tensor
    known: Tensor
    known_scale: Tensor
    classes: Tensor
    class_scale: Tensor

    @property
    def wanted(self) -> Tensor:
        """Targets of all entries, (N, P, 5 + classes)."""
        return ops.concatenate([self.box, self.known[..., None], self.classes], axis=-1)

    @property
    def scale(self) -> Tensor:
        """Weights of all entries, (N, P, 5 + classes)."""
        box = [self.box_scale[..., None]] * 4
        return ops.concatenate([*box, self.known_scale[..., None], self.class_scale], axis=-1)


class RegionTargetSteps:
    """Darknet's steps, which each turn targets into new ones."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.spec, self.labels = scene, scene.head.spec, scene.labels
        self.darknet = scene.head.setting.rule == "darknet"

    def aims(self) -> RegionTargets:
        """Build the targets of the batch."""
        aims = self._singled(self._spared(self._background()))
        matches, count = self.scene.matches, self.scene.grid.count
        rounds = matches.rounds

        def train(number: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
            return (
                number + 1,
                *self._matched(RegionTargets(*values), matches.round(number, count)),
            )

        start = (ops.zeros_like(rounds), *aims)
        _, *values = ops.while_loop(lambda number, *_: number < rounds, train, start)
        return RegionTargets(*values)

    def _background(self) -> RegionTargets:
        """Return the first targets: objectness 0 unless a truth is predicted well; the prior."""
        spec, best = self.spec, self.scene.best_iou
        if spec.dialect.follows(ALEXEYAB) and spec.classfix == -1:
            known, scale = best, ops.ones_like(best)
        else:
            known = ops.full_like(best, float(spec.background))
            scale = ops.cast(best <= spec.thresh, best.dtype)
        values = self.scene.values
        none = ops.zeros_like(values[..., OBJECTNESS + 1 :])
        is_early = self.scene.head.setting.seen < PRIOR_PICTURES
        box = self.scene.grid.constant(PRIOR if is_early else 0 * PRIOR)
        return RegionTargets(
            box + ops.zeros_like(values[..., :4]),
            ops.full_like(best, PRIOR_SCALE if is_early else 0.0),
            known,
            spec.noobject_scale * scale,
            none,
            none,
        )

    def _spared(self, aims: RegionTargets) -> RegionTargets:
        """Add the class of well predicted truths as a target, for `classfix`."""
        spec, scene = self.spec, self.scene
        if not (spec.dialect.follows(ALEXEYAB) and spec.classfix > 0):
            return aims
        known = scene.values[..., OBJECTNESS] if spec.classfix == 2 else 1.0
        scale = spec.class_scale * known * ops.ones_like(scene.best_iou)
        owners = ops.where(scene.best_iou > spec.thresh, scene.best_truth, -1)
        return self._classes(aims, owners, scale, classes=self.labels.spared)

    def _singled(self, aims: RegionTargets) -> RegionTargets:
        """Leave pictures with a class-only label no target but the class at one place.

        The original also has the target 0 for objectness at the other places.
        """
        scene, spec = self.scene, self.spec
        if scene.head.hierarchy is None:
            return aims
        only = ops.any(self.labels.class_only, axis=1, keepdims=True)
        known, known_scale = aims.known, ops.where(only, 0.0, aims.known_scale)
        if spec.dialect == PJREDDIE:
            others = ops.where(scene.singled, 0.0, spec.noobject_scale)
            known_scale = ops.where(only, others, aims.known_scale)
            known = ops.where(only, 0.0, known)
        aims = aims._replace(
            box_scale=ops.where(only, 0.0, aims.box_scale),
            known=known,
            known_scale=known_scale,
            class_scale=ops.where(only[..., None], 0.0, aims.class_scale),
        )
        truth = ops.cast(ops.argmax(ops.cast(self.labels.class_only, "int32"), axis=1), "int32")
        owners = ops.where(scene.singled, truth[:, None], -1)
        return self._classes(aims, owners, ops.full_like(scene.best_iou, spec.class_scale))

    def _matched(self, aims: RegionTargets, owners: Tensor) -> RegionTargets:
        """Train some places on one truth each, whose number is in owners (N, P), -1 for none."""
        spec, labels, scene = self.spec, self.labels, self.scene
        valid = owners >= 0
        boxes = ops.where(
            valid[..., None], rows_at(labels.boxes, owners), scene.grid.constant(NO_BOX)
        )
        weights = rows_at(labels.weights, owners)
        importance = weights
        if spec.dialect == PJREDDIE:  # in the original small boxes have a larger weight
            importance = weights * (2 - area(boxes[..., 2:]))
        overlaps = rows_at(scene.overlaps, owners)
        known = overlaps if spec.rescore else ops.ones_like(overlaps)
        aims = aims._replace(
            box=ops.where(valid[..., None], scene.grid.encoded(boxes), aims.box),
            box_scale=ops.where(valid, spec.coord_scale * importance, aims.box_scale),
            known=ops.where(valid, known * (not spec.background), aims.known),
            known_scale=ops.where(valid, spec.object_scale * weights, aims.known_scale),
        )
        scale = ops.full_like(overlaps, spec.class_scale)
        return self._classes(aims, owners, scale, darknet=self.darknet)

    def _classes(
        self,
        aims: RegionTargets,
        owners: Tensor,
        scale: Tensor,
        *,
        classes: Tensor | None = None,
        darknet: bool = False,
    ) -> RegionTargets:
        """Add the truths' classes as targets at the places that have a truth.

        Args:
            aims: targets so far.
            owners: (N, P) number of the truth, -1 for none.
            scale: (N, P) weight.
            classes: (N, T) classes of the truths; None for the labels' own.
            darknet: forget an earlier truth's class where C's program does.
        """
        hierarchy = self.scene.head.hierarchy
        classes = rows_at(self.labels.classes if classes is None else classes, owners)
        own = is_class(classes, self.spec.classes)
        written = ops.ones_like(own)
        if hierarchy is not None:
            own, written = hierarchy.aims(classes)
        elif self._keeps_classes:
            written = own | ~self._has_classes(aims, darknet)[..., None]
        written = written & (owners >= 0)[..., None]
        weight = (scale * rows_at(self.labels.weights, owners))[..., None]
        return aims._replace(
            classes=ops.where(written, ops.cast(own, weight.dtype), aims.classes),
            class_scale=ops.where(written, weight, aims.class_scale),
        )

    @property
    def _keeps_classes(self) -> bool:
        """Return True if a place trains all its truths' classes: in the original, with sigmoids."""
        return self.spec.dialect == PJREDDIE and not self.spec.softmax

    def _has_classes(self, aims: RegionTargets, darknet: bool) -> Tensor:
        """Return True if a truth came before; C overlooks it if class 0 has no error."""
        found = aims.class_scale[..., 0] != 0
        if darknet:
            first = self.scene.values[..., OBJECTNESS + 1]
            found = found & (aims.classes[..., 0] != first)
        return found
