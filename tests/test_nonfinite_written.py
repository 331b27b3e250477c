"""Arrays that would be refused when they are read back are not written without a word."""

import logging

import numpy as np
import pytest

import darkconv as dc
from darkconv.assets import load_digits10
from darkconv.exporting.export import export

KEYS = {"biases": np.nan, "weights": np.inf, "rolling_variance": -1.0}
ALL = "allow_nonfinite=True"


def damaged(name, layer=0):
    """The bundled model with one odd value."""
    model = load_digits10()
    key = f"{layer}.{name}"
    values = model.arrays[key].copy()
    values.flat[0] = KEYS[name]
    return dc.replace_arrays(model, {key: values})


@pytest.mark.parametrize("name", KEYS)
def test_save_refuses_what_load_refuses(tmp_path, caplog, name):
    cfg, weights = tmp_path / "n.cfg", tmp_path / "n.weights"
    with pytest.raises(dc.WeightsError, match=r"n\.weights: layer 0") as error:
        dc.save(damaged(name), cfg, weights)
    assert ALL in error.value.hint
    assert not list(tmp_path.iterdir())
    with caplog.at_level(logging.WARNING):
        dc.save(damaged(name), cfg, weights, allow_nonfinite=True)
    assert "whoever reads the file back must allow it" in caplog.text
    with pytest.raises(dc.WeightsError):
        dc.load(cfg, weights)
    dc.load(cfg, weights, allow_nonfinite=True)


def test_a_cfg_alone_has_no_arrays(tmp_path):
    dc.save(damaged("biases"), tmp_path / "n.cfg", None)


@pytest.mark.parametrize("name", KEYS)
def test_export_and_to_onnx_refuse_it_too(tmp_path, name):
    pytest.importorskip("onnxruntime")
    with pytest.raises(dc.WeightsError) as error:
        dc.export(damaged(name), tmp_path / "n.onnx")
    assert ALL in error.value.hint
    assert not list(tmp_path.iterdir())
    with pytest.raises(dc.WeightsError) as error:
        dc.to_onnx(damaged(name))
    assert ALL in error.value.hint


def test_a_trial_that_gives_nan_is_not_called_fine(tmp_path, caplog):
    pytest.importorskip("onnxruntime")
    with caplog.at_level(logging.WARNING):
        written = export(damaged("biases"), tmp_path / "n.onnx", allow_nonfinite=True)
    assert written.checked == "run once in onnxruntime: 18,000 values are NaN"
    assert "run once on zeros, all 18,000 values are NaN" in caplog.text


@pytest.mark.slow
def test_a_litert_trial_that_gives_nan_is_not_called_fine(tmp_path):
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("tensorflow")
    model = damaged("biases", layer=17)  # one that is not folded, for folding refuses it
    written = export(model, tmp_path / "n.tflite", allow_nonfinite=True, compare=False)
    assert "run once in LiteRT: " in written.checked
    assert "values are NaN" in written.checked
