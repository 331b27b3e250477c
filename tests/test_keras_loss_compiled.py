"""The Keras losses compiled, in `compile` and `fit`, and on each Keras backend."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

import keras_heads  # noqa: E402
from darkconv.backends.keras import to_keras  # noqa: E402
from darkconv.backends.keras.losses import (  # noqa: E402
    encode_truths,
    head_loss,
    loss_parts,
    part_metrics,
)
from keras_gradients import PARTS, differentiate  # noqa: E402
from keras_heads import BOXES, INPUT, LAYERS, TEXTS, values_of  # noqa: E402
from networks import network, random_model  # noqa: E402

CONV = "[convolutional]\nfilters=24\nsize={size}\nstride={stride}\npad=1\nactivation=linear\n\n"
TWO_HEADS = (
    CONV.format(size=3, stride=8)
    + TEXTS["yolo"]
    + "\n[route]\nlayers=-2\n\n"
    + CONV.format(size=1, stride=1)
    + TEXTS["region"]
)


def test_compiled_once_it_takes_any_number_of_pictures_and_truths():
    layer, x = LAYERS["region"], values_of(LAYERS["region"])
    loss = head_loss(layer, input_size=INPUT)
    signature = [tf.TensorSpec((None, None, 5)), tf.TensorSpec((None, *x.shape[1:]))]
    compiled = tf.function(loss, input_signature=signature, autograph=False)
    for boxes, most in ((BOXES, 3), (BOXES[:1], 5), (BOXES[1:2], 0)):
        truths, given = encode_truths(boxes, most), x[: len(boxes)]
        np.testing.assert_allclose(compiled(truths, given), loss(truths, given), rtol=1e-5)


@pytest.mark.slow
def test_compiled_by_xla_it_has_the_same_parts_and_derivative():
    layer, x, truths = LAYERS["yolo"], values_of(LAYERS["yolo"]), encode_truths(BOXES)
    parts = loss_parts(layer, input_size=INPUT)

    @tf.function(jit_compile=True, autograph=False)
    def step(truths, x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            found = vars(parts(truths, x))
            total = tf.reduce_sum(found["total"])
        return found, tape.gradient(total, x)

    found, gradient = step(tf.constant(truths), tf.constant(x))
    wanted, slope = differentiate(parts, x, truths)
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-5)
    for part in PARTS:
        np.testing.assert_allclose(found[part], wanted[part], rtol=1e-5, err_msg=part)


@pytest.mark.slow
def test_a_network_with_two_heads_is_trained_by_their_losses():
    model = random_model(network(TWO_HEADS, (3, *INPUT[::-1])))
    kmodel = to_keras(model, head="logits")
    heads = [model.network.layers[index] for index in (1, 4)]
    losses = [head_loss(layer, input_size=INPUT) for layer in heads]
    assert [loss.__name__ for loss in losses] == ["001_yolo_loss", "004_region_loss"]
    kmodel.compile(optimizer=keras.optimizers.Adam(0.02), loss=losses)
    x = np.random.default_rng(0).random((len(BOXES), *INPUT[::-1], 3), np.float32)
    truths = encode_truths(BOXES, most=4)
    outputs = kmodel(x)
    eager = [np.mean(loss(truths, y)) for loss, y in zip(losses, outputs, strict=True)]
    history = kmodel.fit(x, [truths, truths], epochs=12, batch_size=3, verbose=0).history
    assert history["loss"][0] == pytest.approx(sum(eager), rel=1e-5)
    assert history["loss"][-1] < history["loss"][0] / 2


def test_parts_are_metrics_of_a_training_and_pictures_can_be_weighed():
    text = "[connected]\noutput=52\nactivation=linear\n\n" + TEXTS["detection"]
    model = random_model(network(text, (2, 3, 3)))
    kmodel, layer = to_keras(model, head="logits"), model.network.layers[1]
    loss, metrics = head_loss(layer, input_size=INPUT), part_metrics(layer, input_size=INPUT)
    kmodel.compile(optimizer="sgd", loss=loss, metrics=metrics, run_eagerly=True)
    x = np.random.default_rng(0).random((len(BOXES), 3, 3, 2), np.float32)
    truths, factors = encode_truths(BOXES), np.float32([1, 2, 0])
    parts = loss_parts(layer, input_size=INPUT)(truths, kmodel(x))
    found = kmodel.train_on_batch(x, truths, sample_weight=factors, return_dict=True)
    assert found.pop("loss") == pytest.approx(np.mean(parts.total * factors), rel=1e-5)
    assert found == {
        name: pytest.approx(np.mean(getattr(parts, name)), rel=1e-5) for name in PARTS[1:]
    }


@pytest.fixture(scope="module")
def wanted():
    return keras_heads.results()


@pytest.mark.slow
@pytest.mark.parametrize("backend", sorted(keras_heads.FRAMEWORKS))
def test_each_backend_gives_the_same_numbers_and_loads_no_other(backend, wanted, tmp_path):
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    script, out = Path(keras_heads.__file__), tmp_path / "found.npz"
    result = subprocess.run(
        [sys.executable, script, out],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.split() == [backend]
    with np.load(out) as found:
        assert set(found.files) == set(wanted)
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
