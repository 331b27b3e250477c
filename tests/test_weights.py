"""Weights files: headers, order, exact sizes, partial files, and what is no weights file."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import darkconv as dc
from darkconv.core.dialect import ALEXEYAB, DIALECTS, PJREDDIE
from darkconv.core.model import Header
from darkconv.darknet.weights import WeightsFile, file_size, header_bytes, map_weights
from darkconv.errors import DarkconvError, WeightsError
from networks import cfg_text, network, random_model

BODY = (
    "[convolutional]\nfilters=4\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    "[convolutional]\nfilters=14\nactivation=linear\n"
    "[yolo]\nclasses=2\nnum=2\nanchors=1,1,2,2\n"
)


@pytest.fixture
def saved(tmp_path):
    """A model and its two files."""
    (tmp_path / "net.cfg").write_text(cfg_text(BODY))
    model = random_model(network(BODY))
    dc.save(model, tmp_path / "net.cfg", tmp_path / "net.weights")
    return model, tmp_path / "net.cfg", tmp_path / "net.weights"


def refused(cfg, weights, **options):
    with pytest.raises(WeightsError) as caught:
        dc.load(cfg, weights, dialect="alexeyab", **options)
    return caught.value


def test_arrays_stand_in_file_order_behind_the_header(saved):
    model, _, path = saved
    floats = np.frombuffer(path.read_bytes(), "<f4", offset=20)
    expected = [model.arrays[key].ravel() for key in model.arrays]
    assert list(model.arrays)[:5] == [
        "0.biases",
        "0.scales",
        "0.rolling_mean",
        "0.rolling_variance",
        "0.weights",
    ]
    np.testing.assert_array_equal(floats, np.concatenate(expected))


@given(
    st.sampled_from([ALEXEYAB, PJREDDIE]),
    st.sampled_from([(0, 1, 0), (0, 2, 0), (0, 2, 5), (1, 0, 0), (1001, 0, 0), (0, 2000, 3)]),
    st.integers(0, 2**32 - 1),
)
def test_header_comes_back_with_the_width_of_its_version(tmp_path_factory, dialect, version, seen):
    header = Header(*version, seen)
    data = header_bytes(header, dialect)
    assert len(data) == header.size(dialect)
    path = tmp_path_factory.mktemp("w") / "w"
    path.write_bytes(data + bytes(8))
    assert WeightsFile(path).header(dialect) == header


@pytest.mark.parametrize(
    ("version", "pjreddie", "alexeyab"),
    [((0, 1, 0), 4, 4), ((0, 2, 0), 8, 8), ((0, 2, 5), 8, 8), ((1001, 0, 0), 4, 8)],
)
def test_counter_is_as_wide_as_each_program_reads_it(version, pjreddie, alexeyab):
    assert Header(*version).seen_bytes(PJREDDIE) == pjreddie
    assert Header(*version).seen_bytes(ALEXEYAB) == alexeyab


def test_counter_that_does_not_fit_is_refused():
    with pytest.raises(DarkconvError, match="does not fit the 4-byte counter of version 0.1"):
        header_bytes(Header(0, 1, 0, 2**32), ALEXEYAB)


def test_arrays_are_read_only_and_the_file_is_safe(saved):
    _, cfg, weights = saved
    before = weights.read_bytes()
    model = dc.load(cfg, weights)
    with pytest.raises(ValueError, match="read-only"):
        model.arrays["0.biases"][0] = 1
    pytest.importorskip("torch")
    module = dc.to_torch(model)
    module.layers[0].conv.weight.data.add_(1)
    assert weights.read_bytes() == before


@pytest.mark.parametrize("surplus", [-4, 4, -2])
def test_wrong_size_names_both_sizes(saved, surplus):
    _, cfg, weights = saved
    data = weights.read_bytes()
    weights.write_bytes(data + bytes(surplus) if surplus > 0 else data[:surplus])
    error = refused(cfg, weights)
    assert str(len(data)) in error.expected
    assert error.found == len(data) + surplus


def test_short_file_names_the_layer_and_array_where_it_ends(saved):
    _, cfg, weights = saved
    weights.write_bytes(weights.read_bytes()[: 20 + 4 * 16 + 12])
    assert refused(cfg, weights).message == (
        "ends in layer 0 [convolutional] with 12 of 432 bytes of its weights"
    )


def test_file_for_other_classes_says_which_would_fit(saved):
    model, cfg, weights = saved
    dc.save(dc.reclass(model, keep=[0]), cfg.with_name("one.cfg"), cfg.with_name("one.weights"))
    assert "classes=1" in refused(cfg, cfg.with_name("one.weights")).hint
    assert "classes=2" in refused(cfg.with_name("one.cfg"), weights).hint


def test_file_for_other_channels_says_which_would_fit(saved, tmp_path):
    _, cfg, _ = saved
    dc.save(
        random_model(network(BODY, (1, 8, 8))), tmp_path / "grey.cfg", tmp_path / "grey.weights"
    )
    assert "channels=1" in refused(cfg, tmp_path / "grey.weights").hint


def test_file_that_ends_behind_a_layer_may_be_a_partial_one(saved):
    model, cfg, weights = saved
    cut = file_size(model.network, model.header, cutoff=1)
    weights.write_bytes(weights.read_bytes()[:cut])
    assert "it ends exactly behind layer 0: a partial file is read with cutoff=1" in (
        refused(cfg, weights).hint
    )


@pytest.mark.parametrize("by_name", [True, False])
def test_partial_file_gives_the_first_layers(saved, by_name, tmp_path, caplog):
    model, cfg, weights = saved
    cut = file_size(model.network, model.header, cutoff=1)
    partial = tmp_path / ("net.conv.1" if by_name else "first.weights")
    partial.write_bytes(weights.read_bytes()[:cut])
    with caplog.at_level("WARNING", logger="darkconv"):
        found = dc.load(cfg, partial, cutoff=None if by_name else 1)
    assert caplog.messages == [
        f"{partial}: gave layers 0 to 0; 1 layers with arrays behind them keep initial values"
    ]
    assert found.initial_layers == (1,)
    np.testing.assert_array_equal(found.arrays["0.weights"], model.arrays["0.weights"])
    assert (found.arrays["1.biases"] == 0).all()
    assert list(found.arrays) == list(model.arrays)


def test_partial_file_has_to_be_exact_too(saved, tmp_path):
    _, cfg, weights = saved
    partial = tmp_path / "net.conv.1"
    partial.write_bytes(weights.read_bytes())
    assert "for the first layer of" in refused(cfg, partial).expected
    assert "1 to 3 layers" in refused(cfg, weights, cutoff=9).expected


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"<!DOCTYPE html><html><body>gone</body></html>", "an HTML page"),
        (b"\n\n <html><body>not found</body></html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"PK\x03\x04" + bytes(40), "a zip archive (perhaps a PyTorch or Keras file)"),
        (b"\x1f\x8b\x08" + bytes(40), "a gzip archive"),
        (b"\x89HDF\r\n\x1a\n" + bytes(40), "an HDF5 file (perhaps a Keras model)"),
        (b"\x80\x04\x95" + bytes(40), "a Python pickle (perhaps a PyTorch file)"),
        (b"\x08\x08\x12\x07pytorch" + bytes(40), "an ONNX file"),
        (struct.pack("<Q", 30) + b'{"a":1}' + bytes(40), "a safetensors file"),
        (b"\x1c\0\0\0TFL3" + bytes(40), "a TensorFlow Lite file"),
        (b"[net]\nwidth=416\nheight=416\n[convolutional]\n", "a cfg"),
        (b'{"error": "not found, try again later"}', "a JSON text"),
        (b"Not found: please try again later.", "a text file"),
        (b"", "a file of 0 bytes"),
        (b"\0\0\0\0\2\0\0\0\5\0\0\0", "a file of 12 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_weights_file_is_named(saved, data, what):
    _, cfg, weights = saved
    weights.write_bytes(data)
    error = refused(cfg, weights)
    assert error.message == f"is {what}, not a weights file"
    assert error.where.file == str(weights)


def test_missing_file_is_named(saved):
    _, cfg, weights = saved
    weights.unlink()
    assert refused(cfg, weights).message == "cannot read: No such file or directory"


@pytest.mark.parametrize("order", ["plain", "transposed"])
def test_connected_matrices_are_turned_where_the_version_says_so(tmp_path, order):
    net = network("[connected]\noutput=2\nactivation=linear\n", (1, 1, 3))
    model = random_model(net)
    header = Header(1001 if order == "transposed" else 0, 2, 0, 7)
    dc.save(dc.Model(net, model.arrays, header), tmp_path / "a.cfg", tmp_path / "a.weights")
    floats = np.frombuffer((tmp_path / "a.weights").read_bytes(), "<f4", offset=20)
    matrix = model.arrays["0.weights"]
    expected = matrix.T if order == "transposed" else matrix
    np.testing.assert_array_equal(floats[2:], expected.ravel())
    back = dc.load(tmp_path / "a.cfg", tmp_path / "a.weights", dialect="alexeyab")
    np.testing.assert_array_equal(back.arrays["0.weights"], matrix)


@pytest.mark.parametrize(
    ("options", "stored"),
    [
        ("dontload=1\n", 0),
        ("batch_normalize=1\ndontloadscales=1\n", 4 + 4 * 27),
        ("numload=1\n", 1 + 27),
    ],
)
def test_arrays_that_are_not_loaded_keep_their_initial_values(tmp_path, options, stored):
    body = "[convolutional]\nfilters=4\nsize=3\n" + options
    net = network(body, dialect="pjreddie")
    (tmp_path / "a.cfg").write_text(cfg_text(body))
    data = header_bytes(Header(0, 2, 0), PJREDDIE) + np.full(stored, 7, "<f4").tobytes()
    (tmp_path / "a.weights").write_bytes(data)
    model = dc.load(tmp_path / "a.cfg", tmp_path / "a.weights", dialect="pjreddie")
    loaded = sum(int((array == 7).sum()) for array in model.arrays.values())
    assert loaded == stored
    assert model.network.layers[0].slots == net.layers[0].slots
    dc.save(model, tmp_path / "b.cfg", tmp_path / "b.weights")
    assert (tmp_path / "b.weights").read_bytes() == data


@pytest.mark.parametrize("option", ["dontload=1", "batch_normalize=1\ndontloadscales=1"])
def test_changed_arrays_are_stored_all_the_same(tmp_path, caplog, option):
    model = random_model(network(f"[convolutional]\nfilters=4\nsize=3\n{option}\n"))
    with caplog.at_level("WARNING", logger="darkconv"):
        dc.save(model, tmp_path / "a.cfg", tmp_path / "a.weights")
    name = option.split()[-1].removesuffix("=1")
    assert f"so it is stored: {name}=0" in caplog.text
    back = dc.load(tmp_path / "a.cfg", tmp_path / "a.weights", dialect="alexeyab")
    for key, array in model.arrays.items():
        np.testing.assert_array_equal(back.arrays[key], array)


@given(st.data())
def test_any_arrays_come_back_from_a_file(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("model")
    dialect = data.draw(st.sampled_from(sorted(DIALECTS)))
    body = "".join(
        f"[convolutional]\nfilters={data.draw(st.integers(1, 5))}\n"
        f"size={data.draw(st.sampled_from([1, 3]))}\npad=1\n"
        f"batch_normalize={data.draw(st.integers(0, 1))}\nflipped={data.draw(st.integers(0, 1))}\n"
        for _ in range(data.draw(st.integers(1, 3)))
    )
    model = random_model(network(body, dialect=dialect), seed=data.draw(st.integers(0, 9)))
    dc.save(model, folder / "a.cfg", folder / "a.weights")
    back = map_weights(WeightsFile(folder / "a.weights"), model.network)
    assert back.header == model.header
    for key, array in model.arrays.items():
        np.testing.assert_array_equal(back.arrays[key], array)


def test_interrupted_write_leaves_the_old_file(saved, monkeypatch):
    model, cfg, weights = saved
    before = weights.read_bytes()
    monkeypatch.setattr("darkconv.darknet.weights.header_bytes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        dc.save(model, cfg, weights)
    assert weights.read_bytes() == before
    assert sorted(p.name for p in weights.parent.iterdir()) == ["net.cfg", "net.weights"]
