"""LiteRT files all in 8 bits: what is in them, which devices run them, and what they find."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest

import darkconv as dc
from darkconv.assets import digits10_folder, digits10_pictures
from networks import network, random_model

pytest.importorskip("tensorflow")
pytest.importorskip("ai_edge_litert")

from darkconv.backends.keras import read_litert, write_litert
from darkconv.backends.keras.heads import HeadsAlone
from darkconv.backends.keras.litert_buffer import ALIGNMENT, operators, parse_graph
from darkconv.backends.keras.litert_devices import DEVICES, untaken
from darkconv.backends.keras.litert_running import as_levels, as_numbers, make_interpreter

MODELS = Path(__file__).parents[2] / "shared" / "models"
CONV = """[convolutional]
batch_normalize=1
filters=8
size=3
stride={stride}
pad=1
groups={groups}
activation={activation}

"""
HEAD = """[convolutional]
filters=14
size=1
stride=1
pad=1
activation=linear

[yolo]
mask={mask}
anchors=3,4,5,6,7,8,9,9
classes=2
num=4

"""
UP = "[route]\nlayers=-3\n\n[upsample]\nstride=2\n\n[route]\nlayers=-1,3\n\n"


def body(activation="leaky"):
    """Two heads, and each layer that the small detectors have."""
    return (
        CONV.format(stride=2, groups=1, activation=activation)
        + "[maxpool]\nsize=2\nstride=1\n\n"
        + CONV.format(stride=1, groups=8, activation=activation)
        + "[shortcut]\nfrom=-2\nactivation=linear\n\n"
        + CONV.format(stride=2, groups=1, activation=activation)
        + HEAD.format(mask="2,3")
        + UP
        + HEAD.format(mask="0,1")
    )


def noise(count, shape=(3, 16, 16), seed=0):
    return list(np.random.default_rng(seed).random((count, *shape), np.float32))


def model_of(activation="leaky"):
    return random_model(network(body(activation), (3, 16, 16)))


def write(model, path, head="logits", **more):
    write_litert(
        model, path, head=head, precision="int8", int8_form="full", inputs=noise(6), **more
    )
    return read_litert(path)


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A file all in 8 bits."""
    path = tmp_path_factory.mktemp("full") / "net.tflite"
    write(model_of(), path)
    return path


def test_it_takes_and_gives_levels_of_one_picture_under_darknets_names(full):
    interpreter = make_interpreter(full)
    (given,) = interpreter.get_input_details()
    assert (given["name"], given["dtype"], list(given["shape"])) == (
        "input", np.int8, [1, 16, 16, 3],
    )  # fmt: skip
    assert given["quantization"] == (pytest.approx(1 / 255), -128), "levels of a picture less 128"
    found = interpreter.get_output_details()
    assert [one["name"] for one in found] == ["006_yolo_logits", "011_yolo_logits"]
    assert [list(one["shape"]) for one in found] == [[1, 4, 4, 14], [1, 8, 8, 14]]
    assert all(one["dtype"] == np.int8 for one in found)
    assert all(-1 not in one["shape_signature"] for one in interpreter.get_tensor_details())


def test_every_device_has_its_operators(full):
    graph = full.read_bytes()
    kinds = {one.kind for one in operators(graph)}
    assert {"PRELU", "RESIZE_NEAREST_NEIGHBOR"} < kinds
    for name, known in DEVICES.items():
        assert kinds <= known, name
    assert not kinds & {"SHAPE", "TILE", "EXP"}
    assert untaken(graph) == {}
    model = parse_graph(graph)
    assert max(len(tensor.shape) for tensor in model.subgraphs[0].tensors) == 4
    for one in model.subgraphs[0].operators:
        assert not getattr(one.builtinOptions, "halfPixelCenters", False)
    assert max(code.version for code in model.operatorCodes) <= 3


def test_arrays_lie_where_runtimes_without_a_heap_read_them(full):
    graph = full.read_bytes()
    arrays = [one.data for one in parse_graph(graph).buffers if one.data is not None]
    large = [bytes(one) for one in arrays if len(one) > 64]
    assert large
    assert {graph.index(one) % ALIGNMENT for one in large} == {0}


def test_the_heads_that_it_lacks_are_computed_where_it_is_read(full):
    file = read_litert(full)
    assert (file.head, file.metadata["head"], file.precision) == ("raw", "logits", "int8")
    assert file.run.outputs == ["006_yolo", "011_yolo"]
    facts = json.loads(file.metadata["quantization"])
    assert (facts["pictures"], facts["activations"]) == (6, "int8")
    x = np.stack(noise(1, seed=7))
    wanted = dc.trace(model_of(), x)
    for found, index in zip(file.run(x), (6, 11), strict=True):
        assert found.dtype == np.float32
        assert 0 < np.abs(found - wanted[index]).mean() < 0.03 * np.abs(wanted[index]).mean()


def test_heads_alone_give_what_they_give_in_the_model():
    model = model_of()
    x = np.stack(noise(2))
    values = dc.trace(model, x)
    heads = HeadsAlone(model.network)
    assert heads.outputs == ["006_yolo", "011_yolo"]
    found = heads([values[index].transpose(0, 2, 3, 1) for index in (5, 10)])
    for value, index in zip(found, (6, 11), strict=True):
        np.testing.assert_allclose(value.transpose(0, 3, 1, 2), values[index], atol=1e-6)


def test_levels_stand_for_numbers():
    details = {"quantization": (0.5, -3), "dtype": np.int8}
    numbers = np.array([-70, -1.5, 0, 0.2, 1, 65], np.float32)
    levels = as_levels(numbers, details)
    assert levels.dtype == np.int8
    assert levels.tolist() == [-128, -6, -3, -3, -1, 127]
    assert as_numbers(levels, details).tolist() == [-62.5, -1.5, 0, 0, 1, 65]
    plain = {"quantization": (0.0, 0), "dtype": np.float32}
    assert as_levels(numbers, plain) is numbers
    assert as_numbers(numbers, plain) is numbers


@pytest.mark.parametrize(
    ("head", "activation", "expected"),
    [
        pytest.param(
            "raw",
            "relu",
            {device: "values of 5 axes" for device in DEVICES},
            marks=pytest.mark.slow,
        ),
        ("logits", "mish", {"Edge TPU": "EXP (3), LOG (3)"}),
    ],
)
def test_what_a_device_does_not_have_is_told(tmp_path, caplog, head, activation, expected):
    with caplog.at_level(logging.WARNING, "darkconv"):
        write(model_of(activation), tmp_path / "x.tflite", head)
    told = [message for message in caplog.messages if "not among the operators" in message]
    path = tmp_path / "x.tflite"
    assert told == [
        f"{path}: not among the operators of {d}: {what}" for d, what in expected.items()
    ]


def test_float_files_too_enlarge_by_one_operator_and_name_outputs(tmp_path):
    write_litert(model_of(), tmp_path / "x.tflite", head="logits")
    kinds = {one.kind for one in operators((tmp_path / "x.tflite").read_bytes())}
    assert "RESIZE_NEAREST_NEIGHBOR" in kinds
    assert not kinds & {"SHAPE", "TILE", "PRELU"}
    found = make_interpreter(tmp_path / "x.tflite").get_output_details()
    assert [one["name"] for one in found] == ["006_yolo_logits", "011_yolo_logits"]


def test_opencv_reads_float_logits_and_finds_the_same(tmp_path):
    cv2 = pytest.importorskip("cv2")
    if not hasattr(cv2.dnn, "readNetFromTFLite"):
        pytest.skip("this OpenCV reads no LiteRT files")
    write_litert(model_of(), tmp_path / "x.tflite", head="logits")
    x = np.stack(noise(1))
    net = cv2.dnn.readNetFromTFLite(str(tmp_path / "x.tflite"))
    net.setInput(x)
    names = net.getUnconnectedOutLayersNames()
    assert list(names) == ["006_yolo_logits", "011_yolo_logits"]
    values = dc.trace(model_of(), x)
    for found, index in zip(net.forward(names), (5, 10), strict=True):
        np.testing.assert_allclose(found, values[index], atol=1e-4)


@pytest.mark.parametrize(
    ("suffix", "options", "message"),
    [
        ("onnx", {"int8_form": "full"}, "int8_form of .onnx files: expected asymmetric, symmetric"),
        ("tflite", {"int8_form": "symmetric"}, "int8_form of .tflite files: expected full"),
        ("tflite", {"int8_form": "full", "head": "boxes"}, "all in 8 bits: expected logits, raw"),
    ],
)
def test_forms_and_heads_that_do_not_go_together_are_refused(tmp_path, suffix, options, message):
    folder = digits10_folder()
    model = dc.load(folder / "digits10.cfg", folder / "digits10.weights")
    path = tmp_path / f"x.{suffix}"
    with pytest.raises(dc.DarkconvError) as caught:
        dc.export(model, path, int8=True, calibrate=digits10_pictures()[:2], **options)
    assert message in str(caught.value)
    assert not path.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"int8_form": "half", "precision": "int8"}, "expected full, found half"),
        ({"int8_form": "full", "precision": "float32"}, "expected full, found full"),
        ({"int8_form": "full", "precision": "int8", "head": "boxes"}, "expected logits, raw"),
    ],
)
def test_write_litert_refuses_other_forms(tmp_path, options, message):
    with pytest.raises(dc.DarkconvError, match=message):
        write_litert(model_of(), tmp_path / "x.tflite", inputs=noise(2), **options)
    assert not list(tmp_path.iterdir())


def test_recurrent_layers_are_refused(tmp_path):
    model = random_model(network("[rnn]\noutput=4\nhidden=4\nactivation=leaky\n", (3, 2, 2)))
    with pytest.raises(dc.UnsupportedError, match="recurrent layers are not quantised"):
        write_litert(
            model, tmp_path / "x.tflite", precision="int8", int8_form="full",
            inputs=noise(2, (3, 2, 2)),
        )  # fmt: skip


def test_export_ends_before_the_heads_and_gives_a_verdict(tmp_path):
    path = tmp_path / "x.tflite"
    pictures = digits10_pictures()[:4]
    done = dc.export(model_of("relu"), path, int8=True, int8_form="full", calibrate=pictures)
    assert done.verdict is not None
    assert done.verdict.is_kept
    assert "asked for" in done.verdict.reason
    assert "fast" not in done.verdict.reason, "time on another device than this"
    metadata = read_litert(path).metadata
    assert (metadata["head"], metadata["int8_form"]) == ("logits", "full")


@pytest.mark.slow
def test_the_bundled_model_finds_the_same_digits(tmp_path):
    folder, path = digits10_folder(), tmp_path / "x.tflite"
    model = dc.load(folder / "digits10.cfg", folder / "digits10.weights")
    pictures = digits10_pictures()[:6]
    done = dc.export(model, path, int8=True, int8_form="full", calibrate=pictures)
    assert done.precision.likeness.f1 > 0.9
    found = {one.class_id for one in dc.Detector(path)(pictures[0])}
    assert found == {one.class_id for one in dc.detect(model, pictures[0])}
    assert dc.verify(model, path).ok


@pytest.mark.slow
def test_a_trained_detector_runs_on_the_edge_tpus_operators_alone(tmp_path):
    if not MODELS.is_dir():
        pytest.skip("the trained models are not there")
    name = MODELS / "yolo-fastest-1.1-coco" / "yolo-fastest-1.1-coco"
    model = dc.load(f"{name}.cfg", f"{name}.weights")
    pictures = sorted((MODELS.parent / "data" / "coco128" / "images").rglob("*.jpg"))[:16]
    done = dc.export(model, tmp_path / "x.tflite", int8=True, int8_form="full", calibrate=pictures)
    assert untaken((tmp_path / "x.tflite").read_bytes()) == {}
    assert done.precision.likeness.f1 > 0.8
