"""Builders of connected, implicit, implicit_add and implicit_mul layers."""

from keras import layers

from darkconv.backends.keras.activation import activate
from darkconv.backends.keras.norm import norm_places, normalize
from darkconv.backends.keras.places import ArrayPlace, PlaceTable
from darkconv.backends.keras.registry import BUILDERS, PLACES
from darkconv.backends.keras.scope import LayerScope, Tensor
from darkconv.core.network import Layer, Network
from darkconv.layers import dense


@BUILDERS.register(dense.Connected)
def build_connected(scope: LayerScope) -> Tensor:
    """Build a fully connected layer, its batch norm or bias, and its activation.

    The value is (N, outputs).

    Args:
        scope: of the [connected] layer, in whose graph it is built.
    """
    spec = scope.layer.spec
    assert isinstance(spec, dense.Connected)
    out = scope.learn(
        layers.Dense, scope.flat(), units=spec.output, use_bias=not spec.batch_normalize
    )
    out = normalize(scope, out) if spec.batch_normalize else out
    return activate(scope, out, spec.activation)


@PLACES.register(dense.Connected)
def connected_places(layer: Layer, _: Network) -> PlaceTable:
    """Return where the arrays of a fully connected layer lie; batch norm, if any, has the biases.

    The weights (outputs, inputs) become (inputs, outputs).

    Args:
        layer: [connected] layer.
        _: its network, which is not needed.
    """
    assert isinstance(layer.spec, dense.Connected)
    weights = ArrayPlace("", "kernel", (1, 0))
    if layer.spec.batch_normalize:
        return {"weights": weights, **norm_places("bn")}
    return {"weights": weights, "biases": ArrayPlace("", "bias")}


@BUILDERS.register(dense.Implicit, dense.ImplicitAdd, dense.ImplicitMul)
def build_implicit(scope: LayerScope) -> Tensor:
    """Build a learned constant.

    The value is (N, atoms, 1, filters), the same for each picture.

    Args:
        scope: of the [implicit], [implicit_add] or [implicit_mul] layer, in whose graph it is
            built.
    """
    filters, atoms, _ = scope.layer.out_shape
    batch = scope.take(scope.graph.x, slice(None), *(0,) * (len(scope.graph.x.shape) - 1))
    index = scope.op("zeros_like", batch, dtype="int32")
    rows = scope.learn(
        layers.Embedding, index, part="weights", input_dim=1, output_dim=filters * atoms
    )
    maps = scope.op("transpose", scope.reshape(rows, filters, atoms, 1), (0, 2, 3, 1))
    return scope.finish(maps)


@PLACES.register(dense.Implicit, dense.ImplicitAdd, dense.ImplicitMul)
def implicit_places(layer: Layer, _: Network) -> PlaceTable:
    """Return where a learned constant lies: in the only row of an Embedding.

    Args:
        layer: [implicit], [implicit_add] or [implicit_mul] layer.
        _: its network, which is not needed.
    """
    return {"weights": ArrayPlace("weights", "embeddings")}
