"""Targets of a [region] head: one for every entry of every place, with its weight.

The targets are Darknet's (golden/loss/README.md), the same for both rules of the loss: first
objectness of all places, then the truths in order, later ones overwriting. scale * (wanted - value)
is C's delta without its factors for activations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from darkconv.backends.torch.losses.region_places import RegionPairs, Scene
from darkconv.core.dialect import ALEXEYAB, PJREDDIE
from darkconv.layers.loss_rules import OBJECTNESS, PRIOR_PICTURES, PRIOR_SCALE, joins_background


@dataclass(frozen=True)
class RegionTargets:
    """Targets (places, 5 + classes), filled step by step.

    Attributes:
        wanted: target of an entry behind its activation.
        scale: its weight; 0 where there is no target.
    """

    wanted: Tensor
    scale: Tensor

    @classmethod
    def of(cls, scene: Scene, seen: int, *, darknet: bool) -> "RegionTargets":
        """Build the targets of a batch.

        Args:
            scene: predictions and ground truth.
            seen: number of pictures that the network was trained on before.
            darknet: forget an earlier truth's class where C's program does.
        """
        aims = cls(torch.zeros_like(scene.values), torch.zeros_like(scene.values))
        aims._aim_background(scene)
        if seen < PRIOR_PICTURES:
            aims._aim_prior(scene)
        if scene.grid.spec.dialect.follows(ALEXEYAB) and scene.grid.spec.classfix > 0:
            aims._aim_spared(scene)
        aims._aim_singled(scene)
        for pairs, overlaps in scene.rounds():
            aims._aim_boxes(scene, pairs)
            aims._aim_objectness(scene, pairs, overlaps)
            scale = torch.full_like(overlaps, scene.grid.spec.class_scale)
            aims._aim_classes(scene, pairs, scale, darknet=darknet)
        return aims

    def _aim_background(self, scene: Scene) -> None:
        """Set the target 0 of objectness, except at places that predict a truth well."""
        spec = scene.grid.spec
        if spec.dialect.follows(ALEXEYAB) and spec.classfix == -1:
            self.wanted[:, OBJECTNESS] = scene.best_iou
            self.scale[:, OBJECTNESS] = spec.noobject_scale
            return
        self.wanted[:, OBJECTNESS] = float(spec.background)
        self.scale[:, OBJECTNESS] = spec.noobject_scale * (scene.best_iou <= spec.thresh)

    def _aim_prior(self, scene: Scene) -> None:
        self.wanted[:, :4] = self.wanted.new_tensor([0.5, 0.5, 0, 0])
        self.scale[:, :4] = PRIOR_SCALE

    def _aim_spared(self, scene: Scene) -> None:
        """Set the class of well predicted truths as a target, for `classfix`."""
        spec = scene.grid.spec
        (places,) = (scene.best_iou > spec.thresh).nonzero(as_tuple=True)
        known = scene.values[places, OBJECTNESS] if spec.classfix == 2 else 1.0
        scale = spec.class_scale * known * torch.ones_like(scene.best_iou[places])
        pairs = RegionPairs(places, scene.best_truth[places])
        self._aim_classes(scene, pairs, scale, classes=scene.labels.spared)

    def _aim_singled(self, scene: Scene) -> None:
        """Leave pictures with a class-only label no target but the class at one place.

        The original also has the target 0 for objectness at the other places.
        """
        spec, singled = scene.grid.spec, scene.singled
        images = scene.labels.images[singled.truths]
        scale = scene.grid.per_image(self.scale)
        scale[images] = 0
        if spec.dialect == PJREDDIE:
            scale[images, :, OBJECTNESS] = spec.noobject_scale
            scene.grid.per_image(self.wanted)[images, :, OBJECTNESS] = 0
            self.scale[singled.places, OBJECTNESS] = 0
        own = torch.full_like(scene.best_iou[singled.places], spec.class_scale)
        self._aim_classes(scene, singled, own)

    def _aim_boxes(self, scene: Scene, pairs: RegionPairs) -> None:
        """Set the truths' boxes as targets; in the original small ones have a larger weight."""
        spec, boxes = scene.grid.spec, scene.labels.boxes[pairs.truths]
        scale = spec.coord_scale * scene.labels.weights[pairs.truths]
        if spec.dialect == PJREDDIE:
            scale = scale * (2 - boxes[:, 2] * boxes[:, 3])
        self.wanted[pairs.places, :4] = scene.grid.encoded(boxes, pairs.places)
        self.scale[pairs.places, :4] = scale.unsqueeze(1)

    def _aim_objectness(self, scene: Scene, pairs: RegionPairs, overlaps: Tensor) -> None:
        """Set the target 1 of objectness, or the IoU with `rescore`; 0 if it means background."""
        spec = scene.grid.spec
        wanted = overlaps if spec.rescore else torch.ones_like(overlaps)
        self.wanted[pairs.places, OBJECTNESS] = wanted * (not spec.background)
        scale = spec.object_scale * scene.labels.weights[pairs.truths]
        self.scale[pairs.places, OBJECTNESS] = scale

    def _aim_classes(
        self,
        scene: Scene,
        pairs: RegionPairs,
        scale: Tensor,
        *,
        classes: Tensor | None = None,
        darknet: bool = False,
    ) -> None:
        """Set the truths' classes as targets at places that occur once in `pairs`.

        The default of `classes` are the labels' own.
        """
        places = pairs.places
        classes = (scene.labels.classes if classes is None else classes)[pairs.truths]
        own = F.one_hot(classes, scene.grid.spec.classes).bool()
        written = torch.ones_like(own)
        if scene.hierarchy is not None:
            own, written = scene.hierarchy.aims(classes)
        elif self._keeps_classes(scene):
            written = own | ~self._has_classes(scene, places, darknet).unsqueeze(1)
        scale = (scale * scene.labels.weights[pairs.truths]).unsqueeze(1)
        wanted, scales = self.wanted[places, 5:], self.scale[places, 5:]
        self.wanted[places, 5:] = torch.where(written, own.to(wanted.dtype), wanted)
        self.scale[places, 5:] = torch.where(written, scale, scales)

    @staticmethod
    def _keeps_classes(scene: Scene) -> bool:
        """Return True if a place trains all its truths' classes: in the original, with sigmoids."""
        spec = scene.grid.spec
        return spec.dialect == PJREDDIE and not spec.softmax

    def _has_classes(self, scene: Scene, places: Tensor, darknet: bool) -> Tensor:
        """Return True if a truth came before; C overlooks it if class 0 has no error."""
        error = self.wanted[places, 5] - scene.values[places, 5] if darknet else 1.0
        return self.scale[places, 5] * error != 0


def class_entries(scene: Scene) -> slice:
    """Return the entries that are one distribution: the classes, or background and classes.

    Args:
        scene: predictions of the head.
    """
    joined = joins_background(scene.grid.spec, has_tree=scene.hierarchy is not None)
    return slice(OBJECTNESS if joined else OBJECTNESS + 1, None)
