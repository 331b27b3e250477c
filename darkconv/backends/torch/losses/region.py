"""The loss of a [region] head.

Both rules assign truths to places alike: see `region_places` and `region_aims`.

Rule "darknet" gives C's deltas with all their peculiarities. For the original these are the values
that its CPU program calls delta, though that program never passes them on.

The default rule is one number whose true derivative is C's delta wherever that delta is the
derivative of any function; for the original that means the CUDA program, which multiplies the
deltas of x, y and objectness by the derivative of their sigmoid. The loss of coordinates (x and y
behind their sigmoid) and objectness is half their squared error; that of classes is the cross
entropy of their softmax, among siblings if there is a class tree, or of their sigmoids. For scores
that alexeyab leaves raw (`softmax=0`) it is half their squared error. It differs from C in these
points:

- The number: C prints the sum of squared deltas.
- `background=1` with softmax: objectness and classes are one distribution, whose cross entropy has
  the weight class_scale where a truth is, and noobject_scale elsewhere. C has object_scale for the
  background's entry of the first and nothing for the classes of the second, which is not the
  derivative of any function. Without softmax the entry is raw, and its loss is half its squared
  error.
- `softmax=0` of the original: all classes of the truths at a place are targets. C forgets those of
  earlier truths where the score of class 0 has no error.
- `focal_loss` with softmax is the function that C's deltas are the derivative of: 0.5 * (1 - p)^2 *
  -ln p. For raw scores there is none, so its weight is a constant, computed of the score limited to
  0..1; C takes the logarithm of negative scores.
- IoU as a target (`rescore`, `classfix=-1`) and objectness as a weight (`classfix=2`) are
  constants, as in C.
- A centre at x = 0 is a truth like others, and all truths count; C takes it for the end of the
  list, and reads 30 rows (original) or `max`.

By both rules, a truth without width or height or of an unknown class is left out, and the class
tree of the original is computed as by its CUDA program. Raw w and h are limited to 20 for an IoU.
Class weights act on all entries of a place with a truth, by the default rule on their losses, by
the other on their deltas.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from darkconv.backends.torch.losses.delta import with_delta
from darkconv.backends.torch.losses.region_aims import RegionTargets, class_entries
from darkconv.backends.torch.losses.region_places import Scene
from darkconv.backends.torch.losses.registry import costs
from darkconv.backends.torch.losses.report import LossReport
from darkconv.core.dialect import ALEXEYAB, PJREDDIE
from darkconv.core.network import Layer
from darkconv.layers.head import Region
from darkconv.layers.loss_rules import FOCAL_EPSILON, FOCAL_FACTOR, GOOD_IOU, OBJECTNESS, Setting


@costs(Region)
def region_loss(layer: Layer, x: Tensor, truths: Tensor, setting: Setting) -> LossReport:
    """Compute the loss of a [region] head; see `head_loss`.

    Args:
        layer: [region] layer.
        x: (N, C, H, W) input of the head, before any activation.
        truths: (N, T, 5) rows of class and box.
        setting: rule, number of pictures seen, class weights and class map.

    Raises:
        UnsupportedError: the head predicts more than four coordinates.
        OptionError: the number of class weights is not that of the classes.
        GraphError: the file of the class tree was not found, or does not fit.
    """
    darknet = setting.rule == "darknet"
    scene = Scene.of(layer, x, truths, setting)
    with torch.no_grad():
        aims = RegionTargets.of(scene, setting.seen, darknet=darknet)
    if not darknet:
        return _report(scene, _costs(scene, aims))
    with torch.no_grad():
        delta = _delta(scene, aims)
        report = _report(scene, delta.square())
    total = with_delta(report.total, x, scene.grid.restored(delta))
    return replace(report, total=total)


def _report(scene: Scene, costs: Tensor) -> LossReport:
    """Build the report from the losses of entries (places, 5 + classes)."""
    matched = torch.zeros_like(costs[:, 0], dtype=torch.bool)
    matched = matched.index_fill(0, scene.matches.places, True)
    known = costs[:, OBJECTNESS]
    parts = [costs[:, :4], known[matched], known[~matched], costs[:, 5:]]
    box, objectness, no_object, classes = (part.sum() for part in parts)
    count = max(len(scene.overlaps), 1)
    return LossReport(
        total=box + objectness + no_object + classes,
        box=box,
        objectness=objectness,
        no_object=no_object,
        classes=classes,
        iou=scene.overlaps.sum() / count,
        recall=(scene.overlaps > GOOD_IOU).to(costs.dtype).sum() / count,
    )


def _delta(scene: Scene, aims: RegionTargets) -> Tensor:
    """Compute C's deltas (places, 5 + classes)."""
    spec, values = scene.grid.spec, scene.values
    delta = aims.scale * (aims.wanted - values)
    if spec.dialect.follows(ALEXEYAB):
        squashed = values[:, [0, 1, OBJECTNESS]]
        delta[:, [0, 1, OBJECTNESS]] *= squashed * (1 - squashed)
        if spec.focal_loss and scene.hierarchy is None:
            delta[:, 5:] *= _focal_slope((aims.wanted * values)[:, 5:].sum(1, keepdim=True))
    return delta


def _focal_slope(p: Tensor) -> Tensor:
    """Compute C's weight of all classes of a place from the score of the true class."""
    p = p + FOCAL_EPSILON
    return FOCAL_FACTOR * (p - 1) * (2 * p * p.log() + p - 1)


def _costs(scene: Scene, aims: RegionTargets) -> Tensor:
    """Compute the loss of every entry (places, 5 + classes) by the default rule."""
    raw, spec = scene.entries, scene.grid.spec
    classes = class_entries(scene)
    known = raw[:, OBJECTNESS : classes.start]
    values = [raw[:, :2].sigmoid(), raw[:, 2:4], known if spec.background else known.sigmoid()]
    found = torch.cat(values, 1)
    squares = (found - aims.wanted[:, : classes.start]).square() / 2
    return torch.cat(
        [
            aims.scale[:, : classes.start] * squares,
            _class_costs(scene, aims.wanted[:, classes], aims.scale[:, classes]),
        ],
        1,
    )


def _class_costs(scene: Scene, wanted: Tensor, scale: Tensor) -> Tensor:
    """Compute the loss of each class score (places, classes); 0 at places without a target."""
    (places,) = (scale != 0).any(1).nonzero(as_tuple=True)
    raw = scene.entries[places, -scale.shape[1] :]
    costs = scale[places] * _deviation(scene, raw, wanted[places])
    return torch.zeros_like(scale).index_put((places,), costs)


def _deviation(scene: Scene, raw: Tensor, wanted: Tensor) -> Tensor:
    """Compute the loss (k, classes) of raw class scores whose target is 0 or 1."""
    spec = scene.grid.spec
    focal = spec.focal_loss and scene.hierarchy is None
    if scene.hierarchy is not None or spec.softmax:
        logs = raw.log_softmax(1) if scene.hierarchy is None else scene.hierarchy.log_softmax(raw)
        weight = FOCAL_FACTOR * (1 - logs.exp()).square() if focal else 1.0
        return -wanted * weight * logs
    if spec.dialect == PJREDDIE:
        return F.binary_cross_entropy_with_logits(raw, wanted, reduction="none")
    squares = (raw - wanted).square() / 2
    if not focal:
        return squares
    own = (wanted * raw.detach()).sum(1, keepdim=True).clamp(0, 1)
    return _focal_slope(own) * squares
