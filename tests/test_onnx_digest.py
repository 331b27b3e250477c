"""Digests of Darknet's files in an ONNX file, however the arrays lie in memory."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest

import darkconv as dc
from darkconv.core.model import Header
from darkconv.darknet.weights import weights_chunks
from networks import network, random_model

pytest.importorskip("onnx")

BODY = (
    "[convolutional]\nfilters=8\nsize=3\npad=1\nbatch_normalize=1\n"
    "[connected]\noutput=9\nbatch_normalize=1\n[connected]\noutput=4\n"
)
PLAIN, TRANSPOSED = Header(0, 2, 0), Header(1001, 2, 0)


@pytest.fixture
def load(tmp_path):
    """A function from a header to the model as it is read from a file that has it."""

    def loaded(header):
        model = replace(random_model(network(BODY)), header=header)
        dc.save(model, tmp_path / "net.cfg", tmp_path / "net.weights")
        return dc.load(tmp_path / "net.cfg", tmp_path / "net.weights", dialect=model.dialect.name)

    return loaded


def as_read(model):
    return model


def counted_on(model):
    return replace(model, header=replace(model.header, seen=77))


def turned(model):
    return replace(model, header=TRANSPOSED if model.header == PLAIN else PLAIN)


def changed(model):
    return dc.replace_arrays(model, {"1.biases": np.arange(9, dtype=np.float32)})


@pytest.mark.parametrize("at_once", [0, 30, 1000, 1 << 26])
@pytest.mark.parametrize("header", [PLAIN, TRANSPOSED], ids=["plain", "transposed"])
@pytest.mark.parametrize("made", [as_read, counted_on, turned, changed])
def test_digests_are_those_of_the_files_that_would_be_saved(
    tmp_path, monkeypatch, load, made, header, at_once
):
    from darkconv.backends.onnx import digests

    monkeypatch.setattr("darkconv.backends.onnx.digest.AT_ONCE", at_once)
    monkeypatch.setattr("darkconv.backends.onnx.digest.PIECE", 100)
    model = made(load(header))
    found = digests(model)
    dc.save(model, tmp_path / "new.cfg", tmp_path / "new.weights")
    for kind in ("cfg", "weights"):
        saved = (tmp_path / f"new.{kind}").read_bytes()
        assert found[f"{kind}_sha256"] == hashlib.sha256(saved).hexdigest()


def test_a_file_as_it_was_read_is_hashed_in_one_run(load):
    from darkconv.backends.onnx.digest import runs

    model = load(PLAIN)
    file = model.arrays.file
    lengths = [len(run) for run in runs(file, weights_chunks(model))]
    assert [length for length in lengths if length] == [20, file.size - 20]


def test_runs_are_the_bytes_of_the_chunks(load):
    from darkconv.backends.onnx.digest import runs

    model = load(TRANSPOSED)
    joined = b"".join(runs(model.arrays.file, weights_chunks(model)))
    assert joined == b"".join(weights_chunks(model)) == bytes(model.arrays.file.data)
