"""equalise: channels of unequal range are scaled to similar ranges, for numbers of few bits.

If everything between two convolutions is positively homogeneous (f(s x) = s f(x) for s > 0, as
relu, leaky, pooling and sums are), a channel may be divided by a factor in the layer that makes it
and multiplied by the same factor in those that read it: the network computes the same. With 8 bits
all channels of a feature map share one range, so a channel of small values beside one of large
values has few steps left. The factors are powers of two, by which floating-point numbers are
multiplied without rounding. Therefore the outputs are the same to the last bit, except for values
near the smallest that float32 can hold.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from darkconv.core.model import Array, Model
from darkconv.core.network import Layer, Network
from darkconv.core.unchanging import frozen
from darkconv.layers import conv, inert, merge, norm, pool, resize
from darkconv.surgery.channels import channel_starts, components, input_numbers
from darkconv.surgery.folding import fold_batchnorm

Doubles = npt.NDArray[np.float64]
Ranges = Array | Doubles

HOMOGENEOUS = frozenset({"linear", "relu", "leaky", "revleaky", "relie", "ramp"})
"""Activations f with f(s x) = s f(x) for every s > 0."""
PASSING = frozenset(
    {
        pool.Maxpool, pool.LocalAvgpool, pool.Avgpool, resize.Upsample, resize.Reorg,
        resize.Reorg3d, inert.Dropout, inert.Empty, merge.Route, merge.Shortcut, norm.Activation,
    }
)  # fmt: skip
"""Layer types whose outputs are homogeneous in all their inputs, if their activation is."""
LARGEST = 2.0**10
"""The largest factor by which a channel is multiplied or divided."""


@dataclass(frozen=True, eq=False)
class ScaleClasses:
    """The scale groups of a network: channels that can only be scaled together.

    Attributes:
        network: the network of the channels.
        labels: int64 (channels,) scale group of each channel: first the channels of the input, then
            those of each layer.
        is_free: boolean (groups,), True for those that can be scaled.
    """

    network: Network
    labels: npt.NDArray[np.int64]
    is_free: npt.NDArray[np.bool_]

    def of(self, layer: Layer) -> npt.NDArray[np.int64]:
        """Return the scale groups of a layer's output channels.

        Args:
            layer: any layer of the network.

        Returns:
            int64 (out_channels,).
        """
        start = channel_starts(self.network)[layer.index]
        return self.labels[start : start + layer.out_shape.c]

    def read_by(self, layer: Layer) -> npt.NDArray[np.int64]:
        """Return the scale groups of the channels that the weights of a layer read.

        Args:
            layer: a layer with weights.

        Returns:
            int64 (filters, channels read by each); (channels, 1) for a transposed convolution.
        """
        inputs = self.labels[input_numbers(layer, channel_starts(self.network))]
        spec = layer.spec
        if isinstance(spec, conv.Convolutional):
            group = np.arange(spec.filters) // (spec.filters // spec.group_count)
            return inputs[spec.read_channels(layer.in_shapes[0].c)][group]
        return inputs[:, None]


def find_scale_classes(network: Network) -> ScaleClasses:
    """Find which channels of a network can be scaled, and which only together.

    Args:
        network: a network without batch norm where it can be folded.
    """
    starts = channel_starts(network)
    total = starts[len(network.layers) - 1] + network.layers[-1].out_shape.c
    locked = np.zeros(total, bool)
    locked[: network.input_shape.c] = True
    pairs = [np.empty((0, 2), np.int64)]
    lenders = {layer.shared for layer in network.layers}
    for layer in network.layers:
        outputs = np.arange(layer.out_shape.c) + starts[layer.index]
        inputs = input_numbers(layer, starts)
        if _is_weighted(layer) and layer.index not in lenders:
            locked[outputs] |= layer.spec.activation not in HOMOGENEOUS  # type: ignore[attr-defined]
        elif isinstance(layer.spec, merge.ScaleChannels) and _is_homogeneous(layer):
            gate, source = np.split(inputs, [layer.in_shapes[0].c])
            locked[gate] = True
            pairs.append(np.stack([outputs, source], axis=1))
        elif _passes(layer):
            ties = layer.spec.ties(layer.in_shapes)
            for column in ties.T:
                bound = column >= 0
                pairs.append(np.stack([outputs[bound], inputs[column[bound]]], axis=1))
        else:
            locked[outputs] = locked[inputs] = True
        if layer.index in network.outputs:
            locked[outputs] = True
    labels = components(total, np.concatenate(pairs))
    is_free = np.ones(int(labels.max(initial=-1)) + 1, bool)
    is_free[labels[locked]] = False
    return ScaleClasses(network, labels, is_free)


def _is_weighted(layer: Layer) -> bool:
    """Return True if a layer makes channels with weights that can take a factor."""
    spec = layer.spec
    if not isinstance(spec, conv.Convolutional | conv.Deconvolutional) or layer.shared is not None:
        return False
    names = {slot.name for slot in layer.slots}
    if names != {"biases", "weights"}:  # it has batch norm that was not folded
        return False
    is_plain = isinstance(spec, conv.Deconvolutional) or not (spec.xnor or spec.binary)
    return is_plain and not layer.spec.locks_inputs(layer.in_shapes)


def _is_homogeneous(layer: Layer) -> bool:
    return getattr(layer.spec, "activation", "linear") in HOMOGENEOUS


def _passes(layer: Layer) -> bool:
    spec = layer.spec
    if type(spec) not in PASSING or not _is_homogeneous(layer):
        return False
    if isinstance(spec, pool.Maxpool):  # a window wholly outside gives -FLT_MAX
        return max(spec.leading, spec.padding - spec.leading) < spec.size
    return True


def equalise(
    model: Model, ranges: Mapping[int, Ranges] | None = None, *, strength: float = 0.5
) -> Model:
    """Return a model with the same outputs whose channels differ less in range.

    Args:
        model: the original model, which stays unchanged; its batch norm is folded where possible.
        ranges: by layer index, (channels,) largest absolute value of each output channel; None to
            use the largest absolute weights that make the channel.
        strength: from 0 to 1, the share of the differences that is moved from the values to the
            weights that read them. Weights of depthwise convolutions, which have a scale for each
            channel, take all of it.

    Returns:
        The new model, or the same one if no channel can be scaled.
    """
    folded = fold_batchnorm(model)
    classes = find_scale_classes(folded.network)
    if not classes.is_free.any():
        return model
    factors = _factors(folded, classes, ranges, strength)
    if (factors == 1).all():
        return model
    arrays = dict(folded.arrays)
    for layer in folded.network.layers:
        if _is_weighted(layer):
            arrays |= _scaled(folded, classes, layer, factors)
    return replace(folded, arrays=arrays)


def _scaled(
    model: Model, classes: ScaleClasses, layer: Layer, factors: Doubles
) -> dict[str, Array]:
    """Return the arrays of a layer multiplied by the factors read, divided by those made."""
    weights, biases = (model.arrays[f"{layer.index}.{name}"] for name in ("weights", "biases"))
    made, read = factors[classes.of(layer)], factors[classes.read_by(layer)]
    ratio = read / (made if isinstance(layer.spec, conv.Deconvolutional) else made[:, None])
    changed = {"weights": weights * ratio[:, :, None, None], "biases": biases / made}
    return {f"{layer.index}.{name}": frozen(values) for name, values in changed.items()}


def _factors(
    model: Model,
    classes: ScaleClasses,
    ranges: Mapping[int, Ranges] | None,
    strength: float,
) -> Doubles:
    """Return (groups,) the power of two by which the values of each scale group are divided."""
    made, read = np.zeros(len(classes.is_free)), np.zeros(len(classes.is_free))
    maker = np.full(len(classes.is_free), len(model.network.layers))
    for layer in model.network.layers:
        own = classes.of(layer)
        if ranges is not None and layer.index in ranges:
            np.maximum.at(made, own, ranges[layer.index])
        if not _is_weighted(layer):
            continue
        size = np.abs(model.arrays[f"{layer.index}.weights"]).max(axis=(2, 3))
        np.minimum.at(maker, own, layer.index)
        is_turned = isinstance(layer.spec, conv.Deconvolutional)
        if ranges is None:
            np.maximum.at(made, own, size.max(axis=0 if is_turned else 1))
        if is_turned:
            np.maximum.at(read, classes.read_by(layer), size.max(axis=1, keepdims=True))
        elif size.shape[1] > 1:  # a filter of one channel has a scale that follows its weights
            np.maximum.at(read, classes.read_by(layer), size)
    is_free = classes.is_free & (made > 0)
    target = np.ones_like(made)
    is_dense = is_free & (read > 0)
    target[is_free] = made[is_free]
    target[is_dense] = made[is_dense] ** strength * read[is_dense] ** (strength - 1)
    return _as_powers(target, maker, is_free)


def _as_powers(
    target: Doubles, maker: npt.NDArray[np.int64], is_free: npt.NDArray[np.bool_]
) -> Doubles:
    """Return powers of two near the targets, with mean exponent 0 over each making layer."""
    exponents = np.where(is_free, np.log2(target), 0.0)
    count = np.bincount(maker, is_free)
    means = np.bincount(maker, exponents) / np.maximum(count, 1)
    whole = np.rint(exponents - means[maker]).clip(-np.log2(LARGEST), np.log2(LARGEST))
    powers: Doubles = np.where(is_free, np.exp2(whole), 1.0)
    return powers
