"""The deltas and losses of [yolo] and [Gaussian_yolo] as the C program computes them.

The rules with all their slips are in golden/loss/README.md: C takes the truths in order, and later
ones overwrite, add to or look at the deltas of their place. Here all places take their first truth
at once, then all that have a second one take it, and so on.

Some points are not in that file. With `objectness_smooth` a matched place of [Gaussian_yolo] has
the same objectness target as without it. The gradient of an IoU is 0 where the union's area,
computed with the signed sides of the intersection, is not positive. What C does with truths outside
its arrays is left out: a centre on the last border belongs to the last cell, and a truth without
width or height does not count.
"""

import torch
from torch import Tensor

from darkconv.backends.torch.losses.assignment import Assignment, YoloPairs, spot_spared_boxes
from darkconv.backends.torch.losses.darknet_boxes import box_deltas
from darkconv.backends.torch.losses.delta import with_delta
from darkconv.backends.torch.losses.grid import Entries, probabilities
from darkconv.backends.torch.losses.overlap import overlap
from darkconv.backends.torch.losses.report import LossReport
from darkconv.backends.torch.losses.scores import focal_weight, smooth_objectness
from darkconv.core.dialect import ALEXEYAB, PJREDDIE
from darkconv.layers.head import GaussianYolo, Yolo


def darknet_loss(found: Assignment, x: Tensor) -> LossReport:
    """Compute C's loss of a head, with C's deltas as its negated derivative.

    Args:
        found: the assignment of the batch.
        x: (N, C, H, W) input of the head, which the derivative is for.
    """
    with torch.no_grad():
        deltas = _Deltas(found)
        deltas.judge_boxes()
        for pairs in found.matches.rounds():
            deltas.train_matches(pairs)
        deltas.average_boxes()
        parts = _costs(found, deltas.values)
    total = with_delta(parts.sum(), x, found.grid.assemble(deltas.values))
    return found.report(total, parts)


class _Deltas:
    """Deltas under construction, changed in place; `pairs` hold a place at most once."""

    def __init__(self, found: Assignment) -> None:
        self.found, self.spec = found, found.grid.spec
        entries = found.entries
        self.known = probabilities(self.spec, entries.known)
        self.scores = probabilities(self.spec, entries.classes)
        self.values = Entries(
            torch.zeros_like(entries.box),
            torch.zeros_like(entries.deviations),
            -self.spec.obj_normalizer * self.known,
            torch.zeros_like(entries.classes),
        )

    def judge_boxes(self) -> None:
        """Take step 1: all places are background, good boxes ignored, very good ones trained."""
        nearest, spotted = self.found.nearest, self.found.spotted
        spared = spot_spared_boxes(self.spec, nearest)
        if not self.spec.objectness_smooth:
            self.values.known[spared.places] = 0
        else:
            wanted = smooth_objectness(self.spec, nearest.spared_iou[spared.places])
            self._want_objects(spared.places, wanted)
            if isinstance(self.spec, GaussianYolo):
                self._train_classes(spared)
        self._want_objects(spotted.places, spotted.scores)
        self._train_classes(spotted)
        if self.spec.objectness_smooth:
            self._smooth_classes(spotted)
        self._train_boxes(spotted)

    def train_matches(self, pairs: YoloPairs) -> None:
        """Take step 2: train some places on one truth each.

        Args:
            pairs: places, each once, with their truths.
        """
        self._train_boxes(pairs)
        free = pairs
        if self.spec.objectness_smooth and isinstance(self.spec, Yolo):
            free = pairs.where(self.values.known[pairs.places] == 0)
        weights = self.found.objects.weights[free.truths]
        self._want_objects(free.places, torch.ones_like(weights), weights)
        self._train_classes(pairs)

    def average_boxes(self) -> None:
        """Divide box deltas by the number of classes with a positive delta."""
        raised = (self.values.classes > 0).sum(1, keepdim=True)
        if isinstance(self.spec, Yolo):
            if self.spec.iou_thresh >= 1:
                return
            raised = torch.where(self.values.known.unsqueeze(1) != 0, raised, 1)
        for values in (self.values.box, self.values.deviations):
            values /= raised.clamp(min=1)

    def _want_objects(self, places: Tensor, wanted: Tensor, weights: Tensor | float = 1.0) -> None:
        missing = wanted - self.known[places]
        self.values.known[places] = self.spec.obj_normalizer * weights * missing

    def _train_boxes(self, pairs: YoloPairs) -> None:
        """Write box deltas: the original overwrites earlier ones, alexeyab adds."""
        box, deviations = box_deltas(self.found, pairs)
        if self.spec.dialect == PJREDDIE:
            self.values.box[pairs.places] = box
            return
        self.values.box[pairs.places] += box
        self.values.deviations[pairs.places] += deviations

    def _train_classes(self, pairs: YoloPairs) -> None:
        """Write the deltas of all classes; of the truth's alone if a class was trained before."""
        own = self.found.objects.classes[pairs.truths].unsqueeze(1)
        old, fresh = self.values.classes[pairs.places], self._class_deltas(pairs, own)
        weights = self.found.objects.weights[pairs.truths].unsqueeze(1)
        scores = self.scores[pairs.places].gather(1, own)
        alone = old.scatter(1, own, weights * (self._wanted(torch.ones_like(scores)) - scores))
        written = old.gather(1, own) if self._looks_at_own_class else old[:, :1]
        self.values.classes[pairs.places] = torch.where(written != 0, alone, fresh)

    def _class_deltas(self, pairs: YoloPairs, own: Tensor) -> Tensor:
        """Compute the deltas (k, classes) at places where no class was trained; own is (k, 1)."""
        scores, objects = self.scores[pairs.places], self.found.objects
        factors = objects.factors[pairs.truths].unsqueeze(1)
        hot = torch.zeros_like(scores).scatter(1, own, 1.0)
        if self.spec.focal_loss and isinstance(self.spec, Yolo):
            return factors * (hot - scores) * focal_weight(scores.gather(1, own))
        weights = objects.weights[pairs.truths].unsqueeze(1)
        if self.spec.counters_per_class:
            weights = weights * self.spec.cls_normalizer
        return torch.where(hot > 0, weights, factors) * (self._wanted(hot) - scores)

    def _smooth_classes(self, pairs: YoloPairs) -> None:
        """Write the delta of the truth's class, whose target is the box's quality."""
        own = pairs.places, self.found.objects.classes[pairs.truths]
        weights = self.found.objects.weights[pairs.truths]
        self.values.classes[own] = weights * (pairs.scores - self.scores[own])

    def _wanted(self, score: Tensor) -> Tensor:
        return score * (1 - self.spec.label_smooth_eps) + self.spec.label_smooth_eps / 2

    @property
    def _looks_at_own_class(self) -> bool:
        """True if the truth's own class shows that classes were trained; otherwise class 0 does."""
        return isinstance(self.spec, Yolo) and self.spec.dialect.follows(ALEXEYAB)


def _costs(found: Assignment, deltas: Entries) -> Tensor:
    """Compute the losses (4,) of boxes, assigned and other objectness, classes: squared deltas."""
    spec, claimed = found.grid.spec, torch.zeros_like(deltas.known, dtype=torch.bool)
    claimed[found.claims.places] = True
    known = deltas.known.square()
    box = deltas.box.square().sum() + deltas.deviations.square().sum()
    parts = [box, known[claimed].sum(), known[~claimed].sum(), deltas.classes.square().sum()]
    if isinstance(spec, Yolo) and spec.show_details and spec.iou_loss != "mse":
        return torch.stack([_overlap_cost(found), *(spec.obj_normalizer * p for p in parts[1:])])
    return torch.stack(parts)


def _overlap_cost(found: Assignment) -> Tensor:
    """Compute the mean of 1 - GIoU, or with every other `iou_loss` of 1 - IoU."""
    spec, grid, pairs = found.grid.spec, found.grid, found.matches
    overlaps = found.overlaps
    if spec.iou_loss == "giou":
        predicted = grid.boxes(found.entries.box[pairs.places], pairs.places)
        overlaps = overlap("giou", predicted, found.objects.boxes[pairs.truths])
    return spec.iou_normalizer * (1 - overlaps).sum() / max(len(overlaps), 1)
