"""The original network with removed channels forced to zero, as a reference for pruning."""

import numpy as np
import torch

from darkconv.backends import to_torch


def masked_outputs(model, keep, x):
    """Outputs of every layer, channels that are not in `keep` zeroed wherever they occur.

    Args:
        model: the original.
        keep: channels that stay, by layer.
        x: (N, ...) input.
    """
    module = to_torch(model)
    values = {-1: torch.from_numpy(x)}
    with torch.inference_mode():
        for layer, run in zip(model.network.layers, module.layers, strict=True):
            inputs = [values[source] for source in layer.sources]
            out = run(*inputs) if inputs else run(len(x))
            if layer.index in keep:
                mask = torch.zeros(layer.out_shape.c)
                mask[torch.from_numpy(np.asarray(keep[layer.index]))] = 1
                out = out * mask.reshape(1, -1, *[1] * (out.ndim - 2))
            values[layer.index] = out
    return [values[layer.index].numpy() for layer in model.network.layers]


def outputs(model, x):
    """Outputs of every layer."""
    module = to_torch(model)
    with torch.inference_mode():
        return [value.numpy() for value in module.trace(torch.from_numpy(x))]


def assert_pruned_equals_masked(model, pruned, keep, x, tolerance=1e-4):
    """Every layer of the pruned model equals the masked original where channels stay."""
    expected, found = masked_outputs(model, keep, x), outputs(pruned, x)
    for layer, a, b in zip(model.network.layers, expected, found, strict=True):
        kept = keep.get(layer.index, np.arange(layer.out_shape.c))
        a = a[:, kept] if a.shape[1] == layer.out_shape.c else a
        assert a.shape == b.shape, f"layer {layer.index} [{layer.type}]"
        size = np.linalg.norm(a.astype(np.float64)) or 1.0
        error = np.linalg.norm((a - b).astype(np.float64)) / size
        assert error <= tolerance, f"layer {layer.index} [{layer.type}]: {error:.1e}"
