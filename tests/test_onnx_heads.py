"""Boxes and suppression in ONNX graphs against darkconv's own decoding."""

import logging
from pathlib import Path

import numpy as np
import pytest

import darkconv as dc
from darkconv.boxes import as_corners
from darkconv.detection.decode import Candidates, box_heads, decode
from darkconv.detection.suppress import suppress
from darkconv.errors import DarkconvError, UnsupportedError
from networks import network, random_model
from reference.collection import Case, has_detections

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

FOLDERS = sorted((Path(__file__).parent / "data" / "micro").iterdir())
HEAD = "[convolutional]\nfilters={n}\nactivation={act}\n{head}\nanchors=2,3,4,1,3,3\n"
YOLO = "[yolo]\nclasses=3\nnum=2\n"
BODIES = {
    "yolo": HEAD.format(n=16, act="linear", head=YOLO),
    "scaled": HEAD.format(n=16, act="linear", head=YOLO + "scale_x_y=1.2\n"),
    "new coords": HEAD.format(n=16, act="logistic", head=YOLO + "new_coords=1\nscale_x_y=2\n"),
    "gaussian": HEAD.format(n=24, act="linear", head="[Gaussian_yolo]\nclasses=3\nnum=2\n"),
    "left top": HEAD.format(
        n=24, act="linear", head="[Gaussian_yolo]\nclasses=3\nnum=2\nyolo_point=left_top\n"
    ),
    "region": HEAD.format(n=16, act="linear", head="[region]\nclasses=3\nnum=2\n"),
    "softmax": HEAD.format(n=16, act="linear", head="[region]\nclasses=3\nnum=2\nsoftmax=1\n"),
    "kept": HEAD.format(
        n=16, act="linear", head="[region]\nclasses=3\nnum=2\nsoftmax=1\nkeep_classes=2,0\n"
    ),
    "classfix": HEAD.format(
        n=16, act="linear", head="[region]\nclasses=3\nnum=2\nsoftmax=1\nclassfix=-1\n"
    ),
    "background": HEAD.format(
        n=16, act="linear", head="[region]\nclasses=3\nnum=2\nsoftmax=1\nbackground=1\n"
    ),
    "more coords": HEAD.format(
        n=20, act="linear", head="[region]\nclasses=3\nnum=2\nsoftmax=1\ncoords=6\n"
    ),
    "detection": "[connected]\noutput=117\nactivation=logistic\n"
    "[detection]\nclasses=3\nnum=2\ncoords=4\nside=3\nsqrt=1\nsoftmax=1\n",
    "two heads": HEAD.format(n=16, act="linear", head=YOLO + "mask=1,2\nnum=3\n").replace(
        "num=2\n", ""
    )
    + "[route]\nlayers=0\n[maxpool]\nstride=2\n"
    + HEAD.format(n=8, act="linear", head="[yolo]\nclasses=3\nmask=0\nnum=3\n"),
}
ONLY = {
    "scaled": "alexeyab",
    "new coords": "alexeyab",
    "gaussian": "alexeyab",
    "left top": "alexeyab",
    "classfix": "alexeyab",
    "background": "pjreddie",
    "more coords": "pjreddie",
}
CASES = [
    (name, dialect)
    for name in BODIES
    for dialect in ("alexeyab", "pjreddie")
    if ONLY.get(name, dialect) == dialect
] + [("yolo", "yolor"), ("two heads", "yolor")]
SHAPE = (3, 6, 10)


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "darkconv")


def built(name, dialect):
    return random_model(network(BODIES[name], SHAPE, dialect))


def pictures(count=2, shape=SHAPE):
    return np.random.default_rng(0).uniform(-1, 2, (count, *shape)).astype(np.float32)


def run(proto, x, **inputs):
    """Outputs by name; the file is checked on the way."""
    onnx.checker.check_model(proto, full_check=True)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": x, **inputs}), strict=True))


def candidates(model, x, threshold=0.0):
    """What darkconv's own decoder finds in each picture."""
    heads = [layer.index for layer in box_heads(model.network)]
    traced = dc.trace(model, x)
    for i in range(len(x)):
        yield decode(model.network, [traced[k][i] for k in heads], threshold=threshold)


def assert_boxes_are_decoded(found, expected):
    """In order; scores below zero are not kept by the decoder."""
    np.testing.assert_allclose(found[0], as_corners(expected.boxes), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.maximum(found[1], 0), expected.scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "dialect"), CASES)
@pytest.mark.parametrize("options", [{}, {"opset": 11}, {"dynamic": "batch,size"}], ids=str)
def test_boxes_are_those_of_the_decoder(name, dialect, options):
    model = built(name, dialect)
    if name == "detection" and "dynamic" in options:
        with pytest.raises(UnsupportedError):
            dc.to_onnx(model, head="boxes", **options)
        return
    found = run(dc.to_onnx(model, head="boxes", **options), pictures())
    assert list(found) == ["boxes", "scores"]
    for i, expected in enumerate(candidates(model, pictures())):
        assert_boxes_are_decoded((found["boxes"][i], found["scores"][i]), expected)


@pytest.mark.parametrize("dynamic", ["batch", "batch,size"])
@pytest.mark.parametrize("name", ["yolo", "softmax", "two heads"])
def test_boxes_come_in_pixels_of_the_input(name, dynamic):
    model = built(name, "alexeyab")
    relative, pixels = (
        run(dc.to_onnx(model, head="boxes", pixels=p, dynamic=dynamic), pictures())["boxes"]
        for p in (False, True)
    )
    np.testing.assert_allclose(pixels, relative * [10, 6, 10, 6], rtol=1e-5, atol=1e-5)


def test_boxes_of_other_sizes_are_those_of_that_size():
    model = built("yolo", "alexeyab")
    x = pictures(2, (3, 8, 4))
    found = run(dc.to_onnx(model, head="boxes", dynamic="batch,size"), x)
    resized = model.with_input_size(4, 8)
    for i, expected in enumerate(candidates(resized, x)):
        assert_boxes_are_decoded((found["boxes"][i], found["scores"][i]), expected)


def test_shapes_of_boxes_are_stated():
    proto = dc.to_onnx(built("two heads", "alexeyab"), head="boxes")
    shapes = [
        [d.dim_param or d.dim_value for d in o.type.tensor_type.shape.dim]
        for o in proto.graph.output
    ]
    assert shapes == [["batch", 135, 4], ["batch", 135, 3]]


def spread(scores):
    """A threshold that about a third of the candidates exceed."""
    return float(np.quantile(scores, 0.7))


def detections_of(found, i):
    """(class, score, box) of a picture, best first."""
    count = int(found["count"][i])
    assert (found["classes"][i, count:] == -1).all()
    assert (found["scores"][i, count:] == 0).all()
    assert (found["boxes"][i, count:] == 0).all()
    assert (np.diff(found["scores"][i]) <= 0).all()
    return found["classes"][i, :count], found["scores"][i, :count], found["boxes"][i, :count]


def plain(expected: Candidates, nms):
    """(class, score, box) after plain suppression, best first."""
    kept = suppress(expected, threshold=nms, kind="sort")
    rows, classes = np.nonzero(kept.scores)
    scores = kept.scores[rows, classes]
    order = np.argsort(-scores, kind="stable")
    return classes[order], scores[order], as_corners(kept.boxes[rows])[order]


def assert_same(found, expected):
    """Equal up to the order of detections whose scores differ by a rounding alone."""
    assert sorted(found[0]) == sorted(expected[0])
    for kind in set(expected[0]):
        mine, theirs = (
            np.column_stack([side[1], side[2]])[side[0] == kind] for side in (found, expected)
        )
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "dialect"), CASES)
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_suppression_is_the_plain_one(name, dialect, opset):
    model = built(name, dialect)
    raw = run(dc.to_onnx(model, head="boxes"), pictures())
    threshold = min(1.0, spread(raw["scores"]))
    proto = dc.to_onnx(model, head="nms", threshold=threshold, nms=0.4, opset=opset)
    found = run(proto, pictures())
    assert list(found) == ["boxes", "scores", "classes", "count"]
    assert {k: v.dtype.name for k, v in found.items()} == {
        "boxes": "float32",
        "scores": "float32",
        "classes": "int32",
        "count": "int32",
    }
    for i, expected in enumerate(candidates(model, pictures(), threshold)):
        assert_same(detections_of(found, i), plain(expected, 0.4))


@pytest.mark.parametrize("dynamic", ["batch", "size", "batch,size", ""])
def test_thresholds_may_be_inputs(dynamic):
    model = built("yolo", "alexeyab")
    proto = dc.to_onnx(
        model, head="nms", threshold_inputs=True, max_detections=900, dynamic=dynamic
    )
    assert [value.name for value in proto.graph.input] == [
        "input",
        "score_threshold",
        "iou_threshold",
    ]
    x = pictures(1)
    for threshold, nms in ((0.2, 0.3), (0.05, 0.8)):
        inputs = {"score_threshold": threshold, "iou_threshold": nms}
        found = run(proto, x, **{k: np.array([v], np.float32) for k, v in inputs.items()})
        (expected,) = candidates(model, x, threshold)
        assert_same(detections_of(found, 0), plain(expected, nms))


def test_the_best_are_kept_where_there_are_too_many():
    model = built("yolo", "alexeyab")
    many, few = (
        run(dc.to_onnx(model, head="nms", threshold=0.01, nms=1.0, max_detections=n), pictures())
        for n in (300, 5)
    )
    assert (many["count"] > 5).all()
    assert (few["count"] == 5).all()
    np.testing.assert_array_equal(few["scores"], many["scores"][:, :5])


def test_a_picture_without_objects_gives_none():
    found = run(dc.to_onnx(built("yolo", "alexeyab"), head="nms", threshold=1.0), pictures())
    assert (found["count"] == 0).all()
    assert (found["classes"] == -1).all()


BOXES = [*filter(has_detections, FOLDERS)]


@pytest.mark.parametrize("folder", BOXES, ids=lambda folder: folder.name)
def test_boxes_of_the_golden_cases_are_those_of_c(folder):
    case = Case(folder, folder / "net.weights")
    settings, expected = case.layout["detections"], case.expected
    if any(layer.tree for layer in case.model.network.heads):
        with pytest.raises(UnsupportedError, match="class tree"):
            dc.to_onnx(case.model, head="boxes")
        return
    x = expected["input"]
    found = run(dc.to_onnx(case.model, head="boxes"), x if x.ndim == 4 else x[None])
    boxes, scores = found["boxes"][0], found["scores"][0]
    own = next(candidates(case.model, x if x.ndim == 4 else x[None], settings["thresh"]))
    passing = np.where(scores > settings["thresh"], scores, 0)
    is_row = (passing > 0).any(axis=1)
    is_own = (own.scores > 0).any(axis=1)
    np.testing.assert_allclose(passing[is_row], own.scores[is_own], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(boxes[is_row], as_corners(own.boxes[is_own]), rtol=1e-4, atol=1e-5)


def test_classifiers_give_their_probabilities():
    body = "[avgpool]\n[connected]\noutput=4\nactivation=linear\n[softmax]\n[cost]\n"
    model = random_model(network(body))
    x = pictures(2, (3, 8, 8))
    found = run(dc.to_onnx(model, head="boxes"), x)
    assert list(found) == ["probabilities"]
    np.testing.assert_allclose(found["probabilities"], dc.trace(model, x)[2], rtol=1e-5)
    with pytest.raises(DarkconvError, match=r"predicts no boxes, .*found \[softmax\]"):
        dc.to_onnx(model, head="nms")


def test_networks_without_heads_have_no_boxes():
    model = random_model(network("[convolutional]\nfilters=2\n"))
    with pytest.raises(DarkconvError, match="predicts no boxes, .*found no head"):
        dc.to_onnx(model, head="boxes")


def test_suppression_that_onnx_cannot_say_is_named(caplog):
    body = BODIES["yolo"] + "nms_kind=greedynms\nbeta_nms=0.7\n"
    model = random_model(network(body, SHAPE))
    with caplog.at_level(logging.WARNING, "darkconv"):
        proto = dc.to_onnx(model, head="nms")
    assert "asks for nms_kind=greedynms, which ONNX has no operator for" in caplog.text
    metadata = {entry.key: entry.value for entry in proto.metadata_props}
    assert metadata["nms_kind"] == "greedynms"
    assert metadata["beta_nms"] == "0.7"
    assert metadata["nms_in_graph"].startswith("sort (ONNX cannot say greedynms")


@pytest.mark.parametrize("dialect", ["alexeyab", "pjreddie"])
def test_region_is_in_opencvs_order_but_for_the_originals_dialect(dialect, tmp_path):
    """As docs/opencv5.md says: OpenCV goes cell by cell, the original anchor by anchor."""
    cv2 = pytest.importorskip("cv2", exc_type=ImportError)
    if not hasattr(cv2.dnn, "readNetFromDarknet"):
        pytest.skip("OpenCV 5 has no reader of Darknet's files")
    body = BODIES["softmax"].replace("filters=16", "filters=16\nsize=1\nstride=1\npad=1")
    body = body.replace("anchors=2,3,4,1,3,3", "anchors=2,3,4,1")  # OpenCV wants no more
    model = random_model(network(body, SHAPE, dialect))
    paths = [str(tmp_path / name) for name in ("net.cfg", "net.weights")]
    dc.save(model, *paths)
    net = cv2.dnn.readNetFromDarknet(*paths)
    x = np.random.default_rng(0).random((1, *SHAPE), np.float32)
    net.setInput(x)
    expected = net.forward()[:, :4]
    corners = run(dc.to_onnx(model, head="boxes"), x)["boxes"][0]
    low, high = corners[:, :2], corners[:, 2:]
    found = np.hstack([(low + high) / 2, high - low])
    if dialect == "pjreddie":
        found = found.reshape(2, -1, 4).transpose(1, 0, 2).reshape(-1, 4)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


# --- What enters the heads


@pytest.mark.parametrize("name", ["yolo", "detection", "two heads"])
@pytest.mark.parametrize("options", [{}, {"dynamic": "batch,size"}, {"fp16": True}], ids=str)
def test_logits_are_what_enters_the_heads(name, options, tmp_path):
    pytest.importorskip("torch")
    if name == "detection" and "dynamic" in options:
        pytest.skip("its size is fixed")
    model = random_model(network(BODIES[name], (3, 12, 12), ONLY.get(name, "alexeyab")))
    heads = model.network.heads
    path = tmp_path / "net.onnx"
    dc.export(model, path, head="logits", **options)
    proto = onnx.load(path)
    assert [one.name for one in proto.graph.output] == [f"{head.label}_logits" for head in heads]
    assert {one.type.tensor_type.elem_type for one in proto.graph.output} == {1}
    found = dc.verify(model, path)
    assert found.ok
    assert found.compared == sum(head.in_shapes[0].size for head in heads) * found_inputs(found)
    with pytest.raises(DarkconvError, match="gives logits, from which no boxes are read"):
        dc.Detector(path)


def found_inputs(found):
    return 4 if "3 bundled" in found.given else 1


def test_logits_of_a_head_that_reads_the_input_are_the_input():
    model = random_model(network("[yolo]\nclasses=3\nnum=2\nanchors=2,3,4,1\n", (16, 4, 4)))
    session = onnxruntime.InferenceSession(dc.to_onnx(model, head="logits").SerializeToString())
    x = np.random.default_rng(0).random((2, 16, 4, 4), np.float32)
    assert np.array_equal(session.run(None, {"input": x})[0], x)


def test_a_network_without_heads_has_no_logits():
    model = random_model(network("[convolutional]\nfilters=2\n", (3, 4, 4)))
    with pytest.raises(DarkconvError, match="has no head"):
        dc.to_onnx(model, head="logits")
