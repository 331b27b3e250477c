"""What a [region] head should say: an aim for every entry of every place, and its weight.

The aims are Darknet's (golden/loss/README.md), the same for both rules of the loss: objectness
of all places first, then of each truth in order, later ones overwriting. `wanted` and `scale`
are such that scale * (wanted - value) is C's delta without its factors for activations.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from darkconv.core.dialect import ALEXEYAB, PJREDDIE
from darkconv.layers.loss_rules import OBJECTNESS, PRIOR_PICTURES, PRIOR_SCALE, joins_background
from darkconv.training.losses.region_places import Pairs, Scene


@dataclass(frozen=True)
class Aims:
    """(places, 5 + classes) each, filled step by step.

    Attributes:
        wanted: what an entry should be, behind its activation.
        scale: how much it counts; 0 where nothing is wanted.
    """

    wanted: Tensor
    scale: Tensor

    @classmethod
    def of(cls, scene: Scene, seen: int, *, darknet: bool) -> "Aims":
        """The aims for a batch.

        Args:
            scene: predictions and truths.
            seen: pictures that the network has been trained on before.
            darknet: whether to forget an earlier truth's class where C's program does.
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
        """Objectness 0 at every place but those that predict a truth well."""
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
        """`classfix`: well predicted truths have their class learned too."""
        spec = scene.grid.spec
        (places,) = (scene.best_iou > spec.thresh).nonzero(as_tuple=True)
        known = scene.values[places, OBJECTNESS] if spec.classfix == 2 else 1.0
        scale = spec.class_scale * known * torch.ones_like(scene.best_iou[places])
        pairs = Pairs(places, scene.best_truth[places])
        self._aim_classes(scene, pairs, scale, classes=scene.labels.spared)

    def _aim_singled(self, scene: Scene) -> None:
        """Of a picture with a class-only label nothing counts but the class at one place.

        The original also wants no objects at its other places.
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

    def _aim_boxes(self, scene: Scene, pairs: Pairs) -> None:
        """The truths' boxes; the original lets small ones count more."""
        spec, boxes = scene.grid.spec, scene.labels.boxes[pairs.truths]
        scale = spec.coord_scale * scene.labels.weights[pairs.truths]
        if spec.dialect == PJREDDIE:
            scale = scale * (2 - boxes[:, 2] * boxes[:, 3])
        self.wanted[pairs.places, :4] = scene.grid.encoded(boxes, pairs.places)
        self.scale[pairs.places, :4] = scale.unsqueeze(1)

    def _aim_objectness(self, scene: Scene, pairs: Pairs, overlaps: Tensor) -> None:
        """1, or the IoU with `rescore`; 0 where the entry means background."""
        spec = scene.grid.spec
        wanted = overlaps if spec.rescore else torch.ones_like(overlaps)
        self.wanted[pairs.places, OBJECTNESS] = wanted * (not spec.background)
        scale = spec.object_scale * scene.labels.weights[pairs.truths]
        self.scale[pairs.places, OBJECTNESS] = scale

    def _aim_classes(
        self,
        scene: Scene,
        pairs: Pairs,
        scale: Tensor,
        *,
        classes: Tensor | None = None,
        darknet: bool = False,
    ) -> None:
        """The truths' classes, at places that occur once in `pairs`; by default the labels' own."""
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
        """Whether classes of several truths at a place are all wanted: the original, sigmoids."""
        spec = scene.grid.spec
        return spec.dialect == PJREDDIE and not spec.softmax

    def _has_classes(self, scene: Scene, places: Tensor, darknet: bool) -> Tensor:
        """Whether a truth has come before; C takes a first class without error for none."""
        error = self.wanted[places, 5] - scene.values[places, 5] if darknet else 1.0
        return self.scale[places, 5] * error != 0


def class_entries(scene: Scene) -> slice:
    """The entries that are one distribution: all classes, and the background beside them."""
    joined = joins_background(scene.grid.spec, has_tree=scene.hierarchy is not None)
    return slice(OBJECTNESS if joined else OBJECTNESS + 1, None)
