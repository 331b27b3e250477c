"""What the Keras losses take and give: truths of batches, names, parts, errors."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

keras = pytest.importorskip("keras")

from darkconv.backends.keras.losses import (  # noqa: E402
    LossParts,
    encode_truths,
    has_loss,
    head_loss,
    loss_parts,
    part_metrics,
)
from darkconv.backends.keras.losses.registry import costs  # noqa: E402
from darkconv.core.tree import Tree  # noqa: E402
from darkconv.errors import (  # noqa: E402
    DarkconvError,
    GraphError,
    OptionError,
    UnsupportedError,
)
from darkconv.layers.head import Yolo  # noqa: E402
from keras_gradients import PARTS, as_array, costs_and_gradient  # noqa: E402
from keras_heads import BOXED, BOXES, INPUT, LAYERS, truths_of, values_of  # noqa: E402
from networks import network  # noqa: E402

boxes_of_a_picture = arrays(
    np.float32, st.tuples(st.integers(0, 4), st.just(5)), elements=st.floats(0, 1, width=32)
)


@given(boxes=st.lists(boxes_of_a_picture, max_size=4), most=st.none() | st.integers(0, 5))
def test_truths_are_padded_to_one_length(boxes, most):
    encoded = encode_truths(boxes, most)
    rows = max(map(len, boxes), default=0) if most is None else most
    assert encoded.shape == (len(boxes), rows, 5)
    assert encoded.dtype == np.float32
    for found, given_boxes in zip(encoded, boxes, strict=True):
        count = min(len(given_boxes), rows)
        np.testing.assert_array_equal(found[:count], given_boxes[:count])
        assert (found[count:, 0] == -1).all()


def test_lists_and_empty_pictures_are_truths_too():
    encoded = encode_truths(BOXES)
    assert encoded.shape == (3, 3, 5)
    assert encoded[:, :, 0].tolist() == [[0, 2, 1], [-1, -1, -1], [1, -1, -1]]
    assert encode_truths([]).shape == (0, 0, 5)
    assert encode_truths([[], np.zeros((0, 5))]).shape == (2, 0, 5)


def test_dropped_boxes_are_warned_about(caplog):
    encoded = encode_truths([BOXES[0], [], BOXES[0][:2]], most=1)
    assert encoded[:, :, 0].tolist() == [[0], [-1], [0]]
    assert caplog.messages == ["3 boxes dropped: a picture has 3, and most=1 are kept"]


def test_nothing_is_said_where_no_box_is_dropped(caplog):
    encode_truths(BOXES, most=3)
    assert not caplog.messages


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ([[], [[1, 0.5, 0.5, 0.2]]], "picture 1: {shape}, found (1, 4)"),
        ([[1, 0.5, 0.5, 0.2, 0.2]], "picture 0: {shape}, found (5,)"),
        ([np.zeros((0, 2, 5))], "picture 0: {shape}, found (0, 2, 5)"),
        ([["dog"]], "picture 0: expected numbers, five in a row, found ['dog']"),
        ([[], [[1], [2, 3]]], "picture 1: expected numbers, five in a row, found [[1], [2, 3]]"),
    ],
    ids=["columns", "one-row", "axes", "text", "ragged"],
)
def test_truths_of_another_shape_are_refused(boxes, message):
    shape = "expected shape (boxes, 5): class, centre x, centre y, width, height"
    with pytest.raises(DarkconvError) as error:
        encode_truths(boxes)
    assert str(error.value) == "truths of " + message.format(shape=shape)


def test_a_negative_number_of_rows_is_refused():
    with pytest.raises(DarkconvError) as error:
        encode_truths(BOXES, most=-1)
    assert str(error.value) == "most: expected a number of rows, found -1"


def parts_of(name, truths, **setting):
    x = keras.ops.convert_to_tensor(values_of(LAYERS[name]))
    parts = loss_parts(LAYERS[name], input_size=INPUT, **setting)(truths, x)
    return {part: as_array(getattr(parts, part)) for part in PARTS}


@pytest.mark.parametrize("rule", ["default", "darknet"])
@pytest.mark.parametrize("name", BOXED)
def test_rows_that_fill_up_cost_nothing(name, rule):
    found = parts_of(name, encode_truths(BOXES, most=9), rule=rule)
    for part, value in parts_of(name, encode_truths(BOXES), rule=rule).items():
        np.testing.assert_array_equal(found[part], value)


@pytest.mark.parametrize("name", BOXED)
def test_by_the_default_rule_they_may_stand_anywhere(name):
    truths = np.insert(encode_truths(BOXES), [0, 1, 3], [-1, 0, 0, 0, 0], axis=1)
    found = parts_of(name, truths)
    for part, value in parts_of(name, encode_truths(BOXES)).items():
        np.testing.assert_array_equal(found[part], value)


@pytest.mark.parametrize("rows", [0, 2])
@pytest.mark.parametrize("name", BOXED)
def test_without_truths_only_the_background_costs(name, rows):
    found = parts_of(name, encode_truths([[], [], []], most=rows), seen=1_000_000)
    np.testing.assert_array_equal(found["total"], found["no_object"])
    assert (found["total"] > 0).all()


@pytest.mark.parametrize("name", LAYERS)
def test_a_loss_is_named_after_its_layer(name):
    layer = replace(LAYERS[name], index=16)
    loss = head_loss(layer, input_size=INPUT)
    assert loss.__name__ == loss.__qualname__ == f"016_{layer.type}_loss"


@pytest.mark.parametrize("name", LAYERS)
def test_metrics_are_the_parts_of_the_loss(name):
    layer, x, truths = LAYERS[name], values_of(LAYERS[name]), truths_of(name)
    metrics = part_metrics(layer, input_size=INPUT)
    assert tuple(metric.__name__ for metric in metrics) == LossParts.NAMES == PARTS[1:]
    found = {metric.__name__: as_array(metric(truths, x)) for metric in metrics}
    total = as_array(head_loss(layer, input_size=INPUT)(truths, x))
    assert total.shape == (len(x),)
    np.testing.assert_allclose(total, sum(found.values()), rtol=1e-6)
    for part, value in parts_of(name, truths).items():
        np.testing.assert_array_equal(found.get(part, total), value)


BACKBONE = "[convolutional]\nfilters=24\n\n[maxpool]\n\n"


def test_heads_and_classifiers_have_a_loss():
    assert all(map(has_loss, LAYERS.values()))
    layers = network(BACKBONE + "[dropout]\n").layers
    assert not any(map(has_loss, layers))


@pytest.mark.parametrize("function", [head_loss, loss_parts, part_metrics])
def test_other_layers_are_refused(function):
    with pytest.raises(UnsupportedError) as error:
        function(network(BACKBONE).layers[1], input_size=INPUT)
    assert str(error.value) == "[maxpool] has no loss to be trained by"


@pytest.mark.parametrize("function", [head_loss, loss_parts, part_metrics])
@pytest.mark.parametrize("name", LAYERS)
def test_class_weights_of_another_length_are_refused(name, function):
    with pytest.raises(OptionError) as error:
        function(LAYERS[name], input_size=INPUT, class_weights=(1.0, 2.0))
    count = 3 if name in BOXED else 6
    expected = f"class_weights: expected {count} numbers, one for each class, found 2"
    assert str(error.value) == expected


@pytest.mark.parametrize("name", ["yolo", "gaussian"])
def test_counters_of_another_length_are_refused(name):
    layer = LAYERS[name]
    layer = replace(layer, spec=replace(layer.spec, counters_per_class=(10, 5)))
    with pytest.raises(OptionError) as error:
        head_loss(layer, input_size=INPUT)
    expected = "counters_per_class: expected 3 numbers, one for each class, found 2"
    assert str(error.value) == f"[{layer.type}] {expected}"


@pytest.mark.parametrize("name", ["yolo", "gaussian", "region"])
@pytest.mark.parametrize("shape", [(None, None, None), (None, None, 4), (3, 2, None)])
def test_a_grid_of_unknown_size_is_refused(name, shape):
    layer = LAYERS[name]
    x = keras.KerasTensor((*shape, layer.in_shapes[0].c))
    with pytest.raises(UnsupportedError) as error:
        head_loss(layer, input_size=INPUT)(encode_truths(BOXES), x)
    expected = f"expected a fixed height and width, found shape {x.shape}"
    assert str(error.value) == f"y_pred: {expected}"


@pytest.mark.parametrize("shape", [(3, 5), (3, 6, 1), (3,)])
@pytest.mark.parametrize("name", ["softmax", "logistic", "cost"])
def test_truths_that_are_not_one_for_each_value_are_refused(name, shape):
    layer = LAYERS[name]
    with pytest.raises(DarkconvError) as error:
        head_loss(layer, input_size=INPUT)(np.zeros(shape, np.float32), values_of(layer))
    expected = "expected truths of shape (N, 6), one for each value"
    assert str(error.value) == f"layer 0 [{name}]: {expected}, found {shape}"


def test_of_a_kept_softmax_only_the_kept_values_have_truths():
    layer = network("[softmax]\nkeep_classes=4,1\n", (6, 1, 1)).layers[0]
    loss = head_loss(layer, input_size=INPUT, class_weights=(1.0, 2.0))
    assert loss(np.float32([[0, 1]]), values_of(layer)[:1]).shape == (1,)
    with pytest.raises(DarkconvError, match=r"shape \(N, 2\), one for each value, found \(1, 6\)"):
        loss(np.zeros((1, 6), np.float32), values_of(layer))


REFUSED = {
    "detection-coords": (
        ("[detection]\nside=2\nnum=2\nclasses=3\ncoords=5\n", (60, 1, 1), "alexeyab"),
        "[detection] coords: expected 4, found 5",
    ),
    "region-coords": (
        ("[region]\nnum=3\nclasses=3\ncoords=6\n", (30, 2, 4), "pjreddie"),
        "[region] coords: those behind the box have no labels",
    ),
    "region-map": (
        ("[region]\nnum=3\nclasses=3\nmap=coco9k.map\n", (24, 2, 4), "alexeyab"),
        "[region] map: labels are numbered by coco9k.map\n"
        "  hint: class_map=darkconv.darknet.class_map.read_class_map(layer, model.network)",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_heads_with_truths_of_another_kind_are_refused(name):
    made, message = REFUSED[name]
    with pytest.raises(UnsupportedError) as error:
        head_loss(network(*made).layers[0], input_size=INPUT)
    assert str(error.value) == f"layer 0 {message}"


@pytest.mark.parametrize(
    ("trees", "message"),
    [
        ({}, "tree.txt was not found"),
        ({"tree.txt": Tree(("a", "b"), (-1, -1))}, "expected a tree of {} classes, found 2"),
    ],
    ids=["missing", "small"],
)
@pytest.mark.parametrize(
    ("body", "shape", "classes"),
    [
        ("[region]\nnum=3\nclasses=3\nsoftmax=1\ntree=tree.txt\n", (24, 2, 4), 3),
        ("[softmax]\ntree=tree.txt\n", (6, 1, 1), 6),
    ],
    ids=["region", "softmax"],
)
def test_a_tree_that_does_not_fit_is_refused(body, shape, classes, trees, message):
    layer = network(body, shape, trees=trees).layers[0]
    with pytest.raises(GraphError) as error:
        head_loss(layer, input_size=INPUT)
    assert str(error.value) == f"layer 0 [{layer.type}] tree: {message.format(classes)}"


def test_a_softmax_without_a_loss_costs_nothing_and_passes_zeros_back():
    layer = network("[softmax]\nnoloss=1\n", (6, 1, 1)).layers[0]
    for rule in ("default", "darknet"):
        setting = {"input_size": INPUT, "rule": rule}
        found, gradient = costs_and_gradient(layer, values_of(layer), np.zeros((3, 1)), **setting)
        assert found["total"].tolist() == [0, 0, 0]
        assert gradient.shape == (3, 6)
        assert not gradient.any()


def test_registering_a_second_loss_is_an_error():
    with pytest.raises(ValueError, match="^Yolo has two losses$"):
        costs(Yolo)(print)
