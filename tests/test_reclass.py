"""Class slicing: rows, options and names together, scores unchanged, what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import darkconv as dc
from darkconv.darknet.cfg import format_cfg
from darkconv.errors import PlanError
from networks import network, random_model

NAMES = ("ant", "bee", "cat", "dog")
CONV = "[convolutional]\nfilters={n}\nactivation={act}\nbatch_normalize={bn}\n"
TRUNK = "[convolutional]\nfilters=6\nsize=3\nstride=2\npad=1\nactivation=leaky\n"
HEADS = {
    "yolo": (TRUNK + CONV.format(n=18, act="linear", bn=0) + "[yolo]\nnum=2\n", "pjreddie"),
    "new_coords": (
        TRUNK + CONV.format(n=18, act="logistic", bn=0) + "[yolo]\nnum=2\nnew_coords=1\n",
        "alexeyab",
    ),
    "batch-normalised": (
        TRUNK + CONV.format(n=9, act="linear", bn=1) + "[yolo]\n",
        "alexeyab",
    ),
    "behind dropout": (
        TRUNK + CONV.format(n=9, act="linear", bn=0) + "[dropout]\n[batchnorm]\n[yolo]\n",
        "alexeyab",
    ),
    "Gaussian_yolo": (
        TRUNK + CONV.format(n=13, act="linear", bn=0) + "[Gaussian_yolo]\n",
        "alexeyab",
    ),
    "region": (TRUNK + CONV.format(n=18, act="linear", bn=0) + "[region]\nnum=2\n", "pjreddie"),
    "region-cells": (
        TRUNK + CONV.format(n=18, act="linear", bn=0) + "[region]\nnum=2\n",
        "alexeyab",
    ),
    "detection": (
        TRUNK + "[connected]\noutput=56\nactivation=linear\n[detection]\nside=2\nnum=2\ncoords=4\n",
        "pjreddie",
    ),
}


def head_model(kind):
    body, dialect = HEADS[kind]
    return random_model(network(body + "classes=4\n", (3, 8, 8), dialect), names=NAMES)


def run(model, backend="torch"):
    x = np.random.default_rng(5).random((3, 8, 8), np.float32)
    return dc.trace(model, x, backend=backend)[-1]


def scores_by_class(model, values):
    """Head values -> (everything but classes, classes last), whatever the head's layout."""
    spec = model.network.layers[-1].spec
    if spec.type == "detection":
        count = spec.cells * spec.classes
        return values[count:], values[:count].reshape(spec.cells, spec.classes)
    if spec.type == "region" and spec.dialect.region_is_cell_major:
        cells = values.reshape(-1, spec.anchor_entries)
        return cells[:, : spec.box_entries], cells[:, spec.box_entries :]
    anchors = len(spec.anchor_indices)
    entries = np.moveaxis(values.reshape(anchors, -1, *values.shape[1:]), 1, -1)
    return entries[..., : spec.box_entries], entries[..., spec.box_entries :]


@pytest.mark.parametrize("backend", ["torch", "onnx"])
@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("keep", [["bee", "dog"], ["dog", "ant", "cat"], ["cat"]])
def test_kept_classes_keep_their_scores_to_the_bit(kind, keep, backend):
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    whole = head_model(kind)
    part = dc.reclass(whole, keep=keep)
    assert part.names == tuple(keep)
    boxes, scores = scores_by_class(whole, run(whole, backend))
    kept_boxes, kept_scores = scores_by_class(part, run(part, backend))
    np.testing.assert_array_equal(kept_boxes, boxes)
    np.testing.assert_array_equal(kept_scores, scores[..., [NAMES.index(name) for name in keep]])


@pytest.mark.parametrize("kind", ["conv", "connected"])
def test_classifier_rows_are_kept(kind):
    pytest.importorskip("torch")
    last = {
        "conv": CONV.format(n=4, act="linear", bn=0) + "[avgpool]\n",
        "connected": "[connected]\noutput=4\nactivation=linear\n",
    }[kind]
    whole = random_model(network(TRUNK + last + "[softmax]\n[cost]\n"), names=NAMES)
    part = dc.reclass(whole, keep=["dog", "bee"])
    x = np.random.default_rng(5).random((3, 8, 8), np.float32)
    softmax = len(whole.network.layers) - 2
    logits, kept = (dc.trace(m, x)[softmax - 1].ravel() for m in (whole, part))
    # a product of two rows sums in another order than one of four; how far that goes depends on
    # the size of the terms, not on what is left of them
    np.testing.assert_allclose(kept, logits[[3, 1]], rtol=0, atol=1e-6 * np.abs(logits).max())
    assert part.network.shapes[softmax] == (2, 1, 1)


def test_only_the_lines_that_must_change_do():
    whole = head_model("yolo")
    part = dc.reclass(whole, keep=["bee"])
    before, after = (format_cfg(m.network.config).splitlines() for m in (whole, part))
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert changed == [("filters=18", "filters=12"), ("classes=4", "classes=1")]


def test_counters_per_class_follow():
    body = HEADS["yolo"][0] + "classes=4\ncounters_per_class=10,20,30,40\n"
    part = dc.reclass(random_model(network(body), names=NAMES), keep=["dog", "ant"])
    assert part.network.layers[-1].spec.counters_per_class == (40, 10)


def test_all_heads_are_cut():
    head = CONV.format(n=9, act="linear", bn=0) + "[yolo]\nclasses=4\n"
    body = TRUNK + head + "[route]\nlayers=0\n" + head
    part = dc.reclass(random_model(network(body), names=NAMES), keep=[1, 3])
    assert [layer.spec.classes for layer in part.network.heads] == [2, 2]
    assert [part.network.layers[i].spec.filters for i in (1, 4)] == [7, 7]


def test_shared_arrays_are_cut_once():
    head = CONV.format(n=9, act="linear", bn=0)
    body = TRUNK + head + "[yolo]\nclasses=4\n[route]\nlayers=0\n" + head
    body += "share_index=1\n[yolo]\nclasses=4\n"
    part = dc.reclass(random_model(network(body), names=NAMES), keep=[2])
    assert part.arrays["1.biases"].shape == (6,)
    assert part.network.layers[4].shared == 1


def test_keeping_all_in_order_changes_nothing():
    whole = head_model("region")
    part = dc.reclass(whole, keep=list(NAMES))
    assert format_cfg(part.network.config) == format_cfg(whole.network.config)
    for key, array in whole.arrays.items():
        np.testing.assert_array_equal(part.arrays[key], array)


@settings(max_examples=30)
@given(st.sampled_from(sorted(HEADS)), st.permutations(range(4)), st.integers(1, 4))
def test_slicing_twice_is_slicing_once(kind, order, count):
    whole = head_model(kind)
    first = order[:count]
    second = list(range(count))[::-1]
    twice = dc.reclass(dc.reclass(whole, keep=first), keep=second)
    once = dc.reclass(whole, keep=[first[i] for i in second])
    assert twice.names == once.names
    for key, array in once.arrays.items():
        np.testing.assert_array_equal(twice.arrays[key], array)


def test_softmax_over_classes_is_warned_about(caplog):
    body = HEADS["region"][0] + "classes=4\nsoftmax=1\n"
    with caplog.at_level("WARNING", logger="darkconv"):
        dc.reclass(random_model(network(body, dialect="pjreddie"), names=NAMES), keep=[0])
    assert "the softmax now runs over the kept classes alone" in caplog.text


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (["cow"], "unknown class 'cow'\n  hint: known are ant, bee, cat, dog"),
        (["doog"], "unknown class 'doog'\n  hint: did you mean dog?"),
        (["DOG"], "unknown class 'DOG'\n  hint: did you mean dog?"),
        ([], "no class to keep"),
        (["cat", 2], "class cat is named twice"),
        ([4], "class index: expected 0 to 3, found 4"),
        (["-1"], "class index: expected 0 to 3, found -1"),
    ],
)
def test_impossible_lists_are_refused(keep, message):
    with pytest.raises(PlanError) as caught:
        dc.reclass(head_model("yolo"), keep=keep)
    assert str(caught.value) == message


def test_other_spellings_of_a_name_keep_its_rows_and_are_told(caplog):
    from darkconv.surgery.classes import transfer

    model = head_model("yolo")
    with caplog.at_level("WARNING", logger="darkconv"):
        found = transfer(model, ["DOG", "Bee"])
    assert found.names == ("DOG", "Bee")
    assert "known spellings of the model's classes: DOG is dog, Bee is bee" in caplog.text
    expected = dc.reclass(model, ["dog", "bee"])
    for key, array in expected.arrays.items():
        np.testing.assert_array_equal(found.arrays[key], array)
    assert "need fine-tuning" not in caplog.text


def test_new_classes_that_are_spelled_as_others_are_told(caplog):
    with caplog.at_level("WARNING", logger="darkconv"):
        assert dc.reclass(head_model("yolo"), ["dog"], add=["Bee"]).names == ("dog", "Bee")
    assert "has in another spelling: Bee beside bee" in caplog.text
    with pytest.raises(PlanError, match="did you mean dog"):
        dc.reclass(head_model("yolo"), add=["cow"], init="like:DOG")


def test_names_are_needed_to_keep_by_name():
    from dataclasses import replace

    with pytest.raises(PlanError, match="the model has no class names"):
        dc.reclass(replace(head_model("yolo"), names=()), keep=["cat"])
    assert dc.reclass(replace(head_model("yolo"), names=()), keep=["2"]).names == ()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (TRUNK, "expected heads with one list of classes, found no head"),
        (
            TRUNK + CONV.format(n=9, act="linear", bn=0) + "[yolo]\nclasses=4\n[route]\nlayers=1\n",
            r"they come from layer 1 \[convolutional\], which layers 2, 3 read",
        ),
        (
            TRUNK + "[connected]\noutput=4\n[softmax]\ntree=a.tree\n",
            "the classes form a tree",
        ),
        (
            TRUNK + "[connected]\noutput=4\n[softmax]\ngroups=2\n",
            "a softmax in groups has no plain list of classes",
        ),
        (
            TRUNK
            + CONV.format(n=9, act="linear", bn=0).replace("filters=9", "filters=9\ngroups=3")
            + "[yolo]\nclasses=4\n",
            "its classes are not rows of one layer",
        ),
        (TRUNK + "[softmax]\n", "its classes are not rows of one layer"),
    ],
    ids=["no head", "also read", "tree", "groups", "grouped", "map"],
)
def test_heads_that_cannot_be_cut_are_refused(body, message):
    with pytest.raises(PlanError, match=message):
        dc.reclass(random_model(network(body)), keep=[0])


@pytest.mark.parametrize(
    ("filters", "size", "classes"), [(96, 3, 59), (96, 3, 61), (64, 1, 80), (33, 1, 20), (16, 1, 4)]
)
def test_detect_gives_a_slice_what_the_whole_gave_to_a_few_last_bits(filters, size, classes):
    """It runs channels last, where sums are ordered by the number of output channels."""
    pytest.importorskip("torch")
    from darkconv.detection.detect import raw_runner

    body = (
        f"[convolutional]\nfilters={filters}\nsize=3\npad=1\nactivation=leaky\n"
        f"[convolutional]\nfilters={3 * (5 + classes)}\nsize={size}\npad=1\nactivation=linear\n"
        f"[yolo]\nclasses={classes}\nnum=3\n"
    )
    whole = random_model(network(body, (3, 6, 3)))
    keep = list(range(0, classes, 3))
    part = dc.reclass(whole, keep=keep)
    rows = [
        place * (5 + classes) + entry
        for place in range(3)
        for entry in (*range(5), *(5 + index for index in keep))
    ]
    x = np.random.default_rng(0).random((1, 3, 6, 3), np.float32)
    (expected,), (found,) = (raw_runner(model, "torch")(x) for model in (whole, part))
    assert np.abs(found[0] - expected[0][rows]).max() <= 4e-6 * np.abs(found).max()
    whole_trace, part_trace = (dc.trace(model, x)[1] for model in (whole, part))
    np.testing.assert_array_equal(part_trace[0], whole_trace[0][rows])
