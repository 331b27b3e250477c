"""Which networks OpenCV 5 runs, and whether with the numbers of onnxruntime: Markdown tables.

    python tools/opencv5_table.py [--only yolov4 ...]
    python tools/opencv5_table.py --golden ../shared/golden    # its micro and nets too: minutes

Every network becomes an ONNX file of each kind of head that it has, with random weights, or in
golden's collections with theirs. The environment with OpenCV 5 is the one that the tests make.
"""

import argparse
import gc
import importlib.util
import logging
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx_ir as ir
import onnxruntime

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

import darkconv as dc  # noqa: E402
from bundled import Bundled  # noqa: E402
from darkconv.backends.onnx.graph import GraphBuilder  # noqa: E402
from darkconv.backends.onnx.nms import suppressed  # noqa: E402
from darkconv.backends.onnx.options import OnnxOptions  # noqa: E402
from darkconv.backends.onnx.scope import Scope  # noqa: E402
from darkconv.errors import UnsupportedError  # noqa: E402
from opencv5 import OpenCV5, Outputs, first_inputs, in_order_of, share_of_allowed  # noqa: E402
from reference.collection import Case  # noqa: E402
from worker import WorkerError  # noqa: E402

HEADS = ("raw", "boxes", "nms")


@dataclass
class Row:
    """What became of one network.

    Attributes:
        name: of the network.
        shape: of its input.
        cells: for each kind of head a figure or a reason; none where the network has no such head.
        failed: kinds of head that OpenCV does not run with the right numbers.
    """

    name: str
    shape: str
    cells: dict[str, str] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)

    def fail(self, head: str, reason: str) -> None:
        """OpenCV does not run it, or with other numbers."""
        self.cells[head] = reason
        self.failed.add(head)


def main() -> None:
    """Print a table for each collection, then one of sums."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--golden", type=Path, help="folder with the collections micro and nets")
    parser.add_argument("--only", nargs="*", default=[""], help="networks with these in the name")
    parser.add_argument("--engine", choices=("auto", "new", "classic"), default="auto")
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    sums = {}
    with OpenCV5() as opencv, tempfile.TemporaryDirectory() as folder:
        for title, networks in collections(options.golden, Path(folder)).items():
            print_header(f"\n## {title}\n\n| network | input")
            rows = []
            for name, load in networks:
                if any(part in name for part in options.only):
                    rows.append(examine(name, *load(), opencv, Path(folder), options.engine))
                    print_row(rows[-1])
            sums[title] = rows
    print_header("\n| collection")
    for title, rows in sums.items():
        print(f"| {title} |", " | ".join(count(rows, head) for head in HEADS), "|")


def print_header(text: str) -> None:
    """Of a table whose first columns are in the text."""
    print(text, *HEADS, sep=" | ", end=" |\n")
    print("|---" * (text.count("|") + len(HEADS)), end="|\n")


def print_row(row: Row) -> None:
    cells = (row.cells.get(head, "") for head in HEADS)
    print(f"| {row.name} | {row.shape} |", " | ".join(cells), "|", flush=True)


def count(rows: Sequence[Row], head: str) -> str:
    """`94 of 95`."""
    having = [row for row in rows if not row.cells.get(head, "not made").startswith("not made")]
    right = sum(head not in row.failed for row in having)
    return f"{right} of {len(having)}"


def collections(golden: Path | None, folder: Path) -> dict[str, list]:
    """For each title its networks: a name, and a function that gives model and input."""
    found = {"cfgs": [(p.stem, Bundled(p, folder)) for p in sorted((ROOT / "cfgs").glob("*.cfg"))]}
    if golden:
        found["micro"] = [(p.name, Micro(p)) for p in sorted((golden / "micro").iterdir())]
        maker = weights_maker(golden)
        weights = folder / "net.weights"
        found["nets"] = [
            (p.name, Net(p, maker, weights)) for p in sorted((golden / "nets").iterdir())
        ]
    return found


def weights_maker(golden: Path) -> ModuleType:
    """Import the collection's own make_weights.py."""
    spec = importlib.util.spec_from_file_location("make_weights", golden / "make_weights.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Micro:
    """A case of golden/micro."""

    folder: Path

    def __call__(self) -> tuple[dc.Model, np.ndarray]:
        """Model and input."""
        case = Case(self.folder, self.folder / "net.weights")
        x = case.expected["input"]
        return case.model, x if case.layout.get("batch", 1) > 1 else x[None]


@dataclass
class Net:
    """A case of golden/nets, its weights generated."""

    folder: Path
    maker: ModuleType
    weights: Path

    def __call__(self) -> tuple[dc.Model, np.ndarray]:
        """Model and input."""
        case = Case(self.folder, self.weights)
        self.maker.write_weights(case.layout, self.weights)
        return case.model, self.maker.input_for(case.layout)[None]


def examine(
    name: str, model: dc.Model, x: np.ndarray, opencv: OpenCV5, folder: Path, engine: str
) -> Row:
    """Run a network with each kind of head that it has."""
    row, boxes = Row(name, str(model.network.input_shape)), None
    for head in HEADS:
        path = folder / "net.onnx"
        try:
            path.write_bytes(dc.to_onnx(model, head=head).SerializeToString())
        except dc.DarkconvError as error:
            if head == "raw" or isinstance(error, UnsupportedError):
                row.cells[head] = f"not made: {error}".replace(f"{folder}/", "").partition("\n")[0]
            continue
        expected, inputs = onnxruntime_outputs(path, x)
        gc.collect()
        try:
            opencv.load(path, engine)
            found = opencv.run(inputs)
        except WorkerError as error:
            row.fail(head, str(error))
            continue
        if head == "boxes":
            boxes = found
        if head == "nms" and boxes is not None:
            expected = expected | suppressed_by_onnxruntime(boxes)
            found = in_order_of(found, expected)
        share, worst = worst_share(found, expected)
        row.cells[head] = f"{share:.1e}"
        if head == "nms":
            row.cells[head] += f" of {expected['count'][0]}"
        if share > 1:
            row.fail(head, f"{worst}: {share:.1e}")
    return row


def suppressed_by_onnxruntime(found: Outputs) -> Outputs:
    """Return what non-maximum suppression must leave of boxes and scores.

    Of random weights' thousands of boxes there are always some whose overlap or score is at the
    threshold, where the last bit of a convolution decides. So both must get the same boxes.
    """
    (_, number, classes), graph = found["scores"].shape, GraphBuilder(OnnxOptions(head="nms"))
    inputs = [graph.input(n, found[n].shape) for n in ("boxes", "scores")]
    values = suppressed(Scope(graph, "nms"), *inputs, count=number, classes=classes)
    names = ("boxes", "scores", "classes", "count")
    main = ir.Graph(
        inputs,
        values,
        nodes=graph.nodes,
        initializers=list(graph.initializers.values()),
        opset_imports={"": graph.opset},
    )
    for value, name in zip(values, names, strict=True):
        value.name = f"kept_{name}"
    model = ir.to_proto(ir.Model(main, ir_version=graph.ir_version))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    inputs = {name: found[name] for name in ("boxes", "scores")}
    return dict(zip(names, session.run(None, inputs), strict=True))


def onnxruntime_outputs(path: Path, x: np.ndarray) -> tuple[Outputs, Outputs]:
    """Return the expected outputs and the inputs."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs = first_inputs(session, x)
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True)), inputs


def worst_share(found: Outputs, expected: Outputs) -> tuple[float, str]:
    """Return the largest share of what is allowed, and the output that has it."""
    return max((share_of_allowed(found[name], expected[name]), name) for name in expected)


if __name__ == "__main__":
    main()
