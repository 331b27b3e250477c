"""Equalisation: the same outputs to the last bit, and channels of more even range."""

import numpy as np
import pytest

import darkconv as dc
from darkconv.surgery.equalising import equalise, find_scale_classes
from darkconv.surgery.folding import fold_batchnorm
from networks import MICRO, micro_model, network, random_model

pytest.importorskip("hypothesis")
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

SHAPE = (3, 12, 16)
ACTIVATIONS = ("linear", "relu", "leaky", "ramp", "mish", "logistic", "relu6")
CONV = "[convolutional]\nfilters={n}\nsize={s}\npad=1\nbatch_normalize={b}\nactivation={act}\n"
DEPTHWISE = (
    "[convolutional]\nfilters=8\ngroups=8\nsize=3\npad=1\nbatch_normalize=1\nactivation={act}\n"
)
PIECES = [
    "[maxpool]\nsize=2\nstride=1\n",
    "[local_avgpool]\nsize=3\nstride=1\n",
    "[dropout]\n",
    "[upsample]\nstride=2\n[maxpool]\nsize=2\nstride=2\n",
    "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n[route]\nlayers=-1,-1\n",
    "[shortcut]\nfrom={first}\nactivation=leaky\n",
    "[avgpool]\n[scale_channels]\nfrom=-2\nactivation=linear\n",
    "[batchnorm]\n",
]


@st.composite
def bodies(draw):
    """Layers of eight channels, in which every layer may follow every other one."""
    act = st.sampled_from(ACTIVATIONS)
    text = CONV.format(n=8, s=3, b=1, act=draw(act))
    for _ in range(draw(st.integers(2, 6))):
        kind = draw(st.sampled_from(["conv", "depthwise", *range(len(PIECES))]))
        if kind == "conv":
            norm, size = draw(st.integers(0, 1)), draw(st.sampled_from([1, 3]))
            text += CONV.format(n=8, s=size, b=norm, act=draw(act))
        elif kind == "depthwise":
            text += DEPTHWISE.format(act=draw(act))
        else:
            text += PIECES[kind].format(first=0)
    return text + CONV.format(n=5, s=1, b=0, act="linear")


def unlike(model, seed=1):
    """A model whose channels have ranges that differ much."""
    stream = np.random.default_rng(seed)
    arrays = {
        key: values * np.exp(stream.normal(0, 2, values.shape)).astype(np.float32)
        for key, values in model.arrays.items()
        if key.endswith(("scales", "biases"))
    }
    return dc.replace_arrays(model, arrays)


def picture():
    return np.random.default_rng(2).random(SHAPE, np.float32)


@given(body=bodies(), strength=st.sampled_from([0.0, 0.5, 1.0]), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_outputs_stay_the_same_to_the_last_bit(body, strength, seed):
    model = fold_batchnorm(unlike(random_model(network(body, SHAPE), seed)))
    even = equalise(model, strength=strength)
    before, after = (dc.trace(one, picture())[-1] for one in (model, even))
    assert np.array_equal(before, after, equal_nan=True)


@pytest.mark.parametrize("folder", MICRO, ids=lambda folder: folder.name)
def test_small_networks_keep_their_outputs(folder):
    model, wanted = micro_model(folder)
    folded = fold_batchnorm(model)
    even = equalise(model)
    assert list(even.arrays) in (list(folded.arrays), list(model.arrays))
    shape = model.network.input_shape
    x = np.random.default_rng(0).random(shape if shape.is_map else shape.size, np.float32)
    before, after = (dc.trace(one, x) for one in (folded if even is not model else model, even))
    for index in wanted:
        assert np.array_equal(before[index], after[index], equal_nan=True)


def test_channels_come_closer_in_range():
    body = (
        CONV.format(n=8, s=3, b=1, act="relu")
        + DEPTHWISE.format(act="relu")
        + CONV.format(n=4, s=1, b=0, act="linear")
    )
    model = fold_batchnorm(unlike(random_model(network(body, SHAPE))))
    found = dc.trace(model, picture())
    ranges = {i: np.abs(values).reshape(len(values), -1).max(1) for i, values in enumerate(found)}
    even = dc.trace(equalise(model, ranges, strength=1.0), picture())
    for index in (0, 1):
        before = ranges[index][ranges[index] > 0]
        after = np.abs(even[index]).reshape(8, -1).max(1)[ranges[index] > 0]
        assert after.max() / after.min() < 4 < before.max() / before.min()


@pytest.mark.parametrize(
    ("layer", "is_free"),
    [
        ("[maxpool]\nsize=2\n", True),
        ("[activation]\nactivation=leaky\n", True),
        ("[activation]\nactivation=mish\n", False),
        ("[batchnorm]\n", False),
        ("[maxpool]\nsize=1\npadding=6\nstride=1\n", False),
    ],
)
def test_what_lies_between_decides_whether_channels_are_scaled(layer, is_free):
    body = CONV.format(n=4, s=1, b=0, act="relu") + layer + CONV.format(n=4, s=1, b=0, act="relu")
    net = network(body, SHAPE)
    classes = find_scale_classes(net)
    assert classes.is_free[classes.of(net.layers[0])].all() == is_free
    assert not classes.is_free[classes.of(net.layers[-1])].any()


def test_a_model_that_cannot_be_scaled_is_returned_as_it_is():
    model = random_model(network(CONV.format(n=4, s=1, b=1, act="mish") * 2, SHAPE))
    assert equalise(model) is model
