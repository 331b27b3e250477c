"""dc.load: one way for every format, and what is said where there is none."""

import logging

import numpy as np
import pytest

import darkconv as dc
from darkconv.assets import digits10_folder, load_digits10
from darkconv.loading import open_exported

DIGITS = digits10_folder() / "digits10.cfg", digits10_folder() / "digits10.weights"


def same(one, other):
    assert list(one.arrays) == list(other.arrays)
    return all(np.array_equal(one.arrays[key], other.arrays[key]) for key in one.arrays)


def test_a_bundled_name_gives_initial_values():
    model = dc.load("yolov3-tiny")
    assert model.initial_layers
    assert len(model.names) == 0
    assert dc.load("yolov3-tiny", input_size=(320, 224)).network.input_shape == (3, 224, 320)


def test_a_name_that_is_nearly_one_is_told():
    with pytest.raises(dc.CfgError, match="did you mean yolov3-tiny") as caught:
        dc.load("yolov3-tny")
    assert caught.value.where.file == "yolov3-tny"


def test_weights_alone_lack_their_cfg():
    with pytest.raises(dc.CfgError, match="a model is two files"):
        dc.load(DIGITS[1])


def test_safetensors_are_read_back(tmp_path):
    pytest.importorskip("torch")
    model = load_digits10()
    dc.export(model, tmp_path / "net.safetensors")
    again = dc.load(tmp_path / "net.safetensors")
    assert same(again, model)
    assert again.names == model.names
    assert again.header == model.header
    names = tmp_path / "other.names"
    names.write_text("".join(f"n{i}\n" for i in range(10)))
    assert dc.load(tmp_path / "net.safetensors", names=names).names[0] == "n0"
    smaller = dc.load(tmp_path / "net.safetensors", input_size=(64, 64))
    assert smaller.network.input_shape[1:] == (64, 64)


@pytest.mark.parametrize("option", [{"dialect": "pjreddie"}, {"cutoff": 3}])
def test_an_exported_file_says_itself_what_it_holds(tmp_path, option):
    with pytest.raises(dc.DarkconvError, match="is about Darknet's files"):
        dc.load(tmp_path / "net.safetensors", **option)


def test_an_exported_file_has_no_weights_beside_it(tmp_path):
    with pytest.raises(dc.DarkconvError, match="weights is about Darknet's files"):
        dc.load(tmp_path / "net.safetensors", DIGITS[1])


@pytest.mark.parametrize("suffix", [".tflite"])
def test_files_that_only_run_name_what_runs_them(tmp_path, suffix):
    path = tmp_path / f"net{suffix}"
    with pytest.raises(dc.DarkconvError, match="no such file"):
        dc.load(path)
    path.write_bytes(b"x")
    with pytest.raises(dc.DarkconvError, match="cannot be read back") as caught:
        dc.load(path)
    for name in ("dc.Detector", "dc.evaluate", "dc.verify"):
        assert name in str(caught.value)


def test_a_pickle_is_never_read(tmp_path):
    with pytest.raises(dc.DarkconvError, match="never read"):
        dc.load(tmp_path / "net.pth")


def test_save_in_another_format_names_export(tmp_path):
    with pytest.raises(dc.DarkconvError, match=r"dc\.export"):
        dc.save(load_digits10(), tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def broken(tmp_path, key, value):
    model = load_digits10()
    values = model.arrays[key].copy()
    values.flat[0] = value
    files = tmp_path / "net.cfg", tmp_path / "net.weights"
    dc.save(dc.replace_arrays(model, {key: values}), *files, allow_nonfinite=True)
    return files


def test_arrays_with_nan_are_refused_unless_allowed(tmp_path):
    files = broken(tmp_path, "0.weights", np.nan)
    with pytest.raises(dc.WeightsError, match=r"allow_nonfinite=True"):
        dc.load(*files)
    model = dc.load(*files, allow_nonfinite=True)
    assert np.isnan(model.arrays["0.weights"].flat[0])


def test_variances_without_a_root_are_a_warning_where_allowed(tmp_path, caplog):
    files = broken(tmp_path, "0.rolling_variance", -1)
    with pytest.raises(dc.WeightsError, match="no root"):
        dc.load(*files)
    with caplog.at_level(logging.WARNING, "darkconv"):
        dc.load(*files, allow_nonfinite=True)
    assert "no root" in caplog.text


def test_what_runs_is_opened(tmp_path):
    pytest.importorskip("onnxruntime")
    dc.export(load_digits10(), tmp_path / "net.onnx", head="boxes")
    file = open_exported(tmp_path / "net.onnx")
    assert file.head == "boxes"
    assert len(file.names) == 10
    with pytest.raises(dc.DarkconvError, match="cannot be run"):
        open_exported(tmp_path / "net.safetensors")


@pytest.mark.parametrize("name", ["CfgError", "WeightsError", "DatasetError", "PlanError"])
def test_errors_that_a_caller_catches_are_public(name):
    assert name in dc.__all__
    assert issubclass(getattr(dc, name), dc.DarkconvError)
