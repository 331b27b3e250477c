"""Keras models of `to_keras`: channels last, of stock layers, with the numbers of C."""

import json
import logging
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import darkconv as dc
from darkconv.boxes import as_corners
from darkconv.detection.decode import box_heads, decode
from darkconv.errors import DarkconvError, UnsupportedError
from networks import network, random_model
from reference.collection import Case, assert_close, has_detections

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

FOLDERS = sorted((Path(__file__).parent / "data" / "micro").iterdir())
WITH_BOXES = [*filter(has_detections, FOLDERS)]
CONV = "[convolutional]\nfilters={n}\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
LINEAR = "[convolutional]\nfilters={n}\nactivation=linear\n"
YOLO = LINEAR.format(n=16) + "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\n"
BOTH = ("pjreddie", "alexeyab")


class Built(NamedTuple):
    """A golden case and its Keras model."""

    case: Case
    kmodel: "keras.Model"


@pytest.fixture(scope="module", params=FOLDERS, ids=lambda folder: folder.name)
def built(request):
    case = Case(request.param, request.param / "net.weights")
    return Built(case, dc.to_keras(case.model))


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "darkconv")


def channels_last(x):
    return np.moveaxis(x, 1, -1) if x.ndim == 4 else x


def as_in_c(found, expected):
    """Keras's value in the order and shape of C's."""
    return (np.moveaxis(found, -1, 1) if found.ndim == 4 else found).reshape(expected.shape)


def given(case, step):
    """A golden case's input as the Keras model takes it."""
    shape = case.model.network.input_shape
    each = tuple(shape) if shape.is_map else (shape.size,)
    return channels_last(case.expected[f"input_step{step}" if step else "input"].reshape(-1, *each))


def expected_of(case, index, step, axes):
    """What C gives for a layer, with so many axes: (N, H, W, C) or (N, values)."""
    layer = case.model.network.layers[index]
    values = case.expected[f"layer_{index:03d}" + (f"_step{step}" if step else "")]
    c, h, w = layer.out_shape
    if axes == 2:
        return values.reshape(-1, layer.out_shape.size)
    if layer.type == "region" and case.model.dialect.region_is_cell_major:
        return values.reshape(-1, h, w, c)
    return channels_last(values.reshape(-1, c, h, w))


def arrays(values):
    """Outputs of a Keras model, one or several, as a list of arrays."""
    values = values if isinstance(values, (list, dict)) else [values]
    return [np.asarray(v) for v in (values.values() if isinstance(values, dict) else values)]


def run_steps(kmodel, inputs):
    """Outputs without states of successive calls, states handed on by hand."""
    if not isinstance(kmodel.input, dict):
        yield from (arrays(kmodel(x)) for x in inputs)
        return
    state = {
        name: np.zeros((len(inputs[0]), *value.shape[1:]), np.float32)
        for name, value in kmodel.input.items()
        if name != "input"
    }
    for x in inputs:
        values = kmodel({"input": x, **state})
        state = {name: np.asarray(values.pop(name.removesuffix("in") + "out")) for name in state}
        yield arrays(values)


def test_outputs_are_channels_last_and_those_of_c(built):
    case, kmodel = built
    inputs = [given(case, step) for step in range(case.layout.get("steps", 1))]
    for step, outputs in enumerate(run_steps(kmodel, inputs)):
        for index, found in zip(case.model.network.outputs, outputs, strict=True):
            expected = expected_of(case, index, step, found.ndim)
            assert_close(found, expected, f"layer {index}, step {step}")


def test_layers_bear_the_names_of_darknets(built):
    network = built.case.model.network
    known = [f"{layer.index:03d}_{layer.type}" for layer in network.layers]
    names = [layer.name for layer in built.kmodel.layers]
    assert names.count("input") == 1
    names.remove("input")
    for name in names:
        assert f"{name}_".startswith(f"{known[int(name[:3])]}_")
    found = {int(name[:3]) for name in names}
    sharing = {layer.index for layer in network.layers if layer.shared is not None}
    needed = set(network.needed_layers(network.outputs))
    assert needed - sharing <= found


def classes_in(config):
    """(module, class) of everything that a serialised object is made of."""
    if isinstance(config, dict):
        if config.get("module"):
            yield config["module"], config["class_name"]
        config = list(config.values())
    if isinstance(config, (list, tuple)):
        for part in config:
            yield from classes_in(part)


def test_nothing_but_keras_is_needed(built):
    config = keras.saving.serialize_keras_object(built.kmodel)
    rooms = {module for module, _ in classes_in(config)}
    assert rooms <= {
        "keras",
        "keras.initializers",
        "keras.layers",
        "keras.src.models.functional",
        "keras.src.ops.nn",
        "keras.src.ops.numpy",
    }
    assert "Lambda" not in {name for _, name in classes_in(config)}
    assert "darkconv" not in json.dumps(config)


def test_arrays_that_darknet_learns_are_trained(built):
    """Running statistics are moved, not trained."""
    model = built.case.model
    needed = model.network.needed_layers(model.network.outputs)
    slots = [slot for i in needed for slot in model.network.layers[i].slots]
    rolling = [slot for slot in slots if "rolling" in slot.name]
    learned = sum(slot.size for slot in slots) - sum(slot.size for slot in rolling)
    assert sum(v.shape.num_elements() for v in built.kmodel.trainable_variables) == learned


def test_files_come_back_byte_for_byte(built, tmp_path):
    dc.save(dc.from_keras(built.kmodel), tmp_path / "net.cfg", tmp_path / "net.weights")
    for name in ("net.cfg", "net.weights"):
        assert (tmp_path / name).read_bytes() == (built.case.folder / name).read_bytes()


def named(kmodel):
    return [operation.name for operation in kmodel.operations]


def test_names_depend_on_the_network_alone():
    model = random_model(network(CONV.format(n=4) + YOLO))
    first = named(dc.to_keras(model))
    dc.to_keras(random_model(network(CONV.format(n=4))))
    assert named(dc.to_keras(model)) == first
    assert len(set(first)) == len(first)


def test_parts_of_a_layer_are_named_after_it():
    model = random_model(network(CONV.format(n=4) + YOLO))
    assert [layer.name for layer in dc.to_keras(model).layers] == [
        "input",
        "000_convolutional",
        "000_convolutional_bn",
        "000_convolutional_leaky",
        "001_convolutional",
        "002_yolo",
    ]


@pytest.mark.parametrize(
    ("body", "shape", "axes", "out"),
    [
        (CONV.format(n=4), (3, 6, 10), (None, 6, 10, 3), (None, 6, 10, 4)),
        ("[connected]\noutput=5\n", (3, 6, 10), (None, 6, 10, 3), (None, 5)),
        (CONV.format(n=4) + "[avgpool]\n", (1, 6, 10), (None, 6, 10, 1), (None, 1, 1, 4)),
    ],
)
def test_axes_are_batch_rows_columns_channels(body, shape, axes, out):
    kmodel = dc.to_keras(random_model(network(body, shape)))
    assert (kmodel.input.name, kmodel.input.dtype) == ("input", "float32")
    assert (kmodel.input.shape, kmodel.output.shape) == (axes, out)


def test_a_network_for_vectors_takes_vectors():
    (folder,) = (f for f in FOLDERS if f.name == "alexeyab-connected-inputs-only")
    kmodel = dc.to_keras(Case(folder, folder / "net.weights").model)
    assert len(kmodel.input.shape) == 2


def test_several_outputs_come_in_a_list():
    body = CONV.format(n=4) + YOLO + "[route]\nlayers=0\n" + YOLO
    assert [t.shape for t in dc.to_keras(random_model(network(body))).output] == [
        (None, 8, 8, 16)
    ] * 2


def test_layers_that_share_arrays_are_one_keras_layer():
    conv = CONV.format(n=3)
    kmodel = dc.to_keras(random_model(network(conv + conv + "share_index=-1\n")))
    held = [layer.name for layer in kmodel.layers if layer.weights]
    assert held == ["000_convolutional", "000_convolutional_bn"]
    assert len(kmodel.get_layer("000_convolutional")._inbound_nodes) == 2


# --- Batch norm


@pytest.mark.parametrize("dialect", BOTH)
@pytest.mark.parametrize(
    "body", [CONV.format(n=4), "[batchnorm]\n", "[connected]\nbatch_normalize=1\n"]
)
def test_batch_norm_has_darknets_epsilon_and_momentum(dialect, body):
    kmodel = dc.to_keras(random_model(network(body, dialect=dialect)))
    (norm,) = (x for x in kmodel.layers if isinstance(x, keras.layers.BatchNormalization))
    assert (norm.epsilon, norm.momentum) == (1e-5, 0.99)
    assert (norm.scale, norm.center) == (True, body != "[batchnorm]\n" or dialect == "alexeyab")
    assert norm.trainable


def gradient_step(kmodel, x, rate=0.1):
    """One step of gradient descent on the sum of squared outputs."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        outputs = arrays_of_tensors(kmodel(x, training=True))
        cost = sum(tf.reduce_mean(tf.square(value)) for value in outputs)
    gradients = tape.gradient(cost, kmodel.trainable_variables)
    for variable, gradient in zip(kmodel.trainable_variables, gradients, strict=True):
        variable.assign_sub(rate * gradient)
    return float(cost)


def arrays_of_tensors(values):
    return values if isinstance(values, list) else [values]


@pytest.mark.parametrize("dialect", BOTH)
def test_training_lowers_the_cost_and_moves_the_statistics(dialect):
    model = random_model(network(LINEAR.format(n=4) + CONV.format(n=5), dialect=dialect))
    kmodel = dc.to_keras(model)
    x = np.random.default_rng(0).normal(size=(6, 8, 8, 3)).astype(np.float32)
    norm = kmodel.get_layer("001_convolutional_bn")
    before = np.asarray(norm.moving_mean.value)
    entering = keras.Model(kmodel.input, norm.input)(x)
    first = gradient_step(kmodel, x)
    mean = np.asarray(entering).mean(axis=(0, 1, 2))
    found = np.asarray(norm.moving_mean.value)
    np.testing.assert_allclose(found, 0.99 * before + 0.01 * mean, rtol=1e-5, atol=1e-6)
    assert np.abs(found - before).max() > 1e-4
    assert gradient_step(kmodel, x) < first


@pytest.mark.parametrize("dialect", BOTH)
def test_every_gradient_is_a_number(dialect):
    import tensorflow as tf

    body = CONV.format(n=4) + "[maxpool]\nsize=2\nstride=2\n" + CONV.format(n=4) + YOLO
    kmodel = dc.to_keras(random_model(network(body, dialect=dialect)))
    x = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    with tf.GradientTape() as tape:
        cost = tf.reduce_sum(tf.square(kmodel(x, training=True)))
    for gradient in tape.gradient(cost, kmodel.trainable_variables):
        assert np.isfinite(gradient).all()
        assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("dialect", BOTH)
def test_folding_leaves_no_batch_norm_and_the_same_numbers(dialect):
    body = CONV.format(n=4) + "[connected]\noutput=5\nbatch_normalize=1\nactivation=tanh\n"
    model = random_model(network(body, dialect=dialect))
    whole, folded = dc.to_keras(model), dc.to_keras(model, fold_bn=True)
    kinds = {type(layer).__name__ for layer in folded.layers}
    assert not kinds & {"BatchNormalization", "Rescaling"}
    assert folded.get_layer("000_convolutional").use_bias
    x = np.random.default_rng(0).random((2, 8, 8, 3), np.float32)
    np.testing.assert_allclose(folded(x), whole(x), rtol=1e-4, atol=1e-5)


# --- Heads


HEAD = "[convolutional]\nfilters={n}\nactivation={act}\n{head}\nanchors=2,3,4,1,3,3\n"
HEADS = {
    "yolo": HEAD.format(n=16, act="linear", head="[yolo]\nclasses=3\nnum=2"),
    "scaled": HEAD.format(n=16, act="linear", head="[yolo]\nclasses=3\nnum=2\nscale_x_y=1.2"),
    "new coords": HEAD.format(
        n=16, act="logistic", head="[yolo]\nclasses=3\nnum=2\nnew_coords=1\nscale_x_y=2"
    ),
    "gaussian": HEAD.format(n=24, act="linear", head="[Gaussian_yolo]\nclasses=3\nnum=2"),
    "left top": HEAD.format(
        n=24, act="linear", head="[Gaussian_yolo]\nclasses=3\nnum=2\nyolo_point=left_top"
    ),
    "right bottom": HEAD.format(
        n=24, act="linear", head="[Gaussian_yolo]\nclasses=3\nnum=2\nyolo_point=right_bottom"
    ),
    "region": HEAD.format(n=16, act="linear", head="[region]\nclasses=3\nnum=2"),
    "softmax": HEAD.format(n=16, act="linear", head="[region]\nclasses=3\nnum=2\nsoftmax=1"),
    "kept": HEAD.format(
        n=16, act="linear", head="[region]\nclasses=3\nnum=2\nsoftmax=1\nkeep_classes=2,0"
    ),
    "classfix": HEAD.format(
        n=16, act="linear", head="[region]\nclasses=3\nnum=2\nsoftmax=1\nclassfix=-1"
    ),
    "background": HEAD.format(
        n=16, act="linear", head="[region]\nclasses=3\nnum=2\nsoftmax=1\nbackground=1"
    ),
    "more coords": HEAD.format(
        n=20, act="linear", head="[region]\nclasses=3\nnum=2\nsoftmax=1\ncoords=6"
    ),
    "detection": "[connected]\noutput=117\nactivation=logistic\n"
    "[detection]\nclasses=3\nnum=2\ncoords=4\nside=3\nsqrt=1\nsoftmax=1\n",
    "two heads": HEAD.format(n=16, act="linear", head="[yolo]\nclasses=3\nmask=1,2\nnum=3")
    + "[route]\nlayers=0\n[maxpool]\nstride=2\n"
    + HEAD.format(n=8, act="linear", head="[yolo]\nclasses=3\nmask=0\nnum=3"),
}
ONLY = {
    "scaled": "alexeyab",
    "new coords": "alexeyab",
    "gaussian": "alexeyab",
    "left top": "alexeyab",
    "right bottom": "alexeyab",
    "classfix": "alexeyab",
    "background": "pjreddie",
    "more coords": "pjreddie",
}
CASES = [
    (name, dialect) for name in HEADS for dialect in BOTH if ONLY.get(name, dialect) == dialect
] + [("yolo", "yolor"), ("two heads", "yolor")]
SHAPE = (3, 6, 10)


def pictures(count=2, shape=SHAPE):
    return np.random.default_rng(0).uniform(-1, 2, (count, *shape)).astype(np.float32)


def assert_boxes_are_decoded(boxes, scores, expected):
    """In order; scores below zero are not kept by the decoder."""
    np.testing.assert_allclose(boxes, as_corners(expected.boxes), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.maximum(scores, 0), expected.scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("name", "dialect"), CASES)
def test_boxes_are_those_of_the_decoder(name, dialect):
    pytest.importorskip("torch")
    model = random_model(network(HEADS[name], SHAPE, dialect))
    found = dc.to_keras(model, head="boxes")(channels_last(pictures()))
    assert list(found) == ["boxes", "scores"]
    traced = dc.trace(model, pictures())
    for i in range(2):
        outputs = [traced[layer.index][i] for layer in box_heads(model.network)]
        expected = decode(model.network, outputs, threshold=0)
        assert_boxes_are_decoded(found["boxes"][i], found["scores"][i], expected)


@pytest.mark.parametrize("folder", WITH_BOXES, ids=lambda folder: folder.name)
def test_boxes_of_the_golden_cases_are_those_of_c(folder):
    case = Case(folder, folder / "net.weights")
    model = case.model
    if any(layer.tree for layer in model.network.heads):
        with pytest.raises(UnsupportedError, match="class tree is descended box by box"):
            dc.to_keras(model, head="boxes")
        return
    kmodel = dc.to_keras(model, head="boxes")
    assert list(kmodel.output) == ["boxes", "scores"]
    found = kmodel(given(case, 0))
    outputs = [case.expected[f"layer_{layer.index:03d}"] for layer in box_heads(model.network)]
    outputs = [o[0] for o in outputs] if case.layout.get("batch", 1) > 1 else outputs
    expected = decode(model.network, outputs, threshold=0)
    assert_boxes_are_decoded(found["boxes"][0], found["scores"][0], expected)


def test_shapes_of_boxes_are_stated():
    kmodel = dc.to_keras(random_model(network(HEADS["two heads"], SHAPE)), head="boxes")
    shapes = {name: value.shape for name, value in kmodel.output.items()}
    assert shapes == {"boxes": (None, 135, 4), "scores": (None, 135, 3)}
    assert [layer.name for layer in kmodel.layers][-2:] == ["boxes", "scores"]


@pytest.mark.parametrize(("name", "dialect"), CASES)
def test_logits_are_what_enters_the_heads(name, dialect):
    pytest.importorskip("torch")
    model = random_model(network(HEADS[name], SHAPE, dialect))
    kmodel = dc.to_keras(model, head="logits")
    heads = model.network.heads
    assert kmodel.output_names == [f"{x.index:03d}_{x.type}_logits" for x in heads]
    traced = dc.trace(model, pictures())
    for layer, found in zip(heads, arrays(kmodel(channels_last(pictures()))), strict=True):
        expected = traced[layer.sources[0]]
        assert_close(as_in_c(found, expected), expected, f"layer {layer.index}")


CLASSIFIER = CONV.format(n=4) + "[avgpool]\n[connected]\noutput=4\nactivation=linear\n[softmax]\n"


def test_classifiers_give_their_probabilities_for_boxes():
    model = random_model(network(CLASSIFIER + "[cost]\n"))
    x = channels_last(pictures(2, (3, 8, 8)))
    found = np.asarray(dc.to_keras(model, head="boxes")(x))
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_array_equal(found, dc.to_keras(model)(x))


def test_logits_of_a_classifier_are_what_softmax_takes():
    x = channels_last(pictures(2, (3, 8, 8)))
    model = random_model(network(CLASSIFIER))
    logits, found = (np.asarray(dc.to_keras(model, head=h)(x)) for h in ("logits", "raw"))
    powers = np.exp(logits)
    np.testing.assert_allclose(found, powers / powers.sum(axis=1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("head", ["foam", "nms"])
def test_unknown_heads_are_refused(head):
    with pytest.raises(DarkconvError) as error:
        dc.to_keras(random_model(network(CONV.format(n=2))), head=head)
    said = f"to_keras: head: expected 'raw' or 'boxes' or 'logits', found the text '{head}'"
    assert str(error.value) == said


def test_networks_without_heads_have_no_boxes_and_no_logits():
    model = random_model(network(CONV.format(n=2)))
    with pytest.raises(DarkconvError) as error:
        dc.to_keras(model, head="boxes")
    assert str(error.value) == (
        "test.cfg: predicts no boxes, which head=boxes is about: expected a [yolo], "
        "[Gaussian_yolo], [region] or [detection] layer, found no head\n"
        "  hint: its outputs as they are: head=raw"
    )
    with pytest.raises(DarkconvError, match="test.cfg: has no head that could be trained"):
        dc.to_keras(model, head="logits")


def test_two_classifiers_have_no_boxes():
    body = CLASSIFIER + "[route]\nlayers=0\n" + CLASSIFIER
    with pytest.raises(DarkconvError, match=r"found \[softmax\], \[softmax\]"):
        dc.to_keras(random_model(network(body)), head="boxes")


def test_boxes_of_too_few_coordinates_are_refused():
    body = "[connected]\noutput=63\n[detection]\nclasses=3\nnum=2\ncoords=1\nside=3\n"
    with pytest.raises(DarkconvError) as error:
        dc.to_keras(random_model(network(body)), head="boxes")
    text = "test.cfg:11: layer 1 [detection] coords: expected 4 for boxes, found 1"
    assert str(error.value) == text


def test_heads_with_more_classes_than_the_first_have_no_common_boxes():
    body = YOLO + LINEAR.format(n=18) + "[yolo]\nclasses=4\nnum=2\nanchors=3,4,6,7\n"
    with pytest.raises(DarkconvError, match="no room for so many scores: expected at most 3"):
        dc.to_keras(random_model(network(body)), head="boxes")


# --- Recurrent layers


MAPS = (
    "[crnn]\noutput=4\nhidden=6\npad=1\nbatch_normalize=1\n",
    "[conv_lstm]\noutput=4\npad=1\npeephole=1\nstate_constrain=1\n",
    "[conv_lstm]\noutput=4\npad=1\nbottleneck=1\nshortcut=1\nlstm_activation=relu\n",
)
RECURRENT = (
    "[rnn]\noutput=3\nhidden=4\nshortcut=1\n",
    "[gru]\noutput=3\n",
    "[lstm]\noutput=3\nbatch_normalize=1\n",
    *(LINEAR.format(n=4) + body for body in MAPS),
)
STATES = {"rnn": "h", "gru": "h", "lstm": "hc", "crnn": "h", "conv_lstm": "hc"}


@pytest.fixture(params=RECURRENT, ids=lambda body: body.split("[")[-1].replace("\n", " "))
def recurrent(request):
    return random_model(network(request.param, (2, 4, 6)))


def steps(count, batch=2):
    stream = np.random.default_rng(0)
    return [stream.normal(size=(batch, 2, 4, 6)).astype(np.float32) for _ in range(count)]


def test_state_is_kept_as_in_torch(recurrent):
    pytest.importorskip("torch")
    inputs = steps(3)
    calls = zip(
        run_steps(dc.to_keras(recurrent), [channels_last(x) for x in inputs]),
        dc.trace(recurrent, inputs, backend="keras"),
        dc.trace(recurrent, inputs),
        strict=True,
    )
    for (by_hand,), traced, expected in calls:
        assert_close(as_in_c(by_hand, expected[-1]), expected[-1], "handed on by hand")
        for index, (a, b) in enumerate(zip(traced, expected, strict=True)):
            assert_close(a, b, f"layer {index}")


def test_state_goes_in_and_comes_out_under_the_layers_name(recurrent):
    kmodel = dc.to_keras(recurrent)
    layer = recurrent.network.layers[-1]
    names = [f"{layer.index:03d}_{layer.type}_{n}" for n in STATES[layer.type]]
    assert list(kmodel.input) == ["input", *(f"{n}_in" for n in names)]
    assert list(kmodel.output) == [
        f"{layer.index:03d}_{layer.type}",
        *(f"{n}_out" for n in names),
    ]
    for name in names:
        assert kmodel.input[f"{name}_in"].shape == kmodel.output[f"{name}_out"].shape


@pytest.mark.parametrize("head", ["boxes", "logits"])
def test_state_goes_beside_every_kind_of_head(head):
    body = LINEAR.format(n=4) + "[conv_lstm]\noutput=4\npad=1\n" + YOLO
    kmodel = dc.to_keras(random_model(network(body)), head=head)
    assert list(kmodel.input) == ["input", "001_conv_lstm_h_in", "001_conv_lstm_c_in"]
    outputs = {"boxes": ["boxes", "scores"], "logits": ["003_yolo_logits"]}[head]
    assert list(kmodel.output) == [*outputs, "001_conv_lstm_h_out", "001_conv_lstm_c_out"]


def test_a_runner_starts_anew_with_another_batch(recurrent):
    from darkconv.backends.keras import make_runner

    run = make_runner(recurrent)
    (x,) = steps(1)
    first, second = run(x)[0], run(x)[0]
    run(x[:1])
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(run(x)[0], first)
