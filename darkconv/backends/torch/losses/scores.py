"""The losses of objectness and class scores of [yolo] and [Gaussian_yolo], by the default rule."""

import torch
from torch import Tensor
from torch.nn import functional as F

from darkconv.backends.torch.losses.assignment import Assignment, Claims, spot_spared_boxes
from darkconv.backends.torch.losses.grid import probabilities
from darkconv.layers.head import GaussianYolo, Yolo, YoloHead
from darkconv.layers.loss_rules import FOCAL_FACTOR, is_logit


def deviation(spec: YoloHead, raw: Tensor, wanted: Tensor) -> Tensor:
    """Compute the loss of entries in 0..1; its derivative by `raw` is probability - target.

    Args:
        spec: the head.
        raw: raw entries of any shape: logits, or probabilities if the head's input is no logit.
        wanted: targets of the same shape.

    Returns:
        A tensor of the same shape, 0 where an entry meets its target.
    """
    if not is_logit(spec):
        return (raw - wanted).square() / 2
    lowest = torch.special.entr(wanted) + torch.special.entr(1 - wanted)
    cost = F.binary_cross_entropy_with_logits(raw, wanted, reduction="none")
    return cost - torch.where(lowest > 0, lowest, 0)


def objectness_loss(found: Assignment, claims: Claims) -> Tensor:
    """Compute the loss of objectness at every place (places,).

    Args:
        found: the assignment of the batch.
        claims: its assigned places.
    """
    spec = found.grid.spec
    wanted, weights = _unmatched_objectness(found)
    if not (spec.objectness_smooth and isinstance(spec, Yolo)):
        places, owners = claims.places[claims.matched], claims.owners[claims.matched]
        wanted = wanted.index_fill(0, places, 1.0)
        weights = weights.index_put((places,), found.objects.weights[owners])
    return spec.obj_normalizer * weights * deviation(spec, found.entries.known, wanted)


def _unmatched_objectness(found: Assignment) -> tuple[Tensor, Tensor]:
    """Return the objectness target of each place (places,) for its box alone, and its weight."""
    spec, nearest = found.grid.spec, found.nearest
    spared = nearest.spared_iou > spec.ignore_thresh
    spotted = nearest.iou > spec.truth_thresh
    if not spec.objectness_smooth:
        kind = nearest.iou.dtype
        return spotted.to(kind), (spotted | ~spared).to(kind)
    wanted = torch.where(spared, smooth_objectness(spec, nearest.spared_iou), 0)
    wanted = torch.where(spotted, nearest.iou.square(), wanted)
    return wanted, torch.ones_like(wanted)


def smooth_objectness(spec: YoloHead, spared_iou: Tensor) -> Tensor:
    """Return the objectness target of ignored places with `objectness_smooth`.

    Args:
        spec: the head.
        spared_iou: IoU that the ignore rule compares, of any shape.
    """
    return spared_iou.square() if isinstance(spec, GaussianYolo) else spared_iou


def class_loss(found: Assignment) -> Tensor:
    """Compute the loss of every class score at assigned places (m, classes).

    Args:
        found: the assignment of the batch.
    """
    spec, objects, claims = found.grid.spec, found.objects, _class_claims(found)
    raw = found.entries.classes[claims.places]
    classes = objects.classes[claims.pairs.truths]
    flat = claims.rows * spec.classes + classes
    wanted = torch.zeros_like(raw).flatten().scatter_reduce(0, flat, claims.pairs.scores, "amax")
    smooth = spec.label_smooth_eps
    wanted = wanted.reshape(raw.shape) * (1 - smooth) + smooth / 2
    normalizer = spec.cls_normalizer if spec.counters_per_class else 1.0
    own = objects.weights[claims.pairs.truths] * normalizer
    weights = objects.factors[claims.owners].unsqueeze(1).repeat(1, spec.classes)
    weights = weights.index_put((claims.rows, classes), own)
    if spec.focal_loss and isinstance(spec, Yolo):
        owned = objects.classes[claims.owners].unsqueeze(1)
        weights = weights * focal_weight(probabilities(spec, raw.detach()).gather(1, owned))
    return weights * deviation(spec, raw, wanted)


def _class_claims(found: Assignment) -> Claims:
    """Return the places whose classes are trained, ignored ones too for smooth [Gaussian_yolo]."""
    spec, nearest = found.grid.spec, found.nearest
    if not (spec.objectness_smooth and isinstance(spec, GaussianYolo)):
        return found.claims
    spared = spot_spared_boxes(spec, nearest)
    spared = spared.where(nearest.iou[spared.places] <= spec.truth_thresh)
    return Claims.of(spared + found.spotted, found.matches)


def focal_weight(p: Tensor) -> Tensor:
    """Compute Darknet's focal weight of all classes of a place.

    Args:
        p: probability of the true class, of any shape.
    """
    return FOCAL_FACTOR * (p - 1) * (2 * torch.xlogy(p, p) + p - 1)
