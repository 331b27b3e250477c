"""What surgery gives back: records that print, show themselves and say what they are."""

import json

import numpy as np
import pytest

import darkconv as dc
from darkconv.errors import PlanError
from darkconv.surgery.fingerprint import fingerprint
from darkconv.surgery.profile import BINS, LayerStatistics, Profile
from networks import network, random_model

BODY = (
    "[convolutional]\nfilters=16\nsize=3\npad=1\nactivation=leaky\n"
    "[maxpool]\nsize=2\nstride=2\n"
    "[convolutional]\nfilters=24\nsize=3\npad=1\nactivation=leaky\n"
    "[convolutional]\nfilters=7\nactivation=linear\n"
)


@pytest.fixture
def model():
    return random_model(network(BODY, (3, 8, 8)))


def profile_of(model):
    stream = np.random.default_rng(0)
    layers = {}
    for layer in model.network.layers:
        count = layer.out_shape.c
        mean, spread = stream.normal(size=count), stream.random(count)
        spread[0] = 0
        layers[layer.index] = LayerStatistics(4, mean, 4 * spread, np.zeros((count, BINS), int))
    return Profile(fingerprint(model), 2, layers)


def test_several_budgets_all_hold(model):
    for params, macs in ((0.4, 0.9), (0.9, 0.4), (0.5, 0.5)):
        plan = dc.plan(
            model, score="l1", params=params, macs=macs, multiple=1, skip_first=0, min_keep=0
        )
        small = dc.prune(model, plan)
        assert small.network.parameters <= params * model.network.parameters
        assert small.network.macs <= macs * model.network.macs
        assert (plan.notes["params"], plan.notes["macs"]) == (params, macs)
    with pytest.raises(PlanError, match="or several of params, macs, latency, size, found"):
        dc.plan(model, score="l1", params=0.5, count=3)


def test_a_budget_out_of_reach_is_the_one_that_is_named(model):
    with pytest.raises(PlanError, match="0.01 macs is out of reach"):
        dc.plan(model, score="l1", params=0.9, macs=0.01)


def test_a_plan_says_what_it_is(model, tmp_path):
    plan = dc.plan(model, score="l1", keep=0.5, skip_first=0)
    assert repr(plan) == "PrunePlan: 16 of 40 channels of 2 layers go, score l1, keep=0.5"
    assert "<td style" in plan._repr_html_()
    text = json.dumps(plan.to_dict())
    (tmp_path / "p.json").write_text(text)
    plan.save(tmp_path / "q.json")
    for name in ("p.json", "q.json"):
        again = dc.PrunePlan.load(tmp_path / name)
        assert again.to_dict() == plan.to_dict()
        assert dc.prune(model, again).network.parameters == dc.prune(model, plan).network.parameters
    assert plan.to_dict()["layers"]["0"] == {
        "type": "convolutional",
        "channels": 16,
        "keep": plan.keep[0].tolist(),
    }


def test_a_plan_made_by_hand_says_what_it_knows(model):
    plan = dc.PrunePlan(fingerprint(model), {0: np.arange(8)})
    assert repr(plan) == "PrunePlan: channels of 1 layers go"
    assert plan.to_dict()["layers"] == {"0": {"keep": list(range(8))}}


def test_a_plan_explains_its_layers(model):
    plan = dc.plan(model, score="l1", keep=0.5, skip_first=0)
    gone = sorted(set(range(24)) - set(plan.keep[2].tolist()))
    text = plan.explain(model, 2)
    assert text.startswith(f"layer 2 [convolutional]: 24 channels\n  removed: channels {gone[0]}")
    assert "channels 0-23 can go one by one" in text
    assert plan.explain(model).count("removed:") == 2
    with pytest.raises(PlanError, match="expected a layer from 0 to 3, found 4"):
        plan.explain(model, 4)


def test_a_profile_is_told_to_programs(model, tmp_path):
    profile = profile_of(model)
    found = json.loads(json.dumps(profile.to_dict()))
    assert found["pictures"] == 2
    row = found["layers"][0]
    assert (row["layer"], row["channels"], row["constant"]) == (0, 16, 1)
    assert row["score"][0] is None
    assert row["score"][1] == pytest.approx(profile.score[0][1])
    profile.save(tmp_path / "p.npz")
    assert Profile.load(tmp_path / "p.npz", model).pictures == 2
    other = random_model(model.network, seed=5)
    with pytest.raises(PlanError, match=r"p\.npz: is a profile of another model than"):
        Profile.load(tmp_path / "p.npz", other)
    with pytest.raises(PlanError, match="the profile is of another model than"):
        profile.report(tmp_path / "p.html", other)


def test_a_graft_gives_its_account(model):
    done = dc.graft(source=model, target=random_model(model.network, seed=3))
    assert done.to_dict() == {
        "taken": [[0, 0], [2, 2], [3, 3]],
        "fresh": [],
        "unused": [],
        "behind_fresh": [],
    }
    assert done.runs == [((0, 0), (3, 3))]
    assert repr(done).startswith("taken: 3 of 3 layers with arrays\n  donor 0-3 -> receiver 0-3")
    assert "<td style" in done._repr_html_()
