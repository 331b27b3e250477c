"""A video of 300 frames -> boxes, beside a loop of PyAV and onnxruntime alone."""

import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from networks import available, write_network
from row import OURS, Candidate, Goal, Row
from rows.inference import threads
from workers import Task

FRAMES, RATE = 300, 30
SIZE = (480, 640)
BARE = "PyAV and onnxruntime alone"
CASES = available("yolo-fastest-1.1-coco", "yolov3-tiny")


def make(case: str, folder: Path) -> dict[str, float]:
    """net.onnx, and clip.mp4 of a pattern that moves."""
    import darkconv as dc
    from darkconv.backends.onnx import write_onnx
    from darkconv.detection.clip import Clip

    facts = write_network(case, folder)
    write_onnx(dc.load(folder / "net.cfg", folder / "net.weights"), folder / "net.onnx")
    clip = Clip(folder / "clip.mp4", name="clip.mp4", rate=Fraction(RATE))
    tile = np.random.default_rng(0).integers(0, 256, (*(n // 16 for n in SIZE), 3), np.uint8)
    picture = tile.repeat(16, axis=0).repeat(16, axis=1)
    for number in range(FRAMES):
        clip.write(np.roll(picture, 2 * number, axis=1), number / RATE)
    clip.close()
    return facts


def ours() -> Task:
    """Seconds of a frame."""
    import darkconv as dc

    detector = dc.Detector("net.onnx", threads=threads())
    return per_frame(lambda: sum(1 for _ in detector.stream("clip.mp4")))


def bare() -> Task:
    """Prepare the usual loop, which looks for no boxes in the outputs."""
    import av
    import cv2
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    session = onnxruntime.InferenceSession("net.onnx", options)
    height, width = session.get_inputs()[0].shape[2:]

    def run() -> int:
        with av.open("clip.mp4") as container:
            container.streams.video[0].thread_type = "AUTO"
            for frame in container.decode(video=0):
                levels = cv2.resize(frame.to_ndarray(format="rgb24"), (width, height))
                x = levels.astype(np.float32).transpose(2, 0, 1)[None] / 255
                session.run(None, {"input": np.ascontiguousarray(x)})
        return FRAMES

    return per_frame(run)


def per_frame(task: Task) -> Task:
    def timed() -> float:
        start = time.perf_counter()
        task()
        return (time.perf_counter() - start) / FRAMES

    return timed


ROW = Row(
    title="a video to boxes",
    cases=CASES,
    candidates={OURS: Candidate(ours), BARE: Candidate(bare)},
    make=make,
    goals=(Goal(OURS, BARE, at_most=1 / 0.95, cases=CASES),),
    rounds=5,
    notes=f"""
Time of a frame, of {FRAMES} of {SIZE[1]} x {SIZE[0]} in H.264. darkconv decodes and fits
frames in threads of their own; the loop does one after the other.
""",
)
