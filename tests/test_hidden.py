"""Classes marked `dont_show`: found, but neither listed nor drawn, in every form of a model."""

import dataclasses
import json

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.backends import spoke
from darkconv.cli import main
from darkconv.core.names import Names
from networks import network, random_model

pytest.importorskip("PIL")

BODY = "[convolutional]\nfilters=21\nactivation=linear\n[yolo]\nclasses=2\nnum=3\nmask=0,1,2\n"
ANCHORS = "anchors=2,3,4,4,6,5\n"
PICTURE = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)


def model(hidden=()):
    made = random_model(network(BODY + ANCHORS, (3, 16, 16)))
    return dataclasses.replace(made, names=Names(("person", "car"), hidden=hidden))


def without_people(found):
    return [one for one in found if one.name != "person"]


@pytest.mark.parametrize("backend", ["torch", "onnx", "keras"])
def test_detect_lists_none_of_a_hidden_class(backend):
    every = dc.detect(model(), PICTURE, 0.05, backend=backend)
    assert {one.name for one in every} == {"person", "car"}
    assert dc.detect(model([0]), PICTURE, 0.05, backend=backend) == without_people(every)


def exported(made, kind, folder):
    if kind == "keras":
        keras = spoke("keras")
        keras.write_keras(keras.to_keras(made), folder / "m.keras")
        return keras.read_keras_file(folder / "m.keras")
    if kind == "tflite":
        keras = spoke("keras")
        keras.write_litert(made, folder / "m.tflite")
        return keras.read_litert(folder / "m.tflite")
    onnx = spoke("onnx")
    onnx.write_onnx(made, folder / "m.onnx", head=kind, threshold=0.05)
    return onnx.read_onnx(folder / "m.onnx")


@pytest.mark.parametrize("kind", ["raw", "boxes", "nms", "keras", "tflite"])
def test_an_exported_file_lists_none_of_a_hidden_class(kind, tmp_path):
    (tmp_path / "a").mkdir()
    every = dc.Detector(exported(model(), kind, tmp_path / "a"), threshold=0.05)(PICTURE)
    found = dc.Detector(exported(model([0]), kind, tmp_path), threshold=0.05)(PICTURE)
    assert without_people(every) == list(found)
    assert len(every) > len(found) > 0


@pytest.fixture
def files(tmp_path):
    from PIL import Image

    Image.fromarray(PICTURE).save(tmp_path / "p.png")
    words = [str(tmp_path / f"n.{end}") for end in ("cfg", "weights")]
    dc.save(model([0]), *words, names=tmp_path / "n.names")
    return [*words, str(tmp_path / "p.png"), "--threshold", "0.05"]


def test_the_command_says_once_what_is_hidden(files, tmp_path):
    result = CliRunner().invoke(main, ["detect", *files, files[2]])
    assert result.stderr.count("1 class is hidden by dont_show in the names file: person") == 1
    assert "person" not in result.stdout
    assert "car" in result.stdout


def test_json_counts_what_is_hidden(files):
    (one,) = json.loads(CliRunner().invoke(main, ["detect", *files, "--json"]).stdout)
    every = dc.detect(model(), PICTURE, 0.05)
    assert len(one["detections"]) + one["hidden"] == len(every)
    assert one["hidden"] == len(every) - len(without_people(every)) > 0


def test_a_drawn_picture_shows_nothing_of_a_hidden_class(files, tmp_path):
    from PIL import Image

    from darkconv.detection.draw import draw

    result = CliRunner().invoke(main, ["detect", *files, "-o", str(tmp_path / "o.png")])
    assert result.exit_code == 0, result.output
    drawn = draw(PICTURE, without_people(dc.detect(model(), PICTURE, 0.05)))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "o.png")), np.asarray(drawn))


def test_eval_measures_hidden_classes_too(files, tmp_path):
    (tmp_path / "p.txt").write_text("0 0.5 0.5 0.5 0.5\n1 0.3 0.3 0.2 0.2\n")
    args = ["eval", *files[:2], "--data", files[2], "--json", "--no-exact"]
    result = CliRunner().invoke(main, args)
    assert result.exit_code == 0, result.output
    assert [one["name"] for one in json.loads(result.stdout)["classes"]] == ["person", "car"]


def test_reclass_without_keep_keeps_the_classes_that_are_shown(files, tmp_path):
    out = [str(tmp_path / f"o.{end}") for end in ("cfg", "weights")]
    result = CliRunner().invoke(main, ["reclass", *files[:2], "-o", *out])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "o.names").read_text() == "car\n"
