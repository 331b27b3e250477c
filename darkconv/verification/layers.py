"""Every layer of a model in two frameworks."""

from collections.abc import Sequence

from darkconv.backends import Backend, trace
from darkconv.core.model import Array, Model
from darkconv.verification.agreement import Agreement, compare_values, joined, told_of_zeros

TOLERANCE = 1e-4  # relative L2 error of a layer on whole networks


def compare_layers(
    model: Model, inputs: Sequence[Array], backend: Backend = "onnx", device: str = "cpu"
) -> list[Agreement]:
    """Return how far each layer in another framework is from what PyTorch gives.

    Args:
        model: what is built in both.
        inputs: of the network, without a batch axis each.
        backend: "onnx" or "keras".
        device: where PyTorch runs.

    Returns: one row for each layer, in the network's order, of the name `003_yolo`.
    """
    each = [_compared(model, x, backend, device) for x in inputs]
    return told_of_zeros([joined(same) for same in zip(*each, strict=True)])


def _compared(model: Model, x: Array, backend: Backend, device: str) -> list[Agreement]:
    pairs = zip(trace(model, x, device=device), trace(model, x, backend=backend), strict=True)
    return [
        compare_values(layer.label, found, expected, TOLERANCE)
        for layer, (expected, found) in zip(model.network.layers, pairs, strict=True)
    ]
