"""The original network with removed channels forced to zero, as a reference for pruning.

With compensation they are forced to their means. What compensates is a bias, which is the same at
every position: it takes a removed channel to have its mean beyond the border too, where a
convolution pads with zeros. The reference does likewise, so whole maps can be compared.
"""

import numpy as np
import torch

from darkconv.backends import to_torch
from darkconv.layers.conv import Convolutional
from reference.collection import assert_close


def masked_outputs(model, keep, x, means=None):
    """Outputs of every layer, channels not in `keep` zeroed, or set to their mean, everywhere.

    Args:
        model: the original.
        keep: channels that stay, by layer.
        x: (N, ...) input.
        means: by layer and channel.
    """
    module = to_torch(model)
    values = {-1: torch.from_numpy(x)}
    with torch.inference_mode():
        for layer, run in zip(model.network.layers, module.layers, strict=True):
            inputs = [values[source] for source in layer.sources]
            if means and isinstance(layer.spec, Convolutional) and layer.spec.border:
                outside = removed_means(layer.sources[0], inputs[0].shape[1], keep, means)
                out = convolved(run, inputs[0], outside)
            else:
                out = run(*inputs) if inputs else run(len(x))
            if layer.index in keep:
                gone = np.setdiff1d(np.arange(layer.out_shape.c), keep[layer.index]).tolist()
                out = out.clone()
                for channel in gone:
                    out[:, channel] = means[layer.index][channel] if means else 0
            values[layer.index] = out
    return [values[layer.index].numpy() for layer in model.network.layers]


def removed_means(index, channels, keep, means):
    """What a layer's channels are beyond the border: their means if they are removed, else 0."""
    outside = torch.zeros(channels)
    if index in keep:
        gone = np.setdiff1d(np.arange(channels), keep[index])
        outside[gone] = torch.tensor([means[index][channel] for channel in gone])
    return outside


def convolved(block, x, outside):
    """Run a convolutional layer whose channels have values of their own beyond the border."""
    assert type(block.conv).__base__ is torch.nn.Conv2d
    assert block.blur is None
    conv, (high, wide) = block.conv, block.conv.padding
    padded = torch.nn.functional.pad(x, (wide, wide, high, high))
    inside = torch.nn.functional.pad(torch.ones_like(x[:1, :1]), (wide, wide, high, high))
    padded = padded + (1 - inside) * outside.view(1, -1, 1, 1)
    values = torch.conv2d(
        padded, conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups
    )
    return block.act(block.bn(values))


def outputs(model, x):
    """Outputs of every layer."""
    module = to_torch(model)
    with torch.inference_mode():
        return [value.numpy() for value in module.trace(torch.from_numpy(x))]


def assert_pruned_equals_masked(model, pruned, keep, x, means=None, close=assert_close):
    """Every layer of the pruned model equals the masked original where channels stay."""
    expected, found = masked_outputs(model, keep, x, means), outputs(pruned, x)
    for layer, a, b in zip(model.network.layers, expected, found, strict=True):
        kept = keep.get(layer.index, np.arange(layer.out_shape.c))
        close(b, a[:, kept], f"layer {layer.index} [{layer.type}]")
