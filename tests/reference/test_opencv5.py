"""The files of `to_onnx` in OpenCV 5: the numbers of C, of onnxruntime, and the detections of C."""

import json

import numpy as np
import pytest

import darkconv as dc
from darkconv.boxes import as_corners
from darkconv.detection.decode import Candidates
from darkconv.detection.detect import Detection
from darkconv.detection.suppress import suppress
from environments import EnvironmentMissingError
from opencv5 import (
    OpenCV5,
    first_inputs,
    in_order_of,
    share_of_allowed,
)
from reference.collection import LAYER_TOLERANCE, Case, assert_close, relative_error
from reference.test_models import RealModel
from reference.test_onnx_models import NMS, THRESHOLD, detections, same, stored

onnxruntime = pytest.importorskip("onnxruntime")

AXES = ("", "batch", "batch,size")
GREY = 0.5


@pytest.fixture(scope="module")
def opencv():
    try:
        with OpenCV5() as process:
            yield process
    except EnvironmentMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def micro_case(request):
    return Case(request.param, request.param / "net.weights")


@pytest.fixture(scope="module")
def model_case(request, golden_dir, data_dir):
    return RealModel(request.param, golden_dir, data_dir)


@pytest.fixture
def file_of(model_case):
    """Builds the model's file."""
    return lambda **options: dc.to_onnx(model_case.model, **options).SerializeToString()


@pytest.fixture
def pictures(model_case):
    """The stored inputs, (N, C, H, W)."""
    return np.stack(list(model_case.inputs.values()))


def by_onnxruntime(file, x, **others):
    session = onnxruntime.InferenceSession(file)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"input": x, **others}), strict=True))


def test_small_networks_have_the_numbers_of_c(micro_case, opencv):
    """Every layer type and option; recurrent state goes from call to call."""
    expected, layout = micro_case.expected, micro_case.layout
    file = dc.to_onnx(micro_case.model).SerializeToString()
    session = onnxruntime.InferenceSession(file)
    states = json.loads(session.get_modelmeta().custom_metadata_map["states"])
    opencv.load(file)
    found = {}
    for step in range(layout.get("steps", 1)):
        end = f"_step{step}" if step else ""
        x = expected[f"input{end}"]
        x = x if layout.get("batch", 1) > 1 else x[None]
        kept = {into: found[out] for into, out in states.items() if found}
        found = opencv.run(first_inputs(session, x) | kept)
        for name in found.keys() - states.values():
            layer = expected[f"layer_{name[:3]}{end}"]
            assert_close(found[name], layer if layout.get("batch", 1) > 1 else layer[None], name)


@pytest.mark.parametrize("dynamic", AXES)
def test_outputs_of_heads_are_those_of_onnxruntime(file_of, pictures, opencv, dynamic):
    file = file_of(head="raw", dynamic=dynamic)
    opencv.load(file)
    for x in (pictures[:1], pictures[:3], pictures[1:2]) if dynamic else (pictures[:1],):
        found, expected = opencv.run({"input": x}), by_onnxruntime(file, x)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            assert found[name].shape == values.shape
            assert relative_error(found[name], values) <= LAYER_TOLERANCE


@pytest.mark.parametrize("pixels", [False, True])
def test_boxes_are_those_of_onnxruntime_and_c(model_case, file_of, opencv, pixels):
    shape = model_case.model.network.input_shape
    file = file_of(head="boxes", pixels=pixels)
    opencv.load(file)
    for x, fit, result in stored(model_case):
        found, expected = opencv.run({"input": x[None]}), by_onnxruntime(file, x[None])
        for name, values in expected.items():
            assert share_of_allowed(found[name], values) <= 1
        boxes = found["boxes"][0] / np.array([shape.w, shape.h] * 2 if pixels else 1, np.float32)
        same(plain_detections(boxes, found["scores"][0], fit), result["detections"])


def plain_detections(boxes, scores, fit):
    """What plain suppression leaves, in pixels of the picture."""
    middle, size = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    scores = np.where(scores > THRESHOLD, scores, 0)
    known = np.ones(len(boxes), np.float32)
    found = Candidates(fit.to_pixels(np.hstack([middle, size])), known, scores)
    kept = suppress(found, threshold=NMS, kind="sort", beta=0.6)
    rows, classes = np.nonzero(kept.scores)
    chosen = zip(classes, kept.scores[rows, classes], as_corners(kept.boxes[rows]), strict=True)
    return [Detection(int(c), "", float(s), tuple(b.tolist())) for c, s, b in chosen]


@pytest.mark.parametrize("dynamic", AXES)
def test_suppression_leaves_what_c_leaves(model_case, file_of, opencv, dynamic):
    opencv.load(file_of(head="nms", dynamic=dynamic))
    for x, fit, result in stored(model_case):
        found = opencv.run({"input": x[None]})
        count = found["count"][0]
        kept = (found[name][0, :count] for name in ("classes", "scores", "boxes"))
        same(detections(*kept, fit), result["detections"])


def test_nothing_found_is_no_error(file_of, pictures, opencv):
    """No score exceeds 1; OpenCV's GatherND divides by zero where it has nothing to gather."""
    opencv.load(file_of(head="nms", threshold=1))
    for count in (1, 2):
        found = opencv.run({"input": pictures[:count]})
        assert found["count"].tolist() == [0] * count
        assert np.all(found["classes"] == -1)
        assert not found["boxes"].any()


def test_a_batch_is_suppressed_picture_by_picture(file_of, pictures, opencv):
    """Also a grey one, in which hardly any network sees an object."""
    pictures = np.concatenate([pictures[:2], np.full_like(pictures[:1], GREY)])
    opencv.load(file_of(head="nms"))
    together = opencv.run({"input": pictures})
    for i, x in enumerate(pictures):
        single = opencv.run({"input": x[None]})
        one = {name: values[i : i + 1] for name, values in together.items()}
        for name, values in in_order_of(one, single).items():
            assert share_of_allowed(values, single[name]) <= 1


def test_thresholds_may_be_inputs(file_of, pictures, opencv):
    file = file_of(head="nms", threshold_inputs=True)
    opencv.load(file)
    for score, overlap in ((0.25, 0.45), (0.6, 0.3)):
        others = {
            "score_threshold": np.array([score], np.float32),
            "iou_threshold": np.array([overlap], np.float32),
        }
        found = opencv.run({"input": pictures[:1], **others})
        expected = by_onnxruntime(file, pictures[:1], **others)
        for name, values in in_order_of(found, expected).items():
            assert share_of_allowed(values, expected[name]) <= 1


def test_levels_may_come_in_the_order_of_opencv(file_of, pictures, opencv):
    levels = np.rint(pictures[:1] * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    file = file_of(head="boxes", input="uint8-nhwc-bgr")
    opencv.load(file)
    x = np.ascontiguousarray(levels[..., ::-1])
    found, expected = opencv.run({"input": x}), by_onnxruntime(file, x)
    for name, values in expected.items():
        assert share_of_allowed(found[name], values) <= 1
