"""Explanations: which channels of a layer live and die together, and why."""

import numpy as np
import pytest

from darkconv.surgery.channels import find_classes
from darkconv.surgery.explain import explain_layer, format_bonds, format_channels
from networks import network

CONV = "[convolutional]\nfilters={}\nsize=1\nactivation=leaky\n"
HEAD = CONV.format(2)
RESIDUAL = CONV.format(4) + 2 * (CONV.format(4) + "[shortcut]\nfrom=-2\nactivation=linear\n") + HEAD

CASES = {
    # name: (layers, dialect, layer, its explanation)
    "free": (
        CONV.format(4) + HEAD, "alexeyab", 0,
        "layer 0 [convolutional]: 4 channels\n  channels 0-3 can go one by one",
    ),
    "shortcuts": (
        RESIDUAL, "alexeyab", 1,
        "layer 1 [convolutional]: 4 channels\n"
        "  channels 0-3 can go one by one, with the same channels of layers 0, 3\n"
        "    layer 2 [shortcut] adds its sources channel by channel\n"
        "    layer 4 [shortcut] adds its sources channel by channel",
    ),
    "reorg": (
        CONV.format(8) + "[reorg]\nstride=2\n" + HEAD, "pjreddie", 0,
        "layer 0 [convolutional]: 8 channels\n"
        "  channels 0-7 can only go in 2 sets of 4, the first is 0-3\n"
        "    layer 1 [reorg] moves whole blocks of channels into other channels",
    ),
    "behind a reorg": (
        CONV.format(8) + "[reorg]\nstride=2\n" + HEAD, "pjreddie", 1,
        "layer 1 [reorg]: 32 channels\n"
        "  channels 0-31 can only go in 2 sets of 16, the first is 0-3, 8-11, 16-19, 24-27, "
        "with channels of layer 0: the first with 0-3 of layer 0\n"
        "    layer 1 [reorg] moves whole blocks of channels into other channels",
    ),
    "depthwise": (
        CONV.format(4) + CONV.format(4) + "groups=4\n" + HEAD, "alexeyab", 0,
        "layer 0 [convolutional]: 4 channels\n  channels 0-3 can go one by one\n"
        "    layer 1 [convolutional] convolves its groups apart",
    ),
    "groups": (
        CONV.format(8) + CONV.format(6) + "groups=2\n" + HEAD, "alexeyab", 1,
        "layer 1 [convolutional]: 6 channels\n"
        "  channels 0-5 can only go in 2 sets of 3, the first is 0-2, with channels of layer 0: "
        "the first with 0-3 of layer 0\n    layer 1 [convolutional] convolves its groups apart",
    ),
    "slices": (
        CONV.format(6) + "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n" + HEAD, "alexeyab", 0,
        "layer 0 [convolutional]: 6 channels\n"
        "  channels 0-5 can only go in 3 sets of 2, the first is 0, 3\n"
        "    layer 1 [route] joins its sources, or takes a slice of each",
    ),
    "concatenation": (
        CONV.format(2) + CONV.format(3) + "[route]\nlayers=0,1\n" + HEAD, "alexeyab", 2,
        "layer 2 [route]: 5 channels\n"
        "  channels 0-1 can go one by one, with the same channels of layer 0\n"
        "  channels 2-4 can go one by one, with channels of layer 1: 2 with 0 of layer 1",
    ),
    "shared arrays": (
        CONV.format(3) + CONV.format(3) + CONV.format(3) + "share_index=1\n" + HEAD, "alexeyab", 1,
        "layer 1 [convolutional]: 3 channels\n"
        "  channels 0-2 can go one by one, with the same channels of layers 0, 2\n"
        "    layer 2 [convolutional] uses the arrays of layer 1",
    ),
    "result": (
        CONV.format(4) + HEAD, "alexeyab", 1,
        "layer 1 [convolutional]: 2 channels\n"
        "  channels 0-1 cannot go: they are the network's result (layer 1 [convolutional])",
    ),
    "head": (
        CONV.format(4) + CONV.format(12).replace("leaky", "linear")
        + "[yolo]\nclasses=1\nnum=2\nanchors=1,2,3,4\n", "alexeyab", 1,
        "layer 1 [convolutional]: 12 channels\n"
        "  channels 0-11 cannot go: they are the network's result (layer 2 [yolo])",
    ),
    "xnor": (
        CONV.format(4) + CONV.format(4) + "xnor=1\n" + HEAD, "alexeyab", 0,
        "layer 0 [convolutional]: 4 channels\n  channels 0-3 cannot go: "
        "xnor takes a channel of zeros for one of -1 (layer 1 [convolutional])",
    ),
    "input": (
        "[maxpool]\nsize=2\nstride=2\n" + HEAD, "alexeyab", 0,
        "layer 0 [maxpool]: 3 channels\n  channels 0-2 cannot go: they are the network's input",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_bonds_are_told_with_their_reasons(name):
    body, dialect, layer, expected = CASES[name]
    text = format_bonds(find_classes(network(body, dialect=dialect)), layer)
    assert text == expected


def test_every_channel_is_in_one_bond():
    classes = find_classes(network(RESIDUAL))
    for layer in classes.network.layers:
        channels = [bond.channels for bond in explain_layer(classes, layer.index)]
        assert np.array_equal(np.sort(np.concatenate(channels)), np.arange(layer.out_shape.c))


@pytest.mark.parametrize(
    ("channels", "text"), [([3], "3"), ([0, 1, 2], "0-2"), ([0, 2, 3, 9], "0, 2-3, 9"), ([], "")]
)
def test_numbers_are_told_in_short(channels, text):
    assert format_channels(np.array(channels, np.int64)) == text
