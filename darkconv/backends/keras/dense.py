"""connected, implicit, implicit_add, implicit_mul."""

from keras import layers

from darkconv.backends.keras.activation import activate
from darkconv.backends.keras.norm import norm_places, normalize
from darkconv.backends.keras.places import Place, PlaceTable
from darkconv.backends.keras.registry import BUILDERS, PLACES
from darkconv.backends.keras.scope import LayerScope, Tensor
from darkconv.core.network import Layer, Network
from darkconv.layers import dense


@BUILDERS.register(dense.Connected)
def build_connected(scope: LayerScope) -> Tensor:
    """Matrix product with the flattened input, batch norm, activation: (N, outputs)."""
    spec = scope.layer.spec
    assert isinstance(spec, dense.Connected)
    out = scope.learn(
        layers.Dense, scope.flat(), units=spec.output, use_bias=not spec.batch_normalize
    )
    out = normalize(scope, out) if spec.batch_normalize else out
    return activate(scope, out, spec.activation)


@PLACES.register(dense.Connected)
def connected_places(layer: Layer, _: Network) -> PlaceTable:
    """(outputs, inputs) -> (inputs, outputs); biases are the batch norm's where there is one."""
    assert isinstance(layer.spec, dense.Connected)
    weights = Place("", "kernel", (1, 0))
    if layer.spec.batch_normalize:
        return {"weights": weights, **norm_places("bn")}
    return {"weights": weights, "biases": Place("", "bias")}


@BUILDERS.register(dense.Implicit, dense.ImplicitAdd, dense.ImplicitMul)
def build_implicit(scope: LayerScope) -> Tensor:
    """A learned constant, once for each picture: (N, atoms, 1, filters)."""
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
    """The only row of an Embedding."""
    return {"weights": Place("weights", "embeddings")}
