"""ONNX files: what their metadata say, and the commands that need nothing else."""

import hashlib
import itertools
import json

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from darkconv.errors import DarkconvError
from networks import cfg_text, network, random_model

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

BODY = (
    "[convolutional]\nfilters=8\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    "[convolutional]\nfilters=16\nactivation=linear\n"
    "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\nscale_x_y=1.1\n"
)
SHAPE = (3, 16, 24)


@pytest.fixture
def folder(tmp_path):
    """net.cfg, net.weights, net.names and a picture."""
    image_module = pytest.importorskip("PIL.Image")
    model = random_model(network(BODY, SHAPE), names=("cat", "dog", "fox"))
    (tmp_path / "net.cfg").write_text(cfg_text(BODY, SHAPE))
    dc.save(model, tmp_path / "net.cfg", tmp_path / "net.weights", names=tmp_path / "net.names")
    levels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    image_module.fromarray(levels).save(tmp_path / "a.png")
    return tmp_path


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.chdir(folder)

    def invoke(line, status=0):
        result = CliRunner().invoke(main, line.split())
        assert result.exit_code == status, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


def metadata_of(path):
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def found_in(result):
    ((picture),) = json.loads(result.stdout)
    return picture["detections"]


def assert_same_detections(found, expected):
    """Equal up to the order of scores that differ by a rounding."""
    found, expected = (
        sorted(side, key=lambda d: (d["name"], d["box"])) for side in (found, expected)
    )
    assert [d["name"] for d in found] == [d["name"] for d in expected]
    for one, other in zip(found, expected, strict=True):
        assert one["score"] == pytest.approx(other["score"], abs=1e-5)
        np.testing.assert_allclose(one["box"], other["box"], atol=1e-3)


def test_metadata_say_what_a_reader_needs(run, folder):
    run("convert net.cfg net.weights -o net.onnx --head boxes --pixels --threshold 0.3")
    found = metadata_of(folder / "net.onnx")
    assert found["darkconv"] == dc.__version__
    assert json.loads(found["names"]) == ["cat", "dog", "fox"]
    assert json.loads(found["anchors"]) == {"002_yolo": [[3, 4], [6, 7]]}
    assert json.loads(found["input_size"]) == [24, 16]
    assert found["resize"] == "stretch"
    assert (found["threshold"], found["nms"], found["nms_kind"]) == ("0.3", "0.45", "sort")
    assert (found["head"], found["boxes"], found["nms_in_graph"]) == ("boxes", "pixels", "none")
    for kind in ("cfg", "weights"):
        given = (folder / f"net.{kind}").read_bytes()
        assert found[f"{kind}_sha256"] == hashlib.sha256(given).hexdigest()


def test_weights_that_no_file_gave_have_no_hash(folder):
    proto = dc.to_onnx(dc.load(folder / "net.cfg"))
    assert not any(entry.key == "weights_sha256" for entry in proto.metadata_props)


@pytest.mark.parametrize(
    ("head", "pixels"),
    [
        ("raw", ""),
        *itertools.product(("boxes", "nms", "nms --threshold-inputs"), ("", "--pixels")),
    ],
)
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_detect_needs_the_file_alone(run, folder, head, pixels, resize):
    pytest.importorskip("torch")
    expected = run(f"detect net.cfg net.weights a.png --json --resize {resize}")
    run(f"convert net.cfg net.weights -o lone/net.onnx --head {head} {pixels}", status=1)
    (folder / "lone").mkdir()
    run(f"convert net.cfg net.weights -o lone/net.onnx --head {head} {pixels}")
    for name in ("net.cfg", "net.weights", "net.names"):
        (folder / name).unlink()
    found = run(f"detect lone/net.onnx a.png --json --resize {resize}")
    assert len(found_in(found)) > 3
    assert_same_detections(found_in(found), found_in(expected))


@pytest.mark.parametrize("kind", ["uint8-nhwc", "uint8-nhwc-bgr"])
@pytest.mark.parametrize("head", ["raw", "nms"])
def test_detect_gives_levels_where_the_file_takes_them(run, kind, head):
    """A picture of the input's size is not resized, so that its levels stay whole numbers."""
    pytest.importorskip("torch")
    size, most = "--input-size 30x20", "--max-detections 2000" if head == "nms" else ""
    expected = run(f"detect net.cfg net.weights a.png --json {size}")
    run(f"convert net.cfg net.weights -o net.onnx --head {head} --input {kind} {size} {most}")
    found = run("detect net.onnx a.png --json")
    assert_same_detections(found_in(found), found_in(expected))


@pytest.mark.parametrize("head", ["raw", "boxes", "nms"])
def test_detect_takes_other_sizes_where_they_are_free(run, head):
    pytest.importorskip("torch")
    most = "--max-detections 2000" if head == "nms" else ""
    run(f"convert net.cfg net.weights -o net.onnx --head {head} --dynamic batch,size {most}")
    expected = run("detect net.cfg net.weights a.png --json --input-size 40x32")
    found = run("detect net.onnx a.png --json --input-size 40x32")
    assert_same_detections(found_in(found), found_in(expected))


def test_detect_takes_other_thresholds_where_they_are_inputs(run):
    pytest.importorskip("torch")
    run("convert net.cfg net.weights -o net.onnx --head nms --threshold-inputs")
    for options in ("--threshold 0.1 --nms 0.2", "--threshold 0.4 --nms 0", "--nms 0.9"):
        expected = run(f"detect net.cfg net.weights a.png --json {options}")
        found = run(f"detect net.onnx a.png --json {options}")
        assert_same_detections(found_in(found), found_in(expected))


def test_a_higher_threshold_than_the_constant_leaves_fewer(run):
    pytest.importorskip("torch")
    run("convert net.cfg net.weights -o net.onnx --head nms")
    expected = run("detect net.cfg net.weights a.png --json --threshold 0.4")
    found = run("detect net.onnx a.png --json --threshold 0.4")
    assert_same_detections(found_in(found), found_in(expected))


def test_names_may_be_others(run, folder):
    run("convert net.cfg net.weights -o net.onnx")
    (folder / "other.names").write_text("a\nb\nc\n")
    found = found_in(run("detect net.onnx a.png --json --names other.names"))
    assert {d["name"] for d in found} <= {"a", "b", "c"}


@pytest.mark.parametrize(
    ("head", "options", "message"),
    [
        ("nms", "--threshold 0.1", "threshold: expected at least 0.25, a constant of the graph"),
        ("nms", "--nms 0.6", "nms: expected 0.45, a constant of the graph, found 0.6"),
        ("nms", "--nms-kind greedynms", "expected sort, which is in the graph, found greedynms"),
        ("boxes", "--nms-kind obj", "boxes have lost their objectness"),
        ("raw", "--input-size 32x32", "expected 3x16x24, which is fixed in the graph, found 32x32"),
    ],
)
def test_detect_says_what_a_file_cannot_do(run, head, options, message):
    run(f"convert net.cfg net.weights -o net.onnx --head {head}")
    assert message in run(f"detect net.onnx a.png {options}", status=1).stderr


@pytest.mark.parametrize("head", ["raw", "boxes", "nms", "boxes --pixels", "nms --opset 18"])
@pytest.mark.parametrize("kind", ["float32-nchw", "uint8-nhwc-bgr"])
def test_verify_compares_a_file_with_its_model(run, head, kind):
    pytest.importorskip("torch")
    run(f"convert net.cfg net.weights -o net.onnx --head {head} --input {kind}")
    for options in ("", "--image a.png --json"):
        result = run(f"verify net.cfg net.weights net.onnx {options}")
        assert "made from another" not in result.stderr
    found = json.loads(result.stdout)
    assert found["ok"]
    assert all(e["error"] <= e["allowed"] and e["compared"] > 0 for e in found["rows"])


def test_verify_takes_a_free_size(run):
    pytest.importorskip("torch")
    run("convert net.cfg net.weights -o net.onnx --head boxes --dynamic batch,size")
    result = run("verify net.cfg net.weights net.onnx --input-size 32x24")
    assert "made from another" not in result.stderr
    run("convert net.cfg net.weights -o net.onnx --input-size 32x24")
    assert "made from another" not in run("verify net.cfg net.weights net.onnx").stderr


@pytest.mark.parametrize("head", ["raw", "boxes", "nms --threshold 0.01"])
def test_verify_finds_another_models_file(run, folder, head):
    pytest.importorskip("torch")
    run(f"convert net.cfg net.weights -o net.onnx --head {head}")
    other = random_model(network(BODY, SHAPE), seed=5)
    dc.save(other, folder / "net.cfg", folder / "net.weights")
    result = run("verify net.cfg net.weights net.onnx", status=1)
    assert "net.onnx: was made from another weights file" in result.stderr


def test_verify_refuses_a_file_for_other_pictures(run, folder):
    pytest.importorskip("torch")
    run("convert net.cfg net.weights -o net.onnx")
    body = cfg_text(BODY, (1, 16, 24))
    (folder / "grey.cfg").write_text(body)
    dc.save(random_model(network(BODY, (1, 16, 24))), folder / "grey.cfg", folder / "grey.weights")
    result = run("verify grey.cfg grey.weights net.onnx", status=1)
    assert "expected 1x16x24, as the model, found 3x16x24" in result.stderr


def test_options_for_onnx_need_an_onnx_file(run):
    result = run("convert net.cfg net.weights -o a.safetensors --head nms", status=2)
    assert "--head is about .onnx, .keras, .savedmodel, .tflite and .pt2 files" in result.stderr
    result = run("convert net.cfg net.weights -o a.safetensors --pixels", status=2)
    assert "--pixels is about .onnx files, and none is written" in result.stderr


@pytest.mark.parametrize(
    ("options", "dims"),
    [
        ("--dynamic none", [1, 3, 16, 24]),
        ("--dynamic size", [1, 3, "height", "width"]),
        ("--input uint8-nhwc --input-size 32x48", ["batch", 48, 32, 3]),
    ],
)
def test_convert_passes_options_on(run, folder, options, dims):
    run(f"convert net.cfg net.weights -o net.onnx {options} --no-fold --opset 17")
    proto = onnx.load(folder / "net.onnx")
    shape = proto.graph.input[0].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in shape] == dims
    assert proto.opset_import[0].version == 17
    assert "BatchNormalization" in [node.op_type for node in proto.graph.node]


@pytest.mark.parametrize("options", ["", "--no-fold", "--head boxes", "--head nms", "--external"])
def test_the_model_of_a_float32_file_is_read_back(run, options):
    run(f"convert net.cfg net.weights -o net.onnx {options}")
    run("convert net.onnx -o x.cfg x.weights -o x.onnx")
    run("verify x.cfg x.weights net.onnx")
    whole, again = dc.load("net.cfg", "net.weights"), dc.load("net.onnx")
    assert again.names == whole.names
    if options == "--no-fold":
        assert all(np.array_equal(again.arrays[k], whole.arrays[k]) for k in whole.arrays)
    x = np.random.default_rng(0).random(shape_of(whole), np.float32)
    for one, two in zip(dc.trace(whole, x), dc.trace(again, x), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5)
    run("reclass net.onnx --keep cat -o y.cfg y.weights")


def test_how_a_model_is_read_holds_for_files_that_are_read_back(run, folder):
    run("convert net.cfg net.weights -o net.onnx")
    (folder / "other.names").write_text("ant\nbee\ncow\n")
    run("convert net.onnx --names other.names --input-size 64x96 -o x.cfg x.weights")
    model = dc.load("x.cfg", "x.weights")
    assert model.names == ("ant", "bee", "cow")
    assert shape_of(model)[1:] == (96, 64)


def test_rounded_numbers_are_not_taken_for_the_models(run):
    run("convert net.cfg net.weights -o net.onnx --fp16")
    said = run("convert net.onnx -o x.cfg x.weights", status=1).stderr
    assert "net.onnx: its numbers are rounded to half precision" in said


def test_a_file_whose_arrays_are_in_another_form_is_not_read_back(tmp_path):
    body = "[rnn]\noutput=4\nhidden=3\nactivation=tanh\n"
    model = random_model(network(body, shape=(5, 1, 1)))
    dc.export(model, tmp_path / "net.onnx")
    with pytest.raises(dc.WeightsError, match="is not in the file as Darknet has it"):
        dc.load(tmp_path / "net.onnx")


def shape_of(model):
    shape = model.network.input_shape
    return (shape.c, shape.h, shape.w)


@pytest.mark.parametrize("content", [b"", b"nothing", bytes(100)])
def test_damaged_files_are_refused(run, folder, content):
    (folder / "x.onnx").write_bytes(content)
    assert "x.onnx: " in run("detect x.onnx a.png", status=1).stderr
    assert "no such file" in run("detect none.onnx a.png", status=1).stderr


def test_files_of_other_tools_are_refused(tmp_path):
    from darkconv.backends.onnx import read_onnx

    proto = dc.to_onnx(random_model(network(BODY, SHAPE)))
    del proto.metadata_props[:]
    (tmp_path / "x.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(DarkconvError, match="darkconv did not write it"):
        read_onnx(tmp_path / "x.onnx")


def test_damaged_metadata_are_named(tmp_path):
    from darkconv.backends.onnx import read_onnx

    proto = dc.to_onnx(random_model(network(BODY, SHAPE)))
    (entry,) = (entry for entry in proto.metadata_props if entry.key == "names")
    entry.value = "{"
    (tmp_path / "x.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(DarkconvError, match="x.onnx: damaged metadata"):
        read_onnx(tmp_path / "x.onnx")


RECURRENT = (
    "[convolutional]\nfilters=4\nactivation=leaky\n[conv_lstm]\noutput=4\npad=1\npeephole=1\n"
    "[convolutional]\nfilters=16\nactivation=linear\n[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\n"
)


def test_recurrent_models_are_converted_detected_with_and_verified(run, folder):
    pytest.importorskip("torch")
    (folder / "net.cfg").write_text(cfg_text(RECURRENT, SHAPE))
    model = random_model(network(RECURRENT, SHAPE), names=("cat", "dog", "fox"))
    dc.save(model, folder / "net.cfg", folder / "net.weights")
    run("verify net.cfg net.weights")
    for head in ("raw", "boxes", "nms"):
        run(f"convert net.cfg net.weights -o net.onnx --head {head}")
        run("verify net.cfg net.weights net.onnx")
        expected = run("detect net.cfg net.weights a.png --json --threshold 0.4")
        found = run("detect net.onnx a.png --json --threshold 0.4")
        assert_same_detections(found_in(found), found_in(expected))
    proto = onnx.load(folder / "net.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert [v.name for v in proto.graph.input][1:] == ["001_conv_lstm.h_in", "001_conv_lstm.c_in"]
    assert [v.name for v in proto.graph.output][4:] == [
        "001_conv_lstm.h_out",
        "001_conv_lstm.c_out",
    ]
    states = json.loads(metadata_of(folder / "net.onnx")["states"])
    assert states == {f"001_conv_lstm.{n}_in": f"001_conv_lstm.{n}_out" for n in "hc"}
