"""How pictures are fitted: an exported file says it, and detect and eval do it."""

import json
import logging
import re

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from darkconv.core.model import Header
from darkconv.darknet.cfg import parse_cfg
from darkconv.darknet.dialect import choose_dialect
from darkconv.errors import DarkconvError
from effort import few
from networks import cfg_text, network, random_model

BODY = "[convolutional]\nfilters=16\nactivation=linear\n[yolo]\nclasses=3\nnum=2\nanchors=2,3,4,1\n"
WAYS = ("stretch", "letterbox")
SUFFIXES = {"onnx": "onnxruntime", "keras": "keras", "tflite": "ai_edge_litert"}


def model_of(dialect="alexeyab"):
    return random_model(network(BODY, (3, 8, 8), dialect), seed=1)


def picture():
    return np.random.default_rng(2).integers(0, 256, (5, 11, 3), np.uint8)


def written(model, path, **options):
    """The file, ready to run."""
    suffix = path.suffix
    pytest.importorskip(SUFFIXES[suffix[1:]])
    if suffix == ".onnx":
        from darkconv.backends.onnx import read_onnx, write_onnx

        write_onnx(model, path, **options)
        return read_onnx(path)
    from darkconv.backends import keras

    if suffix == ".tflite":
        keras.write_litert(model, path, **options)
        return keras.read_litert(path)
    keras.write_keras(keras.to_keras(model, **options), path)
    return keras.read_keras_file(path)


def assert_same(found, expected):
    assert len(found) == len(expected) > 3
    for one, other in zip(found, expected, strict=True):
        assert one.class_id == other.class_id
        np.testing.assert_allclose(one.box, other.box, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dialect", ["alexeyab", "pjreddie"])
@pytest.mark.parametrize("way", few([*WAYS, None]))
def test_a_file_is_fed_as_it_says(suffix, dialect, way, tmp_path):
    model = model_of(dialect)
    file = written(model, tmp_path / f"net.{suffix}", resize=way)
    assert file.resize == way or (way is None and file.resize == WAYS[dialect == "pjreddie"])
    for asked in (None, *WAYS):
        expected = dc.detect(model, picture(), 0.1, resize=asked or way)
        assert_same(dc.Detector(file, threshold=0.1, resize=asked)(picture()), expected)
    stretched, boxed = (dc.detect(model, picture(), 0.1, resize=one) for one in WAYS)
    assert stretched != boxed


def test_a_keras_file_written_again_says_the_same(tmp_path):
    written(model_of(), tmp_path / "net.keras", resize="letterbox")
    from darkconv.backends import keras

    keras.write_keras(keras.read_keras(tmp_path / "net.keras"), tmp_path / "again.keras")
    assert keras.read_keras_file(tmp_path / "again.keras").resize == "letterbox"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_unknown_words_are_refused(suffix, tmp_path):
    with pytest.raises(DarkconvError, match="resize: expected stretch or letterbox, found crop"):
        written(model_of(), tmp_path / f"net.{suffix}", resize="crop")
    assert not list(tmp_path.iterdir())


def run(folder, words):
    return CliRunner().invoke(main, [word.replace("@", f"{folder}/") for word in words.split()])


def test_convert_writes_it_and_detect_obeys(tmp_path):
    pytest.importorskip("onnxruntime")
    image = pytest.importorskip("PIL.Image")
    model = model_of()
    dc.save(model, tmp_path / "net.cfg", tmp_path / "net.weights")
    image.fromarray(picture()).save(tmp_path / "p.png")
    for way in WAYS:
        written = run(tmp_path, f"convert @net.cfg @net.weights -o @{way}.onnx --resize {way}")
        assert written.exit_code == 0, written.output
        found = run(tmp_path, f"detect @{way}.onnx @p.png --json --threshold 0.1")
        right = run(
            tmp_path, f"detect @net.cfg @net.weights @p.png --json --threshold 0.1 --resize {way}"
        )
        assert boxes(found) == pytest.approx(boxes(right), rel=1e-3, abs=1e-2)
        assert len(boxes(found)) > 12
    refused = run(tmp_path, "convert @net.cfg @net.weights -o @b.cfg @b.weights --resize stretch")
    assert refused.exit_code == 2
    assert "--resize is about .onnx, .keras and .tflite files" in refused.stderr


def boxes(result):
    """All numbers of all boxes."""
    assert result.exit_code == 0, result.output
    return [value for row in rows(json.loads(result.stdout)) for value in row]


def rows(found):
    """The boxes in what detect prints as JSON, wherever they stand."""
    if isinstance(found, dict):
        return [found["box"]] if "box" in found else [r for v in found.values() for r in rows(v)]
    return [r for one in found for r in rows(one)] if isinstance(found, list) else []


GAUSSIAN = "[convolutional]\nfilters=24\n[Gaussian_yolo]\nclasses=3\nnum=2\nanchors=2,3,4,1\n"


@pytest.mark.parametrize(
    ("body", "version", "said"),
    [
        (GAUSSIAN, (0, 2, 0), "read as alexeyab. The fork .* letterboxes pictures: --resize"),
        (GAUSSIAN, (0, 2, 5), None),
        (BODY.replace("linear", "mish"), (0, 2, 0), "weights have a header 0.2.0, as pjreddie"),
        (BODY, (0, 2, 0), None),
        ("[deconvolutional]\nfilters=2\n", (0, 2, 5), "header 0.2.5, as alexeyab .* pjreddie$"),
        ("[deconvolutional]\nfilters=2\n", (0, 1, 0), None),
    ],
)
def test_a_header_of_the_other_program_is_told(body, version, said, caplog):
    caplog.set_level(logging.WARNING, "darkconv")
    config = parse_cfg(cfg_text(body), file="g.cfg")
    choose_dialect(config, Header(*version, seen=0))
    choose_dialect(config, None)
    if said is None:
        assert not caplog.records
    else:
        (record,) = caplog.records
        assert record.getMessage().startswith("g.cfg: the cfg is in the")
        assert re.search(said, record.getMessage())
