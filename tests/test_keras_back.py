"""`from_keras`: the arrays that a Keras model holds now, bit for bit, and what is no such model."""

import logging
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import darkconv as dc
from darkconv.core.model import Header
from darkconv.errors import DarkconvError
from drafts import BOTH, EACH, ON_ANYTHING, ON_MAPS, Draft, checked, drawn_model, maps
from networks import cfg_text, network, random_model
from reference.collection import assert_close

keras = pytest.importorskip("keras")
pytest.importorskip("tensorflow")

CONV = "[convolutional]\nfilters={n}\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
LINEAR = "[convolutional]\nfilters={n}\nactivation=linear\n"
YOLO = "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\n"
DETECTOR = CONV.format(n=8) + LINEAR.format(n=16) + YOLO
SPARE = CONV.format(n=4) + CONV.format(n=5) + "[route]\nlayers=0\n" + LINEAR.format(n=16) + YOLO
"""Nothing reads layer 1."""


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "darkconv")


@pytest.fixture
def model():
    made = random_model(network(DETECTOR), names=("cat", "dog", "fox"))
    return replace(made, header=Header(0, 2, 5, 1234567))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("back")


def written(model, folder):
    """The bytes of a model's cfg and weights."""
    dc.save(model, folder / "net.cfg", folder / "net.weights")
    return (folder / "net.cfg").read_bytes(), (folder / "net.weights").read_bytes()


def cfg_of(body, folder, shape=(3, 8, 8)):
    """A cfg file."""
    (folder / "other.cfg").write_text(cfg_text(body, shape))
    return folder / "other.cfg"


def assert_same_arrays(found, expected):
    assert list(found.arrays) == list(expected.arrays)
    for key, array in expected.arrays.items():
        np.testing.assert_array_equal(found.arrays[key], array, key)


@given(data=st.data())
@checked(examples=40)
def test_random_networks_come_back_byte_for_byte(folder, data):
    draft = Draft(data.draw, data.draw(st.sampled_from(EACH)), data.draw(maps()))
    for _ in range(data.draw(st.integers(1, 4))):
        assume(draft.size < 3000)
        kinds = ON_ANYTHING if len(draft.shape) == 1 else {**ON_MAPS, **ON_ANYTHING}
        legal = [kind for kind, dialects in kinds.items() if draft.dialect in dialects]
        data.draw(st.sampled_from(legal))(draft)
    model = drawn_model(data.draw, draft)
    assert written(dc.from_keras(dc.to_keras(model)), folder) == written(model, folder)


@pytest.mark.parametrize("head", ["raw", "boxes", "logits"])
def test_what_keras_has_no_place_for_comes_back_too(model, head):
    back = dc.from_keras(dc.to_keras(model, head=head))
    assert_same_arrays(back, model)
    assert (back.network, back.header, back.names) == (model.network, model.header, model.names)


def test_the_header_and_names_are_those_of_a_cfg_that_is_given(model, folder):
    written(model, folder)
    (folder / "net.names").write_text("a\nb\nc\n")
    back = dc.from_keras(dc.to_keras(model), folder / "net.cfg", dialect="alexeyab")
    assert_same_arrays(back, model)
    assert back.names == ("a", "b", "c")
    assert back.header == Header.new(model.dialect)
    assert back.dialect == model.dialect


@pytest.mark.parametrize("dialect", BOTH)
def test_a_cfg_that_leaves_its_dialect_open_follows_what_is_known(folder, dialect):
    """Nothing in the cfg tells; the two differ in how batch norm is computed."""
    model = random_model(network(CONV.format(n=8), dialect=dialect))
    kmodel = dc.to_keras(model)
    written(model, folder)
    cfg = folder / "net.cfg"
    assert dc.from_keras(kmodel, cfg).dialect == model.dialect
    (other,) = (name for name in BOTH if name != dialect)
    assert dc.from_keras(kmodel, cfg, dialect=other).dialect.name == other
    clone = keras.models.clone_model(kmodel)
    assert dc.from_keras(clone, cfg).dialect == dc.load(cfg).dialect


# --- After changes


def test_variables_have_the_axes_of_keras(model):
    """HWIO for OIHW; matrices turned."""
    body = (
        LINEAR.format(n=4) + "[convolutional]\nfilters=8\nsize=3\ngroups=4\n[connected]\noutput=5\n"
    )
    kmodel = dc.to_keras(random_model(network(body)))
    kernels = {
        "000_convolutional": (1, 1, 3, 4),
        "001_convolutional": (3, 3, 4, 2),
        "002_connected": (288, 5),
    }
    changed = {}
    for name, shape in kernels.items():
        layer = kmodel.get_layer(name)
        assert tuple(layer.kernel.shape) == shape
        changed[name] = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        layer.kernel.assign(changed[name])
    back = dc.from_keras(kmodel).arrays
    first, depthwise, dense = changed.values()
    assert back["0.weights"][2, 1, 0, 0] == first[0, 0, 1, 2]
    assert back["1.weights"][3, 0, 2, 1] == depthwise[2, 1, 1, 1]  # filter 3: channel 1's second
    assert back["2.weights"][4, 7] == dense[7, 4]


def train(kmodel, x):
    """Some steps of gradient descent on the sum of squared outputs."""
    import tensorflow as tf

    optimizer = keras.optimizers.SGD(0.05)
    for _ in range(3):
        with tf.GradientTape() as tape:
            cost = tf.reduce_mean(tf.square(kmodel(x, training=True)))
        variables = kmodel.trainable_variables
        optimizer.apply(tape.gradient(cost, variables), variables)


@pytest.mark.parametrize("dialect", BOTH)
def test_what_was_trained_comes_back_and_the_model_stays(dialect, folder):
    pytest.importorskip("torch")
    model = random_model(network(DETECTOR, dialect=dialect), names=("cat", "dog", "fox"))
    before = {key: array.copy() for key, array in model.arrays.items()}
    kmodel = dc.to_keras(model)
    x = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)
    train(kmodel, x.transpose(0, 2, 3, 1))
    back = dc.from_keras(kmodel)
    for key, array in before.items():
        np.testing.assert_array_equal(model.arrays[key], array)
        assert (back.arrays[key] != array).any()
    norm = kmodel.get_layer("000_convolutional_bn")
    np.testing.assert_array_equal(back.arrays["0.rolling_mean"], norm.moving_mean.value)
    assert back.names == model.names
    found = np.asarray(kmodel(x.transpose(0, 2, 3, 1))).transpose(0, 3, 1, 2)
    assert_close(found, dc.trace(back, x)[-1], "the head")


def test_arrays_of_a_file_that_is_mapped_are_not_written_to(model, folder):
    files = written(model, folder)
    loaded = dc.load(folder / "net.cfg", folder / "net.weights")
    kmodel = dc.to_keras(loaded)
    train(kmodel, np.ones((1, 8, 8, 3), np.float32))
    assert (folder / "net.weights").read_bytes() == files[1]
    assert_same_arrays(loaded, model)


def test_arrays_are_copies(model):
    kmodel = dc.to_keras(model)
    back = dc.from_keras(kmodel)
    kmodel.get_layer("001_convolutional").bias.assign(np.zeros(16))
    np.testing.assert_array_equal(back.arrays["1.biases"], model.arrays["1.biases"])
    with pytest.raises(ValueError, match="read-only"):
        back.arrays["1.biases"][0] = 1


def test_a_clone_needs_the_cfg(model, folder):
    written(model, folder)
    kmodel = dc.to_keras(model)
    clone = keras.models.clone_model(kmodel)
    with pytest.raises(DarkconvError, match="the Keras model does not know its network"):
        dc.from_keras(clone)
    clone.set_weights(kmodel.get_weights())
    assert_same_arrays(dc.from_keras(clone, folder / "net.cfg"), model)


def test_part_of_a_larger_model_is_found(model, folder):
    """Layers that are not named as Darknet's do not matter."""
    written(model, folder)
    kmodel = dc.to_keras(model)
    more = keras.layers.Conv2D(2, 1, name="more")(kmodel.output)
    larger = keras.Model(kmodel.input, more)
    assert_same_arrays(dc.from_keras(larger, folder / "net.cfg"), model)


# --- Layers that the Keras model leaves out


@pytest.mark.parametrize("head", ["raw", "boxes", "logits"])
def test_layers_that_no_output_needs_come_back(head):
    model = random_model(network(SPARE))
    kmodel = dc.to_keras(model, head=head)
    assert not any(layer.name.startswith("001") for layer in kmodel.layers)
    assert_same_arrays(dc.from_keras(kmodel), model)


def test_layers_that_no_output_needs_get_initial_values_by_a_cfg(folder, caplog):
    model = random_model(network(SPARE))
    with caplog.at_level(logging.WARNING, "darkconv"):
        back = dc.from_keras(dc.to_keras(model), cfg_of(SPARE, folder), dialect="alexeyab")
    lines = [record.message for record in caplog.records if "gets initial values" in record.message]
    assert len(lines) == 5
    assert lines[-1] == (
        f"{folder}/other.cfg:12: layer 1 [convolutional]: no output depends on it, so the Keras "
        "model does not hold its arrays: weights gets initial values"
    )
    np.testing.assert_array_equal(back.arrays["3.weights"], model.arrays["3.weights"])
    initial = dc.load(folder / "other.cfg", dialect="alexeyab")
    np.testing.assert_array_equal(back.arrays["1.weights"], initial.arrays["1.weights"])


@pytest.mark.parametrize("head", ["raw", "boxes", "logits"])
def test_layers_that_this_head_does_not_need_come_back(head):
    classifier = "[avgpool]\n" + LINEAR.format(n=3) + "[softmax]\n[route]\nlayers=0\n"
    model = random_model(network(CONV.format(n=4) + classifier + LINEAR.format(n=16) + YOLO))
    assert_same_arrays(dc.from_keras(dc.to_keras(model, head=head)), model)


def test_arrays_that_only_a_borrower_uses_are_read():
    body = LINEAR.format(n=4) * 2 + "[route]\nlayers=0\n" + LINEAR.format(n=4) + "share_index=1\n"
    model = random_model(network(body))
    kmodel = dc.to_keras(model)
    kmodel.get_layer("001_convolutional").bias.assign(np.arange(4))
    np.testing.assert_array_equal(dc.from_keras(kmodel).arrays["1.biases"], np.arange(4))


# --- Folded models


@pytest.mark.parametrize("dialect", BOTH)
def test_a_folded_model_comes_back_folded(dialect, folder):
    pytest.importorskip("torch")
    model = random_model(network(DETECTOR, dialect=dialect))
    kmodel = dc.to_keras(model, fold_bn=True)
    back = dc.from_keras(kmodel)
    assert list(back.arrays) == ["0.biases", "0.weights", "1.biases", "1.weights"]
    x = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
    assert_close(dc.trace(back, x)[-1], dc.trace(model, x)[-1], "the head")
    written(back, folder)
    again = dc.from_keras(kmodel, folder / "net.cfg", dialect=dialect)
    assert_same_arrays(again, back)
    written(model, folder)
    with pytest.raises(DarkconvError) as error:
        dc.from_keras(kmodel, folder / "net.cfg", dialect=dialect)
    assert str(error.value) == (
        f"the Keras model is not that of {folder}/net.cfg: expected a layer 000_convolutional_bn "
        "with a variable beta, found no such layer"
    )


# --- What is no such model


@pytest.mark.parametrize(
    ("body", "shape", "expected", "found"),
    [
        (
            CONV.format(n=7) + LINEAR.format(n=16) + YOLO,
            (3, 8, 8),
            "7 values in beta of 000_convolutional_bn",
            "8",
        ),
        (DETECTOR, (1, 8, 8), "72 values in kernel of 000_convolutional", "216"),
        (
            CONV.format(n=8).replace("batch_normalize=1\n", "") + LINEAR.format(n=16) + YOLO,
            (3, 8, 8),
            "a layer 000_convolutional with a variable bias",
            "none",
        ),
        (
            CONV.format(n=8) + CONV.format(n=16) + YOLO,
            (3, 8, 8),
            "a layer 001_convolutional_bn with a variable beta",
            "no such layer",
        ),
        (
            CONV.format(n=8) + LINEAR.format(n=16) * 2 + YOLO,
            (3, 8, 8),
            "002_convolutional",
            "a layer 002_yolo",
        ),
        (CONV.format(n=8) + LINEAR.format(n=16), (3, 8, 8), "2 layers", "a layer 002_yolo"),
        (
            CONV.format(n=8) + "[maxpool]\n" + LINEAR.format(n=16) + YOLO,
            (3, 8, 8),
            "001_maxpool",
            "a layer 001_convolutional",
        ),
    ],
    ids=["filters", "channels", "no norm", "norm", "longer", "shorter", "other type"],
)
def test_another_networks_cfg_is_refused(model, folder, body, shape, expected, found):
    path = cfg_of(body, folder, shape)
    with pytest.raises(DarkconvError) as error:
        dc.from_keras(dc.to_keras(model), path, dialect="alexeyab")
    assert str(error.value) == (
        f"the Keras model is not that of {path}: expected {expected}, found {found}"
    )


def test_a_cfg_that_cannot_be_read_is_named(model, folder):
    with pytest.raises(DarkconvError, match="none.cfg: cannot read: No such file"):
        dc.from_keras(dc.to_keras(model), folder / "none.cfg")


def test_models_of_other_programs_need_a_cfg_that_fits(folder):
    kmodel = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(8, 3)])
    with pytest.raises(DarkconvError) as error:
        dc.from_keras(kmodel)
    assert str(error.value) == (
        "the Keras model does not know its network: expected a model of to_keras, or cfg=\n"
        "  hint: a model that was loaded from a file needs the cfg: from_keras(kmodel, cfg)"
    )
    with pytest.raises(DarkconvError, match="expected a layer 000_convolutional.*, found no such"):
        dc.from_keras(kmodel, cfg_of(DETECTOR, folder))


@pytest.mark.parametrize("other", [None, "net.keras", keras.layers.Dense(1)])
def test_what_is_no_keras_model_is_refused(other):
    with pytest.raises(DarkconvError) as error:
        dc.from_keras(other)
    kind = type(other).__name__
    assert str(error.value) == (f"not a Keras model: expected what to_keras returned, found {kind}")
