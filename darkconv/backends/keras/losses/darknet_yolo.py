"""The deltas and losses of [yolo] and [Gaussian_yolo] as the C program computes them.

The rules with all their slips are in golden/loss/README.md: C takes the truths in order, and later
ones overwrite, add to or look at the deltas of their place. Here all places take their first truth
at once, then all that have a second one take it, and so on.

`darkconv.backends.torch.losses.darknet_yolo` describes the points that golden/loss does not.
"""

from typing import NamedTuple

from keras import ops

from darkconv.backends.keras.losses.assignment import Assignment, YoloTruths
from darkconv.backends.keras.losses.darknet_boxes import box_deltas
from darkconv.backends.keras.losses.delta import with_delta
from darkconv.backends.keras.losses.grid import Entries, probabilities
from darkconv.backends.keras.losses.overlap import iou_or_none, overlap
from darkconv.backends.keras.losses.parts import LossParts, summed
from darkconv.backends.keras.losses.scores import focal_weight, smooth_objectness
from darkconv.backends.keras.scope import Tensor
from darkconv.core.dialect import ALEXEYAB, PJREDDIE
from darkconv.layers.head import GaussianYolo, Yolo


class Deltas(NamedTuple):
    """Deltas under construction, see `Entries`, and the overlap of all matches so far.

    Attributes:
        box: (N, P, 4) deltas of x, y, w, h.
        deviations: (N, P, 4) deltas of their standard deviations; for [yolo] (N, P, 0).
        known: (N, P) deltas of objectness.
        classes: (N, P, classes) deltas of class scores.
        missing: (N,) sum of 1 - overlap.
    """

    box: Tensor
    deviations: Tensor
    known: Tensor
    classes: Tensor
    missing: Tensor


def darknet_parts(found: Assignment, x: Tensor) -> LossParts:
    """Compute C's loss of a head, with C's deltas as its negated derivative.

    Args:
        found: the assignment of the batch.
        x: (N, H, W, C) input of the head, which the derivative is for.
    """
    rules = _Rules(found)
    deltas = rules.average_boxes(rules.train_matches(rules.judge_boxes()))
    parts = rules.costs(deltas)
    delta = found.grid.assemble(Entries(*deltas[:4]), x)
    total = with_delta(parts.total, x, delta)
    return LossParts(total, parts.box, parts.objectness, parts.no_object, parts.classes)


class _Rules:
    """C's steps, which each turn deltas into new ones."""

    def __init__(self, found: Assignment) -> None:
        self.found, self.grid, self.spec = found, found.grid, found.grid.spec
        self.entries = found.entries.stopped()
        self.known = probabilities(self.spec, self.entries.known)
        self.scores = probabilities(self.spec, self.entries.classes)
        self.boxes = self.grid.boxes(self.entries.box)

    def judge_boxes(self) -> Deltas:
        """Take step 1: all places are background, good boxes ignored, very good ones trained."""
        spec, found = self.spec, self.found
        known = -spec.obj_normalizer * self.known
        classes = ops.zeros_like(self.scores)
        spared = found.objects.at(ops.where(found.spared, found.nearest.truth, -1))
        if not spec.objectness_smooth:
            known = ops.where(spared.valid, 0.0, known)
        else:
            wanted = smooth_objectness(spec, found.nearest.spared_iou)
            known = ops.where(spared.valid, self._object_deltas(wanted), known)
            if isinstance(spec, GaussianYolo):
                classes = self._train_classes(classes, spared)
        spotted = found.objects.at(ops.where(found.spotted, found.nearest.truth, -1))
        known = ops.where(spotted.valid, self._object_deltas(found.scores), known)
        classes = self._train_classes(classes, spotted)
        if spec.objectness_smooth:  # the target of the truth's class is the box's quality
            own = spotted.hot() & spotted.valid[..., None]
            missing = found.scores[..., None] - self.scores
            classes = ops.where(own, spotted.weights[..., None] * missing, classes)
        none = (ops.zeros_like(self.entries.box), ops.zeros_like(self.entries.deviations))
        start = Deltas(*none, known, classes, ops.zeros_like(known[:, 0]))
        return self._train_boxes(start, spotted)

    def train_matches(self, deltas: Deltas) -> Deltas:
        """Take step 2: train places on the truths in order, each on its first, its second, ...

        Args:
            deltas: deltas of step 1.
        """
        matches = self.found.matches
        rounds, count = matches.rounds, self.grid.count

        def train(number: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
            truths = self.found.objects.at(matches.round(number, count))
            return (number + 1, *self._train_match(Deltas(*values), truths))

        start = (ops.zeros_like(rounds), *deltas)
        _, *values = ops.while_loop(lambda number, *_: number < rounds, train, start)
        return Deltas(*values)

    def _train_match(self, deltas: Deltas, truths: YoloTruths) -> Deltas:
        """Train some places on one truth each."""
        deltas = self._train_boxes(deltas, truths)
        free = truths.valid
        if self.spec.objectness_smooth and isinstance(self.spec, Yolo):
            free = free & (deltas.known == 0)
        trained = truths.weights * self._object_deltas(ops.ones_like(self.known))
        return deltas._replace(
            known=ops.where(free, trained, deltas.known),
            classes=self._train_classes(deltas.classes, truths),
            missing=deltas.missing + self._missing_overlap(truths),
        )

    def average_boxes(self, deltas: Deltas) -> Deltas:
        """Divide box deltas by the number of classes with a positive delta.

        Args:
            deltas: deltas of step 2.
        """
        raised = ops.sum(ops.cast(deltas.classes > 0, self.grid.dtype), axis=2)
        if isinstance(self.spec, Yolo):
            if self.spec.iou_thresh >= 1:
                return deltas
            raised = ops.where(deltas.known != 0, raised, 1.0)
        divisor = ops.maximum(raised, 1.0)[..., None]
        return deltas._replace(box=deltas.box / divisor, deviations=deltas.deviations / divisor)

    def _object_deltas(self, wanted: Tensor) -> Tensor:
        """Compute the deltas (N, P) of objectness from its targets."""
        return self.spec.obj_normalizer * (wanted - self.known)

    def _train_boxes(self, deltas: Deltas, truths: YoloTruths) -> Deltas:
        """Return box deltas with those of truths: the original overwrites, alexeyab adds."""
        trained = truths.valid[..., None]
        box, deviations = box_deltas(self.grid, self.entries, truths)
        if self.spec.dialect == PJREDDIE:
            return deltas._replace(box=ops.where(trained, box, deltas.box))
        return deltas._replace(
            box=deltas.box + ops.where(trained, box, 0.0),
            deviations=deltas.deviations + ops.where(trained, deviations, 0.0),
        )

    def _train_classes(self, old: Tensor, truths: YoloTruths) -> Tensor:
        """Return deltas of all classes; of the truth's alone if a class was trained before."""
        hot, weights = truths.hot(), truths.weights[..., None]
        alone = ops.where(hot, weights * (self._wanted(1.0) - self.scores), old)
        looks_at_own = isinstance(self.spec, Yolo) and self.spec.dialect.follows(ALEXEYAB)
        written = ops.any(hot & (old != 0), axis=2) if looks_at_own else old[..., 0] != 0
        trained = ops.where(written[..., None], alone, self._class_deltas(truths, hot))
        return ops.where(truths.valid[..., None], trained, old)

    def _class_deltas(self, truths: YoloTruths, hot: Tensor) -> Tensor:
        """Compute the deltas (N, P, classes) at places where no class was trained."""
        scores, factors = self.scores, truths.factors[..., None]
        wanted = ops.cast(hot, scores.dtype)
        if self.spec.focal_loss and isinstance(self.spec, Yolo):
            own = ops.sum(ops.where(hot, scores, 0.0), axis=2, keepdims=True)
            return factors * (wanted - scores) * focal_weight(own)
        weights = truths.weights[..., None]
        if self.spec.counters_per_class:
            weights = weights * self.spec.cls_normalizer
        return ops.where(hot, weights, factors) * (self._wanted(wanted) - scores)

    def _wanted(self, score: Tensor) -> Tensor:
        return score * (1 - self.spec.label_smooth_eps) + self.spec.label_smooth_eps / 2

    def _missing_overlap(self, truths: YoloTruths) -> Tensor:
        """Compute the sum (N,) of 1 - GIoU, or with every other `iou_loss` of 1 - IoU."""
        if self.spec.iou_loss == "giou":
            found = overlap("giou", self.boxes, truths.boxes)
        else:
            found = iou_or_none(self.boxes, truths.boxes)
        return summed(ops.where(truths.valid, 1 - found, 0.0))

    def costs(self, deltas: Deltas) -> LossParts:
        """Compute the losses: squared deltas; with `show_details` the mean overlap of the matches.

        Args:
            deltas: deltas of all steps.
        """
        spec = self.spec
        claimed = self.found.owners >= 0
        box = ops.square(ops.concatenate([deltas.box, deltas.deviations], axis=-1))
        known, classes = ops.square(deltas.known), ops.square(deltas.classes)
        parts = LossParts.of_places(box, known, claimed, classes)
        if not (isinstance(spec, Yolo) and spec.show_details and spec.iou_loss != "mse"):
            return parts
        count = ops.sum(ops.cast(self.found.matches.wanted, self.grid.dtype))
        missing = spec.iou_normalizer * deltas.missing / ops.maximum(count, 1.0)
        rest = (parts.objectness, parts.no_object, parts.classes)
        return LossParts.of(missing, *(spec.obj_normalizer * part for part in rest))
