"""What pruning brings in time: half of the channels, in multiples of 8."""

from pathlib import Path

import numpy as np

from networks import REAL, available, write_network
from row import OURS, Candidate, Goal, Row
from rows.inference import session
from workers import Task

WHOLE = "the original"
KEEP = 0.5


def make(case: str, folder: Path) -> dict[str, float]:
    """whole.onnx, pruned.onnx and x.npy; times that the MACs fell, and 0.8 of it."""
    import darkconv as dc
    from darkconv.backends.onnx import write_onnx

    write_network(case, folder)
    whole = dc.load(folder / "net.cfg", folder / "net.weights")
    small = dc.prune(whole, dc.plan(whole, score="l1", keep=KEEP, multiple=8))
    write_onnx(whole, folder / "whole.onnx")
    write_onnx(small, folder / "pruned.onnx")
    shape = (1, *whole.network.input_shape)
    np.save(folder / "x.npy", np.random.default_rng(0).random(shape, np.float32))
    return {"MACs before / after": round(whole.network.macs / small.network.macs, 3)}


def pruned() -> Task:
    return session("pruned.onnx")()


def whole() -> Task:
    return session("whole.onnx")()


ROW = Row(
    title="Time of a pruned model",
    cases=("yolov3-tiny", "yolov4-tiny", "yolov3", *available(*REAL)),
    candidates={OURS: Candidate(pruned), WHOLE: Candidate(whole)},
    make=make,
    goals=(
        Goal(
            OURS,
            WHOLE,
            at_least=0.8,
            cases=("yolov3-tiny", "yolov4-tiny", "yolov3"),
            fact="MACs before / after",
        ),
    ),
    turn=0.2,
    rounds=20,
    notes="""
The goal is 0.8 of the ratio of multiply-accumulates, for networks of 3x3 convolutions. Depthwise
networks gain less: their time goes to memory and overheads, not to arithmetic.
""",
)
