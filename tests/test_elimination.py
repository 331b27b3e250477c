"""The score obs: what it says of a channel is what refitting leaves, tried out one by one."""

import itertools
import logging
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import darkconv as dc
from darkconv.errors import PlanError
from darkconv.surgery import elimination
from darkconv.surgery.channels import find_classes
from darkconv.surgery.chooser import class_families
from darkconv.surgery.elimination import LayerMoments, eliminate
from drafts import checked, drawn_model, drawn_network
from networks import network, random_model
from plans import unguarded_plan

RIDGE = 1e-3


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "darkconv")


def drawn_reading(stream, classes, taps, filters, others=0):
    """A layer that reads each class by so many columns, and others that stay."""
    columns = classes * taps + others
    seen = stream.normal(size=(columns, columns)) @ stream.normal(size=(columns, 200))
    seen -= seen.mean(1, keepdims=True)
    owners = stream.permutation(np.r_[np.repeat(np.arange(classes), taps), np.full(others, -1)])
    return LayerMoments(stream.normal(size=(filters, columns)), seen @ seen.T / 200, owners)


def refitted(reading, gone, ridge=RIDGE):
    """The error that is left when all weights that stay are solved for anew, by least squares."""
    held = reading.held(ridge)
    stays = ~np.isin(reading.owners, list(gone))
    root = np.linalg.cholesky(held)  # |(W' - W) root|^2 is the error
    wanted = reading.weights @ root
    found = np.zeros_like(wanted)
    if stays.any():
        found = np.linalg.lstsq(root[stays].T, wanted.T, rcond=None)[0].T @ root[stays]
    return float(np.square(wanted - found).sum()) / reading.spread


@given(data=st.data())
@checked(examples=30)
def test_each_removal_is_the_best_and_its_error_that_of_refitting(data):
    stream = np.random.default_rng(data.draw(st.integers(0, 999)))
    count = data.draw(st.integers(1, 6))
    sides = [
        drawn_reading(stream, count, data.draw(st.sampled_from((1, 2, 9))), 3, others)
        for others in data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=2))
    ]
    fixed = data.draw(st.sampled_from((0, 1))) * stream.random(count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elimination, "PENDING", data.draw(st.sampled_from((1, 5, 256))))
        errors = eliminate(np.arange(count), sides, RIDGE, fixed)
    gone = []
    for place in np.argsort(errors):
        left = [other for other in range(count) if other not in gone]
        costs = {
            other: sum(refitted(side, [*gone, other]) for side in sides)
            + fixed[[*gone, other]].sum()
            for other in left
        }
        assert place == min(costs, key=costs.get)
        assert errors[place] == pytest.approx(costs[place], rel=1e-6)
        gone.append(place)


def test_pairs_are_seldom_better_than_greedy_ones():
    """Greedy removal is no search over all subsets, but is near to it."""
    stream = np.random.default_rng(1)
    excess = []
    for _ in range(20):
        side = drawn_reading(stream, 6, 1, 4)
        errors = np.sort(eliminate(np.arange(6), [side], RIDGE))
        best = min(refitted(side, pair) for pair in itertools.combinations(range(6), 2))
        assert errors[1] >= best * (1 - 1e-9)
        excess.append(errors[1] / best)
    assert np.median(excess) < 1.05


def test_a_copy_costs_nothing_and_the_last_of_the_two_costs_much():
    stream = np.random.default_rng(2)
    side = drawn_reading(stream, 4, 1, 3)
    index = np.array([0, 1, 2, 3, 0])
    doubled = LayerMoments(side.weights[:, index], side.moments[np.ix_(index, index)], np.arange(5))
    errors = eliminate(np.arange(5), [doubled], 1e-9)
    assert min(errors[0], errors[4]) < 1e-6
    assert max(errors[0], errors[4]) > 1e-2


# --- In networks

CONV = "[convolutional]\nfilters={}\nsize={}\npad=1\nbatch_normalize=1\nactivation=leaky\n"
PLAIN = "[convolutional]\nfilters={}\nsize=1\nactivation=linear\n"
WAYS = {
    "straight": "",
    "pooled": "[maxpool]\nsize=2\nstride=2\n",
    "enlarged": "[upsample]\nstride=2\n",
    "taken apart": "[reorg]\nstride=2\n",
    "depthwise": CONV.format(8, 3) + "groups=8\n",
    "grouped": CONV.format(8, 3) + "groups=2\n",
    "added": CONV.format(8, 3) + "[shortcut]\nfrom=-2\nactivation=linear\n",
    "joined": CONV.format(4, 1) + "[route]\nlayers=-1,-2\n",
    "sliced": "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n",
}
"""What stands between a layer that makes channels and the one that reads them."""


def way_model(way):
    body = CONV.format(8, 3) + WAYS[way] + CONV.format(6, 3) + PLAIN.format(4)
    model = random_model(network(body, shape=(3, 12, 12)), seed=4)
    stream = np.random.default_rng(6)
    return model, list(stream.integers(0, 256, (6, 12, 12, 3)).astype(np.uint8))


def windows(values, size):
    """(channels * taps, positions) of maps (n, c, h, w), padded as pad=1 does."""
    border = size // 2
    padded = np.pad(values.astype(np.float64), [(0, 0), (0, 0), *[(border, border)] * 2])
    seen = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(2, 3))
    return seen.transpose(1, 4, 5, 0, 2, 3).reshape(values.shape[1] * size * size, -1)


def readings_by_hand(model, pictures, labels):
    """What reads some classes, from the values of all layers, without what profiling does."""
    x = np.stack([one.transpose(2, 0, 1) for one in pictures]).astype(np.float32) / 255
    values = dc.trace(model, np.concatenate([x, x[..., ::-1]]))
    classes = find_classes(model.network)
    for layer in model.network.layers:
        if layer.type != "convolutional" or layer.spec.groups > 1 or layer.sources[0] < 0:
            continue
        owners = classes.of(layer.sources[0])
        if not np.isin(owners, labels).any():
            continue
        seen = windows(values[layer.sources[0]], layer.spec.size)
        kernel = model.arrays[f"{layer.index}.weights"]
        weights = kernel.reshape(len(kernel), -1).astype(np.float64)
        if layer.spec.batch_normalize:
            scales, variance = (
                model.arrays[f"{layer.index}.{name}"] for name in ("scales", "rolling_variance")
            )
            weights = weights * np.abs(scales / np.sqrt(variance + 1e-5))[:, None]
        yield LayerMoments(weights, np.cov(seen, bias=True), owners.repeat(layer.spec.size**2))


@pytest.mark.parametrize("way", WAYS)
def test_residuals_are_those_of_solving_anew_whatever_lies_between(way):
    pytest.importorskip("torch")
    model, pictures = way_model(way)
    profile = dc.profile(model, pictures, obs=True, device="cpu")
    classes = find_classes(model.network)
    (first, *_) = [one for one in class_families(classes) if np.isin(one, classes.of(0)).all()]
    sides = list(readings_by_hand(model, pictures, first))
    assert len(sides) == {"added": 2, "joined": 2}.get(way, 1)
    own = [int(np.flatnonzero(classes.of(0) == label)[0]) for label in first]
    residual = profile.layers[0].residual[own]
    order = np.argsort(residual)
    for count in (1, len(first) // 2, len(first)):
        expected = sum(refitted(side, first[order[:count]]) for side in sides)
        assert residual[order[count - 1]] == pytest.approx(expected, rel=1e-4)


def test_readers_that_nothing_refits_count_by_what_they_read():
    pytest.importorskip("torch")
    body = CONV.format(8, 3) + "[connected]\noutput=5\nactivation=linear\n"
    model = random_model(network(body, shape=(3, 6, 6)), seed=4)
    pictures = way_model("straight")[1]
    profile = dc.profile(model, pictures, obs=True, device="cpu")
    squares = np.square(model.arrays["1.weights"].astype(np.float64)).reshape(5, 8, 36)
    worth = squares.sum((0, 2)) * profile.layers[0].variance
    residual = profile.layers[0].residual
    assert np.argsort(residual).tolist() == np.argsort(worth).tolist()
    assert residual == pytest.approx(
        np.cumsum(np.sort(worth))[worth.argsort().argsort()] / worth.sum()
    )


@given(data=st.data())
@checked(examples=15)
def test_every_network_has_residuals_and_loses_the_least(data):
    """Of every layer type with every option: finite, and rising as the plan removes."""
    pytest.importorskip("torch")
    draft = drawn_network(data.draw)
    model = drawn_model(data.draw, draft)
    shape = model.network.input_shape
    assume(shape.is_map and shape.c in (1, 3))
    stream = np.random.default_rng(0)
    pictures = [stream.integers(0, 256, (shape.h, shape.w, 3), np.uint8) for _ in range(3)]
    try:
        profile = dc.profile(model, pictures, obs=True, device="cpu")
    except dc.DarkconvError as error:
        assume("not finite" not in str(error))
        raise
    for index, layer in profile.layers.items():
        assert layer.residual.shape == (model.network.shapes[index].c,)
        assert np.isfinite(layer.residual).all()
        assert (layer.residual >= 0).all()
    plan = unguarded_plan(model, profile, score="obs", keep=0.5)
    dc.prune(model, plan)


def test_a_profile_keeps_what_the_score_needs_and_a_merged_one_says_that_it_does_not(
    tmp_path, caplog
):
    pytest.importorskip("torch")
    model, pictures = way_model("straight")
    profile = dc.profile(model, pictures, obs=True, device="cpu")
    profile.save(tmp_path / "p.npz")
    again = dc.Profile.load(tmp_path / "p.npz", model)
    plans = [unguarded_plan(model, one, score="obs", keep=0.5) for one in (profile, again)]
    assert plans[0].to_dict() == plans[1].to_dict()
    with caplog.at_level(logging.WARNING, "darkconv"):
        merged = profile.merge(again)
    assert "lose what the score obs needs" in caplog.text
    with pytest.raises(PlanError, match="does not say what refitting makes up for"):
        unguarded_plan(model, merged, score="obs", keep=0.5)


SCRIPT = """
import os, sys
from pathlib import Path
import numpy as np
import darkconv as dc
folder = Path(sys.argv[1])
model = dc.load(folder / "a.cfg", folder / "a.weights")
images = list(np.load(folder / "pictures.npy"))
profile = dc.profile(model, images, obs=True, batch=2, device="cpu")
losses = dc.measure_losses(model, profile, images, score="obs", batch=2, device="cpu")
residuals = {str(index): layer.residual for index, layer in profile.layers.items()}
np.savez(folder / f"rank{os.environ['RANK']}.npz", losses=losses.errors, **residuals)
"""


@pytest.mark.slow
def test_two_processes_measure_what_one_measures(tmp_path):
    pytest.importorskip("torch")
    body = CONV.format(8, 3) + CONV.format(8, 3) + PLAIN.format(4)
    model = random_model(network(body, shape=(3, 12, 12)), seed=4)
    images = way_model("straight")[1] * 2
    dc.save(model, tmp_path / "a.cfg", tmp_path / "a.weights")
    np.save(tmp_path / "pictures.npy", np.stack(images))
    (tmp_path / "script.py").write_text(SCRIPT)
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    subprocess.run([*run, tmp_path / "script.py", tmp_path], check=True, capture_output=True)
    first, second = (np.load(tmp_path / f"rank{rank}.npz") for rank in "01")
    profile = dc.profile(model, images, obs=True, batch=2, device="cpu")
    losses = dc.measure_losses(model, profile, images, score="obs", batch=2, device="cpu")
    assert np.array_equal(first["losses"], second["losses"], equal_nan=True)
    assert first["losses"][1:] == pytest.approx(losses.errors[1:], rel=1e-3)
    for index, layer in profile.layers.items():
        assert np.array_equal(first[str(index)], second[str(index)])
        assert first[str(index)] == pytest.approx(layer.residual, rel=1e-3)
