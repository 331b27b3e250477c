"""Values that are NaN: told and counted by all that looks for objects, an error where all are."""

import logging

import numpy as np
import pytest

import darkconv as dc
from darkconv.assets import digits10_folder, digits10_pictures, load_digits10
from darkconv.detection.engine import ModelEngine
from darkconv.detection.missing import MissingValues, count_nan
from darkconv.detection.stream import stream

pytest.importorskip("torch")

PICTURES = digits10_pictures()[:3]


def last_biases(model):
    """Key and values of the biases in front of the last head."""
    key = [key for key in model.arrays if key.endswith(".biases")][-1]
    return key, model.arrays[key].copy()


@pytest.fixture(scope="module")
def empty():
    """A model all of whose outputs are NaN."""
    model = load_digits10()
    key, biases = last_biases(model)
    return dc.replace_arrays(model, {key: np.full_like(biases, np.nan)})


@pytest.fixture(scope="module")
def partial():
    """A model that gives NaN for one class."""
    model = load_digits10()
    key, biases = last_biases(model)
    biases[5] = np.nan
    return dc.replace_arrays(model, {key: biases})


@pytest.mark.parametrize(
    "run",
    [
        lambda model: dc.detect(model, PICTURES[0]),
        lambda model: dc.Detector(model)(PICTURES[0]),
        lambda model: dc.Detector(model)(PICTURES),
        lambda model: list(dc.Detector(model).stream(PICTURES)),
        lambda model: dc.evaluate(model, digits10_folder() / "digits10.data", coco=False),
    ],
    ids=["detect", "one", "several", "stream", "evaluate"],
)
def test_nothing_but_nan_is_an_error(empty, run):
    with pytest.raises(dc.DarkconvError, match="output values are NaN") as error:
        run(empty)
    assert error.value.hint == "the training has diverged, or the file is damaged"


def test_some_nan_is_counted_once_for_a_job(partial, caplog):
    with caplog.at_level(logging.WARNING):
        frames = list(dc.Detector(partial).stream(PICTURES))
    assert sum(len(frame.found) for frame in frames) > 5
    (line,) = [one.getMessage() for one in caplog.records if "NaN" in one.getMessage()]
    assert "output values are NaN, in 3 of 3 pictures" in line


def test_a_stream_that_is_left_early_says_it_too(partial, caplog):
    frames = stream(ModelEngine(partial), PICTURES)
    next(frames)
    with caplog.at_level(logging.WARNING):
        frames.close()
    assert "in 1 of 1 pictures" in caplog.text


def test_evaluation_counts_them(partial, caplog):
    with caplog.at_level(logging.WARNING):
        result = dc.evaluate(partial, digits10_folder() / "digits10.data", coco=False)
    assert result.mean.ap > 0.5
    assert "in 30 of 30 pictures" in caplog.text


def test_infinity_and_whole_numbers_are_no_nan():
    found = MissingValues()
    found.add([np.array([np.inf, -np.inf], np.float32), np.arange(3)], found=0)
    assert (found.missing, found.values, found.empty) == (0, 5, 0)
    assert count_nan(np.array([3e38, np.nan, 1], np.float32)) == 1
    found.check("net.cfg")
