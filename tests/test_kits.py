"""Kits: what lies in them fits the model, parses as its reader parses it, and finds its boxes."""

import configparser
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import darkconv as dc
from darkconv.assets import digits10_folder, digits10_pictures, load_digits10
from darkconv.cli import main
from darkconv.core.names import Names
from darkconv.evaluation.classifiers import scores_of
from darkconv.exporting.kits import ncnn as pnnx
from darkconv.exporting.kits.table import KITS
from darkconv.libraries import is_installed
from darkconv.pictures.crop import centre_crop
from darkconv.pictures.picture import read_picture
from environments import Environment, EnvironmentMissingError
from networks import network, random_model
from runtimes import OPENVINO, RUNTIMES

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

CONV = "[convolutional]\nfilters={n}\nsize=1\nactivation=linear\n"
NETWORKS = {
    "detector": (CONV.format(n=16) + "[yolo]\nclasses=3\nnum=2\nanchors=2,3,4,1\n", (3, 6, 10)),
    "region": (CONV.format(n=16) + "[region]\nclasses=3\nnum=2\nanchors=2,3,4,1\n", (3, 6, 10)),
    "classifier": (CONV.format(n=4) + "[avgpool]\n[softmax]\n", (3, 6, 10)),
    "map": (CONV.format(n=4), (3, 6, 10)),
    "five channels": (
        CONV.format(n=16) + "[yolo]\nclasses=3\nnum=2\nanchors=2,3,4,1\n",
        (5, 6, 10),
    ),
}
MORE = {
    "browser": {"ort_web": Path(__file__).parent / "data" / "ort_web"},
}
"""Options without which a kit is not written: these stand for the runtime's files."""
NOT_FOR = {
    **{("classifier", kit): "predicts no boxes" for kit in KITS if not KITS[kit].takes_classifiers},
    **{("map", kit): "predicts no boxes" for kit in KITS if not KITS[kit].takes_others},
    **{("five channels", kit): "channels, found 5" for kit in KITS if 5 not in KITS[kit].channels},
}
"""What is said where a kit is not for such a network."""


@pytest.fixture(scope="module")
def digits():
    return load_digits10()


@pytest.fixture(scope="module")
def kits(digits, tmp_path_factory):
    """Every kit of the bundled model."""
    folder = tmp_path_factory.mktemp("kits")
    for name in filter(is_written_here, KITS):
        dc.export(digits, folder / name, kit=name, **MORE.get(name, {}))
    return folder


def is_written_here(kit):
    """Whether what writes a kit is installed."""
    return all(map(is_installed, (*KITS[kit].libraries, *KITS[kit].programs)))


def need(kit):
    if not is_written_here(kit):
        pytest.skip(f"what writes the kit {kit} is not installed")


def model_of(folder):
    (path,) = folder.rglob("model.onnx")
    return path


# --- All kits


@pytest.mark.parametrize("kit", KITS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_kit_is_written_for_what_it_is_for_and_refused_for_the_rest(kind, kit, tmp_path):
    body, shape = NETWORKS[kind]
    model, folder = random_model(network(body, shape)), tmp_path / "kit"
    if (kind, kit) in NOT_FOR:
        with pytest.raises(dc.UnsupportedError, match=NOT_FOR[kind, kit]) as told:
            dc.export(model, folder, kit=kit, **MORE.get(kit, {}))
        assert f"the kit {kit}" in str(told.value)
        for name in (told.value.hint or "").rpartition("networks: ")[2].split(", "):
            assert not name or (kind, name) not in NOT_FOR
        assert not any(tmp_path.iterdir())
        return
    need(kit)
    done = dc.export(model, folder, kit=kit, **MORE.get(kit, {}))
    assert "model." in str(done.files[0].relative_to(folder))
    assert set(done.files) == {path for path in folder.rglob("*") if path.is_file()}
    assert done.size == sum(path.stat().st_size for path in done.files)


@pytest.mark.parametrize("kit", KITS)
def test_a_network_without_pictures_has_no_kit(kit, tmp_path):
    body = "[net]\ninputs=4\n\n[connected]\noutput=3\nactivation=linear\n\n[softmax]\n"
    (tmp_path / "n.cfg").write_text(body)
    with pytest.raises(dc.UnsupportedError, match=f"takes no pictures, which the kit {kit}"):
        dc.export(dc.load(tmp_path / "n.cfg"), tmp_path / "kit", kit=kit)


@pytest.mark.parametrize("kit", KITS)
def test_a_kit_says_how_to_run_it_and_what_was_checked(kits, kit):
    need(kit)
    text = (kits / kit / "README.md").read_text()
    assert "```sh\n" in text
    assert f", by darkconv {dc.__version__}" in text.partition("## What was checked\n")[2]
    assert "onnxruntime" in text.partition("## What was checked\n")[2]
    listed = json.loads((kits / kit / "kit.json").read_text())
    files = [path for path in (kits / kit).rglob("*") if path.is_file()]
    there = {path.relative_to(kits / kit).as_posix() for path in files}
    assert listed["kit"] == kit
    assert set(listed["files"]) == there - {"kit.json"}
    for name in listed["files"]:
        path = kits / kit / name
        assert path.is_file()
        assert path.suffix in (".onnx", ".bin", ".mlmodel") or "@@" not in path.read_text()
        assert path.name in text or path.name == "README.md", name


def test_a_kit_decides_about_its_own_options(digits, tmp_path):
    with pytest.raises(dc.DarkconvError, match="layout of the kit frigate.*expected ultralytics"):
        dc.export(digits, tmp_path / "kit", kit="frigate", layout="yolov4")
    with pytest.raises(dc.DarkconvError, match="external is no option of the kit triton"):
        dc.export(digits, tmp_path / "kit", kit="triton", external=True)
    with pytest.raises(dc.DarkconvError, match="fp16 and int8 are two kinds"):
        dc.export(digits, tmp_path / "kit", kit="triton", fp16=True, int8=True)
    with pytest.raises(dc.DarkconvError, match="kit"):
        dc.export(digits, tmp_path / "kit", kit="toaster")
    assert not any(tmp_path.iterdir())
    dc.export(digits, tmp_path / "kit", kit="frigate", layout="ultralytics")


def test_thresholds_are_about_boxes(tmp_path):
    model = random_model(network(*NETWORKS["classifier"]))
    with pytest.raises(dc.DarkconvError, match="predicts no boxes, which threshold is about"):
        dc.export(model, tmp_path / "kit", kit="triton", threshold=0.3)


# --- The folder


def test_a_kit_replaces_itself_and_nothing_else(digits, tmp_path):
    folder = tmp_path / "kit"
    dc.export(digits, folder, kit="frigate")
    dc.export(digits, folder, kit="opencv", threshold=0.5)
    assert not (folder / "frigate.yml").exists()
    before = {path: path.read_bytes() for path in folder.iterdir()}
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(dc.DarkconvError, match=r"mine.txt: is not of the kit, and would be lost"):
        dc.export(digits, folder, kit="opencv")
    (folder / "mine.txt").unlink()
    (folder / "detect.py").write_text("changed")
    with pytest.raises(dc.DarkconvError, match=r"detect.py: was changed since the kit was written"):
        dc.export(digits, folder, kit="opencv")
    assert (folder / "detect.py").read_text() == "changed"
    assert before.keys() == set(folder.iterdir())


@pytest.mark.parametrize("content", [None, "{}", '{"files": 3}', "no JSON"])
def test_a_folder_that_is_no_kit_stays(digits, tmp_path, content):
    folder = tmp_path / "kit"
    folder.mkdir()
    (folder / "photo.jpg").write_text("a photo")
    if content is not None:
        (folder / "kit.json").write_text(content)
    with pytest.raises(dc.DarkconvError, match="is there already, and is no kit"):
        dc.export(digits, folder, kit="opencv")
    assert (folder / "photo.jpg").read_text() == "a photo"


def test_a_kit_that_fails_leaves_the_old_one(digits, tmp_path, monkeypatch):
    folder = tmp_path / "kit"
    dc.export(digits, folder, kit="opencv")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    broken = replace(KITS["opencv"], fill=lambda kit: kit.fill_in("no such template"))
    monkeypatch.setitem(KITS, "opencv", broken)
    with pytest.raises(dc.DarkconvError, match="cannot write"):
        dc.export(digits, folder, kit="opencv")
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
    assert list(tmp_path.iterdir()) == [folder]


def test_the_command_line_writes_kits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = ["convert", *(str(digits10_folder() / f"digits10.{end}") for end in ("cfg", "weights"))]
    done = CliRunner().invoke(main, [*words, "--for", "opencv", "-o", "kit", "--threshold", "0.4"])
    assert done.exit_code == 0, done.output
    assert "wrote kit (" in done.stderr
    assert "> 0.4)" in Path("kit/detect.py").read_text()
    Path("kit/mine.txt").write_text("mine")
    again = [*words, "--for", "opencv", "-o", "kit"]
    assert CliRunner().invoke(main, again).exit_code == 1
    assert CliRunner().invoke(main, [*again, "--overwrite"]).exit_code == 0
    assert not Path("kit/mine.txt").exists()
    refused = CliRunner().invoke(main, [*words, "--for", "opencv", "-o", "a.cfg", "a.weights"])
    assert refused.exit_code == 2
    assert "--for writes a folder" in refused.stderr


# --- opencv


def run_program(folder, *pictures, packages="", program="detect.py"):
    """What the kit's program prints: by picture, rows of name, score, corner and size."""
    done = subprocess.run(
        [sys.executable, folder / program, *pictures],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(packages)},
    )  # fmt: skip
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    return [(row[0], row[1], float(row[2]), tuple(map(float, row[3:]))) for row in rows]


def expected_rows(model, pictures, **options):
    return [
        (str(path), one.name, one.score, (*one.box[:2], *np.subtract(one.box[2:], one.box[:2])))
        for path in pictures
        for one in dc.detect(model, path, nms_kind="sort", **options)
    ]


def assert_alike(found, expected, *, score, pixels):
    assert len(found) == len(expected) > 3
    for path, name, value, box in expected:
        same = [row for row in found if row[:2] == (path, name)]
        near = min(same, key=lambda row: np.abs(np.subtract(row[3], box)).max())
        assert near[2] == pytest.approx(value, abs=score)
        np.testing.assert_allclose(near[3], box, atol=pixels)


def test_the_program_for_opencv_finds_the_boxes_of_detect(digits, kits, tmp_path):
    """On a picture of the network's size nothing is resized, and nothing differs."""
    pytest.importorskip("cv2")
    with Image.open(digits10_pictures()[3]) as picture:
        picture.convert("RGB").resize((160, 160)).save(tmp_path / "whole.png")
    found = run_program(kits / "opencv", tmp_path / "whole.png")
    expected = expected_rows(digits, [tmp_path / "whole.png"])
    assert_alike(found, expected, score=1e-3, pixels=0.1)
    pictures = digits10_pictures()[10:12]
    found, expected = run_program(kits / "opencv", *pictures), expected_rows(digits, pictures)
    assert_alike(found, expected, score=2e-2, pixels=1)


def test_the_program_for_opencv_fits_letterboxes(digits, tmp_path):
    pytest.importorskip("cv2")
    dc.export(digits, tmp_path / "kit", kit="opencv", resize="letterbox", threshold=0.4)
    pictures = digits10_pictures()[10:12]
    expected = expected_rows(digits, pictures, resize="letterbox", threshold=0.4)
    assert_alike(run_program(tmp_path / "kit", *pictures), expected, score=2e-2, pixels=1)


def test_the_program_for_opencv_is_short_and_names_what_it_cannot_read(kits, tmp_path):
    pytest.importorskip("cv2")
    (tmp_path / "bad.jpg").write_text("no picture")
    run = [sys.executable, kits / "opencv" / "detect.py", tmp_path / "bad.jpg"]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "bad.jpg: cannot be read" in done.stderr


SHAPE = (3, 24, 40)
"""Of the pictures of small classifiers."""


@pytest.fixture
def classifier():
    """A classifier of random weights, whose scores differ with the picture."""
    body = "[convolutional]\nfilters=16\nsize=5\nstride=3\nactivation=leaky\n"
    body += CONV.format(n=6) + "[avgpool]\n[softmax]\n"
    return random_model(network(body, SHAPE), names=["a", "b", "c", "d", "e", "f g"])


def assert_classified(model, folder, pictures, **more):
    """The program prints the five best classes, with the scores that the model gives."""
    found = run_program(folder, *pictures, program="classify.py", **more)
    expected = []
    for path in pictures:
        crop = centre_crop(read_picture(path), (SHAPE[2], SHAPE[1]))
        scores = scores_of(model)(crop[None])[0]
        best = np.argsort(-scores)[:5]
        expected += [(str(path), model.names[i], pytest.approx(scores[i], abs=2e-3)) for i in best]
    assert [row[:3] for row in found] == expected


def test_the_program_for_opencv_classifies(classifier, tmp_path):
    pytest.importorskip("cv2")
    pytest.importorskip("torch")
    dc.export(classifier, tmp_path / "kit", kit="opencv")
    assert not (tmp_path / "kit" / "detect.py").exists()
    assert_classified(classifier, tmp_path / "kit", [*wide_and_high(tmp_path)])


def wide_and_high(folder):
    """Pictures of which a classifier sees no border: their middles alone."""
    with Image.open(digits10_pictures()[11]) as picture:
        for name, size in (("wide.png", (90, 37)), ("high.png", (33, 61))):
            picture.convert("RGB").resize(size).save(folder / name)
            yield folder / name


# --- ncnn


NCNN = RUNTIMES["ncnn"].environment


@pytest.fixture
def ncnn(monkeypatch):
    """Lets this process import ncnn, and find pnnx, from the environment that has them."""
    try:
        monkeypatch.setattr(sys, "path", [*sys.path, str(NCNN.packages())])
    except EnvironmentMissingError as error:
        pytest.skip(str(error))
    return pytest.importorskip("ncnn")


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"fp16": True}, {"resize": "letterbox"}], ids=str)
def test_the_program_for_ncnn_finds_the_boxes_of_detect(digits, ncnn, tmp_path, options):
    pytest.importorskip("cv2")
    done = dc.export(digits, tmp_path / "kit", kit="ncnn", threshold=0.3, **options)
    assert done.files[0] == tmp_path / "kit" / "model.param"
    assert done.checked.startswith("gives what the ONNX file gives in onnxruntime, within ")
    assert not list((tmp_path / "kit").glob("*.onnx"))
    pictures = digits10_pictures()[10:12]
    found = run_program(tmp_path / "kit", *pictures, packages=NCNN.packages())
    how = {"resize": options["resize"]} if "resize" in options else {}
    assert_alike(found, expected_rows(digits, pictures, threshold=0.3, **how), score=2e-2, pixels=1)
    weights, text = (tmp_path / "kit" / name for name in ("model.bin", "README.md"))
    half = sum(array.nbytes for array in digits.arrays.values()) * 0.6
    assert (weights.stat().st_size < half) == ("fp16" in options)
    assert f"weights in {'half precision' if 'fp16' in options else 'float32'}" in text.read_text()


@pytest.mark.slow
def test_the_program_for_ncnn_classifies(classifier, ncnn, tmp_path):
    pytest.importorskip("cv2")
    pytest.importorskip("torch")
    dc.export(classifier, tmp_path / "kit", kit="ncnn")
    pictures = [*wide_and_high(tmp_path)]
    assert_classified(classifier, tmp_path / "kit", pictures, packages=NCNN.packages())


def run_ncnn(ncnn, folder, x):
    """What ncnn gives of a kit's model, by the names that are in its files."""
    net = ncnn.Net()
    net.opt.use_fp16_storage = net.opt.use_fp16_packed = net.opt.use_fp16_arithmetic = False
    assert net.load_param(str(folder / "model.param")) == 0
    assert net.load_model(str(folder / "model.bin")) == 0
    look = net.create_extractor()
    assert net.input_names() == ["input"]
    look.input("input", ncnn.Mat(x).clone())
    return {name: np.array(look.extract(name)[1]) for name in net.output_names()}


HEADS = (
    CONV.format(n=16) + "[yolo]\nclasses=3\nnum=4\nmask=0,1\nanchors=2,3,4,1,3,3,1,2\n\n"
    "[route]\nlayers=0\n\n" + CONV.format(n=16) + "[yolo]\nclasses=3\nnum=4\nmask=2,3\n"
    "anchors=2,3,4,1,3,3,1,2\n"
)  # fmt: skip
"""Two heads whose outputs have the same shape."""


@pytest.mark.slow
@pytest.mark.parametrize("head", ["raw", "logits", "boxes"])
def test_outputs_in_ncnn_have_the_names_of_the_onnx_file(ncnn, tmp_path, head):
    model = random_model(network(HEADS, (3, 6, 10)))
    dc.export(model, tmp_path / "kit", kit="ncnn", head=head)
    dc.export(model, tmp_path / "net.onnx", head=head)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    x = np.random.default_rng(3).random((3, 6, 10), np.float32)
    found = run_ncnn(ncnn, tmp_path / "kit", x)
    names = [one.name for one in session.get_outputs()]
    assert sorted(found) == sorted(names)
    for name, values in zip(names, session.run(names, {"input": x[None]}), strict=True):
        np.testing.assert_allclose(found[name], values[0], rtol=1e-3, atol=1e-4)
    text = (tmp_path / "kit" / "README.md").read_text()
    assert ("detect.py" in text) == (head == "boxes") == (tmp_path / "kit" / "detect.py").exists()
    assert all(f"| `{name}` |" in text for name in names)


def test_outputs_are_told_apart_by_their_numbers():
    a, b = np.full((1, 2, 3), 0.5), np.full((1, 2, 3), 0.7)
    found = {"out0": b[0] + 1e-6, "out1": a[0], "out2": np.zeros(4)}
    names, error = pnnx.pair(found, {"a": a, "b": b, "c": np.zeros((1, 4))}, 1e-4)
    assert names == {"out1": "a", "out0": "b", "out2": "c"}
    assert 1e-7 < error < 1e-5
    with pytest.raises(dc.DarkconvError, match="ncnn gives other numbers: c.*no output of its sh"):
        pnnx.pair(found, {"a": a, "b": b, "c": np.zeros((1, 5))}, 1e-4)
    with pytest.raises(dc.DarkconvError, match="ncnn gives other numbers: b.*found 2.5e-01"):
        pnnx.pair({"out0": a[0], "out1": a[0]}, {"a": a, "b": b}, 1e-4)
    with pytest.raises(dc.DarkconvError, match="ncnn gives other numbers: a"):
        pnnx.pair({"out0": np.full((2, 3), np.nan)}, {"a": a}, 1e-4)


def test_blobs_are_renamed_and_nothing_else():
    text = (
        "7767517\n3 4\nInput    in0    0 1 in0\nSplit s 1 2 in0 1 out0 0=1 out0=2\n"
        "MemoryData out0 0 1 2 0=400\n"
    )
    lines = pnnx.renamed(text, {"in0": "input", "out0": "018_yolo"}).splitlines()
    assert lines[:2] == ["7767517", "3 4"]
    assert [line.split() for line in lines[2:]] == [
        ["Input", "in0", "0", "1", "input"],
        ["Split", "s", "1", "2", "input", "1", "018_yolo", "0=1", "out0=2"],
        ["MemoryData", "out0", "0", "1", "2", "0=400"],
    ]


REFUSED = {
    "reorg": (
        CONV.format(n=8)
        + "[reorg]\nstride=2\n"
        + CONV.format(n=16)
        + "[region]\nclasses=3\nnum=2\nanchors=2,3,4,1\n",
        {},
        "pnnx leaves Tensor.reshape.*a .reorg. layer takes six axes",
    ),
    "gaussian boxes": (
        CONV.format(n=24) + "[Gaussian_yolo]\nclasses=3\nnum=2\nanchors=2,3,4,1\n",
        {},
        "pnnx leaves Tensor.slice.*--head raw",
    ),
    "nms": (NETWORKS["detector"][0], {"head": "nms"}, "head of the kit ncnn.*found nms"),
    "state": (
        "[crnn]\nsize=1\noutput=4\nhidden=4\noutput_filters=4\nhidden_filters=4\n",
        {},
        "keeps a state between pictures",
    ),
}
"""What ncnn cannot do: layers, options, and what is said of it."""


@pytest.mark.slow
@pytest.mark.parametrize("case", REFUSED)
def test_what_ncnn_cannot_do_is_refused_and_why(ncnn, tmp_path, case):
    body, options, message = REFUSED[case]
    model = random_model(network(body, (3, 8, 8)))
    with pytest.raises(dc.UnsupportedError, match=f"(?s){message}"):
        dc.export(model, tmp_path / "kit", kit="ncnn", **options)
    assert not any(tmp_path.iterdir())


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Has a script of a test's be pnnx."""

    def write(text):
        folder = tmp_path / "packages" / "pnnx"
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("raise AssertionError('it is not imported')\n")
        if text is not None:
            (folder / "pnnx").write_text(f"#!/bin/sh\n{text}\n")
            (folder / "pnnx").chmod(0o755 if text else 0o644)
        (folder.parent / "ncnn.py").write_text("")
        monkeypatch.delitem(sys.modules, "ncnn", raising=False)
        monkeypatch.syspath_prepend(folder.parent)

    yield write
    sys.modules.pop("ncnn", None)


@pytest.mark.skipif(os.name == "nt", reason="the program of these tests is a script")
@pytest.mark.parametrize(
    ("script", "message"),
    [
        (
            "echo one; echo; echo two >&2; echo three; exit 3",
            "failed with exit code 3: two / three$",
        ),
        ("echo all is well", "pnnx failed with exit code 0: all is well"),
        ("exec sleep 60", "pnnx was not done after 0.2 seconds"),
        ("", "pnnx cannot be started: Permission denied"),
        (None, "the package pnnx that is installed has no program"),
    ],
)
def test_what_pnnx_says_is_in_the_error_alone(
    digits, program, tmp_path, monkeypatch, capfd, script, message
):
    monkeypatch.setattr(pnnx, "SECONDS", 0.2 if script and "sleep" in script else 20)
    program(script)
    with pytest.raises(dc.DarkconvError, match=message):
        dc.export(digits, tmp_path / "kit", kit="ncnn")
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == ["packages"]


# --- triton


FIELDS = {
    "ModelTensorReshape": [("shape", 1, "int64*")],
    "ModelInput": [
        ("name", 1, "string"), ("data_type", 2, "int32"), ("dims", 4, "int64*"),
        ("reshape", 5, "ModelTensorReshape"),
    ],
    "ModelOutput": [
        ("name", 1, "string"), ("data_type", 2, "int32"), ("dims", 3, "int64*"),
        ("label_filename", 4, "string"), ("reshape", 5, "ModelTensorReshape"),
    ],
    "ModelDynamicBatching": [("max_queue_delay_microseconds", 2, "uint64")],
    "ModelParameter": [("string_value", 1, "string")],
    "Entry": [("key", 1, "string"), ("value", 2, "ModelParameter")],
    "ModelConfig": [
        ("name", 1, "string"), ("max_batch_size", 4, "int32"), ("input", 5, "ModelInput*"),
        ("output", 6, "ModelOutput*"), ("dynamic_batching", 11, "ModelDynamicBatching"),
        ("parameters", 14, "Entry*"), ("backend", 17, "string"),
    ],
}  # fmt: skip
"""Of Triton's model_config.proto, the fields that these files use, with their numbers."""
DATA_TYPES = {"TYPE_UINT8": 2, "TYPE_INT32": 8, "TYPE_INT64": 9, "TYPE_FP16": 10, "TYPE_FP32": 11}
OF_SESSIONS = {"tensor(float)": 11, "tensor(int32)": 8, "tensor(uint8)": 2}


def parse_config(text):
    """Read a config.pbtxt strictly: an unknown field or word is an error."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

    file = descriptor_pb2.FileDescriptorProto(name="config.proto", package="t", syntax="proto3")
    kind = file.enum_type.add(name="DataType")
    kind.value.add(name="TYPE_INVALID", number=0)
    for name, number in DATA_TYPES.items():
        kind.value.add(name=name, number=number)
    for message, fields in FIELDS.items():
        made = file.message_type.add(name=message)
        for name, number, of in fields:
            field = made.field.add(name=name, number=number, label=3 if of.endswith("*") else 1)
            plain = of.rstrip("*")
            if name == "data_type":
                field.type, field.type_name = 14, ".t.DataType"
            elif plain in FIELDS:
                field.type, field.type_name = 11, f".t.{plain}"
            else:
                field.type = {"int64": 3, "uint64": 4, "int32": 5, "string": 9}[plain]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    config = message_factory.GetMessageClass(pool.FindMessageTypeByName("t.ModelConfig"))()
    return text_format.Parse(text, config)


TRITON = {
    "boxes": {},
    "nms": {"head": "nms"},
    "raw": {"head": "raw"},
    "levels": {"head": "nms", "layout": "efficientnms", "input": "uint8-nhwc"},
    "thresholds": {"head": "nms", "threshold_inputs": True, "dynamic": "none"},
    "size": {"dynamic": "batch,size"},
}


@pytest.mark.parametrize("case", TRITON)
def test_the_configuration_of_triton_is_that_of_its_file(digits, tmp_path, case):
    dc.export(digits, tmp_path, kit="triton", threshold=0.3, check=False, **TRITON[case])
    assert_config_fits(tmp_path)


def assert_config_fits(folder):
    path = model_of(folder)
    config = parse_config((path.parents[1] / "config.pbtxt").read_text())
    session = onnxruntime.InferenceSession(path)
    told = session.get_modelmeta().custom_metadata_map
    is_batched = isinstance(session.get_inputs()[0].shape[0], str)
    assert config.name == path.parents[1].name == Path(folder / path).parents[1].name
    assert path.parent.name == "1"
    assert config.backend == "onnxruntime"
    assert (config.max_batch_size > 0) == is_batched == config.HasField("dynamic_batching")
    for ports, theirs in (
        (config.input, session.get_inputs()),
        (config.output, session.get_outputs()),
    ):
        assert [one.name for one in ports] == [one.name for one in theirs]
        for one, other in zip(ports, theirs, strict=True):
            axes = [axis if isinstance(axis, int) else -1 for axis in other.shape]
            own = list(one.reshape.shape) if one.HasField("reshape") else list(one.dims)
            assert own == axes[is_batched:]
            assert len(one.dims) > 0
            assert one.data_type == OF_SESSIONS[other.type]
    said = {one.key: one.value.string_value for one in config.parameters}
    assert said["resize"] == told["resize"]
    if "threshold" in told:
        assert [float(said[key]) for key in ("threshold", "nms")] == [
            float(told[key]) for key in ("threshold", "nms")
        ]
    names = (path.parents[1] / said["labels"]).read_text().splitlines()
    assert names == json.loads(told["names"]) or not json.loads(told["names"])
    return config


def test_a_classifier_in_triton_has_labels_at_its_output(tmp_path):
    model = random_model(network(*NETWORKS["classifier"]), names=["a", "b", "c", "d"])
    dc.export(model, tmp_path, kit="triton")
    (output,) = assert_config_fits(tmp_path).output
    assert (output.name, output.label_filename) == ("probabilities", "labels.txt")


# --- deepstream


def deepstream_config(folder):
    """Read nvinfer's configuration, a key file of GLib: `;` parts values."""
    config = configparser.RawConfigParser(comment_prefixes="#", delimiters="=", strict=True)
    config.read_string((folder / "config_infer.txt").read_text())
    return config


def test_the_configuration_of_deepstream_fits_the_model(digits, kits):
    folder = kits / "deepstream"
    config = deepstream_config(folder)
    own = config["property"]
    session = onnxruntime.InferenceSession(folder / own["onnx-file"])
    (output,) = session.get_outputs()
    assert output.shape[-1] == 6
    assert isinstance(session.get_inputs()[0].shape[0], str)  # nvinfer sets the batch
    assert float(own["net-scale-factor"]) == pytest.approx(1 / 255)
    assert [own[key] for key in ("model-color-format", "cluster-mode", "network-mode")] == [
        "0", "2", "0",
    ]  # fmt: skip
    assert own["maintain-aspect-ratio"] == own["symmetric-padding"] == "0"
    names = (folder / own["labelfile-path"]).read_text().splitlines()
    assert names == list(digits.names)
    assert own.getint("num-detected-classes") == len(names)
    assert "filter-out-class-ids" not in own
    sections = ["class-attrs-all", *(f"class-attrs-{i}" for i in range(10))]
    assert config.sections() == ["property", *sections]
    for name in sections:
        assert config[name].getfloat("pre-cluster-threshold") == 0.25
        assert config[name].getfloat("nms-iou-threshold") == 0.45


def test_deepstream_is_told_of_letterboxes_precision_grey_and_hidden_classes(tmp_path, caplog):
    body, (_, *size) = NETWORKS["detector"]
    model = random_model(network(body, (1, *size)))
    model = replace(model, names=Names(("a;b", "c", "d"), hidden=[0, 2]))
    options = {"resize": "letterbox", "fp16": True, "threshold": 0.6, "nms": 0.3}
    dc.export(model, tmp_path / "kit", kit="deepstream", **options)
    config = deepstream_config(tmp_path / "kit")
    own = config["property"]
    assert own["maintain-aspect-ratio"] == own["symmetric-padding"] == "1"
    assert own["network-mode"] == own["model-color-format"] == "2"
    assert own["filter-out-class-ids"] == "0;2"
    assert config["class-attrs-2"]["pre-cluster-threshold"] == "0.6"
    assert config["class-attrs-all"]["nms-iou-threshold"] == "0.3"
    assert (tmp_path / "kit" / "labels.txt").read_text() == "a,b\nc\nd\n"
    assert "labels.txt has , for ; in names" in caplog.text
    with pytest.raises(dc.DarkconvError, match="int8 is no option of the kit deepstream"):
        dc.export(model, tmp_path / "kit", kit="deepstream", int8=True, calibrate="photos")


# --- frigate


def frigate_labels(path):
    """As Frigate's `load_labels` reads them, from its public source."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    if lines[0].split(" ", maxsplit=1)[0].isdigit():
        pairs = [line.split(" ", maxsplit=1) for line in lines]
        return {int(number): label.strip() for number, label in pairs}
    return {i: line.strip() for i, line in enumerate(lines)}


def test_what_frigate_is_told_fits_the_model(digits, kits):
    yaml = pytest.importorskip("yaml")
    folder = kits / "frigate"
    told = yaml.safe_load((folder / "frigate.yml").read_text())
    assert told["detectors"] == {"onnx": {"type": "onnx"}}
    model = told["model"]
    session = onnxruntime.InferenceSession(folder / Path(model["path"]).name)
    (given,), (output,) = session.get_inputs(), session.get_outputs()
    assert given.shape == [1, 3, model["height"], model["width"]]
    assert output.shape == [1, 14, 1200]
    kinds = [model[key] for key in ("model_type", "input_tensor", "input_dtype")]
    assert kinds == ["yolo-generic", "nchw", "float"]
    labels = frigate_labels(folder / Path(model["labelmap_path"]).name)
    assert labels == dict(enumerate(digits.names))
    assert told["objects"]["track"] == list(digits.names)


def test_names_of_all_kinds_reach_frigate(tmp_path):
    yaml = pytest.importorskip("yaml")
    names = Names(("7", 'a "b": c', "# ü caf\udce9"), hidden=[1])
    model = replace(random_model(network(*NETWORKS["detector"])), names=names)
    dc.export(model, tmp_path / "kit", kit="frigate")
    expected = ["7", 'a "b": c', "# ü caf\ufffd"]
    assert list(frigate_labels(tmp_path / "kit" / "labelmap.txt").values()) == expected
    told = yaml.safe_load((tmp_path / "kit" / "frigate.yml").read_text())
    assert told["objects"]["track"] == [expected[0], expected[2]]


# --- openvino


@pytest.fixture
def openvino(monkeypatch):
    """Lets this process import OpenVINO from the environment that has it."""
    try:
        monkeypatch.syspath_prepend(OPENVINO.packages())
    except EnvironmentMissingError as error:
        pytest.skip(str(error))
    return pytest.importorskip("openvino")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*Swig.*:DeprecationWarning")
@pytest.mark.parametrize(
    "options", [{}, {"head": "nms"}, {"input": "uint8-nhwc", "head": "raw"}], ids=str
)
def test_openvino_gives_with_its_file_what_onnxruntime_gives(digits, openvino, tmp_path, options):
    done = dc.export(digits, tmp_path / "kit", kit="openvino", **options)
    assert [path.name for path in done.files[:1]] == ["model.xml"]
    assert done.checked.startswith("gives what the ONNX file gives in onnxruntime, within ")
    dc.export(digits, tmp_path / "net.onnx", **{"head": "boxes", **options})
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    with Image.open(digits10_pictures()[3]) as picture:
        levels = np.array(picture.convert("RGB").resize((160, 160)))[None]
    x = levels if "input" in options else np.float32(levels.transpose(0, 3, 1, 2)) / 255
    hint = {"INFERENCE_PRECISION_HINT": "f32"}
    found = openvino.Core().compile_model(tmp_path / "kit" / "model.xml", "CPU", hint)({"input": x})
    for one, expected in zip(session.get_outputs(), session.run(None, {"input": x}), strict=True):
        np.testing.assert_allclose(found[one.name], expected, rtol=1e-3, atol=1e-4)
    text = (tmp_path / "kit" / "README.md").read_text()
    assert ("uint8)" in text) == ("input" in options)


@pytest.mark.slow
def test_a_conversion_with_other_numbers_is_refused(digits, openvino, tmp_path, monkeypatch):
    right = openvino.convert_model

    def wrong(path):
        proto = onnx.load(path)
        weights = next(one for one in proto.graph.initializer if len(one.dims) == 4)
        values = onnx.numpy_helper.to_array(weights) * np.float32(1.5)
        for one in proto.graph.initializer:
            if one.name == weights.name:
                one.CopyFrom(onnx.numpy_helper.from_array(values, one.name))
        onnx.save(proto, tmp_path / "wrong.onnx")
        return right(tmp_path / "wrong.onnx")

    monkeypatch.setattr(openvino, "convert_model", wrong)
    with pytest.raises(dc.DarkconvError, match="OpenVINO gives other numbers"):
        dc.export(digits, tmp_path / "kit", kit="openvino")
    assert not (tmp_path / "kit").exists()


# --- coreml


COREML = Environment("coreml", ("coremltools>=9.0", "numpy"))


@pytest.fixture
def coremltools(monkeypatch):
    """Lets this process import coremltools from the environment that has it."""
    pytest.importorskip("torch")
    try:
        monkeypatch.setattr(sys, "path", [*sys.path, str(COREML.packages())])
    except EnvironmentMissingError as error:
        pytest.skip(str(error))
    return pytest.importorskip("coremltools")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_package_for_core_ml_has_named_outputs_and_takes_levels(digits, coremltools, tmp_path):
    done = dc.export(digits, tmp_path / "kit", kit="coreml")
    assert done.files[0] == tmp_path / "kit" / "model.mlpackage" / "Manifest.json"
    package = coremltools.models.MLModel(
        str(tmp_path / "kit" / "model.mlpackage"), skip_model_load=True
    )
    told = package.get_spec().description
    (given,), (output,) = told.input, told.output
    assert (given.name, given.type.imageType.width, given.type.imageType.height) == (
        "image", 160, 160,
    )  # fmt: skip
    assert given.type.imageType.colorSpace == given.type.imageType.RGB
    (head,) = digits.network.heads
    assert output.name == f"head_{head.label}"
    assert list(output.type.multiArrayType.shape) == [1, *head.out_shape]
    text = (tmp_path / "kit" / "README.md").read_text()
    assert f"| `head_{head.label}` | 1, 45, 20, 20 |" in text
    assert list((tmp_path / "kit").rglob("*.pt2")) == []


def test_a_kit_whose_library_is_missing_names_it(digits, tmp_path):
    if is_installed("openvino"):
        pytest.skip("OpenVINO is installed")
    with pytest.raises(dc.MissingDependencyError, match="the kit openvino needs openvino") as told:
        dc.export(digits, tmp_path / "kit", kit="openvino")
    assert "darkconv[openvino]" in told.value.hint
    assert not any(tmp_path.iterdir())
