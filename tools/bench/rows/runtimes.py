"""One pass of the same ONNX file in the runtimes that a user may choose on a PC, in float32."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from networks import REAL, available, write_network
from peers import PeerError, install
from row import OURS, Candidate, Row
from rows.inference import session, threads
from workers import Task

OPENVINO, BFLOAT16 = "OpenVINO", "OpenVINO in bfloat16"
MNN, NCNN = "MNN", "ncnn through pnnx"
CASES = ("yolov3-tiny", "yolov4-tiny", *available(*REAL))
MNN_CONVERTS = "import sys, MNN, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])"
"""Its own command also installs a package that sends off what was converted."""


def make(case: str, folder: Path) -> dict[str, float]:
    """raw.onnx, what MNN and ncnn make of it, and x.npy."""
    import darkconv as dc
    from darkconv.backends.onnx import write_onnx

    facts = write_network(case, folder)
    model = dc.load(folder / "net.cfg", folder / "net.weights")
    write_onnx(model, folder / "raw.onnx", check=False)
    x = np.random.default_rng(0).random((1, *model.network.input_shape), np.float32)
    np.save(folder / "x.npy", x)
    for name, convert in ((MNN.lower(), to_mnn), ("ncnn", to_ncnn)):
        try:
            convert(install(name), folder, x)
        except (PeerError, subprocess.CalledProcessError) as error:
            print(f"{name}: {error}", file=sys.stderr)  # its turns will tell
    return {**facts, "GMAC": round(model.network.macs / 1e9, 3)}


def to_mnn(peer: Path, folder: Path, _: np.ndarray) -> None:
    """net.mnn, by MNN's own converter."""
    command = [sys.executable, "-c", MNN_CONVERTS, "-f", "ONNX", "--modelFile", "raw.onnx"]
    run([*command, "--MNNModel", "net.mnn", "--bizCode", "bench"], folder, PYTHONPATH=str(peer))


def to_ncnn(peer: Path, folder: Path, x: np.ndarray) -> None:
    """raw.ncnn.param and .bin, by pnnx, with weights in float32."""
    shape = ",".join(map(str, x.shape))
    run([str(peer / "pnnx" / "pnnx"), "raw.onnx", f"inputshape=[{shape}]f32", "fp16=0"], folder)


def run(command: list[str], folder: Path, **variables: str) -> None:
    """Run a converter in a folder."""
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=os.environ | variables)


def in_openvino(precision: str) -> Callable[[], Task]:
    """OpenVINO as `darkconv detect --runtime openvino` has it."""

    def prepare() -> Task:
        from darkconv.backends.onnx.on_openvino import OpenvinoSession

        name = "openvino:bf16" if precision == BFLOAT16 else "openvino"
        running = OpenvinoSession("raw.onnx", runtime=name, file=None, threads=threads())
        x = np.load("x.npy")
        return lambda: running.run(None, {"input": x})

    return prepare


def in_mnn() -> Task:
    import MNN
    from MNN import expr, nn

    session = MNN.Interpreter("net.mnn")
    names = [*session.getSessionOutputAll(session.createSession({}))]
    module = nn.load_module_from_file(
        "net.mnn", ["input"], names, precision_mode=expr._F.PrecisionMode.High, thread_num=threads()
    )
    x = np.load("x.npy")

    def task() -> None:
        found = module.onForward([expr.const(x, x.shape, expr.NCHW)])
        for one in found:
            expr.convert(one, expr.NCHW).read()

    return task


def in_ncnn() -> Task:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads()
    net.opt.use_fp16_storage = net.opt.use_fp16_packed = net.opt.use_fp16_arithmetic = False
    net.load_param("raw.ncnn.param")
    net.load_model("raw.ncnn.bin")
    (x,) = np.load("x.npy")
    given = ncnn.Mat(x).clone()

    def task() -> None:
        extractor = net.create_extractor()
        extractor.input(net.input_names()[0], given)
        for name in net.output_names():
            np.array(extractor.extract(name)[1])

    return task


ROW = Row(
    title="One pass in other runtimes",
    cases=CASES,
    candidates={
        OURS: Candidate(session("raw.onnx")),
        OPENVINO: Candidate(in_openvino(OPENVINO), peer="openvino"),
        BFLOAT16: Candidate(in_openvino(BFLOAT16), peer="openvino"),
        MNN: Candidate(in_mnn, peer="mnn"),
        NCNN: Candidate(in_ncnn, peer="ncnn"),
    },
    make=make,
    turn=0.2,
    processes=3,
    rounds=12,
    seconds=40,
    notes="""
All run darkconv's ONNX file with raw heads, one picture at a time: `darkconv` is onnxruntime,
OpenVINO reads the file as it is, MNN and ncnn what their converters make of it. All but one compute
in float32 and give the same numbers: [runtimes.md](runtimes.md). What bfloat16 does to AP is in
[deploy.md](deploy.md#openvino).
""",
)
