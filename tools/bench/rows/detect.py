"""JPEG files -> boxes, end to end: reading, resizing, the network, suppression."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from networks import MODELS, REAL, available, write_network
from row import OURS, Candidate, Goal, Row
from rows.inference import session, threads
from workers import Task

PICTURES = 24
THRESHOLD, NMS = 0.25, 0.45
EXACT = f"{OURS}, exact"
BATCHES = f"{OURS}, batches of 8"
TORCH = f"{OURS} in PyTorch"
OPENCV = "OpenCV 4"
FORWARD = "the network alone"
CASES = (*available(*REAL), "yolov3-tiny", "yolov4-tiny")
AHEAD = tuple(name for name in CASES if name in REAL[:2])
REST = tuple(name for name in CASES if name not in AHEAD)
RARE = -8.0  # added to the objectness of random weights, which see hundreds of objects otherwise


def make(case: str, folder: Path) -> dict[str, float]:
    """net.cfg, net.weights, net.onnx, x.npy, and pictures; of noise where there are no others."""
    import darkconv as dc
    from darkconv.backends.onnx import write_onnx

    facts = write_network(case, folder)
    model = dc.load(folder / "net.cfg", folder / "net.weights")
    if case not in REAL:
        model = with_rare_objects(model)
        dc.save(model, folder / "net.cfg", folder / "net.weights")
    write_onnx(model, folder / "net.onnx")
    shape = (1, *model.network.input_shape)
    np.save(folder / "x.npy", np.random.default_rng(0).random(shape, np.float32))
    (folder / "pictures").mkdir()
    given = sorted((MODELS.parent / "data").rglob("*.jpg"))[-PICTURES:]
    for number, file in enumerate(given):
        shutil.copy(file, folder / "pictures" / f"{number:02d}.jpg")
    if not given:
        from PIL import Image

        stream = np.random.default_rng(0)
        for number in range(PICTURES):
            levels = stream.integers(0, 256, (480, 640, 3), np.uint8)
            Image.fromarray(levels).save(folder / "pictures" / f"{number:02d}.jpg")
    return facts


def with_rare_objects(model: Any) -> Any:
    """Return a model of yolo heads whose objectness is lower."""
    import darkconv as dc

    arrays = dict(model.arrays)
    for head in (layer for layer in model.network.layers if layer.spec.type == "yolo"):
        key = f"{head.sources[0]}.biases"
        arrays[key] = arrays[key].copy()
        arrays[key][4 :: head.spec.anchor_entries] += RARE
    return dc.replace_arrays(model, arrays)


def files() -> list[Path]:
    return sorted(Path("pictures").iterdir())


def of_file(*, exact: bool = False, batch: int = 1) -> Task:
    """Seconds of a picture with the ONNX file."""
    from darkconv.backends.onnx import read_onnx
    from darkconv.detection.exported import FileEngine
    from darkconv.detection.stream import stream

    engine = FileEngine(read_onnx("net.onnx", shares_processors=True), THRESHOLD, NMS, exact=exact)
    return per_picture(lambda: used_up(stream(engine, files(), batch=batch)))


def in_torch() -> Task:
    import darkconv as dc

    model = dc.load("net.cfg", "net.weights")
    detector = dc.Detector(model, threshold=THRESHOLD, nms=NMS)
    return per_picture(lambda: used_up(detector.stream(files())))


def used_up(frames: Iterable[object]) -> None:
    """Take all of them as the command does: none is kept, for each holds its picture."""
    for _ in frames:
        pass


def opencv() -> Task:
    """Prepare the usual loop."""
    import cv2

    cv2.setNumThreads(threads())
    net = cv2.dnn.readNetFromDarknet("net.cfg", "net.weights")
    names = net.getUnconnectedOutLayersNames()
    size = np.load("x.npy").shape[:1:-1]

    def run() -> None:
        for file in files():
            picture = cv2.imread(str(file))
            net.setInput(cv2.dnn.blobFromImage(picture, 1 / 255, size, swapRB=True))
            rows = np.concatenate(net.forward(names))
            best = rows[:, 5:].max(1)
            passing = best > THRESHOLD
            boxes = rows[passing, :4]
            boxes[:, :2] -= boxes[:, 2:] / 2
            kinds = rows[passing, 5:].argmax(1)
            cv2.dnn.NMSBoxesBatched(boxes, best[passing], kinds, THRESHOLD, NMS)

    return per_picture(run)


def forward() -> Task:
    run = session("net.onnx")()
    return per_picture(lambda: [run() for _ in files()])


def per_picture(task: Task) -> Task:
    import time

    def timed() -> float:
        start = time.perf_counter()
        task()
        return (time.perf_counter() - start) / len(files())

    return timed


ROW = Row(
    title="JPEG files to boxes",
    cases=CASES,
    candidates={
        OURS: Candidate(of_file),
        BATCHES: Candidate(lambda: of_file(batch=8)),
        EXACT: Candidate(lambda: of_file(exact=True)),
        TORCH: Candidate(in_torch),
        FORWARD: Candidate(forward),
        OPENCV: Candidate(opencv),
    },
    make=make,
    goals=(
        Goal(OURS, OPENCV, at_least=1.2, cases=AHEAD),
        Goal(OURS, FORWARD, at_most=1.1, cases=REST),
    ),
    rounds=10,
    notes="""
Time of a picture, of 24 one after the other; `darkconv` is its ONNX file. Exact levels
(`--exact`) cost more: JPEG files are then decoded as stb_image does it, which
takes 15 ms of one processor for these pictures and 8 where they are compressed more. `the network
alone` has both processors, whereas reading a picture takes 2 ms of one of them: beside a network of
2 ms that cannot be hidden. yolov4-tiny takes 30.9 ms of the processors' time for a picture, 15.5 ms
on both; with reading and boxes it is 35.1 ms, so that both need 17.5 at least, 1.13 times as long.
The rest is waiting: a thread of onnxruntime that stands aside for the reader holds up the other one
in each layer. A lower priority for the reader made it slower, and so did letting onnxruntime's
threads spin.

Batches of 8 gain nothing with onnxruntime on a processor, for eight maps leave its caches. They are
for a GPU, and for small networks in PyTorch, whose layers cost more by themselves: that runs
yolo-fastest-1.1-coco in 12 ms a picture alone and in 7 in batches of 8.

200 JPEG files on 2026-12-01, against the program of 2026-11-28 that had a loop for files alone, 11
rounds in turns, medians: yolo-fastest-1.1-coco 4.17 ms before, 4.37 now (1.04), 4.23 in the
process of the command (1.01); yolov3-tiny 16.5, 16.4 (0.99) and 16.5 (1.00); OpenCV's loop 7.20 and
29.1. What is lost in Python is malloc's settings, which importing darkconv changed then for the
whole program; the command still does, in its own process.
""",
)
