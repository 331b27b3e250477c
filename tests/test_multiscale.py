"""Sizes of the network input in training at several sizes."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from darkconv.augmentation.sampler import Order
from darkconv.backends.torch import to_torch
from darkconv.training.multiscale import STEPS, possible_sizes, size_schedule, takes_size
from networks import network, random_model

CONV = "[convolutional]\nfilters={n}\nactivation=linear\n"
HALF = "[convolutional]\nfilters=4\nsize=3\nstride=2\npad=1\n"
STRIDE_32 = HALF * 5
YOLO = CONV.format(n=7) + "[yolo]\nclasses=2\nnum=1\nanchors=4,6\nrandom={random}\n"
REGION = CONV.format(n=7) + "[region]\nclasses=2\nnum=1\nanchors=1,2\nrandom={random}\n"


def built(random, size=(416, 416), dialect="alexeyab", body=STRIDE_32, head=YOLO):
    return network(body + head.format(random=random), (3, *size[::-1]), dialect)


def test_without_random_every_step_has_the_usual_size():
    schedule = size_schedule(built(0), seed=1)
    assert [schedule(step) for step in range(40)] == [None] * 40


def test_the_originals_ten_sizes():
    sizes = possible_sizes(built(1, dialect="pjreddie"))
    assert sizes == tuple((side, side) for side in range(320, 609, 32))


def test_the_originals_sizes_are_relative_to_the_networks():
    sizes = possible_sizes(built(1, (608, 320), dialect="pjreddie"))
    assert len(sizes) == 10
    assert sizes[0] == (480, 256)
    assert sizes[3] == (608, 320)
    assert sizes[-1] == (896, 480)


@pytest.mark.parametrize(("random", "least", "most"), [(1, 320, 608), (2, 256, 864)])
def test_the_forks_sizes_lie_within_a_factor(random, least, most):
    sizes = np.array(possible_sizes(built(random)))
    assert (sizes[:, 0] == sizes[:, 1]).all()
    assert not (sizes % 32).any()
    assert (sizes.min(), sizes.max()) == (least, most)
    assert len(set(sizes[:, 0])) == (most - least) // 32 + 1
    smaller = (sizes[:, 0] <= 416).mean()
    assert 0.45 < smaller < 0.55


def test_only_multiples_of_the_networks_stride_are_drawn():
    net = network(STRIDE_32 + YOLO.format(random=1), (3, 416, 416), "alexeyab")
    config = net.config.with_section(0, {"resize_step": 16})
    sizes = np.array(possible_sizes(net.with_config(config)))
    assert len(sizes) > 20
    assert not (sizes % 32).any()


def test_layers_that_would_not_meet_are_no_choice():
    joined = HALF + HALF + "[upsample]\n[route]\nlayers=-1,0\n"
    net = built(1, (32, 32), body=joined)
    assert not takes_size(net, (30, 32))
    assert takes_size(net, (36, 40))


@pytest.mark.parametrize(
    "layer", ["[local]\nfilters=4\nsize=3\npad=1\n", "[connected]\noutput=63\n"], ids=str.split
)
def test_networks_of_one_size_are_refused(layer, caplog):
    """Their arrays would change."""
    head = "[detection]\nclasses=2\ncoords=4\nside=3\nnum=1\nrandom=1\n"
    body = HALF + layer + ("" if "connected" in layer else "[connected]\noutput=63\n")
    net = network(body + head, (3, 64, 64), "alexeyab")
    assert possible_sizes(net) == ((64, 64),) * len(possible_sizes(net))
    schedule = size_schedule(net, seed=0)
    assert schedule(0) is schedule(10) is None
    assert "takes its own input size only" in caplog.messages[0]


def test_sizes_are_a_function_of_seed_and_step():
    net = built(1)
    one, same, other = (size_schedule(net, seed) for seed in (5, 5, 6))
    steps = range(400)
    assert [one(step) for step in steps] == [same(step) for step in reversed(steps)][::-1]
    assert [one(step) for step in steps] != [other(step) for step in steps]
    assert len({one(step) for step in steps}) > 5


def test_a_size_holds_for_ten_steps():
    schedule = size_schedule(built(1, dialect="pjreddie"), seed=0)
    for first in range(0, 200, STEPS):
        assert len({schedule(step) for step in range(first, first + STEPS)}) == 1


def test_all_pictures_of_a_step_have_its_size():
    schedule = size_schedule(built(1), seed=2)
    order = Order(samples=7, batch=5, seed=2, size_of=schedule)
    for step in (0, 9, 10, 35):
        assert {draw.size for draw in order.step(step)} == {schedule(step)}


@pytest.mark.parametrize("dialect", ["pjreddie", "alexeyab"])
@pytest.mark.parametrize("head", [YOLO, REGION], ids=["yolo", "region"])
def test_modules_take_every_size_that_is_drawn(dialect, head):
    net = built(1, (64, 96), dialect, head=head)
    module = to_torch(random_model(net))
    for width, height in sorted(set(possible_sizes(net))):
        (out,) = module(torch.zeros(1, 3, height, width))
        (shape,) = (layer.out_shape for layer in net.with_input_size(width, height).heads)
        assert tuple(out.shape[1:]) == tuple(shape)
        assert (shape.w, shape.h) == (width // 32, height // 32)
