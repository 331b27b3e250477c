"""Keras's files become Darknet models, and hostile ones are refused."""

import contextlib
import json
import sys
import zipfile

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from darkconv.imports.importing import read_checkpoint
from import_files import (
    KERAS,
    YOLO,
    assert_same,
    keras_layers,
    write_cfg,
    write_checkpoint,
    write_new_h5,
    write_old_h5,
)
from networks import network, random_model

h5py = pytest.importorskip("h5py")

BODY = (
    """
[convolutional]
filters=8
size=3
stride=2
pad=1
batch_normalize=1
activation=leaky

[convolutional]
filters=8
size=3
pad=1
groups=8
batch_normalize=1
activation=leaky

[convolutional]
filters=8
size=1
batch_normalize=1
activation=leaky
"""
    + YOLO
    + """
[route]
layers=-3

[convolutional]
filters=6
size=1
batch_normalize=1
activation=leaky
"""
    + YOLO
)
REORG = """
[convolutional]
filters=8
size=1
batch_normalize=1
activation=leaky

[reorg]
stride=2

[convolutional]
filters=12
size=3
pad=1
batch_normalize=1
activation=leaky

[convolutional]
filters=7
size=1
activation=linear
"""


@pytest.fixture
def model():
    return random_model(network(BODY))


@pytest.fixture
def cfg(model, tmp_path):
    return write_cfg(model, tmp_path / "net.cfg")


@pytest.mark.parametrize("naming", KERAS.values(), ids=KERAS)
def test_arrays_in_each_naming_come_back_bit_for_bit(model, cfg, naming, tmp_path):
    write_old_h5(naming(model), tmp_path / "w.h5")
    assert_same(dc.import_weights(cfg, tmp_path / "w.h5"), model)


@pytest.mark.parametrize("naming", KERAS.values(), ids=KERAS)
def test_layers_in_the_order_of_keras_are_told_by_their_numbers(model, cfg, naming, tmp_path):
    layers = naming(model)
    order = sorted(layers, key=lambda name: (len(layers[name]), name))
    write_old_h5(layers, tmp_path / "w.h5", order=order)
    assert_same(dc.import_weights(cfg, tmp_path / "w.h5"), model)


@pytest.mark.parametrize("has_names", [True, False])
def test_files_of_keras_3_come_back(model, cfg, has_names, tmp_path):
    write_new_h5(keras_layers(model, first=0), tmp_path / "n.weights.h5", names=has_names)
    assert_same(dc.import_weights(cfg, tmp_path / "n.weights.h5"), model)


def test_a_model_within_a_model_comes_back(model, cfg, tmp_path):
    layers = keras_layers(model, "conv", "norm")
    order = sorted(layers, key=lambda name: name.startswith("norm"))
    write_old_h5(layers, tmp_path / "w.h5", order=order, nested="model_1")
    assert_same(dc.import_weights(cfg, tmp_path / "w.h5"), model)


def test_names_of_keras_1_come_back(model, cfg, tmp_path):
    words = {"kernel": "W", "bias": "b", "moving_mean": "running_mean"}
    words["moving_variance"] = "running_std"
    with h5py.File(tmp_path / "w.h5", "w") as file:
        layers = keras_layers(model, "convolution2d", "batchnormalization")
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for name, arrays in layers.items():
            group = file.create_group(name)
            named = {f"{name}_{words.get(word, word)}": a for word, a in arrays.items()}
            group.attrs["weight_names"] = [word.encode() for word in named]
            for word, array in named.items():
                group.create_dataset(word, data=array)
    assert_same(dc.import_weights(cfg, tmp_path / "w.h5"), model)


def test_matrices_are_read_by_row_column_channel(tmp_path):
    dense = "[connected]\noutput={}\nactivation=linear\n\n"
    body = "[maxpool]\nsize=2\nstride=2\n\n" + dense.format(5) + dense.format(3)
    model = random_model(network(body))
    cfg = write_cfg(model, tmp_path / "net.cfg")
    write_old_h5(keras_layers(model), tmp_path / "w.h5")
    assert_same(dc.import_weights(cfg, tmp_path / "w.h5"), model)


def test_weights_alone_say_no_epsilon_and_one_line_says_so(model, cfg, tmp_path):
    write_old_h5(keras_layers(model), tmp_path / "w.h5")
    done = read_checkpoint(cfg, tmp_path / "w.h5")
    assert sum("--bn-epsilon 0.001" in note for note in done.notes) == 1
    done = read_checkpoint(cfg, tmp_path / "w.h5", bn_epsilon=1e-3)
    assert not any("--bn-epsilon 0.001" in note for note in done.notes)
    assert_added(done.model, model, 1e-3)


def assert_added(found, model, epsilon):
    for key, array in model.arrays.items():
        if key.endswith("rolling_variance"):
            expected = (array.astype(float) + (epsilon - 1e-5)).astype(np.float32)
            assert np.array_equal(found.arrays[key], expected)
        else:
            assert np.array_equal(found.arrays[key], array)


def config_of(layers, epsilon=1e-3, **more):
    def kind(name, arrays):
        plain = "DepthwiseConv2D" if "depthwise" in name else "Conv2D"
        return "BatchNormalization" if "gamma" in arrays else plain

    entries = [
        {
            "class_name": kind(name, arrays),
            "config": {"name": name, **({"epsilon": epsilon} if "gamma" in arrays else {}), **more},
        }
        for name, arrays in layers.items()
    ]
    return json.dumps({"class_name": "Model", "config": {"name": "m", "layers": entries}})


@pytest.mark.parametrize("epsilon", [1e-3, 2e-5])
def test_a_whole_model_states_its_epsilon_which_is_added(model, cfg, epsilon, tmp_path):
    layers = keras_layers(model)
    write_old_h5(layers, tmp_path / "w.h5", config=config_of(layers, epsilon))
    done = read_checkpoint(cfg, tmp_path / "w.h5")
    assert_added(done.model, model, epsilon)
    assert any("as the file says" in note for note in done.notes)


def test_a_whole_model_tells_of_padding_and_slopes(model, cfg, tmp_path):
    layers = keras_layers(model)
    config = json.loads(config_of(layers, strides=[2, 2], kernel_size=[3, 3], padding="same"))
    leaky = {"class_name": "LeakyReLU", "config": {"name": "leaky", "alpha": 0.3}}
    config["config"]["layers"].append(leaky)
    write_old_h5(layers, tmp_path / "w.h5", config=json.dumps(config))
    notes = " ".join(read_checkpoint(cfg, tmp_path / "w.h5").notes)
    assert "slope 0.3" in notes
    assert "padding 'same'" in notes


@pytest.mark.parametrize(
    "layer",
    [
        {"class_name": "UpSampling2D", "config": {"name": "up", "interpolation": "bilinear"}},
        {
            "class_name": "TFOpLambda",
            "config": {"name": "tf.image.resize", "function": "image.resize"},
            "inbound_nodes": [["conv", 0, 0, {"size": [26, 26], "method": "bilinear"}]],
        },
    ],
    ids=lambda layer: layer["class_name"],
)
def test_a_whole_model_tells_of_maps_that_it_enlarges_bilinearly(model, cfg, layer, tmp_path):
    layers = keras_layers(model)
    for name, is_said in (("bilinear", True), ("nearest", False)):
        config = json.loads(config_of(layers))
        config["config"]["layers"].append(json.loads(json.dumps(layer).replace("bilinear", name)))
        write_old_h5(layers, tmp_path / "w.h5", config=json.dumps(config))
        notes = " ".join(read_checkpoint(cfg, tmp_path / "w.h5").notes)
        assert ("bilinearly" in notes) == is_said


MIXED = """
[convolutional]
filters=4
size=1
batch_normalize=1
activation=leaky

[connected]
output=6
activation=leaky

[connected]
output=4
activation=linear
"""


def test_kinds_of_layers_are_counted_apart_in_whatever_order_they_stand(tmp_path):
    model = random_model(network(MIXED, shape=(3, 4, 4)))
    layers = keras_layers(model, "conv", "norm")
    order = sorted(layers, reverse=True, key=lambda name: ("dense" in name, name))
    write_old_h5(layers, tmp_path / "w.h5", order=order)
    assert_same(dc.import_weights(write_cfg(model, tmp_path / "n.cfg"), tmp_path / "w.h5"), model)


# --- reorg


@pytest.mark.parametrize("reorg", ["auto", "keep", "reorg3d"])
@pytest.mark.parametrize("tool", ["keras-yolo2", "keras-yolo3"])
def test_a_space_to_depth_becomes_reorg3d_where_the_program_is_known(tool, reorg, tmp_path):
    model = random_model(network(REORG, dialect="pjreddie"))
    cfg = write_cfg(model, tmp_path / "net.cfg")
    write_old_h5(KERAS[tool](model), tmp_path / "w.h5")
    done = read_checkpoint(cfg, tmp_path / "w.h5", reorg=reorg, dialect="pjreddie")
    becomes = reorg == "reorg3d" or (reorg == "auto" and tool == "keras-yolo2")
    assert done.model.network.layers[1].type == ("reorg3d" if becomes else "reorg")
    assert done.model.dialect.name == ("alexeyab" if becomes else "pjreddie")
    assert any("[reorg]" in note for note in done.notes) == (reorg != "keep")
    for key, array in model.arrays.items():
        assert np.array_equal(done.model.arrays[key], array)


# --- Files that do not fit


def test_another_network_is_refused_with_counts(model, tmp_path):
    write_old_h5(keras_layers(model), tmp_path / "w.h5")
    other = write_cfg(random_model(network(REORG)), tmp_path / "other.cfg")
    with pytest.raises(dc.DarkconvError, match="found 6 layers with arrays"):
        dc.import_weights(other, tmp_path / "w.h5")


def test_another_number_of_classes_is_refused_with_both_shapes(model, cfg, tmp_path):
    layers = keras_layers(model)
    layers["conv2d_3"] = {"kernel": np.zeros((1, 1, 8, 255), "f4"), "bias": np.zeros(255, "f4")}
    write_old_h5(layers, tmp_path / "w.h5")
    with pytest.raises(dc.DarkconvError) as error:
        dc.import_weights(cfg, tmp_path / "w.h5")
    assert "layer 3 [convolutional]" in str(error.value)
    assert "1x1x8x255" in str(error.value)
    assert "21x8x1x1" in str(error.value)


# --- Hostile files


def test_external_and_soft_links_are_refused(model, cfg, tmp_path):
    write_old_h5(keras_layers(model), tmp_path / "secret.h5")
    for kind in (h5py.ExternalLink(str(tmp_path / "secret.h5"), "conv2d_1"), h5py.SoftLink("/x")):
        path = tmp_path / "w.h5"
        write_old_h5(keras_layers(model), path)
        with h5py.File(path, "a") as file:
            del file["conv2d_1"]
            file["conv2d_1"] = kind
        with pytest.raises(dc.DarkconvError, match="is a link to another place"):
            dc.import_weights(cfg, path)


def test_data_in_another_file_is_refused(model, cfg, tmp_path):
    (tmp_path / "raw").write_bytes(bytes(4 * 8 * 27))
    path = tmp_path / "w.h5"
    write_old_h5(keras_layers(model), path)
    with h5py.File(path, "a") as file:
        del file["conv2d_1/conv2d_1/kernel:0"]
        file["conv2d_1"].create_dataset(
            "conv2d_1/kernel:0", (3, 3, 3, 8), "f4", external=[(str(tmp_path / "raw"), 0, 864)]
        )
    with pytest.raises(dc.DarkconvError, match="lies in another file"):
        dc.import_weights(cfg, path)


def test_a_claim_of_gigabytes_is_refused(model, cfg, tmp_path):
    path = tmp_path / "w.h5"
    write_old_h5(keras_layers(model), path)
    with h5py.File(path, "a") as file:
        file.create_dataset("huge", (1 << 30,), "f4")
    with pytest.raises(dc.DarkconvError, match="claims 4294967296 bytes, and has 0"):
        dc.import_weights(cfg, path)


def test_groups_in_a_circle_are_refused(model, cfg, tmp_path):
    path = tmp_path / "w.h5"
    write_old_h5(keras_layers(model), path)
    with h5py.File(path, "a") as file:
        file["conv2d_1/again"] = file["conv2d_1"]
    with pytest.raises(dc.DarkconvError, match="within each other"):
        dc.import_weights(cfg, path)


@pytest.mark.parametrize("share", [0.01, 0.3, 0.9])
def test_a_file_that_is_cut_short_is_refused(model, cfg, share, tmp_path):
    path = tmp_path / "w.h5"
    write_old_h5(keras_layers(model), path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(dc.DarkconvError):
        dc.import_weights(cfg, path)


def test_whole_numbers_are_refused(model, cfg, tmp_path):
    layers = keras_layers(model)
    layers["conv2d_1"]["kernel"] = layers["conv2d_1"]["kernel"].astype(np.int8)
    write_old_h5(layers, tmp_path / "w.h5")
    with pytest.raises(dc.DarkconvError, match="int8"):
        dc.import_weights(cfg, tmp_path / "w.h5")


def test_a_keras_archive_names_its_layers_and_states_its_epsilons(model, cfg, tmp_path):
    layers = keras_layers(model, first=0)
    write_new_h5(layers, tmp_path / "w.h5", names=False)
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", config_of(layers))
        archive.write(tmp_path / "w.h5", "model.weights.h5")
    assert_added(dc.import_weights(cfg, tmp_path / "m.keras"), model, 1e-3)


@pytest.mark.parametrize("config", [b"", b"{", b"[" * 100_000, b"5"])
def test_a_damaged_config_is_refused(model, cfg, config, tmp_path):
    with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
        archive.writestr("config.json", config)
        archive.writestr("model.weights.h5", b"nothing")
    with pytest.raises(dc.DarkconvError):
        dc.import_weights(cfg, tmp_path / "m.keras")


@pytest.mark.parametrize("seed", range(40))
def test_damaged_files_never_end_in_another_error(model, cfg, seed, tmp_path):
    stream = np.random.default_rng(seed)
    path = tmp_path / "w.h5"
    write_old_h5(keras_layers(model), path)
    data = bytearray(path.read_bytes())
    for place in stream.integers(0, len(data), 30):
        data[place] = stream.integers(256)
    path.write_bytes(data)
    with contextlib.suppress(dc.DarkconvError):
        dc.import_weights(cfg, path)


NORMED = """
[convolutional]
filters={}
size={}
pad=1
batch_normalize=1
activation=leaky
"""
BRANCHES = (
    NORMED.format(8, 3)
    + "[maxpool]\nsize=2\nstride=2\n"
    + NORMED.format(8, 3)
    + NORMED.format(6, 1)
    + YOLO
    + "[route]\nlayers=-4\n"
    + NORMED.format(6, 1)
    + "[upsample]\nstride=2\n\n[route]\nlayers=-1,0\n"
    + YOLO
)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_models_that_keras_saves_compute_what_keras_does(tmp_path):
    keras = pytest.importorskip("keras")
    layers, stream = keras.layers, np.random.default_rng(0)

    def convolved(x, filters, size, *, normed=True):
        x = layers.Conv2D(filters, size, padding="same", use_bias=not normed)(x)
        return layers.LeakyReLU(negative_slope=0.1)(layers.BatchNormalization()(x)) if normed else x

    given = keras.Input((16, 16, 3))
    shared = convolved(given, 8, 3)
    far = convolved(layers.MaxPooling2D(2)(shared), 8, 3)
    first = convolved(convolved(far, 6, 1), 21, 1, normed=False)
    near = layers.Concatenate()([layers.UpSampling2D(2)(convolved(far, 6, 1)), shared])
    theirs = keras.Model(given, [first, convolved(near, 21, 1, normed=False)])
    for layer in theirs.layers:
        drawn = [stream.uniform(0.1, 0.5, w.shape) for w in layer.get_weights()]
        layer.set_weights(drawn)
    cfg = write_cfg(random_model(network(BRANCHES, shape=(3, 16, 16))), tmp_path / "net.cfg")
    x = stream.random((3, 16, 16), np.float32)
    expected = [np.array(y)[0].transpose(2, 0, 1) for y in theirs(x.transpose(1, 2, 0)[None])]
    theirs.save(tmp_path / "m.keras")
    theirs.save_weights(tmp_path / "m.weights.h5")
    for name, epsilon in (("m.keras", None), ("m.weights.h5", 1e-3)):
        model = dc.import_weights(cfg, tmp_path / name, bn_epsilon=epsilon)
        found = dc.trace(model, x)
        for head, values in zip(model.network.heads, expected, strict=True):
            error = np.linalg.norm(found[head.sources[0]] - values)
            assert error <= 1e-5 * np.linalg.norm(values), name


PLAIN = (
    """
[convolutional]
filters=8
size=3
pad=1
batch_normalize=1
activation=leaky
"""
    + YOLO
)


@pytest.fixture
def program():
    keras = pytest.importorskip("keras")
    layers, stream = keras.layers, np.random.default_rng(0)
    given = keras.Input((16, 16, 3))
    x = layers.BatchNormalization()(layers.Conv2D(8, 3, padding="same", use_bias=False)(given))
    x = layers.Conv2D(21, 1)(layers.LeakyReLU(negative_slope=0.1)(x))
    made = keras.Model(given, x)
    for layer in made.layers:
        layer.set_weights(
            [stream.uniform(0.1, 0.5, w.shape) - 0.3 * (w.ndim > 1) for w in layer.get_weights()]
        )
    return made


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
@pytest.mark.parametrize("activation", ["leaky", "linear"])
def test_a_whole_model_is_run_and_compared(program, name, activation, tmp_path):
    program.save(tmp_path / name)
    body = PLAIN.replace("leaky", activation)
    cfg = write_cfg(random_model(network(body, shape=(3, 16, 16))), tmp_path / "net.cfg")
    done = read_checkpoint(cfg, tmp_path / name)
    (line,) = (line for line in done.proof if "run with Keras" in line)
    assert "output 0 is layer 1" in line
    agrees = not any("is not what the model computes" in doubt for doubt in done.doubts)
    assert agrees == (activation == "leaky")


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"class_name": "Lambda", "config": {"name": "f", "function": ["4wEAAAA"]}}, "Lambda"),
        ({"class_name": "Conv2D", "module": "os", "config": {"name": "f"}}, "os.Conv2D"),
        (
            {"class_name": "Activation", "config": {"name": "a", "activation": {"x": 1}}},
            "activation",
        ),
        (
            {
                "class_name": "Dense",
                "config": {
                    "name": "d",
                    "kernel_initializer": {"class_name": "function", "config": "os.system"},
                },
            },
            "function",
        ),
    ],
    ids=["Lambda", "module", "activation", "function"],
)
def test_a_model_with_code_in_it_is_not_run(model, cfg, entry, said, tmp_path, monkeypatch):
    keras = pytest.importorskip("keras")
    monkeypatch.setattr(keras.saving, "load_model", lambda *_, **__: pytest.fail("it was loaded"))
    layers = keras_layers(model)
    config = json.loads(config_of(layers))
    config["config"]["layers"].append(entry)
    write_old_h5(layers, tmp_path / "w.h5", config=json.dumps(config))
    done = read_checkpoint(cfg, tmp_path / "w.h5")
    assert any("was not run" in note and said in note for note in done.notes)
    assert not any("run with Keras" in line for line in done.proof)


# --- TensorFlow's checkpoints


@pytest.fixture
def checkpoint(model, tmp_path):
    pytest.importorskip("tensorflow")
    folder = tmp_path / "saved"
    folder.mkdir()
    return write_checkpoint(keras_layers(model, first=0), folder)


@pytest.mark.parametrize("form", ["prefix", "index", "data", "folder", "model"])
def test_a_checkpoint_of_tensorflow_comes_back_however_it_is_named(
    model, cfg, checkpoint, form, tmp_path
):
    if form == "model":
        inner = tmp_path / "net" / "variables"
        inner.mkdir(parents=True)
        for part in checkpoint.parent.iterdir():
            part.rename(inner / part.name.replace("net.tf", "variables"))
    path = {
        "prefix": checkpoint,
        "index": checkpoint.with_name("net.tf.index"),
        "data": checkpoint.with_name("net.tf.data-00000-of-00001"),
        "folder": checkpoint.parent,
        "model": tmp_path / "net",
    }[form]
    done = read_checkpoint(cfg, path)
    assert_same(done.model, model)
    assert done.kind == ("a SavedModel" if form == "model" else "a checkpoint") + " of TensorFlow"
    assert any("bn-epsilon 0.001" in note for note in done.notes)


def test_commands_take_a_checkpoint_of_tensorflow(model, cfg, checkpoint, tmp_path):
    with contextlib.chdir(tmp_path):
        words = ["convert", cfg.name, "saved/net.tf", "-o", "o.cfg", "o.weights"]
        result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert_same(dc.load(tmp_path / "o.cfg", tmp_path / "o.weights"), model)


@pytest.mark.parametrize("part", ["index", "data-00000-of-00001"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_damaged_checkpoint_of_tensorflow_is_refused(cfg, checkpoint, part, share):
    file = checkpoint.with_name(f"net.tf.{part}")
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    with pytest.raises(dc.WeightsError, match=r"TensorFlow's checkpoint|damaged|claims"):
        dc.import_weights(cfg, checkpoint)


def test_a_folder_without_a_checkpoint_is_refused(cfg, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(dc.WeightsError, match="is a folder without a checkpoint"):
        dc.import_weights(cfg, tmp_path / "empty")


def test_without_tensorflow_its_checkpoint_is_told_what_to_install(cfg, checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(dc.MissingDependencyError, match="reading TensorFlow's checkpoints"):
        dc.import_weights(cfg, checkpoint)
