"""The loss of a [region] head.

The rules are those of `darkconv.backends.torch.losses.region`, which describes where they differ
from C.
"""

from keras import ops

from darkconv.backends.keras.losses.delta import with_delta
from darkconv.backends.keras.losses.parts import LossParts
from darkconv.backends.keras.losses.region_aims import RegionTargets, RegionTargetSteps
from darkconv.backends.keras.losses.region_places import RegionHead, Scene
from darkconv.backends.keras.losses.registry import PartsFunction, costs
from darkconv.backends.keras.losses.scores import cross_entropy
from darkconv.backends.keras.scope import Tensor
from darkconv.core.dialect import ALEXEYAB, PJREDDIE
from darkconv.core.network import Layer
from darkconv.layers.head import Region
from darkconv.layers.loss_rules import FOCAL_EPSILON, FOCAL_FACTOR, OBJECTNESS, Setting


@costs(Region)
def region_loss(layer: Layer, setting: Setting) -> PartsFunction:
    """Build the loss of a [region] head; see `head_loss`.

    Args:
        layer: [region] layer.
        setting: rule, number of pictures seen, class weights and class map.

    Raises:
        UnsupportedError: the head predicts more than four coordinates.
        OptionError: the number of class weights is not that of the classes.
        GraphError: the file of the class tree was not found, or does not fit.
    """
    head = RegionHead.of(layer, setting)

    def parts(truths: Tensor, x: Tensor) -> LossParts:
        scene = Scene.of(head, x, truths)
        aims = RegionTargetSteps(scene).aims()
        if setting.rule == "default":
            return _parts(scene, _costs(scene, aims))
        delta = _delta(scene, aims)
        found = _parts(scene, ops.square(delta))
        total = with_delta(found.total, x, ops.reshape(delta, (-1, *x.shape[1:])))
        return LossParts(total, found.box, found.objectness, found.no_object, found.classes)

    return parts


def _parts(scene: Scene, costs: Tensor) -> LossParts:
    """Build the parts of the loss from the losses of entries (N, P, 5 + classes)."""
    matched = scene.matches.last(scene.grid.count) >= 0
    box, known, classes = costs[..., :4], costs[..., OBJECTNESS], costs[..., OBJECTNESS + 1 :]
    return LossParts.of_places(box, known, matched, classes)


def _delta(scene: Scene, aims: RegionTargets) -> Tensor:
    """Compute C's deltas (N, P, 5 + classes)."""
    spec, values, wanted = scene.head.spec, scene.values, aims.wanted
    delta = aims.scale * (wanted - values)
    if not spec.dialect.follows(ALEXEYAB):
        return delta
    slopes = values * (1 - values)
    ones = ops.ones_like(values)
    classes = ones[..., OBJECTNESS + 1 :]
    if spec.focal_loss and scene.head.hierarchy is None:
        products = (wanted * values)[..., OBJECTNESS + 1 :]
        classes = classes * _focal_slope(ops.sum(products, axis=2, keepdims=True))
    parts = [slopes[..., :2], ones[..., 2:4], slopes[..., OBJECTNESS : OBJECTNESS + 1], classes]
    return delta * ops.concatenate(parts, axis=-1)


def _focal_slope(p: Tensor) -> Tensor:
    """Compute C's weight of all classes of a place from the score of the true class."""
    p = p + FOCAL_EPSILON
    return FOCAL_FACTOR * (p - 1) * (2 * p * ops.log(p) + p - 1)


def _costs(scene: Scene, aims: RegionTargets) -> Tensor:
    """Compute the loss of every entry (N, P, 5 + classes) by the default rule."""
    raw, spec, classes = scene.entries, scene.head.spec, scene.head.class_entries
    known = raw[..., OBJECTNESS : classes.start]
    values = [
        ops.sigmoid(raw[..., :2]),
        raw[..., 2:4],
        known if spec.background else ops.sigmoid(known),
    ]
    found, first = ops.concatenate(values, axis=-1), slice(classes.start)
    wanted, scale = aims.wanted, aims.scale
    squares = scale[..., first] * ops.square(found - wanted[..., first]) / 2
    scores = _class_costs(scene, wanted[..., classes], scale[..., classes])
    return ops.concatenate([squares, scores], axis=-1)


def _class_costs(scene: Scene, wanted: Tensor, scale: Tensor) -> Tensor:
    """Compute the loss of each class score (N, P, classes); 0 at places without a target."""
    counts = ops.any(scale != 0, axis=2, keepdims=True)
    raw = ops.where(counts, scene.entries[..., scene.head.class_entries], 0.0)
    return ops.where(counts, scale * _deviation(scene, raw, wanted), 0.0)


def _deviation(scene: Scene, raw: Tensor, wanted: Tensor) -> Tensor:
    """Compute the loss (N, P, classes) of raw class scores whose target is 0 or 1."""
    spec, hierarchy = scene.head.spec, scene.head.hierarchy
    focal = spec.focal_loss and hierarchy is None
    if hierarchy is not None or spec.softmax:
        logs = hierarchy.siblings.log_softmax(raw) if hierarchy else ops.log_softmax(raw, axis=-1)
        weight = FOCAL_FACTOR * ops.square(1 - ops.exp(logs)) if focal else 1.0
        return -wanted * weight * logs
    if spec.dialect == PJREDDIE:
        return cross_entropy(raw, wanted)
    squares = ops.square(raw - wanted) / 2
    if not focal:
        return squares
    own = ops.sum(wanted * ops.stop_gradient(raw), axis=2, keepdims=True)
    return _focal_slope(ops.clip(own, 0.0, 1.0)) * squares
