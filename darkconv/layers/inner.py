"""The layers inside a recurrent layer, as layers of their own."""

from darkconv.core.network import Layer
from darkconv.core.shape import Shape
from darkconv.core.spec import LayerSpec, stored_slots
from darkconv.layers.recurrent import Recurrent


def inner_layers(layer: Layer) -> dict[str, Layer]:
    """The sub-layers of a recurrent layer, by name, each with its shapes and no sources."""
    assert isinstance(layer.spec, Recurrent)
    return {
        name: inner_layer(layer, spec, shape)
        for name, spec, shape in layer.spec.sublayers(layer.in_shapes)
    }


def inner_layer(outer: Layer, spec: LayerSpec, shape: Shape) -> Layer:
    """A sub-layer that reads a shape."""
    inputs = (shape,)
    out, slots = spec.infer_shape(inputs), stored_slots(spec, inputs)
    return Layer(outer.index, outer.section, spec, (), inputs, out, slots)
