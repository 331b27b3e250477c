"""Channels that were constant on all pictures of a profile, and can be removed without loss."""

import numpy as np
import numpy.typing as npt

from darkconv.core.network import NETWORK_INPUT, Layer
from darkconv.layers.conv import Convolutional, Deconvolutional, Local
from darkconv.layers.recurrent import ConvolutionalRecurrent
from darkconv.surgery.channels import ChannelClasses
from darkconv.surgery.profile import Profile


def foldable_classes(classes: ChannelClasses, profile: Profile) -> npt.NDArray[np.bool_]:
    """Return which channel groups can be removed without any change, as biases replace them.

    Wherever weights read a channel of the group, it is always zero, or it is constant and its
    readers respond to a constant equally at every position. A layer with padding does not, because
    its windows contain less of the constant at the border.

    Args:
        classes: the channel groups of the network.
        profile: statistics of all channels.

    Returns:
        Boolean (groups,).
    """
    exact = classes.free.copy()
    lenders = {layer.shared for layer in classes.network.layers}
    for reader in classes.makers:
        answers_alike = is_uniform(reader) and reader.index not in lenders
        for source in reader.sources:
            if source == NETWORK_INPUT:
                continue
            found = profile.layers[source]
            free = found.constant & (answers_alike | (found.mean == 0))
            exact[classes.of(source)[~free]] = False
    return exact


def is_uniform(layer: Layer) -> bool:
    """Return True if a layer's response to a constant is the same at all positions.

    A bias can then replace the constant.

    Args:
        layer: a layer that makes channels.
    """
    spec = layer.spec
    if layer.shared is not None or isinstance(spec, ConvolutionalRecurrent):
        return False
    if isinstance(spec, Deconvolutional):
        return spec.size == spec.stride == 1 and not spec.border
    if isinstance(spec, Convolutional):
        return not spec.border
    return not (isinstance(spec, Local) and spec.pad)
