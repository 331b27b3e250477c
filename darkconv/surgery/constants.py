"""Channels that were constant on all pictures of a profile, and cost nothing to remove."""

import numpy as np
import numpy.typing as npt

from darkconv.core.network import NETWORK_INPUT, Layer
from darkconv.layers.conv import Convolutional, Deconvolutional, Local
from darkconv.layers.recurrent import ConvolutionalRecurrent
from darkconv.surgery.channels import ChannelClasses
from darkconv.surgery.profile import Profile


def foldable_classes(classes: ChannelClasses, profile: Profile) -> npt.NDArray[np.bool_]:
    """(classes,) which can go, their constants put into biases, without any change.

    Wherever weights read a channel of the class, it is zero all the time, or it is constant
    and its readers answer a constant alike at every position. A layer with padding does not:
    its windows hold less of the constant at the border.
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
    """Whether a constant input gives the same at all positions, and a bias can replace it."""
    spec = layer.spec
    if layer.shared is not None or isinstance(spec, ConvolutionalRecurrent):
        return False
    if isinstance(spec, Deconvolutional):
        return spec.size == spec.stride == 1 and not spec.border
    if isinstance(spec, Convolutional):
        return not spec.border
    return not (isinstance(spec, Local) and spec.pad)
