"""The sub-layers of a recurrent layer, as layers of their own."""

from darkconv.core.network import Layer
from darkconv.core.shape import Shape
from darkconv.core.spec import LayerSpec, stored_slots
from darkconv.layers.recurrent import Recurrent


def inner_layers(layer: Layer) -> dict[str, Layer]:
    """Return the sub-layers of a recurrent layer by name, with shapes but without sources.

    Args:
        layer: the recurrent layer.
    """
    assert isinstance(layer.spec, Recurrent)
    return {
        name: inner_layer(layer, spec, shape)
        for name, spec, shape in layer.spec.sublayers(layer.in_shapes)
    }


def inner_layer(outer: Layer, spec: LayerSpec, shape: Shape) -> Layer:
    """Return a sub-layer as a layer without sources.

    Args:
        outer: the recurrent layer, whose index and section the sub-layer gets.
        spec: spec of the sub-layer.
        shape: shape of its one input.
    """
    inputs = (shape,)
    out, slots = spec.infer_shape(inputs), stored_slots(spec, inputs)
    return Layer(outer.index, outer.section, spec, (), inputs, out, slots)
