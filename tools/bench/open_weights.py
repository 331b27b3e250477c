"""What opening a large weights file costs, beside a bare memory map of the same file.

    python tools/bench/open_weights.py [--network yolov3] [--repeats 15]

Both are measured in turn in one process, after imports, with the file in the page cache.
RSS is resident memory: of this process, before and after the first call.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import darkconv as dc
from darkconv.cli.params import bundled_cfg
from darkconv.darknet.weights import file_size

MEGABYTE = 1e6


def make_files(network: str, folder: Path) -> tuple[Path, Path]:
    """The cfg of a bundled network, and a weights file of the right size."""
    cfg = bundled_cfg(network)
    if cfg is None:
        raise SystemExit(f"no bundled network {network}")
    model = dc.load(cfg)
    weights = folder / "net.weights"
    header = np.array([0, 2, model.header.revision, 0, 0], "<i4").tobytes()
    count = (file_size(model.network, model.header) - len(header)) // 4
    weights.write_bytes(header + np.random.default_rng(0).random(count, np.float32).tobytes())
    return cfg, weights


def resident() -> float:
    """Resident memory of this process in MB, as Linux counts it."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MEGABYTE


def time_calls(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Milliseconds of each call, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1000 * (time.perf_counter() - start))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="yolov3")
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        cfg, weights = make_files(options.network, Path(folder))
        before = resident()
        model = dc.load(cfg, weights)
        after = resident()
        del model
        print(f"{options.network}: {weights.stat().st_size / MEGABYTE:.1f} MB of weights")
        print(f"dc.load adds {after - before:.1f} MB to RSS")
        times = time_calls(
            {
                "numpy.memmap": lambda: np.memmap(weights, "<f4", "r", offset=20),
                "dc.load of the cfg alone": lambda: dc.load(cfg),
                "dc.load": lambda: dc.load(cfg, weights),
                "numpy.memmap, summed": lambda: np.memmap(weights, "<f4", "r", offset=20).sum(),
                "dc.load, summed": lambda: sum(
                    array.sum() for array in dc.load(cfg, weights).arrays.values()
                ),
            },
            options.repeats,
        )
    for name, samples in times.items():
        print(f"{name:26s} {statistics.median(samples):8.2f} ms  (low {min(samples):.2f})")


if __name__ == "__main__":
    main()
