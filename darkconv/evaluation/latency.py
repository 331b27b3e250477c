"""Measure how long models take for a picture on this machine, in turns."""

import importlib.util
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from darkconv.core.model import Model
from darkconv.core.processors import count_processors
from darkconv.detection.detect import runner
from darkconv.errors import UnsupportedError

WARM_UPS = 3
REPEATS = 30
FEWEST = 5
SECONDS = 20.0


@dataclass(frozen=True)
class Latency:
    """The time that models take for a picture.

    Attributes:
        milliseconds: median time of a forward pass on one picture, by the model's name.
        backend: the program that ran them: "onnx", "litert" or "torch".
        runs: number of timed runs of each model.
    """

    milliseconds: Mapping[str, float]
    backend: str
    runs: int

    @property
    def conditions(self) -> str:
        """Return a description of how the time was measured."""
        cores = count_processors()
        return f"median of {self.runs} runs, {_engine(self.backend)}, {cores} CPUs"


def measure_latency(
    models: Mapping[str, Model],
    *,
    backend: str | None = None,
    repeats: int = REPEATS,
    seconds: float = SECONDS,
) -> Latency:
    """Measure the median time of a forward pass on one picture.

    Args:
        models: the models to compare, by name.
        backend: "onnx" or "torch"; None for `common_backend`.
        repeats: see `interleaved`.
        seconds: see `interleaved`.
    """
    backend = backend or common_backend(models.values())
    stream = np.random.default_rng(0)
    runs = {
        name: partial(
            runner(model, backend), stream.random((1, *model.network.input_shape), np.float32)
        )
        for name, model in models.items()
    }
    return interleaved(runs, backend, repeats=repeats, seconds=seconds)


def interleaved(
    runs: Mapping[str, Callable[[], object]],
    backend: str,
    *,
    repeats: int = REPEATS,
    seconds: float = SECONDS,
) -> Latency:
    """Measure the median time of some calls.

    The calls take turns, so that other work of the machine affects all of them alike.

    Args:
        runs: a forward pass of each model, by name.
        backend: name of the program that runs them.
        repeats: number of timed runs of each.
        seconds: no further turn begins after this time once there are `FEWEST` timed runs.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    begin = time.perf_counter()
    for turn in range(WARM_UPS + repeats):
        if turn >= WARM_UPS + FEWEST and time.perf_counter() - begin > seconds:
            break
        # a model finds the threads of the one before it still spinning: each comes first in turn
        for name in list(runs)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            runs[name]()
            times[name].append(1000 * (time.perf_counter() - start))
    timed = {name: values[WARM_UPS:] for name, values in times.items()}
    medians = {name: statistics.median(values) for name, values in timed.items()}
    return Latency(medians, backend, min(map(len, timed.values())))


def common_backend(models: Iterable[Model]) -> str:
    """Return "onnx" if onnxruntime is installed and can run all models, else "torch".

    Args:
        models: the models to compare.
    """
    if not all(map(importlib.util.find_spec, ("onnx", "onnx_ir", "onnxruntime"))):
        return "torch"
    try:
        for model in models:
            runner(model, "onnx")
    except UnsupportedError:
        return "torch"
    return "onnx"


def _engine(backend: str) -> str:
    """Return the name of the program and its number of threads."""
    if backend == "onnx":
        return "onnxruntime with a thread per core"
    if backend == "litert":
        return "LiteRT with a thread per core"
    import torch

    return f"PyTorch with {torch.get_num_threads()} threads"
