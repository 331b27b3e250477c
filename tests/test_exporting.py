"""export: every format that `convert` writes, with the options that it has."""

import pytest

import darkconv as dc
from darkconv.assets import digits10_folder
from darkconv.exporting import OPTIONS_BY_SUFFIX

VALUES = {
    "head": "boxes", "pixels": True, "threshold": 0.5, "nms": 0.3, "threshold_inputs": True,
    "max_detections": 7, "input": "uint8-nhwc", "dynamic": "none", "fold": False, "fold_bn": True,
    "resize": "letterbox", "opset": 17, "external": True, "in_place": True, "fp16": True,
    "check": False,
}  # fmt: skip
OF_NMS = ("pixels", "threshold_inputs", "max_detections")


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
    [name for name in OPTIONS_BY_SUFFIX[".onnx"] if name not in ("in_place", "check")],
)
def test_every_option_of_onnx_changes_the_file(model, tmp_path, option):
    pytest.importorskip("onnxruntime")
    base = {"head": "nms"} if option in OF_NMS else {}
    dc.export(model, tmp_path / "a.onnx", **base, check=False)
    dc.export(model, tmp_path / "b.onnx", **base, check=False, **{option: VALUES[option]})
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


@pytest.mark.parametrize("option", OF_NMS)
def test_an_option_of_another_head_is_an_error(model, tmp_path, option):
    pytest.importorskip("onnx")
    with pytest.raises(dc.DarkconvError, match=f"{option} would do nothing: expected head"):
        dc.export(model, tmp_path / "net.onnx", head="raw", **{option: VALUES[option]})


@pytest.mark.parametrize("name", ["net.cfg", "net", "net.pth"])
def test_other_suffixes_are_errors_that_name_the_formats(model, tmp_path, name):
    with pytest.raises(dc.DarkconvError, match=r"expected a name that ends in \.onnx"):
        dc.export(model, tmp_path / name)
