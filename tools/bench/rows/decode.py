"""Raw maps of YOLOv3's heads -> boxes."""

from pathlib import Path

import numpy as np

from row import OURS, Candidate, Goal, Row
from workers import Task

CASES = {"threshold 0.25": 0.25, "threshold 0.01": 0.01}
PASSING = {"threshold 0.25": 100, "threshold 0.01": 2000}
CLASSES = 80
NMS = 0.45
OPENCV = "numpy, cv2.dnn.NMSBoxesBatched"
OPERATOR = "onnxruntime's NonMaxSuppression alone"
READING = "the maps summed"


def make(case: str, folder: Path) -> dict[str, float]:
    """Make maps of which about so many boxes pass, several for each object; threshold.npy."""
    import darkconv as dc
    from darkconv.darknet.bundled import bundled_cfg

    network = dc.load(bundled_cfg("yolov3")).network
    stream = np.random.default_rng(0)
    threshold, wanted = CASES[case], PASSING[case]
    maps = []
    for head in network.heads:
        shape = head.out_shape
        values = stream.normal(0, 1, (3, 5 + CLASSES, shape.h, shape.w)).astype(np.float32)
        values[:, 4:] -= 12
        maps.append(values)
    cells = [
        (layer, *place) for layer, m in enumerate(maps) for place in np.ndindex(*m[:, 0].shape)
    ]
    objects = stream.choice(len(cells), wanted // 4, replace=False)
    for place in objects:
        layer, anchor, row, column = cells[place]
        kind = stream.integers(CLASSES)
        for near in range(4):
            at = (layer, anchor, row, min(column + near % 2, maps[layer].shape[3] - 1))
            values = maps[at[0]][(at[1] + near // 2) % 3, :, at[2], at[3]]
            values[4] = 2.0 + stream.random()
            values[5 + kind] = 2.0 + stream.random()
    for index, values in enumerate(maps):
        np.save(folder / f"map{index}.npy", values.reshape(-1, *values.shape[2:]))
    np.save(folder / "threshold.npy", threshold)
    objectness = np.concatenate([m[:, 4].ravel() for m in maps])
    passing = int((1 / (1 + np.exp(-objectness)) > threshold).sum())
    return {"boxes above the threshold": passing}


def maps() -> list[np.ndarray]:
    return [np.load(f"map{index}.npy") for index in range(3)]


def ours() -> Task:
    import darkconv as dc
    from darkconv.darknet.bundled import bundled_cfg
    from darkconv.detection.detect import detections
    from darkconv.pictures.picture import PictureFit

    model, outputs = dc.load(bundled_cfg("yolov3")), maps()
    fit = PictureFit((640, 480), (416, 416), False)
    threshold = float(np.load("threshold.npy"))
    return lambda: detections(model, outputs, fit, threshold=threshold, nms=NMS, raw=True)


def opencv() -> Task:
    import cv2

    outputs, threshold = maps(), float(np.load("threshold.npy"))

    def run() -> None:
        boxes, scores = decoded(outputs)
        best = scores.max(1)
        passing = best > threshold
        cv2.dnn.NMSBoxesBatched(
            boxes[passing], best[passing], scores[passing].argmax(1), threshold, NMS
        )

    return run


def operator() -> Task:
    import onnx
    import onnxruntime

    threshold = float(np.load("threshold.npy"))
    boxes, scores = decoded(maps())
    passing = scores.max(1) > threshold
    boxes, scores = boxes[passing][None], np.ascontiguousarray(scores[passing].T[None])
    names = ["boxes", "scores", "most", "iou", "score"]
    kinds = [onnx.TensorProto.FLOAT] * 2 + [onnx.TensorProto.INT64] + [onnx.TensorProto.FLOAT] * 2
    shapes = [boxes.shape, scores.shape, (1,), (1,), (1,)]
    node = onnx.helper.make_node("NonMaxSuppression", names, ["kept"], center_point_box=1)
    graph = onnx.helper.make_graph(
        [node],
        "nms",
        [
            onnx.helper.make_tensor_value_info(*one)
            for one in zip(names, kinds, shapes, strict=True)
        ],
        [onnx.helper.make_tensor_value_info("kept", onnx.TensorProto.INT64, (None, 3))],
    )
    opsets = [onnx.helper.make_opsetid("", 17)]
    proto = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    feed = {
        "boxes": boxes,
        "scores": scores,
        "most": np.array([10**6]),
        "iou": np.array([NMS], np.float32),
        "score": np.array([threshold], np.float32),
    }
    return lambda: session.run(None, feed)


def reading() -> Task:
    outputs = maps()
    return lambda: [m.sum() for m in outputs]


def decoded(outputs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores of every cell, as users write it."""
    import darkconv as dc
    from darkconv.darknet.bundled import bundled_cfg

    global _ANCHORS
    if _ANCHORS is None:
        heads = dc.load(bundled_cfg("yolov3")).network.heads
        _ANCHORS = [np.reshape(head.spec.anchors, (-1, 2))[list(head.spec.mask)] for head in heads]
    boxes, scores = [], []
    for values, anchors in zip(outputs, _ANCHORS, strict=True):
        rows, columns = values.shape[1:]
        cells = values.reshape(3, 5 + CLASSES, rows, columns).transpose(0, 2, 3, 1)
        y, x = np.mgrid[:rows, :columns]
        centre = 1 / (1 + np.exp(-cells[..., :2])) + np.stack([x, y], -1)
        size = np.exp(cells[..., 2:4]) * anchors[:, None, None] / 416
        objectness = 1 / (1 + np.exp(-cells[..., 4:5]))
        boxes.append(np.concatenate([centre / [columns, rows], size], -1).reshape(-1, 4))
        scores.append((objectness / (1 + np.exp(-cells[..., 5:]))).reshape(-1, CLASSES))
    return np.concatenate(boxes).astype(np.float32), np.concatenate(scores)


_ANCHORS: list[np.ndarray] | None = None

ROW = Row(
    title="Raw maps to boxes",
    cases=tuple(CASES),
    candidates={
        OURS: Candidate(ours),
        OPENCV: Candidate(opencv),
        OPERATOR: Candidate(operator),
        READING: Candidate(reading),
    },
    make=make,
    goals=(
        Goal(OURS, 0.001, at_most=1, cases=("threshold 0.25",)),
        Goal(OURS, 0.010, at_most=1, cases=("threshold 0.01",)),
        Goal(OURS, OPENCV, at_least=4, cases=("threshold 0.25",)),
        Goal(OURS, OPENCV, at_least=2.4, cases=("threshold 0.01",)),
    ),
    turn=0.1,
    rounds=30,
    notes="""
10,647 boxes of 80 classes, of which about 100 and 2,000 pass. `darkconv` gives Detections of named
classes in pixels; the others stop at the boxes that are kept, and know only the best class of each.
""",
)
