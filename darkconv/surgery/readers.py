"""Readers: the layers whose weights read channels, and the value of a channel to them."""

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Model
from darkconv.core.network import NETWORK_INPUT, Layer, Network
from darkconv.layers.conv import Convolutional
from darkconv.layers.folding import norm_factor
from darkconv.surgery.channels import ChannelClasses
from darkconv.surgery.elimination import LayerMoments
from darkconv.surgery.profile import Profile

Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def readers(network: Network) -> list[Layer]:
    """Return the layers that combine their input channels by weights.

    Args:
        network: the network to examine.
    """
    return [
        layer
        for layer in network.layers
        if any(
            slot.in_axis is not None
            for slot in layer.slots or layer.spec.borrowed_slots(layer.in_shapes)
        )
    ]


def sharing_layers(network: Network) -> set[int]:
    """Return the indices of the layers that share arrays, borrowers and owners.

    Args:
        network: the network to examine.
    """
    found = set()
    for layer in network.layers:
        target = layer.shared
        if target is not None:
            found |= {layer.index, target}
    return found


def refitted_layers(network: Network) -> set[int]:
    """Return the indices of the layers that read all channels and whose weights can be refitted.

    `reconstruct` also refits depthwise and grouped convolutions, but these lose inputs and outputs
    together, so that no weight is left to make up for the loss.

    Args:
        network: the network to examine.
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
    """Return the channel group of each input channel of a layer, its inputs concatenated.

    Args:
        classes: the channel groups of the network.
        layer: the layer that reads the channels.

    Returns:
        int64 (in_channels,).
    """
    return np.concatenate([classes.of(source) for source in layer.sources])


def gains(model: Model, layer: Layer) -> Doubles:
    """Return the absolute factors by which batch norm multiplies the outputs of a convolution.

    Args:
        model: the model of the layer.
        layer: a convolutional layer.

    Returns:
        float64 (filters,); 1 without batch norm.
    """
    spec = layer.spec
    assert isinstance(spec, Convolutional)
    if not spec.is_normalized:
        return np.ones(layer.out_shape.c)
    names = ("scales", "rolling_variance")
    arrays = {name: model.arrays[f"{layer.index}.{name}"] for name in names}
    return np.abs(norm_factor(spec.dialect, arrays))


def reading_of(model: Model, layer: Layer, moments: Doubles, owners: Labels) -> LayerMoments:
    """Return how a convolution reads channels, as refitting needs it.

    Args:
        model: the model of the layer.
        layer: one of `refitted_layers`.
        moments: float64 (columns, columns): covariance of its windows, with one column for each
            input channel and tap of the kernel.
        owners: int64 (in_channels,): channel groups of its input channels.
    """
    weights = model.arrays[f"{layer.index}.weights"].astype(np.float64)
    rows = weights.reshape(len(weights), -1) * gains(model, layer)[:, None]
    return LayerMoments(rows, moments, np.repeat(owners, rows.shape[1] // len(owners)))


def fixed_costs(
    classes: ChannelClasses, model: Model, profile: Profile, labels: Labels, layer: Layer
) -> Doubles:
    """Return the value of channel groups to a reader that is not refitted, only compensated.

    It is the squares of the weights times the variance of what they read, as a share of that of all
    inputs.

    Args:
        classes: the channel groups of the network.
        model: the model of the layer.
        profile: gives the variances.
        labels: int64 (n,): the channel groups in question.
        layer: the reader.

    Returns:
        float64 (n,).
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
    """Return (in_channels,) the variance of each input channel; 0 for the network input."""
    parts = [
        np.zeros(shape.c) if source == NETWORK_INPUT else profile.layers[source].variance
        for source, shape in zip(layer.sources, layer.in_shapes, strict=True)
    ]
    return np.concatenate(parts)
