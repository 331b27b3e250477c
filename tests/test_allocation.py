"""Which layers pay for a budget: those whose cuts were measured to cost least."""

import itertools
import logging
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import darkconv as dc
from darkconv.errors import PlanError
from darkconv.surgery.allocation import GRID, SHARES, Losses, lower_hull
from darkconv.surgery.budget import KINDS, Bill, Costs
from darkconv.surgery.channels import find_classes
from darkconv.surgery.chooser import class_families
from darkconv.surgery.fingerprint import fingerprint
from darkconv.surgery.layer_times import LayerTimes, Times, channels_of
from drafts import checked, drawn_model, drawn_network
from networks import network, random_model
from plans import unguarded_plan

NORMED = "[convolutional]\nfilters={}\nsize={}\npad=1\nbatch_normalize=1\nactivation=leaky\n"
PLAIN = "[convolutional]\nfilters={}\nsize=1\nactivation=linear\n"
BODY = NORMED.format(16, 3) + NORMED.format(32, 3) + NORMED.format(32, 3) + PLAIN.format(4)


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "darkconv")


@pytest.fixture(scope="module")
def model():
    return random_model(network(BODY), seed=2)


def made_losses(model, errors, score="l1"):
    return Losses(fingerprint(model), score, SHARES, np.asarray(errors, float))


def drawn_losses(model, stream, score):
    count = len(class_families(find_classes(model.network)))
    steps = stream.exponential(size=(count, len(SHARES)))
    steps[stream.random(count) < 0.3] = 0  # families whose cuts cost nothing
    return made_losses(model, np.cumsum(steps, axis=1), score)


def made_times(net, stream):
    """Times that grow with the channels, each layer by its own rule."""
    layers = {}
    for layer in net.layers:
        inputs, outputs = (np.unique([max(1, n // 2), n]) for n in channels_of(layer))
        if not all(channels_of(layer)):
            continue
        rule = stream.random(4)
        i, o = np.meshgrid(inputs / inputs[-1], outputs / outputs[-1], indexing="ij")
        layers[layer.index] = Times(
            inputs, outputs, rule[0] + rule[1] * i + rule[2] * o + rule[3] * i * o
        )
    return LayerTimes(layers, len(net.layers))


# --- Curves


@given(st.lists(st.floats(0, 9), min_size=2, max_size=12))
@checked(examples=50)
def test_a_hull_is_convex_below_and_the_largest_such(values):
    x, y = np.linspace(0, 1, len(values)), np.array(values)
    hull = lower_hull(x, y)
    assert (hull <= y + 1e-9).all()
    assert (np.diff(hull, 2) >= -1e-9).all()
    for place in range(len(x)):
        chords = [
            y[a] + (y[b] - y[a]) * (x[place] - x[a]) / (x[b] - x[a])
            for a, b in itertools.combinations(range(len(x)), 2)
            if a <= place <= b
        ]
        assert hull[place] == pytest.approx(min([*chords, y[place]]), abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3))
@checked(examples=50)
def test_curves_rise_from_nothing_and_are_convex(errors):
    curve = Losses("", "l1", SHARES, np.array([errors])).curve(0)
    assert curve.shape == (GRID + 1,)
    assert curve[0] == 0
    assert (np.diff(curve) >= -1e-12).all()
    assert (np.diff(curve, 2) >= -1e-9).all()


def test_curves_pass_through_what_was_measured_where_that_is_convex():
    curve = Losses("", "l1", SHARES, np.array([[0.01, 0.05, 0.3]])).curve(0)
    assert curve[[16, 32, 48]] == pytest.approx([0.01, 0.05, 0.3], rel=0.02)


# --- Costs


@given(data=st.data())
@checked(examples=40)
def test_a_bill_is_what_the_smaller_network_costs(data):
    """Of every layer type: parameters exactly, multiply-accumulates but for blurs."""
    model = drawn_model(data.draw, drawn_network(data.draw))
    classes = find_classes(model.network)
    families = class_families(classes)
    assume(families)
    costs = Costs(classes, model.header)
    stream = np.random.default_rng(data.draw(st.integers(0, 99)))
    gone = np.array([stream.integers(0, len(family)) for family in families])
    removed = np.zeros(classes.count, bool)
    for family, count in zip(families, gone, strict=True):
        removed[family[:count]] = True
    true, found = costs.of(removed), Bill(costs, families).of(gone)
    assert found["params"] == pytest.approx(true["params"], rel=0.02)


def test_a_bill_of_plain_layers_is_exact(model):
    classes = find_classes(model.network)
    families = class_families(classes)
    times = made_times(model.network, np.random.default_rng(1))
    costs = Costs(classes, model.header, times)
    bill = Bill(costs, families)
    gone = np.array([3, 10, 20])
    removed = np.zeros(classes.count, bool)
    for family, count in zip(families, gone, strict=True):
        removed[family[:count]] = True
    true, found = costs.of(removed), bill.of(gone)
    for kind in ("params", "macs", "latency"):
        assert found[kind] == pytest.approx(true[kind], rel=1e-9)
    after = bill.after(np.zeros(3, np.int64), gone)
    for place in range(3):
        alone = np.where(np.arange(3) == place, gone, 0)
        for kind in ("params", "macs", "latency"):
            assert after[kind][place] == pytest.approx(bill.of(alone)[kind])


# --- Plans


@given(data=st.data())
@checked(examples=40)
def test_budgets_hold_together_and_guards_too(data):
    model = drawn_model(data.draw, drawn_network(data.draw))
    stream = np.random.default_rng(data.draw(st.integers(0, 99)))
    times = made_times(model.network, stream)
    limits = {
        "params": data.draw(st.floats(0.3, 1)),
        "macs": data.draw(st.floats(0.3, 1)),
        "latency": data.draw(st.floats(0.5, 1)),
        "size": data.draw(st.integers(1000, 9000)),
    }
    assert limits.keys() == set(KINDS)
    kinds = data.draw(st.sets(st.sampled_from(KINDS), min_size=1))
    chosen = {kind: limits[kind] for kind in kinds}
    guards = {
        "skip_first": data.draw(st.integers(0, 1)),
        "min_keep": data.draw(st.sampled_from((0.0, 0.2, 0.5))),
        "multiple": data.draw(st.sampled_from((1, 2, 3))),
    }
    losses = data.draw(st.sampled_from((None, drawn_losses(model, stream, "random"))))
    options = {**chosen, **guards, "score": "random", "losses": losses}
    if "latency" in chosen:
        options["times"] = times
    try:
        plan = dc.plan(model, **options)
    except PlanError as error:
        assume("out of reach" not in str(error))
        raise
    assert dc.plan(model, **options).to_dict() == plan.to_dict()
    assert plan.notes["allocation"] == ("even" if losses is None else "measured")
    pruned = dc.prune(model, plan)
    classes = find_classes(model.network)
    whole = Costs(classes, model.header, times).whole
    left = Costs(find_classes(pruned.network), pruned.header).whole
    left["latency"] = times.of(pruned.network)
    for kind, limit in chosen.items():
        assert left[kind] <= limit * (1 if kind == "size" else whole[kind]) * (1 + 1e-9)
    for place, layer in enumerate(classes.makers):
        total = layer.out_shape.c
        kept = len(plan.keep.get(layer.index, range(total)))
        assert kept >= max(1, guards["min_keep"] * total)
        assert total % guards["multiple"] or kept % guards["multiple"] == 0
        assert kept == total or place >= guards["skip_first"]


def kept(plan, layers):
    return [len(plan.keep.get(index, ())) or count for index, count in layers.items()]


def test_the_layer_whose_cuts_cost_least_pays(model):
    layers = {0: 16, 1: 32, 2: 32}
    for cheap in (1, 2):
        errors = np.full((3, 3), 0.9) * SHARES
        errors[cheap] = [0.001, 0.002, 0.004]
        plan = unguarded_plan(model, score="l1", params=0.7, losses=made_losses(model, errors))
        others = [count for place, count in enumerate(kept(plan, layers)) if place != cheap]
        assert kept(plan, layers)[cheap] < 24
        assert others == [count for place, count in enumerate((16, 32, 32)) if place != cheap]


def test_what_a_layer_saves_counts_by_what_is_asked_for():
    """The first layer works on many pixels with few parameters, the second the other way round."""
    body = NORMED.format(16, 3) + "[maxpool]\nsize=8\nstride=8\n" + NORMED.format(64, 3)
    model = random_model(network(body + PLAIN.format(4), shape=(3, 32, 32)))
    losses = made_losses(model, [[0.01, 0.04, 0.2]] * 2)
    plans = {
        kind: kept(unguarded_plan(model, score="l1", losses=losses, **{kind: 0.7}), {0: 16, 2: 64})
        for kind in ("params", "macs")
    }
    assert plans["macs"][0] < plans["params"][0]
    assert plans["macs"][1] > plans["params"][1]


def test_within_a_layer_the_lowest_scores_go_as_they_do_evenly(model):
    losses = made_losses(model, [[0.1, 0.3, 0.9]] * 3)
    plan = unguarded_plan(model, score="l1", params=0.6, losses=losses)
    for index, channels in plan.keep.items():
        size = np.abs(model.arrays[f"{index}.weights"]).mean((1, 2, 3))
        assert channels.tolist() == sorted(np.argsort(size)[-len(channels) :].tolist())


MISTAKES = {
    "no budget": ({"keep": 0.5}, {}, "losses: only budgets are spent by them: found keep"),
    "other score": ({"params": 0.5}, {"score": "nll0"}, "of another score: expected l1, found"),
    "other model": ({"params": 0.5}, {"model": "0"}, "the losses are of another model"),
    "other guards": (
        {"params": 0.5}, {"errors": np.array([[np.nan] * 3, [1.0] * 3, [1.0] * 3])},
        "measured under other guards: layer 0 may lose channels now",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_losses_that_do_not_fit_are_refused(model, name):
    amounts, changes, message = MISTAKES[name]
    losses = replace(made_losses(model, np.ones((3, 3))), **changes)
    with pytest.raises(PlanError, match=message):
        unguarded_plan(model, score="l1", losses=losses, **amounts)


def test_times_and_latency_need_each_other(model):
    times = made_times(model.network, np.random.default_rng(0))
    with pytest.raises(PlanError, match="one is nothing without the other"):
        unguarded_plan(model, score="l1", latency=0.5)
    with pytest.raises(PlanError, match="one is nothing without the other"):
        unguarded_plan(model, score="l1", params=0.5, times=times)
    other = random_model(network(NORMED.format(8, 3) + BODY))
    with pytest.raises(PlanError, match=r"times are of another network .* expected 5 layers"):
        unguarded_plan(other, score="l1", latency=0.5, times=times)
    wider = random_model(network(BODY.replace("filters=4", "filters=5")))
    with pytest.raises(PlanError, match="expected 32 -> 5 channels, found 32 -> 4"):
        unguarded_plan(wider, score="l1", latency=0.5, times=times)


# --- Measuring


def pictures(count, seed=0):
    stream = np.random.default_rng(seed)
    small = stream.integers(0, 256, (count, 6, 6, 3)).astype(np.uint8)
    return list(small.repeat(2, axis=1).repeat(2, axis=2))


def test_a_loss_is_what_pruning_and_refitting_leave_at_the_heads():
    pytest.importorskip("torch")
    body = NORMED.format(8, 3) + "[maxpool]\nsize=2\nstride=2\n" + PLAIN.format(4)
    model = random_model(network(body, shape=(3, 12, 12)), seed=4)
    shown = pictures(16)
    fitted, tried = [one for i, one in enumerate(shown) if i % 4], shown[::4]
    profile = dc.profile(model, shown, device="cpu")
    losses = dc.measure_losses(model, profile, shown, skip_first=0, device="cpu")
    x = np.stack([one.transpose(2, 0, 1) for one in tried]).astype(np.float32) / 255
    whole = dc.trace(model, x)[-1]
    for place, share in enumerate(SHARES):
        plan = unguarded_plan(model, profile, keep=1 - share)
        small = dc.reconstruct(dc.prune(model, plan), model, plan, fitted, device="cpu")
        left = dc.trace(small, x)[-1]
        error = np.square(left - whole).sum() / np.square(whole - whole.mean()).sum()
        assert losses.errors[0, place] == pytest.approx(error, rel=1e-3)


BODIES = {
    "straight": NORMED.format(8, 3) + NORMED.format(8, 3) + PLAIN.format(4),
    "added": NORMED.format(8, 3) * 2 + "[shortcut]\nfrom=-2\nactivation=linear\n" + PLAIN.format(4),
    "depthwise": NORMED.format(8, 3) + NORMED.format(8, 3) + "groups=8\n" + PLAIN.format(4),
    "connected": NORMED.format(8, 3) * 2 + "[connected]\noutput=3\nactivation=linear\n",
    "shared": NORMED.format(8, 3) * 2 + NORMED.format(8, 3) + "share_index=1\n" + PLAIN.format(4),
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_losses_rise_with_the_cut_and_leave_the_model_as_it_was(body):
    pytest.importorskip("torch")
    model = random_model(network(body, shape=(3, 12, 12)), seed=4)
    profile = dc.profile(model, pictures(12), device="cpu")
    before = {key: array.copy() for key, array in model.arrays.items()}
    shown = []
    first, second = (
        dc.measure_losses(
            model,
            profile,
            pictures(12),
            score="mean_abs",
            skip_first=0,
            device="cpu",
            progress=shown.append,
        )
        for _ in range(2)
    )
    assert np.array_equal(first.errors, second.errors, equal_nan=True)
    assert all(np.array_equal(model.arrays[key], array) for key, array in before.items())
    assert shown[-1] == 100
    assert (np.diff(first.errors, axis=1) > 0).all()
    guards = {"skip_first": 0, "multiple": 1}
    plan = dc.plan(model, profile, score="mean_abs", params=0.9, losses=first, **guards)
    assert dc.prune(model, plan).network.parameters <= 0.9 * model.network.parameters


def test_times_are_measured_of_layers_with_weights_and_rise_with_channels():
    pytest.importorskip("torch")
    depthwise = NORMED.format(32, 3) + "groups=32\n"
    model = random_model(
        network(NORMED.format(16, 3) + NORMED.format(32, 3) + depthwise + PLAIN.format(4))
    )
    times = dc.measure_times(model)
    assert sorted(times.layers) == [0, 1, 2, 3]
    assert times.layers[0].inputs.tolist() == [3]
    assert times.layers[0].outputs.tolist() == [8, 16]
    assert times.layers[1].inputs.tolist() == [8, 16]
    assert times.layers[2].inputs.tolist() == [32]
    assert times.layers[2].outputs.tolist() == [8, 16, 24, 32]
    assert times.layers[3].outputs.tolist() == [4]
    for one in times.layers.values():
        assert (one.milliseconds > 0).all()
        assert (np.diff(one.milliseconds, axis=0) >= 0).all()
        assert (np.diff(one.milliseconds, axis=1) >= 0).all()


def test_between_measured_numbers_times_lie_on_straight_lines():
    times = Times(np.array([4, 8]), np.array([2, 6]), np.array([[1.0, 3.0], [2.0, 8.0]]))
    assert times.of(8, 6) == 8
    assert times.of(6, 6) == pytest.approx(5.5)
    assert times.of(6, 4) == pytest.approx(3.5)
    assert times.of(1, 1) >= 0
