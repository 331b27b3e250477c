"""reclass: merged, new and transferred classes, and classes dropped behind a softmax."""

import json
import logging

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from darkconv.errors import PlanError
from darkconv.surgery.classes import transfer
from networks import network, random_model
from test_reclass import CONV, HEADS, NAMES, TRUNK, head_model, run, scores_by_class

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

ROWS = TRUNK + CONV.format(n=18, act="linear", bn=0)
REGION = "[region]\nnum=2\nclasses=4\nsoftmax=1\n"
SOFTMAX = {
    "region": (ROWS + REGION, "pjreddie"),
    "region-cells": (ROWS + REGION, "alexeyab"),
    "background": (ROWS + REGION + "background=1\n", "pjreddie"),
    "classifier": (
        TRUNK + CONV.format(n=4, act="linear", bn=0) + "[avgpool]\n[softmax]\n",
        "alexeyab",
    ),
    "dense": (TRUNK + "[connected]\noutput=4\nactivation=linear\n[softmax]\n", "pjreddie"),
}


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "darkconv")


def softmax_model(kind):
    body, dialect = SOFTMAX[kind]
    return random_model(network(body, dialect=dialect), names=NAMES)


def logits(model):
    """What reaches the head."""
    x = np.random.default_rng(5).random(model.network.input_shape, np.float32)
    return dc.trace(model, x)[model.network.heads[0].sources[0]]


def rows_of(model, name):
    """Input values of the head that are of one class."""
    boxes = class_rows(model, ())
    own = class_rows(model, (model.names.index(name),))
    values = logits(model)
    rows = values if len(values) == model.network.heads[0].in_shapes[0].c else values.ravel()
    return rows[np.setdiff1d(own, boxes)]


def class_rows(model, keep):
    (head,) = model.network.heads
    return head.spec.class_rows(head.in_shapes, keep)


GROWING = sorted(set(HEADS) - {"behind dropout"})


@pytest.mark.parametrize("kind", GROWING)
def test_kept_classes_stay_the_same_beside_made_ones(kind):
    whole = head_model(kind)
    made = dc.reclass(whole, keep=["pair=ant+cat", "dog", "bee"], add=["new"])
    assert made.names == ("pair", "dog", "bee", "new")
    boxes, scores = scores_by_class(whole, run(whole, "torch"))
    made_boxes, made_scores = scores_by_class(made, run(made, "torch"))
    np.testing.assert_allclose(made_boxes, boxes, rtol=1e-6)
    np.testing.assert_allclose(made_scores[..., [1, 2]], scores[..., [3, 1]], rtol=1e-6)


@pytest.mark.parametrize("kind", sorted(set(GROWING) - {"detection", "new_coords"}))
def test_a_merged_class_is_the_mean_of_its_members(kind):
    whole = head_model(kind)
    made = dc.reclass(whole, keep=["pair=ant+cat"])
    expected = (rows_of(whole, "ant") + rows_of(whole, "cat")) / 2
    np.testing.assert_allclose(rows_of(made, "pair"), expected, rtol=1e-4, atol=1e-5)


def test_merged_probabilities_of_v1_add_up():
    whole = head_model("detection")
    made = dc.reclass(whole, keep=["pair=ant+cat"])
    expected = rows_of(whole, "ant") + rows_of(whole, "cat")
    np.testing.assert_allclose(rows_of(made, "pair"), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", SOFTMAX)
def test_before_a_softmax_merged_classes_add_their_number(kind):
    whole = softmax_model(kind)
    made = dc.reclass(whole, keep=["pair=ant+cat", "bee", "dog"])
    mean = (rows_of(whole, "ant") + rows_of(whole, "cat")) / 2
    np.testing.assert_allclose(rows_of(made, "pair"), mean + np.log(2), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("norm", [0, 1])
def test_rows_behind_batch_norm(norm):
    body = TRUNK + CONV.format(n=18, act="linear", bn=norm) + "[yolo]\nclasses=4\nnum=2\n"
    for dialect in ("pjreddie", "alexeyab"):
        whole = random_model(network(body, dialect=dialect), names=NAMES)
        made = dc.reclass(whole, keep=["pair=bee+dog", "ant"], add=["new"], init="mean")
        expected = (rows_of(whole, "bee") + rows_of(whole, "dog")) / 2
        np.testing.assert_allclose(rows_of(made, "pair"), expected, rtol=1e-4, atol=1e-5)
        mean = np.mean([rows_of(whole, name) for name in NAMES], axis=0)
        np.testing.assert_allclose(rows_of(made, "new"), mean, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(rows_of(made, "ant"), rows_of(whole, "ant"), rtol=1e-6)


@pytest.mark.parametrize("kind", GROWING)
def test_a_new_class_like_another_scores_like_it(kind):
    made = dc.reclass(head_model(kind), add=["twin"], init="like:cat")
    assert made.names == (*NAMES, "twin")
    _, scores = scores_by_class(made, run(made, "torch"))
    np.testing.assert_array_equal(scores[..., 4], scores[..., 2])


def test_random_rows_are_as_spread_as_the_others_and_reproducible():
    body = TRUNK + CONV.format(n=54, act="linear", bn=0) + "[yolo]\nclasses=13\nnum=3\n"
    whole = random_model(network(body), names=[f"c{i}" for i in range(13)])
    a, b, c = (dc.reclass(whole, add=["new"], seed=seed) for seed in (1, 1, 2))
    key = next(k for k in a.arrays if k.startswith("1.") and k.endswith("weights"))
    assert np.array_equal(a.arrays[key], b.arrays[key])
    assert not np.array_equal(a.arrays[key], c.arrays[key])
    (head,) = a.network.heads
    new = np.setdiff1d(
        head.spec.class_rows(head.in_shapes, (13,)), head.spec.class_rows(head.in_shapes, ())
    )
    rest = np.setdiff1d(np.arange(57), new)
    assert 0.5 < a.arrays[key][new].std() / a.arrays[key][rest].std() < 2


def test_transfer_keeps_what_has_the_same_name():
    whole = head_model("yolo")
    made = transfer(whole, ["eel", "dog", "fox", "ant"])
    assert made.names == ("eel", "dog", "fox", "ant")
    for name in ("dog", "ant"):
        np.testing.assert_allclose(rows_of(made, name), rows_of(whole, name), rtol=1e-6)


def test_a_class_can_have_another_name():
    made = dc.reclass(head_model("yolo"), keep=["hound=dog", "ant"])
    assert made.names == ("hound", "ant")
    assert np.array_equal(
        made.arrays["1.weights"],
        dc.reclass(head_model("yolo"), keep=["dog", "ant"]).arrays["1.weights"],
    )


def test_other_stands_for_the_dropped_classes():
    whole = softmax_model("region")
    made = dc.reclass(whole, keep=["bee"], other=True)
    assert made.names == ("bee", "other")
    alone = dc.reclass(whole, keep=["bee"])
    found, without, original = (
        scores_by_class(m, run(m, "torch"))[1][..., k]
        for m, k in ((made, 0), (alone, 0), (whole, 1))
    )
    assert (found < without).all()
    assert np.abs(found - original).mean() < np.abs(without - original).mean()


def test_counters_of_merged_classes_add_up():
    body = HEADS["yolo"][0] + "classes=4\ncounters_per_class=10,20,30,40\n"
    whole = random_model(network(body), names=NAMES)
    made = dc.reclass(whole, keep=["pair=ant+dog", "bee"], add=["new"])
    assert made.network.layers[-1].spec.counters_per_class == (50, 20, 25)


def test_made_models_are_written_and_read(tmp_path):
    made = dc.reclass(head_model("yolo"), keep=["pair=ant+dog"], add=["new"])
    dc.save(made, tmp_path / "m.cfg", tmp_path / "m.weights", names=tmp_path / "m.names")
    back = dc.load(tmp_path / "m.cfg", tmp_path / "m.weights")
    assert back.names == made.names
    for key, array in made.arrays.items():
        assert np.array_equal(back.arrays[key], array)


def test_arrays_between_head_and_rows_are_named():
    with pytest.raises(PlanError, match=r"layer 3 \[batchnorm\].* rows that new classes"):
        dc.reclass(head_model("behind dropout"), add=["new"])


# --- Behind the softmax


@pytest.mark.parametrize("backend", ["torch", "onnx"])
@pytest.mark.parametrize("kind", SOFTMAX)
def test_scores_stay_the_same_behind_a_full_softmax(kind, backend):
    whole = softmax_model(kind)
    part = dc.reclass(whole, keep=["dog", "bee"], keep_softmax=True)
    assert part.names == ("dog", "bee")
    x = np.random.default_rng(5).random((3, 8, 8), np.float32)
    full, kept = (dc.trace(m, x, backend=backend)[-1] for m in (whole, part))
    if kind in ("classifier", "dense"):
        np.testing.assert_array_equal(kept.ravel(), full.ravel()[[3, 1]])
        return
    if kind == "region-cells":
        full, kept = full.reshape(-1, 9), kept.reshape(-1, 7)
        np.testing.assert_array_equal(kept, full[:, [0, 1, 2, 3, 4, 8, 6]])
        return
    full, kept = full.reshape(2, 9, 4, 4), kept.reshape(2, 7, 4, 4)
    np.testing.assert_array_equal(kept, full[:, [0, 1, 2, 3, 4, 8, 6]])


@pytest.mark.parametrize("kind", ["region", "region-cells"])
def test_detections_behind_a_full_softmax_are_the_originals(kind):
    whole = softmax_model(kind)
    part = dc.reclass(whole, keep=["dog", "bee"], keep_softmax=True)
    picture = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    expected = [d for d in dc.detect(whole, picture, 0.1) if d.name in part.names]
    found = dc.detect(part, picture, 0.1)
    assert expected
    assert sorted((d.name, d.score, d.box) for d in found) == sorted(
        (d.name, d.score, d.box) for d in expected
    )


def test_what_darknet_cannot_say_is_not_written_for_it(tmp_path):
    part = dc.reclass(softmax_model("region"), keep=["bee"], keep_softmax=True)
    with pytest.raises(PlanError, match="behind the softmax"):
        dc.save(part, tmp_path / "m.cfg", tmp_path / "m.weights")
    assert not list(tmp_path.iterdir())
    with pytest.raises(PlanError, match="before that"):
        dc.reclass(part, keep=["bee"])


# --- Errors


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": []}, "no class to keep"),
        ({"keep": ["pair=ant+eel"]}, "unknown class 'eel'"),
        ({"keep": ["pair=ant+bee", "bee"]}, "bee is named twice"),
        ({"keep": ["dog=ant+bee", "dog"]}, "two classes would have the name dog"),
        ({"keep": ["=ant"]}, "a name before the ="),
        ({"add": ["ant"]}, "two classes would have the name ant"),
        ({"add": [" "]}, "a line of text"),
        ({"add": ["new"], "init": "like:eel"}, "no class of that name"),
        ({"add": ["new"], "init": "zeros"}, "random, mean or like:NAME"),
        ({"keep": ["ant"], "other": True}, "no softmax"),
        ({"keep": ["ant"], "keep_softmax": True}, "no softmax"),
    ],
)
def test_bad_wishes_are_refused(options, message):
    with pytest.raises(PlanError, match=message):
        dc.reclass(head_model("yolo"), **options)


def test_one_text_is_no_list_of_names():
    with pytest.raises(dc.DarkconvError, match="keep: expected a list of texts"):
        dc.reclass(head_model("yolo"), keep="ant")


def test_other_needs_something_dropped():
    with pytest.raises(PlanError, match="none is dropped"):
        dc.reclass(softmax_model("region"), other=True)
    with pytest.raises(PlanError, match="classes of the model alone"):
        dc.reclass(softmax_model("region"), keep=["ant"], add=["new"], keep_softmax=True)


# --- The command


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, model in (("net", head_model("yolo")), ("soft", softmax_model("region"))):
        dc.save(model, f"{name}.cfg", f"{name}.weights", names=f"{name}.names")
    (tmp_path / "other.names").write_text("eel\ndog\n")
    (tmp_path / "net.data").write_bytes(
        b"# mine\r\nclasses = 4\r\ntrain=a.txt\r\nnames=net.names\r\n"
    )

    def call(line, status=0):
        result = CliRunner().invoke(main, line.split())
        assert result.exit_code == status, result.output
        return result

    return call


def test_the_command_merges_and_adds(invoke, tmp_path):
    pytest.importorskip("PIL.Image").new("RGB", (16, 16)).save(tmp_path / "p.png")
    (tmp_path / "a.txt").write_text("p.png\n")
    result = invoke(
        "reclass net.cfg net.weights --keep pair=ant+bee,dog --add eel --data net.data "
        "-o m.cfg m.weights"
    )
    assert dc.load("m.cfg", "m.weights").names == ("pair", "dog", "eel")
    assert "kept 1 of 4 classes: dog" in result.stdout
    assert "merged, renamed or new: pair, eel" in result.stdout
    data = (tmp_path / "m.data").read_bytes()
    assert data == b"# mine\r\nclasses = 3\r\ntrain= m_data/train.txt\r\nnames= m.names\r\n"


def test_the_command_warns_that_made_classes_need_training(invoke, caplog):
    caplog.set_level(logging.WARNING, "darkconv")
    result = invoke("reclass net.cfg net.weights --add eel -o m.cfg m.weights")
    assert "need fine-tuning: eel" in result.stderr
    assert dc.load("m.cfg").network.heads[0].spec.classes == 5


def test_the_command_transfers(invoke):
    invoke("reclass net.cfg net.weights --to-names other.names -o m.cfg m.weights")
    assert dc.load("m.cfg", "m.weights").names == ("eel", "dog")


def test_the_command_keeps_the_softmax_in_exports(invoke, tmp_path):
    line = "reclass soft.cfg soft.weights --dialect pjreddie --keep dog,bee --keep-softmax"
    invoke(f"{line} -o m.safetensors -o m.onnx")
    (head,) = json.loads(invoke("info m.safetensors --json").stdout)["heads"]
    assert head["classes"] == 2
    result = invoke(f"{line} -o m.cfg m.weights", status=2)
    assert "cannot say it" in result.stderr
    assert not (tmp_path / "m.cfg").exists()


@pytest.mark.parametrize(
    "line",
    [
        "reclass net.cfg net.weights --to-names other.names --keep ant -o m.cfg m.weights",
        "reclass net.cfg net.weights --keep ant --data net.data -o m.onnx",
        "reclass net.cfg net.weights --to-names missing.names -o m.cfg m.weights",
    ],
)
def test_wrong_usage(invoke, line):
    invoke(line, status=2)
