"""Profiles: exact statistics of every channel, whatever the batches, pictures and processes."""

import logging
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import darkconv as dc
from darkconv.errors import DarkconvError, PlanError
from darkconv.surgery.profile import BIN_EDGES, BINS
from networks import network, random_model

torch = pytest.importorskip("torch")

from darkconv.profiling.collect import Collector  # noqa: E402

BODY = """
[convolutional]
filters=6
size=3
pad=1
batch_normalize=1
activation=leaky

[maxpool]
size=2
stride=2

[convolutional]
filters=4
size=3
pad=1
activation=mish

[upsample]
stride=2

[route]
layers=-1,0

[dropout]

[convolutional]
filters=5
size=1
activation=linear
"""


@pytest.fixture
def model():
    return random_model(network(BODY, shape=(3, 24, 20)), seed=3)


@pytest.fixture
def pictures():
    stream = np.random.default_rng(5)
    return [stream.integers(0, 256, (24, 20, 3), np.uint8) for _ in range(7)]


def two_passes(model, pictures):
    """Mean and variance of every layer's channels, in double precision."""
    x = np.stack([p.transpose(2, 0, 1) for p in pictures]).astype(np.float32) / 255
    found = []
    for values in dc.trace(model, x):
        flat = values.reshape(len(x), values.shape[1], -1).astype(np.float64)
        found.append((flat.mean((0, 2)), flat.var((0, 2))))
    return found


def assert_same(a, b, rtol=1e-6):
    """Two profiles of the same pictures."""
    assert a.pictures == b.pictures
    for index, layer in a.layers.items():
        other = b.layers[index]
        scale = np.sqrt(layer.mean**2 + layer.variance)
        assert np.abs(layer.mean - other.mean).max() <= rtol * scale.max()
        assert other.variance == pytest.approx(layer.variance, rel=5 * rtol, abs=1e-12)
        assert np.array_equal(layer.histogram, other.histogram)
        assert layer.count == other.count


def test_mean_and_variance_are_those_of_two_passes(model, pictures):
    profile = dc.profile(model, pictures, batch=3)
    assert profile.pictures == 7
    for index, (mean, variance) in enumerate(two_passes(model, pictures)):
        assert profile.mean[index] == pytest.approx(mean, rel=1e-6, abs=1e-6)
        assert profile.variance[index] == pytest.approx(variance, rel=2e-6)
        assert profile.score[index] == pytest.approx(mean**2 / variance + np.log(variance), 1e-4)


@pytest.mark.parametrize("offset", [1e1, 1e3, 1e5])
def test_variance_survives_a_large_mean(pictures, offset):
    body = "[convolutional]\nfilters=4\nsize=1\nactivation=linear\n"
    model = random_model(network(body, shape=(3, 24, 20)))
    model = dc.replace_arrays(model, {"0.biases": np.full(4, offset, np.float32)})
    ((_, expected),) = two_passes(model, pictures)
    profile = dc.profile(model, pictures, batch=7)  # as in `trace`: the values are rounded alike
    assert profile.variance[0] == pytest.approx(expected, rel=1e-6)


def test_long_maps_keep_their_precision():
    model = random_model(network("[maxpool]\nsize=1\nstride=1\n", shape=(3, 160, 160)))
    picture = np.random.default_rng(0).integers(0, 256, (160, 160, 3), np.uint8)
    ((mean, variance),) = two_passes(model, [picture])
    profile = dc.profile(model, [picture])
    assert profile.mean[0] == pytest.approx(mean, rel=2e-7)
    assert profile.variance[0] == pytest.approx(variance, rel=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 7, 20])
def test_batches_do_not_matter(model, pictures, batch):
    assert_same(dc.profile(model, pictures, batch=3), dc.profile(model, pictures, batch=batch))


def test_merged_parts_are_the_whole(model, pictures):
    whole = dc.profile(model, pictures)
    parts = [dc.profile(model, pictures[:4]), dc.profile(model, pictures[4:])]
    merged = parts[0].merge(parts[1])
    for index, layer in whole.layers.items():
        assert merged.mean[index] == pytest.approx(layer.mean, rel=1e-6, abs=1e-6)
        assert merged.variance[index] == pytest.approx(layer.variance, rel=5e-6)
        assert merged.layers[index].histogram.sum() == layer.histogram.sum()
    assert merged.pictures == 7
    assert merged.notes["parts"] == [part.notes for part in parts]


def test_profiles_of_other_models_are_not_merged(model, pictures):
    other = random_model(model.network, seed=4)
    with pytest.raises(PlanError, match="different models"):
        dc.profile(model, pictures[:1]).merge(dc.profile(other, pictures[:1]))


def test_constant_channels_are_seen_as_such(model, pictures):
    scales = model.arrays["0.scales"].copy()
    scales[2] = 0
    model = dc.replace_arrays(model, {"0.scales": scales})
    layer = dc.profile(model, pictures).layers[0]
    assert layer.constant.tolist() == [False, False, True, False, False, False]
    assert layer.nll0[2] == -np.inf
    bias = model.arrays["0.biases"][2]
    assert layer.mean[2] == pytest.approx(bias if bias > 0 else 0.1 * bias, rel=1e-6)


def test_the_histogram_is_that_of_values_that_occur(model, pictures):
    profile = dc.profile(model, pictures)
    x = np.stack([p.transpose(2, 0, 1) for p in pictures]).astype(np.float32) / 255
    for index, values in enumerate(dc.trace(model, x)):
        histogram = profile.layers[index].histogram
        assert histogram.shape == (values.shape[1], BINS)
        assert (histogram.sum(axis=1) == histogram[0].sum()).all()
        for channel, counts in enumerate(histogram):
            possible, _ = np.histogram(values[:, channel], BIN_EDGES)
            near = possible + np.roll(possible, 1) + np.roll(possible, -1)  # rounding at edges
            assert not (counts > 0)[near == 0].any()


def test_bins_are_where_their_edges_say(pictures):
    collector = Collector(dc.to_torch(random_model(network(BODY, shape=(3, 24, 20)))))
    columns = len(collector.counts)
    middles = (BIN_EDGES[1:] + BIN_EDGES[:-1]) / 2
    values = torch.from_numpy(middles.astype(np.float32)).view(1, BINS, 1).expand(-1, -1, columns)
    collector._sample(values)
    collector._count()
    assert (collector.counts == 1).all()


def test_a_mean_absolute_value_comes_from_the_histogram(model, pictures):
    layer = dc.profile(model, pictures * 20).layers[0]
    x = np.stack([p.transpose(2, 0, 1) for p in pictures]).astype(np.float32) / 255
    exact = np.abs(dc.trace(model, x)[0]).mean((0, 2, 3))
    assert layer.absolute == pytest.approx(exact, rel=0.25)


def test_effects_are_those_of_the_gradient(model, pictures):
    profile = dc.profile(model, pictures, batch=2, taylor=True)
    x = torch.from_numpy(np.stack([p.transpose(2, 0, 1) for p in pictures]) / np.float32(255))
    values = dc.to_torch(model).trace(x.requires_grad_(True))
    values[0].retain_grad()
    (values[-1] ** 2 / 2).sum().backward()
    expected = (values[0] * values[0].grad).sum((2, 3)).abs().sum(0).detach().numpy()
    assert profile.layers[0].effect == pytest.approx(expected, rel=1e-5)


def test_saved_profiles_come_back(model, pictures, tmp_path):
    profile = dc.profile(model, pictures, taylor=True)
    profile.save(tmp_path / "p.npz")
    loaded = dc.Profile.load(tmp_path / "p.npz")
    assert (loaded.model, loaded.pictures) == (profile.model, profile.pictures)
    assert loaded.notes == profile.notes
    for index, layer in profile.layers.items():
        for name, value in vars(layer).items():
            assert np.array_equal(getattr(loaded.layers[index], name), value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"\x93NUMPY", b"{}"])
def test_what_is_no_profile_is_refused(tmp_path, content):
    path = tmp_path / "p.npz"
    path.write_bytes(content)
    with pytest.raises(PlanError, match=r"p\.npz.* cannot be read as a profile"):
        dc.Profile.load(path)


def test_broken_pictures_are_reported_and_left_out(model, pictures, tmp_path, caplog):
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"no picture")
    paths = sorted(tmp_path.glob("*.png"))
    with caplog.at_level(logging.WARNING, "darkconv"):
        profile = dc.profile(model, [*paths, tmp_path / "missing.png"], batch=2)
    assert profile.pictures == 6
    assert "3.png" in caplog.text
    assert "missing.png" in caplog.text
    for index, (mean, _) in enumerate(two_passes(model, pictures[:3] + pictures[4:])):
        assert profile.mean[index] == pytest.approx(mean, rel=1e-6, abs=1e-6)


def test_batches_hold_a_picture_at_least(model, pictures):
    with pytest.raises(DarkconvError, match="batch: expected a number from 1, found 0"):
        dc.profile(model, pictures, batch=0)


def test_no_picture_at_all_is_an_error(model, tmp_path):
    with pytest.raises(DarkconvError, match="no picture"):
        dc.profile(model, [tmp_path / "missing.png"])
    with pytest.raises(DarkconvError, match="no picture"):
        dc.profile(model, [])


def test_damaged_weights_are_named(model, pictures):
    broken = model.arrays["2.weights"].copy()
    broken[0] = np.nan
    with pytest.raises(DarkconvError, match=r"layer 2 \[convolutional\].*not finite"):
        dc.profile(dc.replace_arrays(model, {"2.weights": broken}), pictures)


SCRIPT = """
import os, sys
from pathlib import Path
import darkconv as dc
folder = Path(sys.argv[1])
model = dc.load(folder / "net.cfg", folder / "net.weights")
profile = dc.profile(model, sorted(folder.glob("*.png")), batch=2)
profile.save(folder / f"rank{os.environ['RANK']}.npz")
"""


@pytest.mark.slow
def test_two_processes_see_what_one_sees(model, pictures, tmp_path):
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}.png")
    dc.save(model, tmp_path / "net.cfg", tmp_path / "net.weights")
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*run, script, tmp_path], check=True, capture_output=True)
    one = dc.profile(dc.load(tmp_path / "net.cfg", tmp_path / "net.weights"), pictures, batch=3)
    for rank in "01":
        assert_same(one, dc.Profile.load(tmp_path / f"rank{rank}.npz"))
