"""The real trained models as ONNX files with boxes, and with suppression, in the graph."""

import numpy as np
import pytest

import darkconv as dc
from darkconv.detection.detect import Detection
from darkconv.detection.suppress import suppress
from darkconv.pictures.picture import PictureFit
from reference.test_models import RealModel, corners, matches

onnxruntime = pytest.importorskip("onnxruntime")

IOU = 0.99
SCORE = 1e-3
THRESHOLD, NMS = 0.25, 0.45


@pytest.fixture(scope="module")
def model_case(request, golden_dir, data_dir):
    return RealModel(request.param, golden_dir, data_dir)


def stored(case):
    """(input, how the picture was fitted, what C found) for every stored input."""
    shape = case.model.network.input_shape
    for key, x in case.inputs.items():
        name, mode = key.split("|")
        if name in case.results["images"]:
            result = case.results["images"][name]
            size = result["width"], result["height"]
            fit = PictureFit(size, (shape.w, shape.h), mode == "letterbox")
            yield x, fit, result[mode]


def in_picture(boxes, fit):
    """Corners relative to the input -> corners in pixels of the picture."""
    middle, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    found = fit.to_pixels(np.hstack([middle, size]))
    return np.hstack([found[:, :2] - found[:, 2:] / 2, found[:, :2] + found[:, 2:] / 2])


def detections(classes, scores, boxes, fit):
    return [
        Detection(int(kind), "", float(score), tuple(box.tolist()))
        for kind, score, box in zip(classes, scores, in_picture(boxes, fit), strict=True)
    ]


def session_of(model, **options):
    proto = dc.to_onnx(model, **options)
    return onnxruntime.InferenceSession(proto.SerializeToString())


def same(found, expected):
    """One for one, within DESIGN.md §6; nothing may come or go."""
    assert len(found) == len(expected)
    matches(found, expected, iou=IOU, score=SCORE, slack=0)


@pytest.mark.parametrize("dynamic", ["batch", "batch,size"])
def test_suppression_in_the_graph_leaves_what_c_leaves(model_case, dynamic):
    session = session_of(model_case.model, head="nms", dynamic=dynamic)
    for x, fit, result in stored(model_case):
        boxes, scores, classes, (count,) = session.run(None, {"input": x[None]})
        kept = (values[0, :count] for values in (classes, scores, boxes))
        same(detections(*kept, fit), result["detections"])


def test_boxes_in_the_graph_are_those_of_c(model_case):
    """Suppressed by darkconv, after the plain rule and after the cfg's own."""
    from darkconv.boxes import as_corners
    from darkconv.detection.decode import Candidates
    from darkconv.detection.detect import nms_of

    session = session_of(model_case.model, head="boxes", pixels=True)
    shape = model_case.model.network.input_shape
    for x, fit, result in stored(model_case):
        boxes, scores = (values[0] for values in session.run(None, {"input": x[None]}))
        boxes = boxes / np.array([shape.w, shape.h] * 2, np.float32)
        middle, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        xywh = fit.to_pixels(np.hstack([middle, size]))
        scores = np.where(scores > THRESHOLD, scores, 0)
        found = Candidates(xywh, np.ones(len(xywh), np.float32), scores)
        own, beta = nms_of(model_case.model.network)
        for kind, name in (("sort", "detections"), (own, "detections_cfg_nms")):
            kept = suppress(found, threshold=NMS, kind=kind, beta=beta)
            rows, classes = np.nonzero(kept.scores)
            entries = [
                Detection(int(c), "", float(s), tuple(b.tolist()))
                for c, s, b in zip(
                    classes, kept.scores[rows, classes], as_corners(kept.boxes[rows]), strict=True
                )
            ]
            same(entries, result.get(name, result["detections"]))


def test_levels_give_the_detections_of_planes(model_case):
    """The same picture as 8-bit levels and as planes."""
    shape = model_case.model.network.input_shape
    x = next(stored(model_case))[0]
    levels = np.clip(np.rint(x * 255), 0, 255).astype(np.uint8)
    planes = levels.astype(np.float32)[None] / np.float32(255)
    ours = session_of(model_case.model, head="nms", input="uint8-nhwc")
    plain = session_of(model_case.model, head="nms")
    assert levels.shape == tuple(shape)
    for a, b in zip(
        ours.run(None, {"input": levels.transpose(1, 2, 0)[None]}),
        plain.run(None, {"input": planes}),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_stored_corners_are_compared_as_meant():
    assert corners({"x": 10, "y": 20, "w": 4, "h": 6}) == (8, 17, 12, 23)
