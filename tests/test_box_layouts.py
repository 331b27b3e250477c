"""Every layout of boxes: what programs that read it expect, and what darkconv reads back."""

import ast
import inspect
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

import darkconv as dc
from darkconv.assets import digits10_folder, digits10_pictures
from darkconv.backends.choices import INPUTS
from darkconv.backends.layouts import LAYOUT_NAMES, LAYOUTS, NMS_OPS, SPLIT
from darkconv.boxes import as_corners
from darkconv.core.names import Names
from darkconv.detection.decode import box_heads, decode
from darkconv.detection.suppress import suppress
from darkconv.errors import DarkconvError
from networks import network, random_model

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

OF_BOXES = [layout.name for layout in LAYOUTS if layout.head == "boxes"]
OF_NMS = [layout.name for layout in LAYOUTS if layout.head == "nms"]
EVERY = [pytest.param(one.head, one.name, id=f"{one.head}-{one.name}") for one in LAYOUTS]
CONV = "[convolutional]\nfilters={n}\nactivation={act}\n"
YOLO = "[yolo]\nclasses=3\nnum={num}\nanchors=2,3,4,1,3,3\nmask={mask}\n"
BODIES = {
    "two heads": CONV.format(n=16, act="linear") + YOLO.format(num=3, mask="1,2")
    + "[route]\nlayers=0\n[maxpool]\nstride=2\n"
    + CONV.format(n=8, act="linear") + YOLO.format(num=3, mask="0"),
    "unlike heads": CONV.format(n=8, act="linear") + YOLO.format(num=3, mask="1")
    + "[route]\nlayers=0\n" + CONV.format(n=16, act="linear") + YOLO.format(num=3, mask="0,2"),
    "gaussian": CONV.format(n=24, act="linear")
    + "[Gaussian_yolo]\nclasses=3\nnum=2\nanchors=2,3,4,1\n",
    "region": CONV.format(n=16, act="linear") + "[region]\nclasses=3\nnum=2\nanchors=2,3,4,1\n",
    "free scores": CONV.format(n=16, act="linear")
    + "[yolo]\nclasses=3\nnum=2\nanchors=2,3,4,1\nnew_coords=1\nscale_x_y=2\n",
    "detection": "[connected]\noutput=117\nactivation=logistic\n"
    "[detection]\nclasses=3\nnum=2\ncoords=4\nside=3\n",
}  # fmt: skip
SIZE = np.array([10, 6, 10, 6], np.float32)


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "darkconv")


@pytest.fixture(scope="module")
def digits():
    folder = digits10_folder()
    return dc.load(folder / "digits10.cfg", folder / "digits10.weights")


def pictures():
    return np.random.default_rng(0).uniform(-1, 2, (2, 3, 6, 10)).astype(np.float32)


def run(proto, x):
    """The outputs by name."""
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": x}), strict=True))


def expected_boxes(model, x):
    """Of each picture: centres and corners relative to the input, and scores."""
    heads = [layer.index for layer in box_heads(model.network)]
    traced = dc.trace(model, x)
    for i in range(len(x)):
        found = decode(model.network, [traced[k][i] for k in heads], threshold=-np.inf)
        scores = found.scores
        if "new_coords" in str(model.network.config.sections[-1].lines):
            scores = np.minimum(scores, found.objectness[:, None])
        yield found.boxes, as_corners(found.boxes), scores


def as_split(centres, corners, scores):
    return {"boxes": corners, "scores": scores}


def as_ultralytics(centres, corners, scores):
    return {"output0": np.hstack([centres * SIZE, scores]).T}


def as_deepstream(centres, corners, scores):
    best, label = scores.max(axis=1, keepdims=True), scores.argmax(axis=1)[:, None]
    return {"output": np.hstack([corners * SIZE, best, label])}


def as_yolov4(centres, corners, scores):
    return {"boxes": corners[:, None], "confs": scores}


FORMS = {
    "split": as_split,
    "ultralytics": as_ultralytics,
    "deepstream": as_deepstream,
    "yolov4": as_yolov4,
}


def test_every_layout_of_boxes_is_written_down_here():
    assert list(FORMS) == OF_BOXES
    assert OF_NMS == ["split", "efficientnms"]


@pytest.mark.parametrize("options", [{}, {"opset": 11}, {"dynamic": "batch,size"}], ids=str)
@pytest.mark.parametrize("layout", OF_BOXES)
@pytest.mark.parametrize("body", BODIES)
def test_boxes_are_those_of_the_decoder(body, layout, options):
    if body == "detection" and "dynamic" in options:
        pytest.skip("its size is fixed")
    model, x = random_model(network(BODIES[body], (3, 6, 10))), pictures()
    proto = dc.to_onnx(model, head="boxes", layout=layout, **options)
    onnx.checker.check_model(proto, full_check=True)
    found = run(proto, x)
    for i, parts in enumerate(expected_boxes(model, x)):
        for name, expected in FORMS[layout](*parts).items():
            assert found[name][i].shape == expected.shape
            assert found[name].dtype == np.float32
            np.testing.assert_allclose(found[name][i], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("threshold", [0.02, 0.999])
@pytest.mark.parametrize("layout", OF_NMS)
def test_detections_are_what_plain_suppression_leaves(layout, threshold):
    model, x = random_model(network(BODIES["two heads"], (3, 6, 10))), pictures()
    options = {"threshold": threshold, "max_detections": 40}
    proto = dc.to_onnx(model, head="nms", layout=layout, **options)
    onnx.checker.check_model(proto, full_check=True)
    found = run(proto, x)
    names = ["boxes", "scores", "classes", "count"]
    if layout == "efficientnms":
        names = ["det_boxes", "det_scores", "det_classes", "num_dets"]
    boxes, scores, classes, count = (found[name] for name in names)
    lengths = [value.shape for value in (boxes, scores, classes, count)]
    counts = (2,) if layout == SPLIT else (2, 1)
    assert lengths == [(2, 40, 4), (2, 40), (2, 40), counts]
    assert [value.dtype for value in (scores, classes, count)] == [np.float32, np.int32, np.int32]
    heads = [layer.index for layer in box_heads(model.network)]
    traced = dc.trace(model, x)
    for i in range(2):
        all_boxes = decode(model.network, [traced[k][i] for k in heads], threshold=threshold)
        kept = suppress(all_boxes, threshold=0.45)
        right = np.sort(kept.scores[kept.scores > 0])[::-1][:40]
        total = int(count[i].reshape(()))
        assert total == len(right)
        np.testing.assert_allclose(scores[i, :total], right, rtol=1e-4)
        assert not scores[i, total:].any()
        assert not boxes[i, total:].any()
        assert (classes[i, total:] == (-1 if layout == SPLIT else 0)).all()


# --- What other programs do with these files, from their public sources (November 2026)


def scene():
    """A picture of the size of digits10's input, so that nothing is resized."""
    with Image.open(digits10_pictures()[3]) as picture:
        levels = np.array(picture.convert("RGB").resize((160, 160)))
    return levels, levels.transpose(2, 0, 1)[None].astype(np.float32) / np.float32(255)


def best_detections(model, levels, threshold):
    """(score, class, x0, y0, x1, y1) in pixels, by score, before any suppression.

    Of a box with several classes these programs take the best one alone.
    """
    best = {}
    for one in dc.detect(model, levels, threshold=threshold, nms=0):
        if one.box not in best or one.score > best[one.box][0]:
            best[one.box] = (one.score, one.class_id, *one.box)
    return sorted(best.values())


def test_frigate_finds_the_boxes_of_detect_in_an_ultralytics_file(digits):
    """Its type `yolo-generic`, for one output: see `post_process_yolo` in frigate/util/model.py."""
    levels, x = scene()
    values = np.squeeze(run(dc.to_onnx(digits, head="boxes", layout="ultralytics"), x)["output0"])
    rows = values.T if len(values) < len(values.T) else values
    best = rows[:, 4:].max(axis=1)
    kept = rows[best > 0.4]
    middle, half = kept[:, :2], kept[:, 2:4] / 2
    corners = np.hstack([middle - half, middle + half])
    turned = corners[:, [1, 0, 3, 2]] / 160  # as it tells them: y, x, y, x of 0..1
    found = sorted(
        (score, label, *(box[[1, 0, 3, 2]] * 160))
        for score, label, box in zip(
            best[best > 0.4], kept[:, 4:].argmax(axis=1), turned, strict=True
        )
    )
    expected = best_detections(digits, levels, 0.4)
    assert len(expected) > 5
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-2)


def test_deepstream_finds_the_boxes_of_detect(digits):
    """By `NvDsInferParseYolo` of DeepStream-Yolo, which cuts boxes at the border."""
    levels, x = scene()
    found = []
    for x0, y0, x1, y1, score, label in run(
        dc.to_onnx(digits, head="boxes", layout="deepstream"), x
    )["output"][0]:
        if score < np.float32(0.4):
            continue
        left, top, right, bottom = np.clip([x0, y0, x1, y1], 0, 160)
        width, height = np.clip([right - left, bottom - top], 0, 160)
        if width >= 1 and height >= 1:
            found.append((score, int(label), left, top, left + width, top + height))
    expected = np.array(best_detections(digits, levels, 0.4))
    expected[:, 2:] = expected[:, 2:].clip(0, 160)
    assert len(expected) > 5
    np.testing.assert_allclose(sorted(found), expected, rtol=1e-4, atol=1e-2)


def test_an_ultralytics_loader_finds_the_metadata_that_it_reads(digits, tmp_path):
    """It takes numbers by int() and the others by ast.literal_eval."""
    dc.export(digits, tmp_path / "net.onnx", head="boxes", layout="ultralytics")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    told = session.get_modelmeta().custom_metadata_map
    assert told["task"] == "detect"
    assert [int(told[key]) for key in ("stride", "batch", "channels")] == [8, 1, 3]
    assert ast.literal_eval(told["imgsz"]) == [160, 160]
    assert ast.literal_eval(told["args"]) == {"dynamic": False}  # of sizes, not of batches
    assert ast.literal_eval(told["names"]) == dict(enumerate(digits.names))
    assert json.loads(told["darkconv_names"]) == list(digits.names)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), ["0", "1", "2"]),
        (("a 'quoted' name", 'and "another"', "ü"), ["a 'quoted' name", 'and "another"', "ü"]),
        (("one",), ["one", "1", "2"]),
        (("a", "b", "c", "too many"), ["a", "b", "c"]),
    ],
)
def test_every_class_has_a_name_for_ultralytics_and_ours_come_back(names, expected, tmp_path):
    model = random_model(network(BODIES["region"], (3, 6, 10)), names=names)
    dc.export(model, tmp_path / "net.onnx", head="boxes", layout="ultralytics")
    told = {entry.key: entry.value for entry in onnx.load(tmp_path / "net.onnx").metadata_props}
    assert ast.literal_eval(told["names"]) == dict(enumerate(expected))
    assert dc.load(tmp_path / "net.onnx").names == names


def test_names_with_other_bytes_and_hidden_ones_come_back(tmp_path):
    names = Names.parse("caf\udce9\ndont_show b\nc\n")
    model = replace(random_model(network(BODIES["region"], (3, 6, 10))), names=names)
    dc.export(model, tmp_path / "net.onnx", head="boxes", layout="ultralytics")
    found = dc.load(tmp_path / "net.onnx").names
    assert (tuple(found), found.hidden) == (tuple(names), names.hidden)


# --- Reading back


@pytest.fixture(scope="module")
def files(digits, tmp_path_factory):
    """A file of each layout."""
    folder = tmp_path_factory.mktemp("layouts")
    found = {}
    for layout in LAYOUTS:
        found[layout.head, layout.name] = folder / f"{layout.head}-{layout.name}.onnx"
        dc.export(
            digits, found[layout.head, layout.name], head=layout.head, layout=layout.name,
            threshold=0.1,
        )  # fmt: skip
    return found


@pytest.mark.parametrize(("head", "layout"), EVERY)
def test_detect_finds_with_a_file_what_it_finds_with_the_model(digits, files, head, layout):
    levels, _ = scene()
    kind = {"nms_kind": "sort"}
    detector = dc.Detector(files[head, layout], threshold=0.5, **kind)
    found, expected = detector(levels), dc.detect(digits, levels, threshold=0.5, **kind)
    assert len(found) == len(expected) > 1
    assert found.class_ids.tolist() == [one.class_id for one in expected]
    np.testing.assert_allclose(found.scores, [one.score for one in expected], atol=1e-4)
    np.testing.assert_allclose(found.boxes, [one.box for one in expected], atol=0.02)


@pytest.mark.parametrize(("head", "layout"), EVERY)
def test_evaluation_of_a_file_is_that_of_the_model(digits, files, head, layout):
    found = dc.evaluate(files[head, layout], digits10_folder() / "digits10.data", coco=False)
    assert found.mean.ap > 0.95


@pytest.mark.parametrize(("head", "layout"), EVERY)
def test_verify_compares_a_file_and_sees_another_model(digits, files, head, layout):
    check = dc.verify(digits, files[head, layout])
    assert check.ok
    assert all(row.compared for row in check.rows)
    last = max(key for key in digits.arrays if key.endswith(".weights"))
    last = f"{box_heads(digits.network)[-1].sources[0]}.weights"
    other = dc.replace_arrays(digits, {last: digits.arrays[last] * np.float32(0.8)})
    assert not dc.verify(other, files[head, layout]).ok


def test_verify_sees_a_wrong_class(digits, tmp_path):
    proto = dc.to_onnx(digits, head="boxes", layout="deepstream")
    (node,) = (node for node in proto.graph.node if node.op_type == "ArgMax")
    node.op_type = "ArgMin"
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    rows = {row.name: row for row in dc.verify(digits, tmp_path / "net.onnx").rows}
    assert [name for name, row in rows.items() if not row.is_good] == ["classes"]


@pytest.mark.parametrize(("head", "layout"), EVERY)
def test_the_model_comes_back_from_a_file(digits, files, head, layout):
    back = dc.load(files[head, layout])
    assert back.names == digits.names
    np.testing.assert_allclose(
        dc.trace(back, np.full((3, 160, 160), 0.5, np.float32))[-1],
        dc.trace(digits, np.full((3, 160, 160), 0.5, np.float32))[-1],
        rtol=1e-3, atol=1e-4,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["float32-nhwc", "uint8-nhwc", "uint8-nhwc-bgr"])
@pytest.mark.parametrize(
    ("head", "layout"), [("raw", None), ("boxes", "ultralytics"), ("nms", "efficientnms")]
)
def test_pictures_come_in_every_form(digits, tmp_path, kind, head, layout):
    options = {"layout": layout} if layout else {}
    path = tmp_path / "net.onnx"
    dc.export(digits, path, head=head, input=kind, **options)
    assert dc.verify(digits, path).ok
    levels, _ = scene()
    assert len(dc.Detector(path, nms_kind="sort")(levels)) == len(
        dc.detect(digits, levels, nms_kind="sort")
    )


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize("kind", ["float32-nchw", "float32-nhwc", "uint8-nhwc", "uint8-nhwc-bgr"])
def test_grey_networks_and_those_of_four_channels_are_verified(tmp_path, channels, kind):
    model, path = random_model(network(BODIES["region"], (channels, 6, 10))), tmp_path / "n.onnx"
    if channels == 1 and kind.endswith("bgr"):
        with pytest.raises(DarkconvError, match="3 or 4 channels, whose order it says"):
            dc.export(model, path, input=kind)
        return
    dc.export(model, path, input=kind)
    assert dc.verify(model, path).ok


# --- Half precision and 8 bits


@pytest.mark.parametrize(("head", "layout"), EVERY)
def test_half_precision_of_a_layout_is_compared(digits, tmp_path, head, layout):
    path = tmp_path / "net.onnx"
    done = dc.export(digits, path, head=head, layout=layout, fp16=True)
    assert done.precision.likeness.fault == ""
    expected = {"boxes before suppression", "scores before suppression"}
    assert set(done.precision.likeness.errors) == (
        expected if head == "nms" else {"boxes", "scores"}
    )
    assert max(done.precision.likeness.errors.values()) < 0.01
    assert dc.verify(digits, path).ok


@pytest.mark.slow
@pytest.mark.parametrize(("head", "layout"), EVERY)
def test_8_bits_of_a_layout_are_compared(digits, tmp_path, head, layout):
    path, few = tmp_path / "net.onnx", digits10_pictures()[:20]
    done = dc.export(digits, path, head=head, layout=layout, int8=True, calibrate=few)
    assert done.precision.likeness.f1 > 0.8
    assert dc.verify(digits, path).ok


# --- TensorRT's plugin


def test_the_plugin_has_the_thresholds_and_is_said_not_to_run(digits, tmp_path, caplog):
    caplog.set_level(logging.WARNING, "darkconv")
    path = tmp_path / "net.onnx"
    options = {"layout": "efficientnms", "nms_op": "tensorrt", "max_detections": 7}
    done = dc.export(digits, path, head="nms", threshold=0.3, nms=0.5, fp16=True, **options)
    assert done.checked == "not run: it suppresses by a plugin of TensorRT, and runs there alone"
    assert done.precision is None
    assert done.checked in caplog.text
    proto = onnx.load(path)
    onnx.checker.check_model(proto)
    node = proto.graph.node[-1]
    assert (node.domain, node.op_type) == ("TRT", "EfficientNMS_TRT")
    said = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    assert said["plugin_version"] == b"1"
    assert said["score_threshold"] == np.nextafter(np.float32(0.3), np.float32(1))
    assert said["iou_threshold"] == 0.5
    whole = ("max_output_boxes", "background_class", "score_activation", "box_coding")
    assert [said[name] for name in whole] == [7, -1, 0, 0]
    stated = [
        (value.name, value.type.tensor_type.elem_type,
         [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim])
        for value in proto.graph.output
    ]  # fmt: skip
    assert stated == [
        ("num_dets", onnx.TensorProto.INT32, ["batch", 1]),
        ("det_boxes", onnx.TensorProto.FLOAT, ["batch", 7, 4]),
        ("det_scores", onnx.TensorProto.FLOAT, ["batch", 7]),
        ("det_classes", onnx.TensorProto.INT32, ["batch", 7]),
    ]


@pytest.mark.parametrize("external", [False, True])
def test_what_enters_the_plugin_is_verified_and_nothing_is_detected(digits, tmp_path, external):
    path = tmp_path / "net.onnx"
    dc.export(digits, path, head="nms", layout="efficientnms", nms_op="tensorrt", external=external)
    check = dc.verify(digits, path)
    assert check.ok
    assert [row.name for row in check.rows] == [
        "boxes before suppression",
        "scores before suppression",
    ]
    assert "what it leaves was not" in check.notes[0]
    for use in (dc.Detector, lambda file: dc.evaluate(file, digits10_folder() / "digits10.data")):
        with pytest.raises(DarkconvError, match="suppresses by a plugin of TensorRT, and runs"):
            use(path)
    assert dc.load(path).names == digits.names


def test_a_file_without_its_plugin_is_damaged(digits, tmp_path):
    proto = dc.to_onnx(digits, head="nms", layout="efficientnms")
    told = {entry.key: entry.value for entry in proto.metadata_props} | {"nms_op": "tensorrt"}
    onnx.helper.set_model_props(proto, told)
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(DarkconvError, match="operator EfficientNMS_TRT: expected once"):
        dc.verify(digits, tmp_path / "net.onnx")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("layout", "yolov4", "outputs: expected boxes, confs, found output0"),
        ("layout", "efficientnms", "layout of head boxes: expected split, ultralytics"),
        ("nms_op", "else", "nms_op: expected onnx, tensorrt, found else"),
    ],
)
def test_metadata_that_do_not_fit_are_damaged(digits, files, tmp_path, key, value, message):
    proto = onnx.load(files["boxes", "ultralytics"])
    told = {entry.key: entry.value for entry in proto.metadata_props} | {key: value}
    onnx.helper.set_model_props(proto, told)
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(DarkconvError, match=f"damaged metadata: {message}"):
        dc.verify(digits, tmp_path / "net.onnx")


# --- What does not go together


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "raw", "layout": "yolov4"}, "layout would do nothing: expected head boxes or"),
        ({"head": "logits", "layout": "yolov4"}, "layout would do nothing: expected head boxes"),
        ({"head": "boxes", "layout": "efficientnms"}, "layout of head boxes: expected split, ult"),
        ({"head": "nms", "layout": "ultralytics"}, "layout of head nms: expected split, eff"),
        (
            {"head": "boxes", "layout": "ultralytics", "pixels": True},
            "pixels would do nothing: expected layout split, found ultralytics, whose boxes are "
            "always in pixels",
        ),
        ({"head": "boxes", "layout": "yolov4", "pixels": True}, "always relative"),
        ({"head": "boxes", "nms_op": "tensorrt"}, "nms_op would do nothing: expected head nms"),
        ({"head": "nms", "nms_op": "tensorrt"}, "nms_op tensorrt: expected layout efficientnms"),
        (
            {"head": "nms", "layout": "efficientnms", "nms_op": "tensorrt",
             "threshold_inputs": True},
            "thresholds as constants",
        ),
        (
            {"head": "nms", "layout": "efficientnms", "nms_op": "tensorrt", "int8": True,
             "calibrate": "unlabelled"},
            "int8 and nms_op tensorrt exclude each other",
        ),
        (
            {"head": "nms", "layout": "efficientnms", "nms_op": "tensorrt", "fp16": True,
             "compare": True},
            "compare and nms_op tensorrt exclude each other",
        ),
        ({"head": "boxes", "layout": "other"}, "layout"),
    ],
)  # fmt: skip
def test_options_that_do_not_go_together_are_refused(digits, tmp_path, options, message):
    with pytest.raises(DarkconvError, match=message):
        dc.export(digits, tmp_path / "net.onnx", **options)
    assert not any(tmp_path.iterdir())


def test_classifiers_have_no_layout():
    body = CONV.format(n=5, act="leaky") + "[avgpool]\n[softmax]\n"
    model = random_model(network(body, (3, 6, 10)))
    with pytest.raises(DarkconvError, match="predicts no boxes, which layout=yolov4 is about"):
        dc.to_onnx(model, head="boxes", layout="yolov4")


def words(hint):
    """The texts that a type allows."""
    return {hint} if isinstance(hint, str) else set().union(*map(words, get_args(hint)))


@pytest.mark.parametrize("function", [dc.to_onnx, dc.export])
def test_the_signatures_name_every_layout_and_what_suppresses(function):
    parameters = inspect.signature(function).parameters
    for name, known in (("layout", LAYOUT_NAMES), ("nms_op", NMS_OPS), ("input", INPUTS)):
        assert words(parameters[name].annotation) == set(known)


def test_the_pages_name_every_layout_and_output():
    docs = Path(__file__).parents[1] / "docs"
    page = (docs / "onnx.md").read_text()
    for layout in LAYOUTS:
        assert f"`{layout.name}`" in page
        for output in layout.outputs:
            assert f"`{output.name}`" in page
    assert all(f"--layout {name}" in (docs / "deploy.md").read_text() for name in OF_BOXES[1:])
