"""What it takes to make an ONNX file of a large network, beside other exporters.

    python tools/bench/onnx_export.py [--network yolov4] [--rounds 5] [--peers FOLDER]

Every sample is a process of its own that makes the file from `net.cfg` and `net.weights`:
`sampling.py` says what counts. The exporters take turns. Ratios are to tracing, by median.

darknet2any and onnxscript, which PyTorch's newer exporter needs, come from PyPI into FOLDER,
without their dependencies; by default into a folder that is thrown away.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sampling import MEGABYTE, Samples, Task, measure, serve, write_network

PEERS = ("darknet2any==0.7.6", "easydict", "onnxscript")
TRACE = "torch.onnx.export, tracing"


def darkconv_export(**options: object) -> Callable[[], Task]:
    """Those of darkconv, with options of `write_onnx`."""

    def prepare() -> Task:
        import darkconv.loading
        from darkconv.backends.onnx import write_onnx

        return lambda: write_onnx(
            darkconv.loading.load("net.cfg", "net.weights"), "net.onnx", **options
        )

    return prepare


def torch_export(*, dynamo: bool) -> Callable[[], Task]:
    """PyTorch's, of darkconv's module."""

    def prepare() -> Task:
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


def darknet2any_export() -> Task:
    """Its command's own function."""
    from darknet2any.darknet2onnx import convert

    return lambda: convert("net.cfg", "net.weights", "net.onnx", False, 15)


CANDIDATES: dict[str, Callable[[], Task]] = {
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
class Exports(Samples):
    """What was measured of one exporter.

    Attributes:
        written: bytes of the files.
    """

    written: int = 0


def measure_export(name: str, folder: Path, peers: Path, samples: Exports) -> None:
    """Take one sample."""
    for file in folder.glob("net.onnx*"):
        file.unlink()
    measure(__file__, name, folder, samples, {"PYTHONPATH": str(peers)})
    samples.written = sum(file.stat().st_size for file in folder.glob("net.onnx*"))


def install_peers(folder: Path) -> None:
    """Fetch what is compared with, if it is not there yet."""
    if (folder / "darknet2any").exists():
        return
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    subprocess.run([*pip, *PEERS], check=True)


def print_table(results: dict[str, Exports], weights: float) -> None:
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
        serve(CANDIDATES[options.serve])
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peers = (options.peers or folder / "peers").resolve()
        install_peers(peers)
        weights = write_network(options.network, folder)
        results = {name: Exports() for name in options.only}
        for _ in range(options.rounds):
            for name in list(results):
                try:
                    measure_export(name, folder, peers, results[name])
                except RuntimeError as error:
                    print(f"cannot be measured: {error}\n", file=sys.stderr)
                    del results[name]
        print(f"{options.network}, {weights:.1f} MB of weights, {options.rounds} rounds\n")
        print_table(results, weights)


if __name__ == "__main__":
    main()
