"""What the heads of a network predict, counted."""

from darkconv.core.network import Layer, Network
from darkconv.errors import DarkconvError
from darkconv.layers import head


def box_heads(network: Network) -> tuple[Layer, ...]:
    """The heads that predict boxes, all of the same classes.

    Raises:
        DarkconvError: their classes differ in number.
    """
    heads = tuple(layer for layer in network.heads if head.decodes_boxes(layer.spec))
    counts = {count_classes(layer) for layer in heads}
    if len(counts) > 1:
        raise DarkconvError(f"{network.file}: its heads predict {counts} classes, not the same")
    return heads


def count_classes(layer: Layer) -> int:
    """Classes that a head predicts."""
    assert isinstance(layer.spec, head.Head)
    return layer.spec.num_classes(layer.in_shapes)


def count_boxes(layer: Layer) -> int:
    """Boxes that a head predicts at the cfg's size."""
    spec = layer.spec
    if isinstance(spec, head.Detection):
        return spec.cells * spec.num
    assert isinstance(spec, head.AnchorHead)
    return layer.in_shapes[0].h * layer.in_shapes[0].w * len(spec.anchor_indices)
