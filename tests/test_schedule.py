"""Learning rates: each policy by the formula of network.c, step by step."""

import math

import pytest

pytest.importorskip("torch")

from darkconv.core.dialect import DIALECTS
from darkconv.core.network import build_network
from darkconv.darknet.cfg import parse_cfg
from darkconv.training.schedule import CfgSchedule, WarmupCosine

NET = "[net]\nwidth=8\nheight=8\nchannels=3\nlearning_rate=0.01\n{}\n[maxpool]\n"


def schedule(text, dialect="alexeyab"):
    lines = text.replace(" ", "\n")
    return CfgSchedule(build_network(parse_cfg(NET.format(lines)), DIALECTS[dialect]).options)


@pytest.mark.parametrize(
    ("text", "rates"),
    [
        ("policy=constant", {1: 0.01, 1000: 0.01}),
        ("policy=constant burn_in=100", {1: 1e-10, 50: 0.01 / 16, 99: 0.01 * 0.99**4, 100: 0.01}),
        ("policy=constant burn_in=10 power=1", {1: 1e-3, 5: 5e-3, 10: 0.01}),
        ("policy=steps steps=10,20 scales=.1,.5", {9: 0.01, 10: 1e-3, 19: 1e-3, 20: 5e-4}),
        ("policy=step step=10 scale=.5", {9: 0.01, 10: 5e-3, 25: 2.5e-3}),
        ("policy=exp gamma=.9", {1: 9e-3, 2: 8.1e-3}),
        ("policy=poly max_batches=100 power=2", {1: 0.01 * 0.99**2, 50: 2.5e-3, 100: 0.0}),
        ("policy=sigmoid gamma=.1 step=20", {20: 5e-3, 30: 0.01 / (1 + math.e)}),
        (
            "policy=sgdr learning_rate_min=.002 sgdr_cycle=10 sgdr_mult=2",
            {5: 0.006, 10: 0.002, 20: 0.006, 30: 0.002},
        ),
    ],
)
def test_policies(text, rates):
    found = schedule(text)
    assert {step: found.rate(step) for step in rates} == pytest.approx(rates, rel=1e-6)


def test_policy_random_is_within_bounds_and_repeats():
    found = schedule("policy=random power=1")
    rates = [found.rate(step) for step in range(1, 50)]
    assert len(set(rates)) > 40
    assert all(0 <= rate <= 0.01 for rate in rates)
    assert rates == [found.rate(step) for step in range(1, 50)]


def test_cosine_rises_and_falls():
    found = WarmupCosine(peak=1.0, steps=110, warm_up=10, lowest=0.0)
    assert found.rate(1) == pytest.approx(0.1)
    assert found.rate(10) == pytest.approx(1.0)
    assert found.rate(60) == pytest.approx(0.5)
    assert found.rate(110) == pytest.approx(0.0)
    assert found.rate(500) == pytest.approx(0.0)
