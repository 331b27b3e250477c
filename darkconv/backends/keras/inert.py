"""Builders of dropout, cost, empty, contrastive and history layers."""

from keras import layers

from darkconv.backends.keras.registry import BUILDERS
from darkconv.backends.keras.scope import LayerScope, Tensor
from darkconv.layers import inert


@BUILDERS.register(inert.Dropout)
def build_dropout(scope: LayerScope) -> Tensor:
    """Build a dropout, which is the identity in evaluation.

    Args:
        scope: of the [dropout] layer, in whose graph it is built.
    """
    assert isinstance(scope.layer.spec, inert.Dropout)
    return scope.add(layers.Dropout, "", scope.x, rate=scope.layer.spec.rate)


@BUILDERS.register(inert.Empty)
def build_empty(scope: LayerScope) -> Tensor:
    """Build the identity.

    Args:
        scope: of the [empty] layer, in whose graph it is built.
    """
    return scope.finish(scope.x)


@BUILDERS.register(inert.Cost, inert.Contrastive)
def build_zeros(scope: LayerScope) -> Tensor:
    """Build a loss layer, whose output is zeros: as many as its input has values.

    Args:
        scope: of the [cost] or [contrastive] layer, in whose graph it is built.
    """
    return scope.finish(scope.op("zeros_like", scope.flat()))


@BUILDERS.register(inert.History)
def build_history(scope: LayerScope) -> Tensor:
    """Build a layer with channels for several steps: the input, then zeros.

    Args:
        scope: of the [history] layer, in whose graph it is built.
    """
    spec, x = scope.layer.spec, scope.map()
    assert isinstance(spec, inert.History)
    zeros = x.shape[-1] * (spec.history_size - 1)
    return scope.finish(scope.op("pad", x, ((0, 0),) * 3 + ((0, zeros),)))
