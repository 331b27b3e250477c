"""The original network with removed channels forced to zero, as a reference for pruning."""

import numpy as np
import torch

from darkconv.backends import to_torch
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
            out = run(*inputs) if inputs else run(len(x))
            if layer.index in keep:
                gone = np.setdiff1d(np.arange(layer.out_shape.c), keep[layer.index]).tolist()
                out = out.clone()
                for channel in gone:
                    out[:, channel] = means[layer.index][channel] if means else 0
            values[layer.index] = out
    return [values[layer.index].numpy() for layer in model.network.layers]


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
