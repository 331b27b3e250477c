"""Heads with unlike numbers of classes: what the C programs have room for, and what they suppress.

AlexeyAB's program gives each box room for the scores of the first head's classes, the original for
those of the last one's; both suppress by the classes of the last head.
"""

import numpy as np
import pytest

import darkconv as dc
from darkconv.boxes import iou
from darkconv.detection.decode import Candidates, decode
from darkconv.detection.suppress import suppress
from darkconv.errors import DarkconvError, UnsupportedError
from networks import network, random_model

pytest.importorskip("torch")

HEAD = "[convolutional]\nfilters={n}\nactivation=linear\n[yolo]\nclasses={c}\nanchors=2,3,4,1\n"
SHAPE = (3, 6, 10)


def model_of(first, last, dialect):
    """Two heads on one picture, of so many classes each."""
    heads = [
        HEAD.format(n=5 + classes, c=classes) + f"num=2\nmask={place}\n"
        for place, classes in enumerate((first, last))
    ]
    return random_model(network(heads[0] + "[route]\nlayers=0\n" + heads[1], SHAPE, dialect))


def allowed(first, last, dialect):
    """The model, its classes, and which of the heads has them all."""
    return pytest.param(first, last, dialect, id=f"{first}-{last}-{dialect}")


ALLOWED = [allowed(3, 2, "alexeyab"), allowed(2, 3, "pjreddie"), allowed(3, 3, "alexeyab")]
REFUSED = [allowed(2, 3, "alexeyab"), allowed(3, 2, "pjreddie")]


def pictures():
    return np.random.default_rng(0).uniform(0, 1, (2, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize(("first", "last", "dialect"), ALLOWED)
def test_a_head_of_fewer_classes_has_no_score_for_the_others(first, last, dialect):
    model = model_of(first, last, dialect)
    traced = dc.trace(model, pictures())
    outputs = [traced[layer.index][0] for layer in model.network.heads]
    found = decode(model.network, outputs, threshold=0.0)
    assert found.scores.shape == (120, 3)
    narrow = slice(0, 60) if first < last else slice(60, 120)
    few = min(first, last)
    assert found.scores[narrow, :few].all()
    assert not found.scores[narrow, few:].any()


@pytest.mark.parametrize(("first", "last", "dialect"), ALLOWED)
@pytest.mark.parametrize("layout", ["split", "ultralytics", "deepstream", "yolov4"])
def test_files_have_the_boxes_of_all_heads(first, last, dialect, layout, tmp_path):
    pytest.importorskip("onnxruntime")
    model = model_of(first, last, dialect)
    dc.export(model, tmp_path / "net.onnx", head="boxes", layout=layout)
    check = dc.verify(model, tmp_path / "net.onnx")
    assert check.ok, check
    levels = (pictures()[0].transpose(1, 2, 0) * 255).astype(np.uint8)
    found, expected = (
        dc.Detector(tmp_path / "net.onnx", nms=0)(levels),
        dc.detect(model, levels, nms=0),
    )
    if layout != "deepstream":
        assert len(found) == len(expected) > 0


def test_keras_models_have_the_boxes_of_all_heads(tmp_path):
    pytest.importorskip("keras")
    model = model_of(3, 2, "alexeyab")
    dc.export(model, tmp_path / "net.keras", head="boxes")
    assert dc.verify(model, tmp_path / "net.keras").ok


@pytest.mark.parametrize(("first", "last", "dialect"), REFUSED)
def test_more_classes_than_there_is_room_for_are_refused(first, last, dialect, tmp_path):
    pytest.importorskip("onnx")
    model = model_of(first, last, dialect)
    which = "first" if dialect == "alexeyab" else "last"
    message = rf"no room for so many scores: expected at most 2, as the {which} head has, found 3"
    for use in (
        lambda: dc.to_onnx(model, head="boxes"),
        lambda: dc.detect(model, np.zeros((6, 10, 3), np.uint8)),
    ):
        with pytest.raises(DarkconvError, match=message):
            use()
    dc.to_onnx(model, head="raw")
    dc.to_onnx(model, head="logits")


def test_classes_beyond_the_last_head_s_are_not_suppressed():
    model = model_of(3, 2, "alexeyab")
    traced = dc.trace(model, pictures())
    outputs = [traced[layer.index][0] for layer in model.network.heads]
    found = decode(model.network, outputs, threshold=0.1)
    kept = suppress(found, threshold=0.1, classes=2)
    alone = suppress(Candidates(found.boxes, found.objectness, found.scores[:, :2]), threshold=0.1)
    alive = found.objectness != 0
    np.testing.assert_array_equal(kept.scores[:, :2], alone.scores)
    np.testing.assert_array_equal(kept.scores[:, 2], found.scores[alive, 2])
    assert np.count_nonzero(kept.scores[:, :2]) < np.count_nonzero(found.scores[alive, :2])
    levels = (pictures()[0].transpose(1, 2, 0) * 255).astype(np.uint8)
    third = [one for one in dc.detect(model, levels, threshold=0.1, nms=0.1) if one.class_id == 2]
    boxes = np.array([one.box for one in third], np.float32)
    overlaps = iou(boxes[:, None], boxes) - np.eye(len(boxes))
    assert (overlaps > 0.1).any()


@pytest.mark.parametrize("layout", ["split", "efficientnms"])
def test_suppression_in_a_graph_is_refused_where_it_would_be_another(layout):
    pytest.importorskip("onnx")
    with pytest.raises(UnsupportedError, match="by the classes of the last head alone"):
        dc.to_onnx(model_of(3, 2, "alexeyab"), head="nms", layout=layout)
    dc.to_onnx(model_of(2, 3, "pjreddie"), head="nms", layout=layout)


# --- What enters the heads, which has no common number of classes


@pytest.mark.parametrize("suffix", ["onnx", "keras", "tflite", "pt2"])
def test_every_format_gives_what_enters_each_head(suffix, tmp_path):
    model, path = model_of(2, 3, "alexeyab"), tmp_path / f"net.{suffix}"
    pytest.importorskip({"onnx": "onnxruntime", "pt2": "torch"}.get(suffix, "keras"))
    dc.export(model, path, head="logits")
    check = dc.verify(model, path)
    assert check.ok
    assert [row.name for row in check.rows] == ["001_yolo_logits", "004_yolo_logits"]
