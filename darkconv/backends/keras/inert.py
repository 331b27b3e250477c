"""dropout, cost, empty, contrastive, history."""

from keras import layers

from darkconv.backends.keras.registry import BUILDERS
from darkconv.backends.keras.scope import LayerScope, Tensor
from darkconv.layers import inert


@BUILDERS.register(inert.Dropout)
def build_dropout(scope: LayerScope) -> Tensor:
    """Identity in evaluation, dropout in training."""
    assert isinstance(scope.layer.spec, inert.Dropout)
    return scope.add(layers.Dropout, "", scope.x, rate=scope.layer.spec.rate)


@BUILDERS.register(inert.Empty)
def build_empty(scope: LayerScope) -> Tensor:
    """Identity."""
    return scope.finish(scope.x)


@BUILDERS.register(inert.Cost, inert.Contrastive)
def build_zeros(scope: LayerScope) -> Tensor:
    """As many zeros as the input has values: a loss without a truth, as in C."""
    return scope.finish(scope.op("zeros_like", scope.flat()))


@BUILDERS.register(inert.History)
def build_history(scope: LayerScope) -> Tensor:
    """The input, and zeros for the steps that one call does not have."""
    spec, x = scope.layer.spec, scope.map()
    assert isinstance(spec, inert.History)
    zeros = x.shape[-1] * (spec.history_size - 1)
    return scope.finish(scope.op("pad", x, ((0, 0),) * 3 + ((0, zeros),)))
