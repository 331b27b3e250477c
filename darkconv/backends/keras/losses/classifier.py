"""The losses of [softmax], [logistic] and [cost]: one target for each input value.

The rules are those of `darkconv.backends.torch.losses.classifier`, which describes where they
differ from C.
"""

import numpy as np
from keras import ops

from darkconv.backends.keras.losses.delta import with_delta
from darkconv.backends.keras.losses.hierarchy import Hierarchy, Siblings
from darkconv.backends.keras.losses.parts import LossParts, summed
from darkconv.backends.keras.losses.places import computed_dtype
from darkconv.backends.keras.losses.registry import PartsFunction, costs
from darkconv.backends.keras.losses.scores import cross_entropy, least_entropy
from darkconv.backends.keras.losses.values import flat, unflat
from darkconv.backends.keras.scope import Tensor
from darkconv.core.dialect import PJREDDIE
from darkconv.core.network import Layer
from darkconv.errors import DarkconvError, Where
from darkconv.layers.inert import Cost
from darkconv.layers.loss_rules import UNKNOWN, Setting, class_factors
from darkconv.layers.norm import Logistic, Softmax


@costs(Softmax)
def softmax_loss(layer: Layer, setting: Setting) -> PartsFunction:
    """Build the loss of a [softmax] layer; see `head_loss`.

    Args:
        layer: [softmax] layer.
        setting: rule and class weights.

    Raises:
        OptionError: the number of class weights is not that of the values.
        GraphError: the file of the class tree was not found, or does not fit.
    """
    spec, values = layer.spec, layer.in_shapes[0].size
    assert isinstance(spec, Softmax)
    class_factors(setting, len(spec.keep_classes) or values)
    hierarchy = Hierarchy.of(layer, values)
    siblings = Siblings.alike(values, spec.groups) if hierarchy is None else hierarchy.siblings

    def parts(truths: Tensor, x: Tensor) -> LossParts:
        raw = _raw(x) / spec.temperature
        if spec.noloss:
            none = ops.zeros_like(raw)
            return LossParts.of_classes(with_delta(none[:, 0], x, unflat(none, x)))
        wanted = _fitting(layer, truths, len(spec.keep_classes) or values, raw)
        factors = _picture_factors(setting, wanted)
        wanted = _before_keeping(spec, wanted, values)
        known = (wanted != UNKNOWN) | (hierarchy is None)
        logs = siblings.log_softmax(raw)
        if setting.rule == "default":
            wanted = ops.where(known, wanted, 0.0)
            cost = _lowest_of(siblings, wanted) - wanted * logs
            return LossParts.of_classes(summed(factors * cost))
        cost = -summed(ops.where(known & (wanted != 0), factors * logs, 0.0))
        delta = factors * ops.where(known, wanted - ops.exp(logs), 0.0)
        return LossParts.of_classes(with_delta(cost, x, unflat(delta, x)))

    return parts


def _before_keeping(spec: Softmax, wanted: Tensor, values: int) -> Tensor:
    """Return targets for all values, 0 for those that `keep_classes` drops."""
    if not spec.keep_classes:
        return wanted
    places = np.full(values, len(spec.keep_classes), np.int32)
    places[list(spec.keep_classes)] = np.arange(len(spec.keep_classes))
    return ops.take(ops.pad(wanted, ((0, 0), (0, 1))), places, axis=1)


def _lowest_of(siblings: Siblings, wanted: Tensor) -> Tensor:
    """Return the negated lowest softmax loss of each target (N, values); only its sum counts."""
    share = wanted / siblings.sums(wanted)
    # shares of a group with negative targets may have any value: they are left out
    counts = (wanted > 0) & ops.isfinite(share) & (share > 0)
    return ops.where(counts, wanted * ops.log(ops.where(counts, share, 1.0)), 0.0)


@costs(Logistic)
def logistic_loss(layer: Layer, setting: Setting) -> PartsFunction:
    """Build the loss of a [logistic] layer; see `head_loss`.

    Args:
        layer: [logistic] layer.
        setting: rule and class weights.

    Raises:
        OptionError: the number of class weights is not that of the values.
    """
    values = layer.in_shapes[0].size
    class_factors(setting, values)

    def parts(truths: Tensor, x: Tensor) -> LossParts:
        raw = _raw(x)
        wanted = _fitting(layer, truths, values, raw)
        factors = _picture_factors(setting, wanted)
        cost = cross_entropy(raw, wanted)
        if setting.rule == "default":
            return LossParts.of_classes(summed(factors * (cost - least_entropy(wanted))))
        delta = factors * (wanted - ops.sigmoid(raw))
        return LossParts.of_classes(with_delta(summed(factors * cost), x, unflat(delta, x)))

    return parts


@costs(Cost)
def cost_loss(layer: Layer, setting: Setting) -> PartsFunction:
    """Build the loss of a [cost] layer; see `head_loss`.

    Args:
        layer: [cost] layer.
        setting: rule and class weights.

    Raises:
        OptionError: the number of class weights is not that of the values.
    """
    spec, values = layer.spec, layer.in_shapes[0].size
    assert isinstance(spec, Cost)
    class_factors(setting, values)
    kind = "sse" if spec.kind == "L1" and spec.dialect != PJREDDIE else spec.kind

    def parts(truths: Tensor, x: Tensor) -> LossParts:
        raw = _raw(x)
        wanted = _fitting(layer, truths, values, raw)
        factors = _picture_factors(setting, wanted)
        error = wanted - raw
        if kind == "masked":
            error = ops.where(wanted == UNKNOWN, 0.0, error)
        if setting.rule == "default":
            return LossParts.of_classes(spec.scale * summed(factors * _deviation(kind, error)))
        number = summed(factors * _printed(kind, error))
        delta = spec.scale * factors * _slope(spec, kind, error)
        return LossParts.of_classes(with_delta(number, x, unflat(delta, x)))

    return parts


def _deviation(kind: str, error: Tensor) -> Tensor:
    """Compute the loss of each error by the default rule."""
    if kind == "L1":  # abs() has the slope 1 at 0 on some backends
        return error * ops.stop_gradient(ops.sign(error))
    square = ops.square(error) / 2
    if kind == "smooth":
        return ops.where(ops.abs(error) < 1, square, ops.abs(error) - 0.5)
    return square


def _printed(kind: str, error: Tensor) -> Tensor:
    """Compute the number that C prints for each error."""
    return _deviation(kind, error) * (1 if kind == "L1" else 2)


def _slope(spec: Cost, kind: str, error: Tensor) -> Tensor:
    """Compute C's delta of each error, before its scale."""
    up = ops.where(error > 0, ops.ones_like(error), -1.0)
    if kind == "L1":
        return up
    if kind == "smooth":
        return ops.where(ops.abs(error) < 1, error, -up if spec.dialect == PJREDDIE else up)
    return error


def _raw(x: Tensor) -> Tensor:
    """Return the input as (N, values), in float32 or better."""
    return ops.cast(flat(x), computed_dtype(x))


def _fitting(layer: Layer, truths: Tensor, values: int, like: Tensor) -> Tensor:
    """Return the targets (N, values) in the dtype of `like`.

    Raises:
        DarkconvError: they have another shape.
    """
    if len(truths.shape) != 2 or truths.shape[1] not in (values, None):
        raise DarkconvError(
            where=Where(layer=layer.index, section=layer.type),
            expected=f"truths of shape (N, {values}), one for each value",
            found=tuple(truths.shape),
        )
    return ops.cast(truths, like.dtype)


def _picture_factors(setting: Setting, truths: Tensor) -> Tensor:
    """Return the weight of each picture (N, 1): the mean weight of its true classes."""
    table = class_factors(setting, truths.shape[1])
    factors = ops.convert_to_tensor(table, dtype=truths.dtype)
    shares = ops.maximum(truths, 0.0)
    sums = ops.sum(shares, axis=1, keepdims=True)
    mean = ops.sum(shares * factors, axis=1, keepdims=True) / sums
    return ops.where(sums > 0, mean, 1.0)
