"""One pass on the processor, heads as they are."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from networks import ORIGINAL, REAL, available, write_network
from peers import C_PROGRAM
from row import OURS, Candidate, Goal, Row
from workers import Task

BOXES = f"{OURS}, boxes"
TORCH = f"{OURS} in PyTorch"
LAST = f"{TORCH}, channels_last"
FOLDED = f"{LAST}, folded"
COMPILED = f"{LAST}, compiled"
TRACED = "traced, onnxruntime"
OPENCV = "OpenCV 4"
HAND = "a hand-written module"
C = "the C program"

OLD = ("yolov1-tiny", "yolov2-tiny-voc")
OTHER = (*OLD, "mobilenetv2-yolo-fastest-voc-v2")
"""Networks with layers, or heads, that the hand-written module does not have."""
ONE = (*OLD, "yolov3-tiny", "yolov4-tiny", "yolov3", "yolov4", *available(*REAL))
EIGHT = ("yolov3-tiny", "yolov4-tiny", *available(*REAL))
CASES = (*(f"{name}, batch 1" for name in ONE), *(f"{name}, batch 8" for name in EIGHT))
BY_HAND = tuple(case for case in CASES if not case.startswith(OTHER))
MISH = tuple(case for case in CASES if case.startswith("yolov4,"))
REST = tuple(case for case in CASES if case not in MISH)
DEPTHWISE = tuple(case for case in CASES if case.startswith(REAL))
IN_C = tuple(case for case in CASES if case.startswith(tuple(f"{name}," for name in ORIGINAL)))


def make(case: str, folder: Path) -> dict[str, float]:
    """net.cfg, net.weights, the graphs, and x.npy."""
    import darkconv as dc
    from darkconv.backends.onnx import write_onnx

    name, batch = case.split(", batch ")
    facts = write_network(name, folder)
    model = dc.load(folder / "net.cfg", folder / "net.weights")
    write_onnx(model, folder / "raw.onnx", check=False)
    write_onnx(model, folder / "boxes.onnx", head="boxes", check=False)
    shape = (int(batch), *model.network.input_shape)
    x = np.random.default_rng(0).random(shape, np.float32)
    np.save(folder / "x.npy", x)
    if case in BY_HAND:
        trace(folder, x)
    if case in IN_C:
        prepare_c(folder, x)
    return {**facts, "GMAC": round(model.network.macs * int(batch) / 1e9, 3)}


def trace(folder: Path, x: np.ndarray) -> None:
    """PyTorch's graph of the hand-written module, checked against darkconv's."""
    import onnxruntime
    import torch

    from plain import build

    module = build(str(folder / "net.cfg"), str(folder / "net.weights"))
    torch.onnx.export(
        module, (torch.from_numpy(x),), folder / "traced.onnx", dynamo=False, input_names=["input"]
    )
    ours, traced = (
        onnxruntime.InferenceSession(folder / f"{name}.onnx").run(None, {"input": x})
        for name in ("raw", "traced")
    )
    for a, b in zip(ours, traced, strict=True):
        assert np.linalg.norm(a - b) < 1e-3 * np.linalg.norm(b)


def prepare_c(folder: Path, x: np.ndarray) -> None:
    """c.cfg with the batch, and the C program's last layer checked against darkconv's."""
    import torch

    import darkconv as dc
    from c_program import Network, write_cfg
    from darkconv.backends.quiet import quiet
    from peers import PeerError, install

    cfg, weights = folder / "c.cfg", folder / "net.weights"
    write_cfg(folder / "net.cfg", len(x), cfg)
    try:
        install(C_PROGRAM)
    except PeerError:
        return  # as its turns will tell
    module = dc.to_torch(dc.load(cfg, weights, dialect="pjreddie"))
    with quiet(), torch.inference_mode(), Network(str(cfg), str(weights)) as network:
        ours = module(torch.from_numpy(x))[-1].numpy()
        theirs = np.ctypeslib.as_array(network.predict(x), shape=(ours.size,))
        assert np.linalg.norm(ours.ravel() - theirs) < 1e-4 * np.linalg.norm(theirs)


def session(name: str) -> Callable[[], Task]:
    def prepare() -> Task:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        running = onnxruntime.InferenceSession(name, options, providers=["CPUExecutionProvider"])
        x = np.load("x.npy")
        return lambda: running.run(None, {"input": x})

    return prepare


def threads() -> int:
    import os

    return int(os.environ["OMP_NUM_THREADS"])


def opencv() -> Task:
    import cv2

    cv2.setNumThreads(threads())
    net = cv2.dnn.readNetFromDarknet("net.cfg", "net.weights")
    x = np.load("x.npy")
    names = [name for name in net.getUnconnectedOutLayersNames()]

    def run() -> None:
        net.setInput(x)
        net.forward(names)

    return run


def c_program() -> Task:
    from c_program import Network

    network, x = Network("c.cfg", "net.weights"), np.load("x.npy")
    return lambda: network.predict(x)


def in_torch(build: Callable[[], Any], *, last: bool = False, compiled: bool = False) -> Task:
    """Prepare a module in inference mode."""
    import torch

    torch.set_num_threads(threads())
    order = torch.channels_last if last else torch.contiguous_format
    module = build().to(memory_format=order)
    x = torch.from_numpy(np.load("x.npy")).contiguous(memory_format=order)
    if compiled:
        module = torch.compile(module)

    def run() -> None:
        with torch.inference_mode():
            module(x)

    return run


def ours() -> Any:
    import darkconv as dc

    return dc.to_torch(dc.load("net.cfg", "net.weights"))


def folded() -> Any:
    import darkconv as dc
    from darkconv.backends.torch import inference_module

    return inference_module(dc.load("net.cfg", "net.weights"))


def by_hand() -> Any:
    from plain import build

    return build()


ROW = Row(
    title="One pass on the processor",
    cases=CASES,
    candidates={
        OURS: Candidate(session("raw.onnx")),
        BOXES: Candidate(session("boxes.onnx")),
        TORCH: Candidate(lambda: in_torch(ours)),
        LAST: Candidate(lambda: in_torch(ours, last=True)),
        FOLDED: Candidate(lambda: in_torch(folded, last=True)),
        COMPILED: Candidate(
            lambda: in_torch(ours, last=True, compiled=True),
            cases=("yolov4-tiny, batch 1", "yolov4-tiny, batch 8"),
        ),
        TRACED: Candidate(session("traced.onnx"), cases=BY_HAND),
        HAND: Candidate(lambda: in_torch(by_hand), cases=BY_HAND),
        OPENCV: Candidate(opencv),
        C: Candidate(c_program, peer=C_PROGRAM, cases=IN_C),
    },
    make=make,
    goals=(
        Goal(OURS, TRACED, at_most=1.02, cases=REST),
        Goal(OURS, TRACED, at_most=0.70, cases=MISH),
        Goal(OURS, OPENCV, at_most=0.90, cases=MISH),
        Goal(BOXES, OURS, at_most=1.02),
        Goal(OURS, OPENCV, at_most=1.0, cases=DEPTHWISE),
        Goal(OURS, HAND, at_most=1.0, cases=DEPTHWISE),
        Goal(TORCH, HAND, at_most=1.05),
    ),
    turn=0.2,
    processes=3,
    rounds=12,
    seconds=40,
    notes="""
`darkconv` is its ONNX file in onnxruntime, batch norms folded, heads as the C program has them;
`boxes` has the boxes in the graph. The traced graph is that of the hand-written module, and gives
the same numbers. The C program is the original code base from Debian's source, with the options of
its makefile and OpenMP; where a network is of the fork's dialect it computes it in its own, as it
would for its user, and darkconv gives the same numbers for that. OpenCV does not know [detection].

Boxes of two yolo heads come to six operators more, as both are decoded in one go; most of what is
left is the transposition of scores, 1 % of the time of a network of 2 ms.

In eager PyTorch darkconv frees each map as soon as nobody reads it, which takes a third of the
memory of the hand-written module that keeps them. These figures were taken while the library let
malloc keep 256 MiB of what is freed, in huge pages: yolov3's pass then faults no pages, and without
that 45,000, which took 80 ms of the processors' time. Since then the command line alone does so, in
its own process; the library leaves the allocator of its caller alone. Small networks depend on
where a process's memory lies: eight pictures of yolo-fastest took 50 ms in some processes and 57 to
60 in others, all their passes alike, and those of the hand-written module 55 to 58; three processes
of each may fall either way.
""",
)
