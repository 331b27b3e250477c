"""The losses of [softmax], [logistic] and [cost]: one target for each input value.

Rule "darknet" gives C's deltas and the number that C prints. The default rule is one number with a
true derivative, counted from the lowest value that its targets allow. It differs from C in these
points:

- [softmax] computes the cross entropy -t * ln p, and its derivative is divided by the temperature.
  C prints -ln p wherever t is not 0, and passes back t - p undivided. If the targets of a group do
  not sum to 1, C's t - p is not a derivative of any function; where all are 0 (groups of a class
  tree off the true path), nothing is trained.
- [logistic] has C's cross entropy and derivative.
- [cost] computes scale * half the squared error, or scale * |error| (`L1`), or with `smooth` the
  first below an error of 1 and |error| - 1/2 above. C prints twice the half, without the scale. The
  original's `smooth` has the wrong sign above 1, and its `L1` a slope where there is no error; the
  fork has no `L1`: like every type that a program does not know, it is `sse` there.

By both rules targets of -1234 are left out with [cost] `masked` and in class trees (in C, in
its CUDA program), and `noloss=1` turns [softmax] into a layer without a loss. `ratio`, `noobj` and
`thresh` of [cost] have no effect, as in C on the CPU. Class weights act on the loss of a picture,
as the mean weight of its true classes.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from darkconv.backends.torch.losses.delta import with_delta
from darkconv.backends.torch.losses.hierarchy import Hierarchy
from darkconv.backends.torch.losses.registry import costs
from darkconv.backends.torch.losses.report import LossReport
from darkconv.core.dialect import PJREDDIE
from darkconv.core.network import Layer
from darkconv.errors import DarkconvError, Where
from darkconv.layers.inert import Cost
from darkconv.layers.loss_rules import UNKNOWN, Setting, class_factors
from darkconv.layers.norm import Logistic, Softmax


@costs(Softmax)
def softmax_loss(layer: Layer, x: Tensor, truths: Tensor, setting: Setting) -> LossReport:
    """Compute the loss of a [softmax] layer; see `head_loss`.

    Args:
        layer: [softmax] layer.
        x: input of the layer.
        truths: (N, values) targets; with `keep_classes` one for each kept class.
        setting: rule and class weights.

    Raises:
        DarkconvError: the number of targets is not that of the values.
        OptionError: the number of class weights is not that of the values.
        GraphError: the file of the class tree was not found, or does not fit.
    """
    spec = layer.spec
    assert isinstance(spec, Softmax)
    if spec.noloss:
        return _report(with_delta(x.new_zeros(()), x, torch.zeros_like(x)))
    raw = _flat(x) / spec.temperature
    wanted = _fitting(layer, truths, len(spec.keep_classes) or raw.shape[1], raw)
    factors = _picture_factors(setting, wanted)
    wanted = _before_keeping(spec, wanted, raw)
    hierarchy = Hierarchy.of(layer, raw.shape[1], raw.device)
    if hierarchy is None:
        index = torch.arange(raw.shape[1], device=raw.device)
        groups = index // (raw.shape[1] // spec.groups)
        hierarchy = Hierarchy(groups, torch.full_like(groups, -1), spec.groups)
        known = torch.ones_like(wanted, dtype=torch.bool)
    else:
        known = wanted != UNKNOWN
    logs = hierarchy.log_softmax(raw)
    if setting.rule == "default":
        wanted = torch.where(known, wanted, 0)
        return _report((factors * (_lowest_of(hierarchy, wanted) - wanted * logs)).sum())
    cost = -(factors * logs)[known & (wanted != 0)].sum()
    return _with_delta(cost, x, factors * torch.where(known, wanted - logs.exp(), 0))


def _before_keeping(spec: Softmax, wanted: Tensor, raw: Tensor) -> Tensor:
    """Return targets for all values, 0 for those that `keep_classes` drops."""
    if not spec.keep_classes:
        return wanted
    index = torch.tensor(spec.keep_classes, device=raw.device)
    return torch.zeros_like(raw, requires_grad=False).index_copy(1, index, wanted)


def _lowest_of(hierarchy: Hierarchy, wanted: Tensor) -> Tensor:
    """Return the negated lowest softmax loss of each target (N, values); only its sum counts."""
    index = hierarchy.groups.expand(wanted.shape)
    sums = wanted.new_zeros(len(wanted), hierarchy.count).scatter_add(1, index, wanted)
    share = wanted / sums.gather(1, index)
    return torch.where(wanted > 0, wanted * share.log(), 0).nan_to_num(0, 0, 0)


@costs(Logistic)
def logistic_loss(layer: Layer, x: Tensor, truths: Tensor, setting: Setting) -> LossReport:
    """Compute the loss of a [logistic] layer; see `head_loss`.

    Args:
        layer: [logistic] layer.
        x: input of the layer, before the sigmoid.
        truths: (N, values) targets.
        setting: rule and class weights.

    Raises:
        DarkconvError: the number of targets is not that of the values.
        OptionError: the number of class weights is not that of the values.
    """
    raw = _flat(x)
    wanted = _fitting(layer, truths, raw.shape[1], raw)
    factors = _picture_factors(setting, wanted)
    cost = F.binary_cross_entropy_with_logits(raw, wanted, reduction="none")
    if setting.rule == "default":
        lowest = torch.special.entr(wanted) + torch.special.entr(1 - wanted)
        return _report((factors * (cost - torch.where(lowest > 0, lowest, 0))).sum())
    return _with_delta((factors * cost).sum(), x, factors * (wanted - raw.sigmoid()))


@costs(Cost)
def cost_loss(layer: Layer, x: Tensor, truths: Tensor, setting: Setting) -> LossReport:
    """Compute the loss of a [cost] layer; see `head_loss`.

    Args:
        layer: [cost] layer.
        x: input of the layer.
        truths: (N, values) targets.
        setting: rule and class weights.

    Raises:
        DarkconvError: the number of targets is not that of the values.
        OptionError: the number of class weights is not that of the values.
    """
    spec = layer.spec
    assert isinstance(spec, Cost)
    raw = _flat(x)
    wanted = _fitting(layer, truths, raw.shape[1], raw)
    factors = _picture_factors(setting, wanted)
    error = wanted - raw
    if spec.kind == "masked":
        error = torch.where(wanted == UNKNOWN, 0, error)
    kind = "sse" if spec.kind == "L1" and spec.dialect != PJREDDIE else spec.kind
    if setting.rule == "default":
        return _report(spec.scale * (factors * _deviation(kind, error)).sum())
    number, delta = _printed(kind, error), _slope(spec, kind, error)
    return _with_delta((factors * number).sum(), x, spec.scale * factors * delta)


def _deviation(kind: str, error: Tensor) -> Tensor:
    """Compute the loss of each error by the default rule."""
    if kind == "L1":
        return error.abs()
    if kind == "smooth":
        return F.huber_loss(error, torch.zeros_like(error), reduction="none")
    return error.square() / 2


def _printed(kind: str, error: Tensor) -> Tensor:
    """Compute the number that C prints for each error."""
    return _deviation(kind, error) * (1 if kind == "L1" else 2)


def _slope(spec: Cost, kind: str, error: Tensor) -> Tensor:
    """Compute C's delta of each error, before its scale."""
    up = torch.where(error > 0, 1.0, -1.0).to(error.dtype)
    if kind == "L1":
        return up
    if kind == "smooth":
        return torch.where(error.abs() < 1, error, -up if spec.dialect == PJREDDIE else up)
    return error


def _flat(x: Tensor) -> Tensor:
    """Return the input as (N, values), in float32 or better."""
    return x.flatten(1).to(torch.promote_types(x.dtype, torch.float32))


def _fitting(layer: Layer, truths: Tensor, values: int, like: Tensor) -> Tensor:
    """Return the targets (N, values) in the dtype and on the device of `like`.

    Raises:
        DarkconvError: they have another shape.
    """
    if tuple(truths.shape) != (len(like), values):
        raise DarkconvError(
            where=Where(layer=layer.index, section=layer.type),
            expected=f"truths of shape {(len(like), values)}, one for each value",
            found=tuple(truths.shape),
        )
    return truths.to(like.device, like.dtype)


def _picture_factors(setting: Setting, truths: Tensor) -> Tensor:
    """Return the weight of each picture (N, 1): the mean weight of its true classes."""
    factors = truths.new_tensor(class_factors(setting, truths.shape[1]))
    shares = truths.clamp(min=0)
    sums = shares.sum(1, keepdim=True)
    mean = (shares * factors).sum(1, keepdim=True) / sums
    return torch.where(sums > 0, mean, 1)


def _with_delta(cost: Tensor, x: Tensor, delta: Tensor) -> LossReport:
    return _report(with_delta(cost, x, delta.detach().reshape(x.shape)))


def _report(total: Tensor) -> LossReport:
    """Build the report of a loss of classes alone."""
    none = torch.zeros_like(total.detach())
    return LossReport(
        total=total, box=none, objectness=none, no_object=none, classes=total, iou=none, recall=none
    )
