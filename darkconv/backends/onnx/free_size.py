"""Finding the layers that work on maps whose size is known only when the graph runs."""

from darkconv.core.network import Layer, Network
from darkconv.errors import UnsupportedError
from darkconv.layers import conv, dense, head, merge, pool, recurrent, resize

REASONS = {
    dense.Connected: "its weights fit one size of map",
    conv.Local: "its weights belong to places of the map",
    resize.Crop: "what it cuts away depends on the size",
    head.Detection: "it has a fixed grid",
    recurrent.Recurrent: "its state has the size of the map",
}


def check_size_may_vary(network: Network, layer: Layer) -> None:
    """Check that a layer works on a map of free size.

    Args:
        network: network of the layer, for the message.
        layer: layer that reads such a map.

    Raises:
        UnsupportedError: the layer needs a fixed size.
    """
    reason = _needs_fixed_size(layer)
    if reason:
        raise UnsupportedError(
            f"the size of pictures cannot be free: {reason}",
            where=network.where(layer.index),
            hint="leave out `size` of --dynamic, and choose the size with --input-size",
        )


def passes_size_on(layer: Layer) -> bool:
    """Return True if the output of a layer that reads a map of free size has a free size too.

    Args:
        layer: layer that reads such a map.
    """
    return not isinstance(layer.spec, pool.Avgpool)


def _needs_fixed_size(layer: Layer) -> str:
    spec, shapes = layer.spec, layer.in_shapes
    for kind, reason in REASONS.items():
        if isinstance(spec, kind):
            return reason
    if isinstance(spec, merge.Shortcut) and merge.needs_sampling(spec, shapes):
        return "it samples its source"
    if isinstance(spec, resize.Reorg) and (spec.flatten or spec.extra):
        return "it makes a vector or a matrix of the map"
    if isinstance(spec, resize.Reorg3d) and layer.out_shape.size != shapes[0].size:
        return "its stride does not divide the map"
    return ""
