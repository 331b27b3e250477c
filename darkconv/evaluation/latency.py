"""How long models take for a picture on this machine, measured side by side."""

import importlib.util
import statistics
import time
from collections.abc import Mapping

import numpy as np

from darkconv.core.model import Model
from darkconv.detection.detect import runner

WARM_UPS = 3
REPEATS = 30


def measure_latency(
    models: Mapping[str, Model], *, backend: str | None = None, repeats: int = REPEATS
) -> dict[str, float]:
    """Median milliseconds of a forward pass on one picture, by name.

    The models take turns, so that what else the machine does meets them alike.

    Args:
        models: to be compared.
        backend: "onnx" or "torch"; by default `fastest_backend`.
        repeats: timed runs of each.
    """
    runs = {name: runner(model, backend or fastest_backend()) for name, model in models.items()}
    stream = np.random.default_rng(0)
    inputs = {
        name: stream.random((1, *model.network.input_shape), np.float32)
        for name, model in models.items()
    }
    times: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(WARM_UPS + repeats):
        for name, run in runs.items():
            start = time.perf_counter()
            run(inputs[name])
            if turn >= WARM_UPS:
                times[name].append(1000 * (time.perf_counter() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def fastest_backend() -> str:
    """The backend for deployment where it is installed, else PyTorch."""
    return "onnx" if importlib.util.find_spec("onnxruntime") else "torch"
