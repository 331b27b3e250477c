"""Every layer of a model in two frameworks."""

from darkconv.backends import trace
from darkconv.core.model import Array, Model
from darkconv.verification.agreement import Agreement, compare_values

TOLERANCE = 1e-4  # relative L2 error of a layer on whole networks


def compare_layers(model: Model, x: Array, backend: str = "onnx") -> list[Agreement]:
    """Return how far each layer in another framework is from what PyTorch gives.

    Args:
        model: what is built in both.
        x: the network's input, without a batch axis.
        backend: "onnx" or "keras".

    Returns: one row for each layer, in the network's order, of the name `003_yolo`.
    """
    pairs = zip(trace(model, x), trace(model, x, backend=backend), strict=True)
    return [
        compare_values(layer.label, found, expected, TOLERANCE)
        for layer, (expected, found) in zip(model.network.layers, pairs, strict=True)
    ]
