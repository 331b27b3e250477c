"""Plans: guards, amounts and budgets hold; files come back; every mistake is named."""

import json
import logging

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import darkconv as dc
from darkconv.darknet.weights import file_size
from darkconv.errors import PlanError
from darkconv.surgery.channels import find_classes
from darkconv.surgery.clusters import split_in_two
from darkconv.surgery.fingerprint import fingerprint
from darkconv.surgery.profile import BINS, LayerStatistics, Profile
from drafts import checked, drawn_model, drawn_network
from networks import network, random_model
from plans import unguarded_plan

CONV = "[convolutional]\nfilters={}\nsize=1\nactivation=leaky\n"
NORMED = "[convolutional]\nfilters={}\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
BODY = (
    NORMED.format(8) + NORMED.format(8) + "[shortcut]\nfrom=-2\nactivation=linear\n"
    "[maxpool]\nsize=2\nstride=2\n" + NORMED.format(10) + CONV.format(4)
)  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "darkconv")


@pytest.fixture(scope="module")
def model():
    return random_model(network(BODY), seed=2)


def made_profile(model, stream=None, **changes):
    """A profile of random statistics, or of given means and deviations by layer."""
    stream = stream or np.random.default_rng(0)
    layers = {}
    for layer in model.network.layers:
        c = layer.out_shape.c
        mean, deviations = changes.get(
            f"layer{layer.index}", (stream.normal(size=c), stream.uniform(1, 9, c))
        )
        histogram = stream.integers(0, 9, (c, BINS))
        layers[layer.index] = LayerStatistics(10, np.array(mean), np.array(deviations), histogram)
    return Profile(fingerprint(model), 5, layers)


def kept_count(plan, layer):
    """Channels that a layer keeps."""
    return len(plan.keep.get(layer.index, range(layer.out_shape.c)))


# --- Guards and amounts


def drawn_guards(draw, layers):
    return {
        "skip_first": draw(st.integers(0, 2)),
        "min_keep": draw(st.sampled_from((0.0, 0.2, 0.5, 1.0))),
        "multiple": draw(st.sampled_from((1, 2, 3))),
        "lock": draw(st.lists(st.integers(0, layers - 1), max_size=1)),
    }


AMOUNTS = {
    "keep": st.sampled_from((0.01, 0.3, 0.5, 1.0)),
    "count": st.integers(1, 5),
    "threshold": st.floats(0, 1),
    "cut": st.just("auto"),
    "params": st.floats(0.3, 1),
    "macs": st.floats(0.3, 1),
    "size": st.integers(100, 4000),
}


@pytest.mark.parametrize("amount", AMOUNTS)
@given(data=st.data())
@checked(examples=25)
def test_guards_hold_for_every_amount(amount, data):
    draft = drawn_network(data.draw)
    model = drawn_model(data.draw, draft)
    guards = drawn_guards(data.draw, len(model.network.layers))
    value = data.draw(AMOUNTS[amount])
    try:
        plan = unguarded_plan(model, score="random", **{amount: value}, **guards)
    except PlanError as error:
        assume("out of reach" not in str(error))
        raise
    assert_guarded(model.network, plan, **guards)
    pruned = dc.prune(model, plan)
    assert_within(model, pruned, amount, value)
    if amount in ("keep", "count") and value == 1:
        assert all(kept_count(plan, layer) >= 1 for layer in model.network.layers)


def assert_guarded(net, plan, *, skip_first, min_keep, multiple, lock):
    makers = find_classes(net).makers
    for place, layer in enumerate(makers):
        total, kept = layer.out_shape.c, kept_count(plan, layer)
        assert kept >= max(1, min_keep * total)
        assert total % multiple or kept % multiple == 0
        assert kept == total or place >= skip_first
    assert all(index not in plan.keep for index in lock)


def assert_within(model, pruned, amount, value):
    before, after = model.network, pruned.network
    if amount == "params":
        counts = [sum(layer.parameters for layer in net.layers) for net in (before, after)]
        assert counts[1] <= value * counts[0]
    if amount == "macs":
        counts = [sum(layer.macs for layer in net.layers) for net in (before, after)]
        assert counts[1] <= value * counts[0]
    if amount == "size":
        assert file_size(after, pruned.header) <= value


@pytest.mark.parametrize(("amount", "value"), [("params", 0.5), ("macs", 0.5), ("size", 4000)])
def test_budgets_hold_for_the_written_file(model, amount, value, tmp_path):
    plan = unguarded_plan(model, score="l1", **{amount: value})
    pruned = dc.prune(model, plan)
    dc.save(pruned, tmp_path / "p.cfg", tmp_path / "p.weights")
    again = dc.load(tmp_path / "p.cfg", tmp_path / "p.weights")
    assert_within(model, again, amount, value)
    if amount == "size":
        assert value * 0.8 < (tmp_path / "p.weights").stat().st_size <= value


def test_a_budget_that_is_not_used_up_is_explained():
    model = random_model(network(CONV.format(24) + CONV.format(24) + CONV.format(2)))
    plan = dc.plan(model, score="l1", params=0.9)
    (remark,) = plan.notes["remarks"]
    before = model.network.parameters
    left = dc.prune(model, plan).network.parameters / before
    assert left < 0.9
    assert remark == (
        f"{left:.1%} of the parameters stay, since the next larger choice is 100.0% of the "
        "parameters, more than the 0.9 allowed: layers keep multiples of 8 channels, channels of "
        "layers that are bound together go together, every layer keeps 0.2 of its channels"
    )
    free = unguarded_plan(model, score="l1", params=0.9)
    assert free.notes["remarks"] == []


def test_a_budget_that_is_met_already_removes_nothing(model):
    assert unguarded_plan(model, score="l1", params=1.0).keep == {}


@pytest.mark.parametrize(
    ("share", "total", "kept"), [(0.5, 5, 3), (0.07, 100, 7), (0.55, 100, 55), (0.001, 9, 1)]
)
def test_a_share_is_rounded_up_but_not_by_binary_fractions(share, total, kept):
    model = random_model(network(CONV.format(total) + CONV.format(2)))
    assert len(unguarded_plan(model, score="l1", keep=share).keep[0]) == kept


def test_lowest_scores_go(model):
    size = np.abs(model.arrays["4.weights"]).mean((1, 2, 3))
    plan = unguarded_plan(model, score="l1", count=4, lock=[0, 1])
    assert plan.keep[4].tolist() == sorted(np.argsort(size)[-4:].tolist())
    threshold = float(np.sort(size)[3:5].mean())
    plan = unguarded_plan(model, score="l1", threshold=threshold, lock=[0])
    assert plan.keep[4].tolist() == np.flatnonzero(size >= threshold).tolist()


def test_a_count_holds_for_layers_with_several_families():
    body = CONV.format(8) + "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n" + CONV.format(4)
    body += "[shortcut]\nfrom=-2\nactivation=linear\n[route]\nlayers=0,3\n" + CONV.format(2)
    model = random_model(network(body))
    plan = unguarded_plan(model, score="l1", count=3)
    assert all(kept_count(plan, layer) <= 3 for layer in find_classes(model.network).makers[:-1])


def test_layers_are_locked_by_pattern(model):
    plan = unguarded_plan(model, score="l1", keep=0.5, lock=["*4_conv*"])
    assert sorted(plan.keep) == [0, 1, 2, 3]


def test_two_clusters_part_and_one_does_not(model):
    scores = {0: np.r_[np.zeros(4), np.full(4, 9.0)] + np.arange(8) / 50, 4: np.arange(10.0)}
    plan = unguarded_plan(
        model, score=lambda given: scores.get(given.layer.index, scores[0]), cut="auto", lock=[4]
    )
    assert plan.keep[0].tolist() == [4, 5, 6, 7]
    plan = unguarded_plan(model, score=lambda given: np.ones(given.layer.out_shape.c), cut="auto")
    assert plan.notes["remarks"] == ["no two clusters of scores, so nothing goes, in layers 0-1, 4"]


@pytest.mark.parametrize("count", [8, 32, 200])
@pytest.mark.parametrize("kind", ["random", "normal"])
def test_one_cloud_of_scores_is_seldom_taken_for_two(kind, count):
    stream = np.random.default_rng(0)
    draws = [getattr(stream, kind)(size=count) for _ in range(100)]
    assert sum(split_in_two(values) is not None for values in draws) <= 10


@pytest.mark.parametrize(("count", "gap"), [(8, 12), (32, 7), (200, 5)])
def test_two_clouds_of_scores_are_told_apart(count, gap):
    stream = np.random.default_rng(0)
    for _ in range(50):
        low, high = stream.normal(size=count), stream.normal(size=count) + gap
        limit = split_in_two(np.r_[low, high])
        assert limit is not None
        assert np.mean(low < limit) >= 0.9
        assert np.mean(high > limit) >= 0.9


# --- Constant channels


def test_constant_channels_go_first_and_at_no_cost(model):
    pytest.importorskip("torch")
    stream = np.random.default_rng(4)
    pictures = [stream.integers(0, 256, (8, 8, 3), np.uint8) for _ in range(4)]
    scales = model.arrays["4.scales"].copy()
    scales[[1, 6, 7]] = 0
    model = dc.replace_arrays(model, {"4.scales": scales})
    profile = dc.profile(model, pictures)
    for score in ("nll0", "mean_abs", "l1", "bn", "random"):
        plan = unguarded_plan(model, profile, score=score, keep=1.0)
        assert plan.keep[4].tolist() == [0, 2, 3, 4, 5, 8, 9]
        assert list(plan.keep) == [4]
        assert plan.notes["folded"] == 3
    x = stream.normal(size=(2, 3, 8, 8)).astype(np.float32)
    expected, found = dc.trace(model, x)[-1], dc.trace(dc.prune(model, plan), x)[-1]
    assert np.abs(expected - found).max() <= 1e-5
    assert np.abs(dc.trace(dc.prune(model, plan, compensate=False), x)[-1] - expected).max() > 1e-3


def test_a_constant_through_padding_is_exact_inside_and_stays_if_all_may(model):
    pytest.importorskip("torch")
    body = NORMED.format(6) + NORMED.format(4) + CONV.format(2)
    model = random_model(network(body))
    scales = model.arrays["0.scales"].copy()
    scales[2] = 0
    model = dc.replace_arrays(model, {"0.scales": scales})
    stream = np.random.default_rng(4)
    pictures = [stream.integers(0, 256, (8, 8, 3), np.uint8) for _ in range(4)]
    profile = dc.profile(model, pictures)
    assert unguarded_plan(model, profile, keep=1.0).keep == {}
    plan = unguarded_plan(model, profile, count=5)
    assert plan.keep[0].tolist() == [0, 1, 3, 4, 5]
    x = stream.normal(size=(2, 3, 8, 8)).astype(np.float32)
    error = np.abs(dc.trace(model, x)[1] - dc.trace(dc.prune(model, plan), x)[1])
    assert error[:, :, 1:-1, 1:-1].max() <= 1e-5
    assert error.max() > 1e-3


def test_a_silent_channel_costs_nothing_behind_any_layer(model):
    """Zero is zero at the border too."""
    body = NORMED.replace("leaky", "relu").format(6) + NORMED.format(4) + CONV.format(2)
    model = random_model(network(body))
    profile = made_profile(model, layer0=([1, 0, 1, 1, 0, 1], [3, 0, 3, 3, 0, 3]))
    plan = unguarded_plan(model, profile, keep=1.0)
    assert plan.keep[0].tolist() == [0, 2, 3, 5]
    assert unguarded_plan(model, profile, keep=1.0, multiple=3).keep == {}
    assert unguarded_plan(model, profile, keep=1.0, skip_first=1).keep == {}


def test_a_channel_that_a_depthwise_layer_silences_costs_nothing():
    body = CONV.format(4) + NORMED.format(4) + "groups=4\n" + CONV.format(2)
    model = random_model(network(body))
    profile = made_profile(model, layer1=([1, 5, 1, 1], [3, 0, 3, 3]))
    plan = unguarded_plan(model, profile, score="l1", keep=1.0)
    assert {i: k.tolist() for i, k in plan.keep.items()} == {0: [0, 2, 3], 1: [0, 2, 3]}


# --- Files


@given(data=st.data())
@checked(examples=40)
def test_saved_plans_come_back(data, tmp_path_factory):
    model = drawn_model(data.draw, drawn_network(data.draw))
    stream = np.random.default_rng(data.draw(st.integers(0, 99)))
    plan = unguarded_plan(model, made_profile(model, stream), score="random", keep=0.5)
    path = tmp_path_factory.getbasetemp() / "p.json"
    plan.save(path)
    again = dc.PrunePlan.load(path)
    assert (again.model, again.notes) == (plan.model, json.loads(json.dumps(plan.notes)))
    a, b = dc.prune(model, plan), dc.prune(model, again)
    assert a.network.config == b.network.config
    for key, values in a.arrays.items():
        assert b.arrays[key] == pytest.approx(values, rel=1e-5, abs=1e-6)


@pytest.fixture
def edited(model, tmp_path):
    """Saves a plan, edits it, and gives what loading and carrying it out ends in."""
    plan = unguarded_plan(model, made_profile(model), keep=0.5, skip_first=0)
    plan.save(tmp_path / "p.json")

    def carry_out(edit=None, text=None):
        path = tmp_path / "p.json"
        content = json.loads(path.read_text())
        if edit:
            edit(content)
        path.write_text(text if text is not None else json.dumps(content))
        return dc.prune(model, dc.PrunePlan.load(path))

    return carry_out


def keep_of(layer, channels):
    return lambda plan: plan["layers"][layer].update(keep=channels)


def test_edited_plans_are_carried_out(edited):
    def edit(plan):
        plan["layers"] = {"4": {"keep": [7, 2, 5]}}

    assert [s.c for s in edited(edit).network.shapes] == [8, 8, 8, 8, 3, 4]


def test_means_that_are_missing_are_told(edited, caplog):
    def edit(plan):
        for layer in ("0", "1"):
            plan["layers"][layer]["keep"] = plan["layers"][layer]["keep"][1:]

    with caplog.at_level(logging.WARNING, "darkconv"):
        edited(edit)
    assert "layer 0 [convolutional]: no mean is known of channels" in caplog.text


MISTAKES = {
    "out of range": (keep_of("4", [10]), "layer 4 keep: expected channels from 0 to 9, found 10"),
    "negative": (keep_of("4", [-1]), "layer 4 keep: expected channels from 0 to 9, found -1"),
    "twice": (keep_of("4", [1, 1, 2]), "layer 4 [convolutional]: channels are listed more than"),
    "empty": (keep_of("4", []), "layer 4 [convolutional]: the plan empties it"),
    "fraction": (keep_of("4", [0.5]), "layer 4 keep: expected channels from 0 to 9, found 0.5"),
    "flag": (keep_of("4", [True]), "found true"),
    "huge": (keep_of("4", [10**30]), "expected channels from 0 to 9, found 1000"),
    "no list": (keep_of("4", "all"), 'layer 4 keep: expected a list of channels, found "all"'),
    "no keep": (lambda p: p["layers"]["4"].pop("keep"), "layer 4 keep: expected a list of chan"),
    "no such layer": (
        lambda p: p["layers"].update({"99": {"keep": [0]}}),
        "layer 99: test.cfg has no such layer: expected a layer from 0 to 5",
    ),
    "no number": (
        lambda p: p["layers"].update({"four": {"keep": [0]}}),
        'layers: expected numbers as keys, found "four"',
    ),
    "the same number": (
        lambda p: p["layers"].update({"04": {"keep": [0]}}), "layers: names a number twice",
    ),
    "other type": (
        lambda p: p["layers"]["4"].update(type="connected"),
        "layer 4 [convolutional]: expected [convolutional], found [connected]",
    ),
    "other count": (
        lambda p: p["layers"]["4"].update(channels=12),
        "layer 4 [convolutional]: expected 10 channels, found 12",
    ),
    "count of text": (
        lambda p: p["layers"]["4"].update(channels="x"), 'channels: expected a number, found "x"',
    ),
    "entry of text": (lambda p: p["layers"].update({"4": "x"}), "layer 4: expected an object"),
    "split": (
        lambda p: p["layers"].update({"0": {"keep": [0, 1]}, "1": {"keep": [0, 1, 2]}}),
        "layer 0 [convolutional]: removed are channel 2, but not channel 2 of layer 1: they can "
        "only live or die together\n  hint: layer 2 [shortcut] adds its sources",
    ),
    "locked": (
        lambda p: p["layers"].update({"5": {"keep": [0]}}),
        "layer 5 [convolutional]: channels 1-3 cannot go: they are the network's result",
    ),
    "no maker": (
        lambda p: p["layers"].update({"3": {"keep": [0]}}),
        "layer 3 [maxpool]: the layers that make its channels keep others",
    ),
    "other model": (lambda p: p.update(model="0"), "the plan is for another model than test.cfg"),
    "model of list": (lambda p: p.update(model=[]), "model: expected a text, found []"),
    "newer": (
        lambda p: p.update(darkconv_plan=2),
        "darkconv_plan: expected format 1, found 2\n  hint: a newer darkconv wrote it",
    ),
    "odd format": (lambda p: p.update(darkconv_plan="1"), 'expected format 1, found "1"'),
    "no plan": (lambda p: p.pop("darkconv_plan"), "is not a plan"),
    "no layers": (lambda p: p.pop("layers"), "layers: expected an object in braces, found nothing"),
    "notes of text": (lambda p: p.update(notes="x"), "notes: expected an object in braces"),
    "mean of text": (
        lambda p: p["means"].update({"4": {"1": "x"}}),
        'layer 4 means: expected a number for channel 1, found "x"',
    ),
    "infinite mean": (
        lambda p: p["means"].update({"4": {"1": float("inf")}}), "expected a number for channel 1",
    ),
    "mean of nothing": (
        lambda p: p["means"].update({"4": {"77": 1.0}}),
        "layer 4 [convolutional] means: expected channels from 0 to 9, found 77",
    ),
    "mean of no layer": (lambda p: p["means"].update({"77": {}}), "layer 77: test.cfg has no such"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_in_a_plan_are_named(edited, name):
    edit, text = MISTAKES[name]
    with pytest.raises(PlanError) as raised:
        edited(edit)
    assert text in str(raised.value)
    assert "p.json" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"p\.json:1: is not well-formed JSON"),
        ("[]", "expected an object in braces"),
        ('{"darkconv_plan": 1,\n,}', r"p\.json:2: is not well-formed JSON"),
        ('{"darkconv_plan": 1, "darkconv_plan": 1}', '"darkconv_plan" twice'),
        ("\ud800", r"p\.json: is no text"),
        ("[" * 100_000, "is not well-formed JSON"),
    ],
)
def test_what_is_no_plan_is_refused(tmp_path, text, message):
    (tmp_path / "p.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(PlanError, match=message):
        dc.PrunePlan.load(tmp_path / "p.json")


def test_a_missing_plan_is_named(tmp_path):
    with pytest.raises(PlanError, match=r"p\.json: cannot read: No such file"):
        dc.PrunePlan.load(tmp_path / "p.json")


# --- Errors of use


IMPOSSIBLE = [
    ({}, "how much to remove: expected one of keep, count"),
    ({"keep": 0.5, "size": 1000}, "found keep, size"),
    ({"keep": 0}, "keep: expected a share above 0 and up to 1, found 0"),
    ({"keep": 1.1}, "found 1.1"),
    ({"keep": float("nan")}, "found nan"),
    ({"count": 0}, "count: expected 1 or more, found 0"),
    ({"params": -0.5}, "params: expected a share"),
    ({"macs": 2}, "macs: expected a share"),
    ({"size": -5}, "size: expected 1 or more, found -5"),
    ({"threshold": float("nan")}, "threshold: expected a number"),
    ({"cut": "never"}, "cut: expected auto, found never"),
    ({"keep": 0.5, "score": "best"}, "score: expected nll0, mean_abs"),
    ({"keep": 0.5, "score": "nll0"}, "needs a profile"),
    ({"keep": 0.5, "min_keep": 1.5}, "min_keep: expected a share from 0 to 1"),
    ({"keep": 0.5, "multiple": 0}, "multiple: expected 1 or more"),
    ({"keep": 0.5, "skip_first": -1}, "skip_first: expected 0 or more"),
    ({"keep": 0.5, "seed": -1}, "seed: expected 0 or more"),
    ({"keep": 0.5, "seed": 3}, "seed: only the score random draws lots: found l1"),
    ({"keep": 0.5, "lock": ["yolo"]}, "lock 'yolo' matches no layer"),
    ({"size": 100}, "100 bytes is out of reach: the guards leave"),
    ({"params": 0.01, "min_keep": 0.5}, "0.01 params is out of reach"),
]


@pytest.mark.parametrize(("options", "message"), IMPOSSIBLE, ids=lambda x: str(x)[:40])
def test_impossible_wishes_are_refused(model, options, message):
    with pytest.raises(PlanError, match=message.replace("(", r"\(")):
        unguarded_plan(model, **{"score": "l1", **options})


def test_a_budget_out_of_reach_names_the_guards_as_both_interfaces_do(model):
    with pytest.raises(PlanError) as caught:
        unguarded_plan(model, score="l1", size=100)
    for option in ("--min-keep", "--skip-first", "--multiple", "--lock", "in Python min_keep="):
        assert option in caught.value.hint


def test_a_second_profile_is_for_contrast_alone_and_another_one(model):
    profile = made_profile(model)
    with pytest.raises(PlanError, match="only the score contrast compares two profiles"):
        unguarded_plan(model, profile, keep=0.5, against=profile)
    with pytest.raises(PlanError, match="the two profiles are the same"):
        unguarded_plan(model, profile, keep=0.5, score="contrast", against=profile)


def test_profiles_of_other_models_are_refused(model):
    other = random_model(model.network, seed=9)
    with pytest.raises(PlanError, match="of another model than test"):
        unguarded_plan(model, made_profile(other), keep=0.5)
    plan = unguarded_plan(model, score="l1", keep=0.5)
    with pytest.raises(PlanError, match="the profile is of another model"):
        dc.prune(model, plan, profile=made_profile(other))
