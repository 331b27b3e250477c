"""How fast darkconv's ONNX graphs are in onnxruntime, beside graphs that PyTorch traces.

    python tools/bench/onnx_latency.py [--rounds 20] [--threads N] [MODEL.cfg | bundled name ...]

Both graphs of a model are of the same weights, those beside the cfg or else random ones, at the
cfg's own size, and give the heads as they are. They take turns on one picture of noise. Shares
are darkconv's time over the traced graph's: by median, by least, and the median of each turn's
own share, which what else the machine does disturbs least.
"""

import argparse
import itertools
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

import darkconv as dc
from darkconv.backends.onnx import write_onnx
from darkconv.cli.params import bundled_cfg

NETWORKS = ["yolov3-tiny", "yolov4-tiny", "yolov3", "yolov4"]
WARM_UPS = 2
SECONDS = 8.0  # small networks get more rounds than were asked for
OURS, TRACED = "darkconv", "traced"


def load(name: str) -> dc.Model:
    """A model, with random weights if there are none."""
    cfg = bundled_cfg(name) or Path(name)
    weights = cfg.with_suffix(".weights")
    if weights.exists():
        return dc.load(cfg, weights)
    model, stream = dc.load(cfg), np.random.default_rng(0)
    return dc.replace_arrays(
        model, {key: plausible(key, array.shape, stream) for key, array in model.arrays.items()}
    )


def plausible(key: str, shape: tuple[int, ...], stream: np.random.Generator) -> np.ndarray:
    """Random values that keep activations about 1."""
    if key.endswith(("scales", "rolling_variance")):
        return np.ones(shape, np.float32)
    deviation = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
    return stream.normal(0, deviation, shape).astype(np.float32)


def write_traced(model: dc.Model, path: Path) -> None:
    """PyTorch's graph of darkconv's module."""
    x = torch.rand(1, *model.network.input_shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(dc.to_torch(model), (x,), path, dynamo=False, input_names=["input"])


def session_of(path: Path, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def take_turns(sessions: dict[str, Any], x: np.ndarray, rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each, in so many rounds and for `SECONDS`; who comes first alternates."""
    times: dict[str, list[float]] = {name: [] for name in sessions}
    end = time.perf_counter() + SECONDS
    for turn in itertools.count():
        if turn >= WARM_UPS + rounds and time.perf_counter() > end:
            break
        for name in list(sessions)[:: 1 if turn % 2 else -1]:
            start = time.perf_counter()
            sessions[name].run(None, {"input": x})
            times[name].append(1000 * (time.perf_counter() - start))
    return {name: values[WARM_UPS:] for name, values in times.items()}


def difference(sessions: dict[str, Any], x: np.ndarray) -> float:
    """Largest relative L2 difference of an output."""
    pairs = zip(*(session.run(None, {"input": x}) for session in sessions.values()), strict=True)
    return max(float(np.linalg.norm(a - b) / np.linalg.norm(b)) for a, b in pairs)


def measure(name: str, rounds: int, threads: int) -> str:
    """A row of the table."""
    model = load(name)
    with tempfile.TemporaryDirectory() as folder:
        paths = {one: Path(folder) / f"{one}.onnx" for one in (OURS, TRACED)}
        write_onnx(model, paths[OURS], dynamic=())
        write_traced(model, paths[TRACED])
        sessions = {one: session_of(path, threads) for one, path in paths.items()}
        x = np.random.default_rng(0).random((1, *model.network.input_shape), np.float32)
        off = difference(sessions, x)
        times = take_turns(sessions, x, rounds)
    ours, traced = times[OURS], times[TRACED]
    shares = [a / b for a, b in zip(ours, traced, strict=True)]
    cells = [f"{statistics.median(values):.1f} ({min(values):.1f})" for values in (ours, traced)]
    by_median = statistics.median(ours) / statistics.median(traced)
    return (
        f"| {Path(name).parent.name if name.endswith('.cfg') else name} | {' | '.join(cells)} "
        f"| {by_median:.3f} | {min(ours) / min(traced):.3f} | {statistics.median(shares):.3f} "
        f"| {off:.0e} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=NETWORKS)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--threads", type=int, default=0, help="0: one per core")
    options = parser.parse_args()
    print("| | darkconv, ms: median (low) | traced | share | by low | by turn | difference |")
    print("|---|---|---|---|---|---|---|")
    for name in options.models:
        print(measure(name, options.rounds, options.threads), flush=True)


if __name__ == "__main__":
    main()
