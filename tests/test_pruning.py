"""Pruning: for any network and any plan, the masked original's numbers."""

import logging

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import darkconv as dc
from darkconv.layers.conv import Convolutional, Deconvolutional, Local
from darkconv.layers.recurrent import ConvolutionalRecurrent
from darkconv.surgery.channels import find_classes
from darkconv.surgery.fingerprint import fingerprint
from drafts import (
    KINDS,
    ON_ANYTHING,
    ON_MAPS,
    checked,
    drawn_inputs,
    drawn_model,
    drawn_network,
)
from masking import assert_pruned_equals_masked
from plans import random_keep, random_means

pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "darkconv")


@pytest.mark.parametrize(
    ("kind", "dialect"),
    [pair for pair in KINDS if pair[0] in ON_MAPS or pair[0] in ON_ANYTHING],
    ids=lambda x: getattr(x, "__name__", x),
)
@given(data=st.data())
@checked(examples=8)
def test_pruned_layers_give_what_the_masked_original_gives(kind, dialect, data):
    check(data, drawn_network(data.draw, kind, dialect))


@given(data=st.data())
@checked(examples=100)
def test_pruned_networks_give_what_the_masked_original_gives(data):
    check(data, drawn_network(data.draw))


def check(data, draft):
    model = drawn_model(data.draw, draft)
    stream = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    keep = random_keep(find_classes(model.network), stream)
    assume(keep)
    (x,) = drawn_inputs(data.draw, draft.input_shape, 1)
    plan = dc.PrunePlan(fingerprint(model), keep)
    pruned = dc.prune(model, plan, compensate=False)
    assert_pruned_equals_masked(model, pruned, keep, x[None])
    if all(sees_single_positions(layer) for layer in model.network.layers):
        means = random_means(model.network, keep, stream)
        pruned = dc.prune(model, dc.PrunePlan(plan.model, keep, means))
        assert_pruned_equals_masked(model, pruned, keep, x[None], means)


def sees_single_positions(layer):
    """Whether what a constant input gives is the same everywhere, borders included."""
    spec = layer.spec
    if layer.shared is not None or isinstance(spec, ConvolutionalRecurrent):
        return False
    if not isinstance(spec, (Convolutional, Deconvolutional, Local)):
        return True
    if isinstance(spec, Local):
        return spec.size == 1 and not spec.pad
    is_dense = not isinstance(spec, Deconvolutional) or spec.stride == 1
    return is_dense and spec.size == 1 and not spec.border
