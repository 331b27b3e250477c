"""Channel classes of the layers whose rules are easily got wrong."""

import logging

import numpy as np
import pytest

import darkconv as dc
from darkconv.errors import PlanError
from darkconv.surgery.channels import find_classes
from darkconv.surgery.fingerprint import fingerprint
from masking import assert_pruned_equals_masked
from networks import network, random_model

pytest.importorskip("torch")

CONV = "[convolutional]\nfilters={}\nsize=1\nactivation=leaky\n"
HEAD = CONV.format(2)
BLOCK = CONV.format(4) + "[avgpool]\n[convolutional]\nfilters=4\nsize=1\nactivation=logistic\n"

SPECIAL = {
    # name: (layers, dialect, {layer: the sets of channels that live and die together})
    "reorg": (
        # 2 * 2 consecutive channels make 4 outputs that lie out_c = 2 apart
        CONV.format(8) + "[reorg]\nstride=2\n" + HEAD,
        "pjreddie",
        {0: [(0, 1, 2, 3), (4, 5, 6, 7)]},
    ),
    "reorg3d": (
        # takes space apart channel by channel, so one alone can go
        CONV.format(3) + "[reorg3d]\nstride=2\n" + HEAD,
        "alexeyab",
        {0: [(0,), (1,), (2,)]},
    ),
    "grouped convolution": (
        CONV.format(8) + CONV.format(6) + "groups=2\n" + HEAD,
        "alexeyab",
        {0: [(0, 1, 2, 3), (4, 5, 6, 7)], 1: [(0, 1, 2), (3, 4, 5)]},
    ),
    "depthwise chain": (
        CONV.format(3) + 2 * (CONV.format(3).replace("size=1", "size=3\npad=1") + "groups=3\n")
        + HEAD,
        "alexeyab",
        {0: [(0,), (1,), (2,)], 1: [(0,), (1,), (2,)], 2: [(0,), (1,), (2,)]},
    ),
    "squeeze and excitation": (
        BLOCK + "[scale_channels]\nfrom=0\n" + HEAD,
        "alexeyab",
        {0: [(0,), (1,), (2,), (3,)], 2: [(0,), (1,), (2,), (3,)]},
    ),
    "spatial attention": (
        CONV.format(4) + CONV.format(4) + "[sam]\nfrom=0\n" + HEAD,
        "alexeyab",
        {0: [(0,), (1,), (2,), (3,)], 1: [(0,), (1,), (2,), (3,)]},
    ),
    "shortcut with weights": (
        CONV.format(3) + CONV.format(3)
        + "[shortcut]\nfrom=0\nactivation=linear\n"
        "weights_type=per_channel\nweights_normalization=softmax\n" + HEAD,
        "alexeyab",
        {0: [(0,), (1,), (2,)], 1: [(0,), (1,), (2,)]},
    ),
    "route in groups": (
        # the second half of 6 goes on; what is cut from one half is cut from the other
        CONV.format(6) + "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n" + HEAD,
        "alexeyab",
        {0: [(0, 3), (1, 4), (2, 5)]},
    ),
    "route of maps": (
        CONV.format(2) + CONV.format(3) + "[route]\nlayers=0,1\n" + HEAD,
        "alexeyab",
        {0: [(0,), (1,)], 1: [(0,), (1,), (2,)]},
    ),
    "connected after convolution": (
        CONV.format(3) + "[connected]\noutput=4\nactivation=leaky\n"
        "[connected]\noutput=2\nactivation=linear\n",
        "pjreddie",
        {0: [(0,), (1,), (2,)], 1: [(0,), (1,), (2,), (3,)]},
    ),
    "local": (
        CONV.format(3) + "[local]\nfilters=4\nsize=3\nstride=1\npad=1\nactivation=leaky\n"
        "[connected]\noutput=2\nactivation=linear\n",
        "pjreddie",
        {0: [(0,), (1,), (2,)], 1: [(0,), (1,), (2,), (3,)]},
    ),
    "crnn": (
        CONV.format(3) + "[crnn]\noutput=4\nhidden=5\nsize=3\npad=1\nactivation=leaky\n" + HEAD,
        "alexeyab",
        {0: [(0,), (1,), (2,)], 1: [(0,), (1,), (2,), (3,)]},
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "darkconv")


def special(name):
    """(model, classes, expected sets) of one of the networks above."""
    body, dialect, expected = SPECIAL[name]
    model = random_model(network(body, dialect=dialect))
    return model, find_classes(model.network), expected


def sets_of(classes, layer):
    """The sets of a layer's channels that are of one class, and free to go."""
    labels = classes.of(layer)
    free = [label for label in np.unique(labels) if classes.free[label]]
    return sorted(tuple(np.flatnonzero(labels == label).tolist()) for label in free)


@pytest.mark.parametrize("name", SPECIAL)
def test_channels_that_live_and_die_together(name):
    _, classes, expected = special(name)
    assert {layer: sets_of(classes, layer) for layer in expected} == expected


@pytest.mark.parametrize("name", SPECIAL)
def test_each_class_alone_can_go(name):
    model, classes, expected = special(name)
    x = np.random.default_rng(1).normal(size=(1, 3, 8, 8)).astype(np.float32)
    gone = {labels for layer in expected for labels in classes.of(layer).tolist()}
    assert gone
    for label in gone:
        removed = np.arange(classes.count) == label
        keep = classes.kept(removed)
        plan = dc.PrunePlan(fingerprint(model), keep)
        pruned = dc.prune(model, plan, compensate=False)
        assert pruned.network.shapes != model.network.shapes
        assert_pruned_equals_masked(model, pruned, keep, x)


TIED = [name for name in SPECIAL if any(len(s) > 1 for s in SPECIAL[name][2][0])]


@pytest.mark.parametrize("name", [*TIED, "squeeze and excitation", "shortcut with weights"])
def test_what_belongs_together_is_not_split(name):
    model, _, _ = special(name)
    channels = model.network.shapes[0].c
    plan = dc.PrunePlan(fingerprint(model), {0: np.arange(1, channels)})
    with pytest.raises(PlanError, match=r"test\.cfg"):
        dc.prune(model, plan)


def test_reorg_blocks_are_consecutive_channels_not_strided_ones():
    model, _, _ = special("reorg")
    every_fourth = dc.PrunePlan(fingerprint(model), {0: np.array([1, 2, 3, 5, 6, 7])})
    with pytest.raises(PlanError, match="removed are channels 0, 4, but not channels 1-3, 5-7"):
        dc.prune(model, every_fourth)


def test_shortcut_of_unlike_widths_binds_the_channels_that_both_have():
    body = CONV.format(2) + CONV.format(4) + "[shortcut]\nfrom=0\nactivation=linear\n" + HEAD
    net = network(body)
    classes = find_classes(net)
    narrow, wide = classes.of(0), classes.of(1)
    assert narrow.tolist() == wide[:2].tolist()
    assert len(set(wide.tolist())) == 4


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("[convolutional]\nfilters=2\nsize=1\nxnor=1\nbatch_normalize=1\nbin_output=1\n", "xnor"),
        ("[normalization]\n", "neighbours"),
        ("[l2norm]\n", "length"),
        ("[activation]\nactivation=normalize_channels\n", "divides channels by their sum"),
        ("[crnn]\noutput=4\nhidden=4\nsize=1\ngroups=2\n", "groups"),
        ("[crnn]\noutput=4\nhidden=4\nsize=1\nxnor=1\n", "xnor"),
    ],
)
def test_layers_that_mix_channels_lock_them_and_say_so(body, reason):
    dialect = "pjreddie" if "l2norm" in body else "alexeyab"
    classes = find_classes(network(CONV.format(4) + body + HEAD, dialect=dialect))
    assert not classes.free[classes.of(0)].any()
    assert all(reason in classes.locks[label].reason for label in classes.of(0).tolist())
