"""export: every format that `convert` writes, with the options that it has."""

import json

import numpy as np
import pytest

import darkconv as dc
from darkconv.assets import digits10_folder, digits10_pictures
from darkconv.backends.choices import HEADS
from darkconv.exporting.formats import HEADS_BY_SUFFIX, OPTIONS_BY_SUFFIX
from darkconv.exporting.writing import OF_BOXES
from networks import network, random_model

VALUES = {
    "head": "boxes", "pixels": True, "threshold": 0.5, "nms": 0.3, "threshold_inputs": True,
    "max_detections": 7, "input": "uint8-nhwc", "dynamic": "none", "fold": False, "fold_bn": True,
    "resize": "letterbox", "opset": 17, "external": True, "in_place": True, "fp16": True,
    "check": False, "int8": True, "calibrate": digits10_pictures()[:2], "calibration": "minmax",
    "reduce_range": True, "int8_form": "symmetric", "min_agreement": 0.5,
    "data": digits10_folder() / "digits10.data", "compare": False,
    "layout": "ultralytics", "nms_op": "tensorrt",
}  # fmt: skip
IN_8_BITS = {
    "int8": True, "calibrate": VALUES["calibrate"], "min_agreement": 0.0, "compare": False,
}  # fmt: skip
NOT_IN_THE_FILE = {"in_place", "check", "compare", "data", "min_agreement"}
"""Of the last, tests/test_eight_bits.py says what it does."""
OF_NMS = ("pixels", "threshold_inputs", "max_detections", "nms_op")
NEEDED = {"layout": {"head": "boxes"}, "nms_op": {"head": "nms", "layout": "efficientnms"}}
"""What some options need beside them, if that is not head=nms."""


@pytest.fixture(scope="module")
def model():
    folder = digits10_folder()
    return dc.load(folder / "digits10.cfg", folder / "digits10.weights")


def test_the_file_is_what_convert_writes_and_the_result_says_how_it_was_checked(model, tmp_path):
    pytest.importorskip("onnxruntime")
    found = dc.export(model, tmp_path / "net.onnx", head="nms", external=True)
    assert [file.name for file in found.files] == ["net.onnx", "net.onnx.data"]
    assert found.size == sum(file.stat().st_size for file in found.files)
    assert found.checked == "run once in onnxruntime"
    assert dc.export(model, tmp_path / "other.onnx", check=False).checked == ""
    assert found.to_dict()["files"] == list(map(str, found.files))


@pytest.mark.parametrize(
    "option",
    sorted(set(OPTIONS_BY_SUFFIX[".onnx"]) - NOT_IN_THE_FILE),
)
def test_every_option_of_onnx_changes_the_file(model, tmp_path, option):
    pytest.importorskip("onnxruntime")
    base = NEEDED.get(option, {"head": "nms"} if option in OF_NMS else {})
    changed = base | {option: VALUES[option]}
    if option == "int8":
        changed = IN_8_BITS
    elif option in ("calibrate", "calibration", "reduce_range", "int8_form"):
        base = IN_8_BITS | {"calibrate": digits10_pictures()[5:6]}
        changed = base | {option: VALUES[option]}
    dc.export(model, tmp_path / "a.onnx", **base, check=False)
    dc.export(model, tmp_path / "b.onnx", **changed, check=False)
    assert (tmp_path / "a.onnx").read_bytes() != (tmp_path / "b.onnx").read_bytes()


@pytest.mark.parametrize(
    ("suffix", "option"),
    [
        (suffix, option)
        for suffix, known in OPTIONS_BY_SUFFIX.items()
        for option in VALUES
        if option not in known
    ],
)
def test_an_option_of_another_format_is_an_error(model, tmp_path, suffix, option):
    with pytest.raises(dc.DarkconvError, match=f"{option} is no option of \\{suffix} files"):
        dc.export(model, tmp_path / f"net{suffix}", **{option: VALUES[option]})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("option", [*OF_NMS, "layout"])
def test_an_option_of_another_head_is_an_error(model, tmp_path, option):
    pytest.importorskip("onnx")
    with pytest.raises(dc.DarkconvError, match=f"{option} would do nothing: expected head"):
        dc.export(model, tmp_path / "net.onnx", head="raw", **{option: VALUES[option]})


@pytest.mark.parametrize("option", OF_BOXES)
@pytest.mark.parametrize("body", ["[softmax]\n", ""], ids=["classifier", "no head"])
def test_what_a_file_says_of_boxes_is_refused_where_there_are_none(body, option, tmp_path):
    pytest.importorskip("onnx")
    model = random_model(network(f"[convolutional]\nfilters=3\n\n[avgpool]\n\n{body}"))
    with pytest.raises(dc.DarkconvError, match=f"predicts no boxes, which {option} is about"):
        dc.export(model, tmp_path / "net.onnx", **{option: VALUES[option]})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("compare", [True, False])
def test_compare_is_about_files_that_are_compared(model, tmp_path, compare):
    pytest.importorskip("onnx")
    with pytest.raises(dc.DarkconvError, match=r"compare is about fp16, int8 and \.tflite files"):
        dc.export(model, tmp_path / "net.onnx", compare=compare)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("suffix", "head"),
    [
        (suffix, head)
        for suffix, own in HEADS_BY_SUFFIX.items()
        for head in HEADS
        if head not in own
    ],
)
def test_a_head_that_a_format_does_not_have_is_an_error(model, tmp_path, suffix, head):
    with pytest.raises(dc.DarkconvError, match=f"head of \\{suffix} files: expected raw"):
        dc.export(model, tmp_path / f"net{suffix}", head=head)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["net.cfg", "net", "net.pth"])
def test_other_suffixes_are_errors_that_name_the_formats(model, tmp_path, name):
    with pytest.raises(dc.DarkconvError, match=r"expected a name that ends in \.onnx"):
        dc.export(model, tmp_path / name)


# --- Half precision and 8 bits


def test_half_precision_is_compared_with_float32(model, tmp_path):
    pytest.importorskip("onnxruntime")
    data = digits10_folder() / "digits10.data"
    done = dc.export(model, tmp_path / "net.onnx", head="boxes", fp16=True, data=data)
    found = done.precision
    assert found.precision == "float16"
    assert found.sizes[1] == done.size < found.sizes[0]
    assert found.likeness.compared > 0
    assert found.ap[1] == pytest.approx(found.ap[0], abs=0.01)
    assert repr(found).startswith("<FilePrecision float16: ")
    assert json.loads(json.dumps(done.to_dict()))["precision"]["ap"][0] > 0.9
    other = dc.export(model, tmp_path / "other.onnx", head="boxes", fp16=True, compare=False)
    assert other.precision is None
    assert (tmp_path / "net.onnx").read_bytes() == (tmp_path / "other.onnx").read_bytes()


def test_8_bits_are_chosen_by_pictures(model, tmp_path):
    pytest.importorskip("onnxruntime")
    pictures = digits10_pictures()
    small = {"int8": True, "calibrate": pictures, "min_agreement": 0.0}
    done = dc.export(model, tmp_path / "net.onnx", head="boxes", **small)
    assert done.precision.precision == "int8"
    assert done.precision.likeness.f1 > 0.8
    assert done.checked == "run once in onnxruntime"
    assert dc.verify(model, tmp_path / "net.onnx").ok


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"int8": True}, "int8 needs calibrate"),
        ({"int8": True, "fp16": True, "calibrate": "a"}, "choose one"),
        ({"calibrate": "a"}, "calibrate is about int8"),
        ({"reduce_range": True}, "reduce_range is about int8"),
        ({"int8_form": "symmetric"}, "int8_form is about int8"),
        ({"min_agreement": 0.5}, "min_agreement is about int8"),
        ({"int8": True, "calibrate": "a", "min_agreement": 2.0}, "expected a number from 0 to 1"),
        ({"data": "a", "fp16": False}, "data is about fp16 and int8"),
        ({"int8": True, "calibrate": "a", "fold": False}, "int8 and fold exclude each other"),
        ({"int8": True, "calibrate": "a", "external": True}, "int8 and external exclude"),
        ({"int8": True, "calibrate": "nowhere"}, "no such file or folder"),
    ],
)
def test_options_that_do_not_go_together_are_errors(model, tmp_path, options, message):
    pytest.importorskip("onnxruntime")
    with pytest.raises(dc.DarkconvError, match=message):
        dc.export(model, tmp_path / "net.onnx", **options)
    assert not any(tmp_path.iterdir())


def test_a_file_that_gives_no_numbers_is_an_error_and_was_written(model, tmp_path):
    pytest.importorskip("onnxruntime")
    key = list(model.arrays)[-1]
    huge = dc.replace_arrays(model, {key: np.full_like(model.arrays[key], np.nan)})
    with pytest.raises(dc.DarkconvError, match="was written, but"):
        dc.export(huge, tmp_path / "net.onnx", fp16=True, allow_nonfinite=True)
