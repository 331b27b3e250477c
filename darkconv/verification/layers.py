"""Compare every layer of a model in two frameworks."""

from collections.abc import Iterator

import numpy as np

from darkconv.backends import Backend, trace
from darkconv.core.model import Array, Model
from darkconv.verification.agreement import Agreement, compare_values, joined, told_of_zeros
from darkconv.verification.inputs import Inputs

TOLERANCE = 1e-4  # the largest relative L2 error of a layer that is allowed in whole networks


def compare_layers(
    model: Model, inputs: Inputs, backend: Backend = "onnx", device: str = "cpu"
) -> list[Agreement]:
    """Return how far each layer in another framework is from the same layer in PyTorch.

    Args:
        model: the model that is built in both frameworks.
        inputs: inputs of the network.
        backend: the other framework, "onnx" or "keras".
        device: the device that PyTorch runs on.

    Returns:
        One row for each layer, in the network's order, with names such as `003_yolo`.
    """
    each = [
        rows
        for group in inputs.groups()
        for rows in _compared(model, np.stack(group), backend, device)
    ]
    return told_of_zeros([joined(same) for same in zip(*each, strict=True)])


def _compared(model: Model, x: Array, backend: Backend, device: str) -> Iterator[list[Agreement]]:
    """Yield the rows of each input of a batch."""
    expected, found = trace(model, x, device=device), trace(model, x, backend=backend)
    for place in range(len(x)):
        yield [
            compare_values(layer.label, b[place], a[place], TOLERANCE)
            for layer, a, b in zip(model.network.layers, expected, found, strict=True)
        ]
