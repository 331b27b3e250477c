"""Readers: the layers whose weights read channels, and what a channel is worth to them."""

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Model
from darkconv.core.network import NETWORK_INPUT, Layer, Network
from darkconv.layers.conv import Convolutional
from darkconv.layers.folding import norm_factor
from darkconv.surgery.channels import ChannelClasses
from darkconv.surgery.elimination import Reading
from darkconv.surgery.profile import Profile

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def readers(network: Network) -> list[Layer]:
    """Return the layers that mix their input channels by weights."""
    return [
        layer
        for layer in network.layers
        if any(
            slot.in_axis is not None
            for slot in layer.slots or layer.spec.borrowed_slots(layer.in_shapes)
        )
    ]


def sharing_layers(network: Network) -> set[int]:
    """Return the layers whose arrays are those of others, and these others."""
    found = set()
    for layer in network.layers:
        target = layer.shared
        if target is not None:
            found |= {layer.index, target}
    return found


def refitted_layers(network: Network) -> set[int]:
    """Return the layers that read all channels and whose weights `reconstruct` refits.

    Depthwise and grouped convolutions are refitted too, but what they read goes together with
    what they give: no weight is left that could make up for it.
    """
    bound = sharing_layers(network)
    return {
        layer.index
        for layer in network.layers
        if isinstance(layer.spec, Convolutional)
        and layer.index not in bound
        and layer.spec.group_count == 1
        and not layer.spec.xnor
    }


def input_labels(classes: ChannelClasses, layer: Layer) -> Labels:
    """(in_channels,) class of each input channel of a layer, its inputs laid end to end."""
    return np.concatenate([classes.of(source) for source in layer.sources])


def gains(model: Model, layer: Layer) -> Doubles:
    """(filters,) what a convolution's batch norm multiplies its outputs by; 1 without one."""
    spec = layer.spec
    assert isinstance(spec, Convolutional)
    if not spec.is_normalized:
        return np.ones(layer.out_shape.c)
    names = ("scales", "rolling_variance")
    arrays = {name: model.arrays[f"{layer.index}.{name}"] for name in names}
    return np.abs(norm_factor(spec.dialect, arrays))


def reading_of(model: Model, layer: Layer, moments: Doubles, owners: Labels) -> Reading:
    """Return how a convolution reads channels.

    Args:
        model: whose layer it is.
        layer: a convolution of `refitted_layers`.
        moments: (columns, columns) covariance of its windows, a column for each input channel and
            tap of the kernel.
        owners: (in_channels,) classes of its input channels.
    """
    weights = model.arrays[f"{layer.index}.weights"].astype(np.float64)
    rows = weights.reshape(len(weights), -1) * gains(model, layer)[:, None]
    return Reading(rows, moments, np.repeat(owners, rows.shape[1] // len(owners)))


def fixed_costs(
    classes: ChannelClasses, model: Model, profile: Profile, labels: Labels, layer: Layer
) -> Doubles:
    """(n,) what classes are worth to a reader that nothing refits, the means made up for.

    Its weights' squares times the variance of what they read, as a share of all its inputs.
    """
    total = sum(shape.c for shape in layer.in_shapes)
    lender = layer.index if layer.shared is None else layer.shared
    squares = np.zeros(total)
    for slot in layer.slots or layer.spec.borrowed_slots(layer.in_shapes):
        if slot.in_axis is not None:
            array = np.moveaxis(model.arrays[f"{lender}.{slot.name}"], slot.in_axis, 0)
            squares += np.square(array, dtype=np.float64).reshape(total, -1).sum(axis=1)
    worth = squares * _variances(profile, layer)
    shares = np.bincount(input_labels(classes, layer), worth, classes.count)
    found: Doubles = shares[labels] / max(worth.sum(), float(np.finfo(np.float32).tiny))
    return found


def _variances(profile: Profile, layer: Layer) -> Doubles:
    """(in_channels,) variance of each input channel; the network's own input counts nothing."""
    parts = [
        np.zeros(shape.c) if source == NETWORK_INPUT else profile.layers[source].variance
        for source, shape in zip(layer.sources, layer.in_shapes, strict=True)
    ]
    return np.concatenate(parts)
