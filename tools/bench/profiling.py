"""What a profile costs, beside a bare forward pass on the same batches.

    python tools/bench/profiling.py [--images FOLDER] [MODEL.cfg | bundled name ...]

Weights are those beside the cfg, else random ones. Both are timed in turn in one process; a
third row takes `mean()` and `var()` of every layer. The largest differences of mean and
deviation from two passes in double precision are shown beside, relative to the layer's largest
root mean square and to the channel's own deviation.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import darkconv as dc
from darkconv.cli.params import bundled_cfg
from darkconv.profiling.collect import Collector
from darkconv.profiling.loader import load_batches

NETWORKS = ["yolov4-tiny", "yolov3-tiny", "enet-coco"]


def load(name: str) -> dc.Model:
    """A model, with random weights if there are none."""
    cfg = bundled_cfg(name) or Path(name)
    weights = cfg.with_suffix(".weights")
    if weights.exists():
        return dc.load(cfg, weights)
    model = dc.load(cfg)
    stream = np.random.default_rng(0)
    return dc.replace_arrays(
        model, {key: plausible(key, array.shape, stream) for key, array in model.arrays.items()}
    )


def plausible(key: str, shape: tuple[int, ...], stream: np.random.Generator) -> np.ndarray:
    """Random values that keep activations about 1."""
    if key.endswith(("scales", "rolling_variance")):
        return np.ones(shape, np.float32)
    deviation = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
    return stream.normal(0, deviation, shape).astype(np.float32)


def two_passes(module: torch.nn.Module, x: torch.Tensor) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and variance of every layer's channels in double precision."""
    found = []
    with torch.inference_mode():
        for value in module.trace(x):
            flat = value.reshape(*value.shape[:2], -1).double()
            variance, mean = torch.var_mean(flat, dim=(0, 2), correction=0)
            found.append((mean.numpy(), variance.numpy()))
    return found


def accuracy(collector: Collector, x: torch.Tensor) -> tuple[float, float]:
    """Largest errors of mean and deviation."""
    errors = []
    statistics_of = collector.statistics()
    for index, (mean, variance) in enumerate(two_passes(collector.module, x)):
        found = statistics_of[index]
        scale = np.sqrt((mean**2 + variance).max()) or 1.0
        varied = ~found.constant & (variance > 0)
        deviation = np.sqrt(variance[varied])
        off = np.abs(np.sqrt(found.variance[varied]) - deviation) / deviation
        errors.append((np.abs(found.mean - mean).max() / scale, off.max(initial=0)))
    return tuple(np.max(errors, axis=0))


def time_calls(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each call, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1000 * (time.perf_counter() - start))
    return times


def measure(name: str, images: list[Path], batch: int, repeats: int) -> None:
    model = load(name)
    if images:
        part = next(load_batches(model.network, images, size=batch))
        x = torch.from_numpy(part.x)
    else:
        x = torch.rand(batch, *model.network.input_shape)
    module = dc.to_torch(model)
    numbers = np.arange(len(x))
    collector = Collector(module)
    collector.add(x, numbers)
    mean, deviation = accuracy(collector, x)

    @torch.inference_mode()
    def forward() -> None:
        module(x)

    @torch.inference_mode()
    def naive() -> None:
        for _, value in module.walk(x):
            flat = value.reshape(*value.shape[:2], -1)
            flat.mean((0, 2))
            flat.var((0, 2))

    times = time_calls(
        {
            "bare forward": forward,
            "profile": lambda: collector.add(x, numbers),
            "mean() and var()": naive,
        },
        repeats,
    )
    bare = times["bare forward"]
    print(
        f"\n{Path(name).stem}, batch {len(x)}; errors: mean {mean:.1e}, deviation {deviation:.1e}"
    )
    for row, samples in times.items():
        share = statistics.median(bare) / statistics.median(samples)
        low = min(bare) / min(samples)
        print(
            f"{row:18s} {statistics.median(samples):8.1f} ms (low {min(samples):.1f})"
            f"   share {share:.2f} (low {low:.2f})"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=NETWORKS)
    parser.add_argument("--images", type=Path, help="folder of pictures; random input without")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = sorted(options.images.glob("*.jpg"))[: options.batch] if options.images else []
    for name in options.models:
        measure(name, images, options.batch, options.repeats)


if __name__ == "__main__":
    main()
