"""Files -> ONNX file; each turn is a process of its own."""

from collections.abc import Callable
from pathlib import Path

from networks import write_network
from row import OURS, Candidate, Goal, Row
from workers import Task

EXTERNAL = f"{OURS}, external"
IN_PLACE = f"{OURS}, in place"
TRACE = "torch.onnx.export, traced"
DYNAMO = "torch.onnx.export, dynamo"
COPY = "the weights copied to a file"


def make(case: str, folder: Path) -> dict[str, float]:
    """net.cfg, net.weights, and how large a file in place is."""
    import darkconv as dc
    from darkconv.backends.onnx import write_onnx

    facts = write_network(case, folder)
    file = folder / "in-place.onnx"
    write_onnx(
        dc.load(folder / "net.cfg", folder / "net.weights"), file, in_place=True, check=False
    )
    size = file.stat().st_size / 2**20
    file.unlink()
    return {**facts, "MiB of the file in place": round(size, 3)}


def ours(**options: object) -> Callable[[], Task]:
    """With options of `write_onnx`."""

    def prepare() -> Task:
        import darkconv.loading
        from darkconv.backends.onnx import write_onnx

        def export() -> None:
            model = darkconv.loading.load("net.cfg", "net.weights")
            write_onnx(model, "net.onnx", check=False, **options)

        return export

    return prepare


def copy() -> Task:
    import numpy as np

    def write() -> None:
        values = np.memmap("net.weights", np.uint8, "r")
        with Path("net.onnx").open("wb") as file:
            file.write(values)

    return write


def of_torch(*, dynamo: bool) -> Callable[[], Task]:
    """PyTorch's, of the hand-written module."""

    def prepare() -> Task:
        import torch

        from plain import build

        if dynamo:
            import onnxscript  # noqa: F401
            import torch.onnx._internal.exporter

        options = {"external_data": False, "verbose": False} if dynamo else {}

        def export() -> None:
            module = build()
            x = torch.rand(1, *module.shape)
            torch.onnx.export(module, (x,), "net.onnx", dynamo=dynamo, **options)

        return export

    return prepare


def darknet2any() -> Task:
    """Its command's own function."""
    from darknet2any.darknet2onnx import convert

    return lambda: convert("net.cfg", "net.weights", "net.onnx", False, 15)


ROW = Row(
    title="Files to an ONNX file",
    cases=("yolov4", "yolov4-tiny"),
    candidates={
        OURS: Candidate(ours()),
        f"{OURS}, not folded": Candidate(ours(fold=False)),
        EXTERNAL: Candidate(ours(external=True)),
        IN_PLACE: Candidate(ours(in_place=True)),
        COPY: Candidate(copy),
        TRACE: Candidate(of_torch(dynamo=False)),
        DYNAMO: Candidate(of_torch(dynamo=True), peer="onnxscript"),
        "darknet2any": Candidate(darknet2any, peer="darknet2any"),
    },
    make=make,
    goals=(
        Goal(OURS, TRACE, at_least=10, cases=("yolov4",)),
        Goal(OURS, DYNAMO, at_least=35, cases=("yolov4",)),
        Goal(OURS, "darknet2any", at_least=10, cases=("yolov4",)),
        Goal(OURS, "weights", at_most=1.3, of_memory=True),
        Goal(EXTERNAL, "weights", at_most=0.3, of_memory=True),
        Goal(IN_PLACE, 0.1, at_most=1, cases=("yolov4",)),
    ),
    fresh=True,
    writes="net.onnx*",
    rounds=4,
    seconds=80,
    notes="""
`in place` writes a file that points into the weights file. The last two of PyTorch's are of the
hand-written module.

The file in place was to have 0.1 MiB, and has 184 kB for yolov4: 104 for 752 nodes, of which 77 are
names of theirs and of values; 57 for 532 arrays, each with its place in the weights file or, if
small, its values; 13 for the cfg, from which `detect` and `verify` know the network; 7 for
shapes of the layers. 105 kB would leave nodes 45 bytes each: no names by which a user finds a
layer, and mish as a function of its own, which not every runtime knows.
""",
)
