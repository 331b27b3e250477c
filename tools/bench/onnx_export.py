"""What it takes to make an ONNX file of a large network, beside other exporters.

    python tools/bench/onnx_export.py [--network yolov4] [--rounds 5] [--peers FOLDER]

Every sample is a process of its own that imports what it needs and then makes the file from
`net.cfg` and `net.weights`. Seconds count from there. Memory is anonymous memory over that after
the imports, at its peak: pages of mapped files do not count, for the system can drop them. The
exporters take turns. Ratios are to the fastest trace, by median.

darknet2any and onnxscript, which PyTorch's newer exporter needs, come from PyPI into FOLDER,
without their dependencies; by default into a folder that is thrown away.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

MEGABYTE = 1e6
SAMPLE_SECONDS = 0.002
PEERS = ("darknet2any==0.7.6", "easydict", "onnxscript")
TRACE = "torch.onnx.export, tracing"

Export = Callable[[], object]


def darkconv_export(**options: object) -> Callable[[], Export]:
    """Those of darkconv, with options of `write_onnx`."""

    def prepare() -> Export:
        import darkconv.loading
        from darkconv.backends.onnx import write_onnx

        return lambda: write_onnx(
            darkconv.loading.load("net.cfg", "net.weights"), "net.onnx", **options
        )

    return prepare


def torch_export(*, dynamo: bool) -> Callable[[], Export]:
    """PyTorch's, of darkconv's module."""

    def prepare() -> Export:
        import torch

        import darkconv.loading
        from darkconv.backends.torch import to_torch

        if dynamo:
            import onnxscript  # noqa: F401
            import torch.onnx._internal.exporter

        def export() -> None:
            model = darkconv.loading.load("net.cfg", "net.weights")
            x = torch.rand(1, *model.network.input_shape)
            options = {"external_data": False, "verbose": False} if dynamo else {}
            torch.onnx.export(to_torch(model), (x,), "net.onnx", dynamo=dynamo, **options)

        return export

    return prepare


def darknet2any_export() -> Export:
    """Its command's own function."""
    from darknet2any.darknet2onnx import convert

    return lambda: convert("net.cfg", "net.weights", "net.onnx", False, 15)


CANDIDATES: dict[str, Callable[[], Export]] = {
    "darkconv, one file": darkconv_export(),
    "darkconv, one file, not folded": darkconv_export(fold=False),
    "darkconv, external": darkconv_export(external=True),
    "darkconv, in place": darkconv_export(in_place=True),
    TRACE: torch_export(dynamo=False),
    "torch.onnx.export, dynamo": torch_export(dynamo=True),
    "darknet2any 0.7.6": darknet2any_export,
}
"""What imports all that is needed, and returns what makes net.onnx of net.cfg and net.weights."""


@dataclass
class Samples:
    """What was measured of one exporter."""

    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)
    written: int = 0


def serve(name: str) -> None:
    """In the process of a sample: import, wait for a line, export, print the times."""
    export = CANDIDATES[name]()
    print("ready", flush=True)
    sys.stdin.readline()
    start, cpu = time.perf_counter(), time.process_time()
    export()
    print("took", time.perf_counter() - start, time.process_time() - cpu, flush=True)
    sys.stdin.readline()


def measure(name: str, folder: Path, peers: Path, samples: Samples) -> None:
    """Take one sample."""
    for file in folder.glob("net.onnx*"):
        file.unlink()
    environment = {**os.environ, "PYTHONPATH": str(peers), "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [sys.executable, str(Path(__file__).resolve()), "--serve", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment,
    )
    with process:
        errors: list[str] = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
        reader.start()
        if not wait_for(process, "ready"):
            reader.join()
            raise RuntimeError(f"{name}: {last_line(errors)}")
        base, peak, done = anonymous(process.pid), [0.0], threading.Event()
        sampler = threading.Thread(target=watch, args=(process.pid, peak, done))
        sampler.start()
        process.stdin.write("go\n")
        process.stdin.flush()
        times = wait_for(process, "took")
        done.set()
        sampler.join()
        process.stdin.close()
        reader.join()
    if not times:
        raise RuntimeError(f"{name}: {last_line(errors)}")
    samples.seconds.append(float(times[0]))
    samples.cpu.append(float(times[1]))
    samples.megabytes.append(peak[0] - base)
    samples.written = sum(file.stat().st_size for file in folder.glob("net.onnx*"))


def wait_for(process: subprocess.Popen[str], word: str) -> list[str]:
    """The rest of the line that begins with a word, and the word itself if there is no more."""
    for line in process.stdout:
        first, *rest = line.split() or [""]
        if first == word:
            return rest or [word]
    return []


def last_line(errors: list[str]) -> str:
    return ("".join(errors).strip().splitlines() or ["ended without a word"])[-1]


def watch(pid: int, peak: list[float], done: threading.Event) -> None:
    """Keep the highest anonymous memory of a process."""
    while not done.wait(SAMPLE_SECONDS):
        peak[0] = max(peak[0], anonymous(pid))


def anonymous(pid: int) -> float:
    """Anonymous memory in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024 / MEGABYTE
    return 0.0


def write_network(name: str, folder: Path) -> float:
    """net.cfg and net.weights of a bundled network, random; returns the weights' MB."""
    import darkconv as dc
    from darkconv.cli.params import bundled_cfg

    cfg = bundled_cfg(name)
    if cfg is None:
        raise SystemExit(f"no bundled network {name}")
    model, stream = dc.load(cfg), np.random.default_rng(0)
    arrays = {}
    for key, _, slot in model.network.keyed_slots():
        is_positive = key.endswith(("scales", "rolling_variance"))
        low, high = (0.5, 1.5) if is_positive else (-0.1, 0.1)
        arrays[key] = stream.random(slot.shape, np.float32) * (high - low) + low
    dc.save(dc.replace_arrays(model, arrays), folder / "net.cfg", folder / "net.weights")
    return (folder / "net.weights").stat().st_size / MEGABYTE


def install_peers(folder: Path) -> None:
    """Fetch what is compared with, if it is not there yet."""
    if (folder / "darknet2any").exists():
        return
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*pip, *PEERS], check=True)


def print_table(results: dict[str, Samples], weights: float) -> None:
    reference = statistics.median(results[TRACE].seconds) if TRACE in results else float("nan")
    print(
        "| | s: median (low-high) | CPU s | times faster | memory MB | of the weights | file MB |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, found in results.items():
        seconds = statistics.median(found.seconds)
        memory = max(found.megabytes)
        print(
            f"| {name} | {seconds:.2f} ({min(found.seconds):.2f}-{max(found.seconds):.2f}) "
            f"| {statistics.median(found.cpu):.2f} | {reference / seconds:.1f} "
            f"| {memory:.0f} | {memory / weights:.2f} | {found.written / MEGABYTE:.2f} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", default="yolov4")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", type=Path, help="where packages of PyPI are kept")
    parser.add_argument("--only", nargs="+", choices=CANDIDATES, default=list(CANDIDATES))
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peers = (options.peers or folder / "peers").resolve()
        install_peers(peers)
        weights = write_network(options.network, folder)
        results = {name: Samples() for name in options.only}
        for _ in range(options.rounds):
            for name in list(results):
                try:
                    measure(name, folder, peers, results[name])
                except RuntimeError as error:
                    print(f"cannot be measured: {error}\n", file=sys.stderr)
                    del results[name]
        print(f"{options.network}, {weights:.1f} MB of weights, {options.rounds} rounds\n")
        print_table(results, weights)


if __name__ == "__main__":
    main()
