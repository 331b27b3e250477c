"""The losses of objectness and class scores of [yolo] and [Gaussian_yolo], by the default rule."""

from keras import ops

from darkconv.backends.keras.losses.assignment import Assignment
from darkconv.backends.keras.losses.grid import probabilities
from darkconv.backends.keras.losses.selection import is_class, placed
from darkconv.backends.keras.scope import Tensor
from darkconv.layers.head import GaussianYolo, Yolo, YoloHead
from darkconv.layers.loss_rules import FOCAL_FACTOR, is_logit


def cross_entropy(raw: Tensor, wanted: Tensor) -> Tensor:
    """Compute -t ln p - (1 - t) ln(1 - p) of logits, with exact derivatives at every value.

    Args:
        raw: logits of p, of any shape.
        wanted: targets t, of the same shape.
    """
    return wanted * ops.softplus(-raw) + (1 - wanted) * ops.softplus(raw)


def least_entropy(wanted: Tensor) -> Tensor:
    """Compute the lowest cross entropy that a target allows; 0 for targets outside 0..1.

    Args:
        wanted: targets of any shape.
    """
    is_between = (wanted > 0) & (wanted < 1)
    p = ops.where(is_between, wanted, 0.5)
    return ops.where(is_between, -p * ops.log(p) - (1 - p) * ops.log(1 - p), 0.0)


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
        return ops.square(raw - wanted) / 2
    return cross_entropy(raw, wanted) - least_entropy(wanted)


def objectness_costs(found: Assignment) -> Tensor:
    """Compute the loss of objectness at every place (N, P).

    Args:
        found: the assignment of the batch.
    """
    spec = found.grid.spec
    wanted, weights = _unmatched_objectness(found)
    if not (spec.objectness_smooth and isinstance(spec, Yolo)):
        truths = found.objects.at(found.matched)
        wanted = ops.where(truths.valid, 1.0, wanted)
        weights = ops.where(truths.valid, truths.weights, weights)
    return spec.obj_normalizer * weights * deviation(spec, found.entries.known, wanted)


def _unmatched_objectness(found: Assignment) -> tuple[Tensor, Tensor]:
    """Return the objectness target of each place (N, P) for its box alone, and its weight."""
    spec, nearest, spotted = found.grid.spec, found.nearest, found.spotted
    if not spec.objectness_smooth:
        kind = found.grid.dtype
        return ops.cast(spotted, kind), ops.cast(spotted | ~found.spared, kind)
    wanted = ops.where(found.spared, smooth_objectness(spec, nearest.spared_iou), 0.0)
    wanted = ops.where(spotted, ops.square(nearest.iou), wanted)
    return wanted, ops.ones_like(wanted)


def smooth_objectness(spec: YoloHead, spared_iou: Tensor) -> Tensor:
    """Return the objectness target of ignored places with `objectness_smooth`.

    Args:
        spec: the head.
        spared_iou: IoU that the ignore rule compares, of any shape.
    """
    return ops.square(spared_iou) if isinstance(spec, GaussianYolo) else spared_iou


def class_costs(found: Assignment) -> Tensor:
    """Compute the loss of every class score (N, P, classes); 0 where no truth is assigned.

    Args:
        found: the assignment of the batch.
    """
    spec, raw = found.grid.spec, found.entries.classes
    spotted = found.spotted | _spared_for_classes(found)
    truths = found.objects.at(found.owned(spotted))
    own, wanted = _wanted_classes(found, spotted)
    wanted = wanted * (1 - spec.label_smooth_eps) + spec.label_smooth_eps / 2
    normalizer = spec.cls_normalizer if spec.counters_per_class else 1.0
    weights = ops.where(own, truths.class_weights * normalizer, truths.factors[..., None])
    if spec.focal_loss and isinstance(spec, Yolo):
        p = probabilities(spec, ops.stop_gradient(raw))
        score = ops.sum(ops.where(truths.hot(), p, 0.0), axis=2, keepdims=True)
        weights = weights * focal_weight(score)
    claimed = truths.valid[..., None]
    raw = ops.where(claimed, raw, 0.0)
    return ops.where(claimed, weights * deviation(spec, raw, wanted), 0.0)


def _spared_for_classes(found: Assignment) -> Tensor:
    """Return the ignored places (N, P) whose classes are trained: for smooth [Gaussian_yolo]."""
    spec = found.grid.spec
    smooth = spec.objectness_smooth and isinstance(spec, GaussianYolo)
    return found.spared & ~found.spotted if smooth else ops.zeros_like(found.spotted)


def _wanted_classes(found: Assignment, spotted: Tensor) -> tuple[Tensor, Tensor]:
    """Return a mask of the truths' classes and the target of their scores, (N, P, classes) both.

    Args:
        found: the assignment of the batch.
        spotted: (N, P) True for places that are trained on their best truth.
    """
    classes, count, matches = found.grid.spec.classes, found.grid.count, found.matches
    index = matches.places * classes + found.objects.classes[..., None]
    marks = placed(ops.ones_like(index), index, matches.wanted, count * classes)
    matched = ops.reshape(marks, (-1, count, classes)) > 0
    nearest = found.objects.at(ops.where(spotted, found.nearest.truth, -1))
    own = is_class(nearest.classes, classes) & spotted[..., None]
    scores = ops.where(found.spotted, found.scores, 1.0)[..., None]
    return matched | own, ops.where(matched, 1.0, ops.where(own, scores, 0.0))


def focal_weight(p: Tensor) -> Tensor:
    """Compute Darknet's focal weight of all classes of a place.

    Args:
        p: probability of the true class, of any shape.
    """
    logs = ops.where(p == 0, 0.0, p * ops.log(ops.where(p == 0, 1.0, p)))
    return FOCAL_FACTOR * (p - 1) * (2 * logs + p - 1)
