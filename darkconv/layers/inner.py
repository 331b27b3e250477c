"""The layers inside a recurrent layer, as layers of their own."""

from darkconv.core.network import Layer
from darkconv.layers.recurrent import Recurrent


def inner_layers(layer: Layer) -> dict[str, Layer]:
    """The sub-layers of a recurrent layer, by name, each with its shapes and no sources."""
    assert isinstance(layer.spec, Recurrent)
    return {
        name: Layer(layer.index, layer.section, spec, (), (shape,), spec.infer_shape((shape,)))
        for name, spec, shape in layer.spec.sublayers(layer.in_shapes)
    }
