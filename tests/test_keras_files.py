"""`.keras`, `.savedmodel` and `.tflite` files: what is in them, and what is done with them."""

import gc
import io
import json
import logging
import os
import subprocess
import sys
import weakref
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.backends import spoke
from darkconv.cli import main
from darkconv.core.model import Header
from darkconv.core.tree import Tree
from darkconv.detection.detect import runner
from darkconv.errors import DarkconvError, MissingDependencyError, UnsupportedError
from networks import cfg_text, network, random_model
from reference.collection import assert_close

keras = pytest.importorskip("keras")
tensorflow = pytest.importorskip("tensorflow")
image_module = pytest.importorskip("PIL.Image")
pytest.importorskip("ai_edge_litert")
pytest.importorskip("torch")

from darkconv.backends.keras import (  # noqa: E402
    read_keras,
    read_keras_file,
    read_litert,
    write_keras,
    write_litert,
    write_saved_model,
)

ROOT = Path(dc.__file__).parents[1]
CONV = "[convolutional]\nfilters={n}\nsize=3\npad=1\nbatch_normalize=1\nactivation={act}\n"
LINEAR = "[convolutional]\nfilters={n}\nactivation=linear\n"
YOLO = LINEAR.format(n=16) + "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\nscale_x_y=1.1\n"
BODY = "# caf\xe9\n" + CONV.format(n=8, act="leaky\nstride=2") + YOLO
SHAPE = (3, 16, 24)
NAMES = ("cat", "dog", "fox")
RECURRENT = LINEAR.format(n=4) + "[conv_lstm]\noutput=4\npad=1\npeephole=1\n" + YOLO
CLASSIFIER = CONV.format(n=4, act="relu") + "[avgpool]\n" + LINEAR.format(n=3) + "[softmax]\n"
SPARE = CONV.format(n=4, act="relu") * 2 + "[route]\nlayers=0\n" + YOLO
"""Nothing reads layer 1."""
NETS = {
    "net": (BODY, "alexeyab"),
    "recurrent": (RECURRENT, "alexeyab"),
    "divisor": (CONV.format(n=4, act="mish") + "[batchnorm]\n" + YOLO, "pjreddie"),
    "vectors": (
        "[local]\nfilters=2\nsize=3\npad=1\n[connected]\noutput=5\n[gru]\noutput=4\n",
        "pjreddie",
    ),
    "kernels": (
        "[convolutional]\nfilters=6\ngroups=3\nsize=3\npad=1\nantialiasing=1\nstride=2\n"
        "[convolutional]\nfilters=5\nsize=3\nxnor=1\nbatch_normalize=1\n",
        "alexeyab",
    ),
    "weights": (
        LINEAR.format(n=4)
        + LINEAR.format(n=4)
        + "[shortcut]\nfrom=0\nweights_type=per_channel\nweights_normalization=softmax\n"
        "[implicit]\nfilters=4\n[route]\nlayers=-2\n[reorg]\nstride=2\n",
        "alexeyab",
    ),
    "region": (LINEAR.format(n=16) + "[region]\nclasses=3\nnum=2\nsoftmax=1\n", "alexeyab"),
}


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.CRITICAL, "darkconv")


def model_of(body=BODY, shape=SHAPE, dialect="alexeyab", seed=0, names=NAMES):
    made = random_model(network(body, shape, dialect), seed=seed, names=names)
    return replace(made, header=replace(made.header, seen=32013312))


def save(model, body, shape=SHAPE):
    """Write net.cfg, net.weights and net.names here."""
    dc.save(model, "net.cfg", "net.weights", names="net.names" if model.names else None)
    Path("net.cfg").write_bytes(cfg_text(body, shape).encode("latin-1"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """net.cfg, net.weights, net.names and pictures with labels, in the working directory."""
    monkeypatch.chdir(tmp_path)
    save(model_of(), BODY)
    (tmp_path / "p").mkdir()
    stream = np.random.default_rng(0)
    for number in range(4):
        levels = stream.integers(0, 256, (20, 30, 3), np.uint8)
        image_module.fromarray(levels).save(f"p/{number}.png")
        Path(f"p/{number}.txt").write_text(f"{number % 3} 0.5 0.5 0.2 0.3\n")
    Path("p/classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    return tmp_path


@pytest.fixture
def run(folder):
    def invoke(line, status=0):
        result = CliRunner().invoke(main, line.split())
        assert result.exit_code == status, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


@pytest.fixture
def fail(run, folder):
    """Run a command that fails with a message, and writes nothing."""

    def invoke(line, message, status=1):
        before = contents(folder)
        result = run(line, status)
        told = result.stderr if status == 1 else result.stderr.partition("help.\n\n")[2]
        assert told == f"{message}\n"
        assert contents(folder) == before

    return invoke


def contents(folder):
    """Every file in a folder, with its bytes."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def channels_last(x):
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if x.ndim == 4 else x


def as_in_c(found, expected):
    """Keras's value in the order and shape of C's."""
    if found.shape != expected.shape and found.ndim == 4:
        found = np.moveaxis(found, -1, 1)
    return found.reshape(expected.shape)


def noise(shape=SHAPE, count=2, seed=1):
    return np.random.default_rng(seed).random((count, *shape), np.float32)


# --- One process: the command line, then Keras without darkconv


CHILD = """
import sys
from darkconv.cli import main

for files in ("net.keras net.savedmodel net.tflite", "recurrent.keras recurrent.savedmodel"):
    name, outputs = files.partition(".")[0], [f"-o{file}" for file in files.split()]
    main(["convert", f"{name}.cfg", f"{name}.weights", *outputs], standalone_mode=False)
print("----", file=sys.stderr)

class Barrier:
    def find_spec(self, name, *_):
        if name.partition(".")[0] == "darkconv":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Barrier())
for name in [name for name in sys.modules if name.partition(".")[0] == "darkconv"]:
    del sys.modules[name]
import keras, numpy as np, tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
assert not keras.saving.get_custom_objects()

found, x = {}, np.load("x.npy")
for name in sys.argv[1:]:
    kmodel, given = keras.models.load_model(f"{name}.keras"), x
    if isinstance(kmodel.input, dict):
        given = {key: np.zeros((2, *v.shape[1:]), np.float32) for key, v in kmodel.input.items()}
        given["input"] = x
    found[f"{name}.keras"] = kmodel(given)
    if name in ("net", "recurrent"):
        served = tf.saved_model.load(f"{name}.savedmodel")
        found[f"{name}.savedmodel"] = served.serve(given)
found["net.tflite"] = Interpreter("net.tflite").get_signature_runner()(input=x)
for file, values in found.items():
    if isinstance(values, dict):
        (found[file],) = (value for name, value in values.items() if not name.endswith("_out"))
np.savez("found.npz", **found)
assert "darkconv" not in sys.modules
"""


class Child(NamedTuple):
    """What a process that converted files and loaded them again has left.

    Attributes:
        folder: of the files.
        told: lines that the command line wrote to stderr.
        found: outputs of the files, by their names.
    """

    folder: Path
    told: list[str]
    found: dict[str, np.ndarray]


@pytest.fixture(scope="module")
def child(tmp_path_factory):
    """A process with nothing set that would keep TensorFlow quiet."""
    folder = tmp_path_factory.mktemp("child")
    np.save(folder / "x.npy", channels_last(noise()))
    for name, (body, dialect) in NETS.items():
        model = model_of(body, dialect=dialect)
        if name in ("net", "recurrent"):
            dc.save(model, folder / f"{name}.cfg", folder / f"{name}.weights")
        else:
            write_keras(dc.to_keras(model), folder / f"{name}.keras")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    result = subprocess.run(
        [sys.executable, "-c", CHILD, *NETS],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stderr.splitlines()
    with np.load(folder / "found.npz") as found:
        return Child(folder, lines[: lines.index("----")], dict(found))


def test_tensorflow_says_nothing(child):
    assert [line.split(" (")[0].partition(" runs")[0] for line in child.told] == [
        "wrote net.keras",
        "wrote net.savedmodel",
        "wrote net.tflite",
        "median of 30",
        "next: darkconv verify net.cfg net.weights net.keras",
        "wrote recurrent.keras",
        "wrote recurrent.savedmodel",
        "next: darkconv verify recurrent.cfg recurrent.weights recurrent.keras",
    ]


def test_nothing_is_left_beside_the_files(child):
    stems = {path.stem for path in child.folder.iterdir()}
    assert stems == {*NETS, "x", "found"}


@pytest.mark.parametrize("name", NETS)
def test_files_need_no_darkconv(child, name):
    body, dialect = NETS[name]
    expected = dc.trace(model_of(body, dialect=dialect), noise())[-1]
    files = [file for file in child.found if file.startswith(f"{name}.")]
    assert len(files) == {"net": 3, "recurrent": 2}.get(name, 1)
    for file in files:
        found = child.found[file]
        turned = found.reshape(expected.shape) if name == "region" else as_in_c(found, expected)
        assert_close(turned, expected, file)


# --- .keras


@pytest.mark.parametrize("options", ["", "--head boxes"])
def test_keras_files_become_darknets_again_byte_for_byte(run, options):
    """With a cfg that is no UTF-8."""
    run(f"convert net.cfg net.weights -o net.keras {options}")
    result = run("convert net.keras -o back.cfg back.weights")
    assert result.stderr.startswith("wrote back.cfg (")
    for suffix in ("cfg", "weights", "names"):
        assert Path(f"back.{suffix}").read_bytes() == Path(f"net.{suffix}").read_bytes()


def test_folded_files_become_folded_networks(run):
    run("convert net.cfg net.weights -o net.keras --fold-bn")
    run("convert net.keras -o back.cfg back.weights")
    assert "batch_normalize=1" not in Path("back.cfg").read_text(encoding="latin-1")
    folded, whole = (dc.load(f"{n}.cfg", f"{n}.weights") for n in ("back", "net"))
    assert_close(dc.trace(folded, noise())[-1], dc.trace(whole, noise())[-1], "the head")


def test_another_input_size_stands_in_the_cfg(run):
    run("convert net.cfg net.weights -o net.keras --input-size 32x24")
    assert read_keras("net.keras").input.shape == (None, 24, 32, 3)
    run("convert net.keras -o back.cfg back.weights")
    assert dc.load("back.cfg").network.input_shape == (3, 24, 32)
    assert Path("back.weights").read_bytes() == Path("net.weights").read_bytes()


def test_keras_files_are_models_for_every_command(run, lite):
    expected = run("detect net.cfg net.weights p/0.png --json")
    run("convert net.cfg net.weights -o net.keras")
    Path("net.cfg").rename("other.cfg")
    assert run("detect net.keras p/0.png --json").stdout == expected.stdout
    assert "3 layers" in run("info net.keras").stdout
    run(f"verify net.keras {lite}/raw.tflite")
    run("reclass net.keras --keep dog -o one.keras")
    assert dc.from_keras(read_keras("one.keras")).names == ("dog",)


def write_wide():
    """Write a picture that is no square, so that letterboxing it matters."""
    Path("wide").mkdir()
    levels = np.random.default_rng(3).integers(0, 256, (20, 60, 3), np.uint8)
    image_module.fromarray(levels).save("wide/0.png")


@pytest.mark.parametrize("options", ["", "--head boxes"])
def test_how_pictures_are_fitted_stays_what_a_file_says(run, options):
    """Whoever runs it, and whatever is made from it."""
    write_wide()
    cfg = "net.cfg net.weights --dialect alexeyab"
    expected = run(f"detect {cfg} wide --json --resize letterbox --threshold 0.01").stdout
    assert expected != run(f"detect {cfg} wide --json --threshold 0.01").stdout
    run(f"convert {cfg} -o lb.keras --resize letterbox {options}")
    run("convert lb.keras -o lb.cfg lb.weights -o lb.onnx -o again.keras")
    assert "letter_box=1" in Path("lb.cfg").read_text(encoding="latin-1")
    for words in ("lb.keras", "lb.cfg lb.weights", "again.keras", "lb.onnx"):
        found = json.loads(run(f"detect {words} wide --json --threshold 0.01").stdout)
        for one, right in zip(found, json.loads(expected), strict=True):
            boxes, others = (
                np.sort([d["box"] for d in side["detections"]], axis=0) for side in (one, right)
            )
            np.testing.assert_allclose(boxes, others, atol=1e-2)


def test_a_file_for_stretched_pictures_is_run_as_it_says(run):
    """The original's dialect has no option for it, so no cfg can carry it."""
    write_wide()
    cfg = "net.cfg net.weights --dialect pjreddie"
    expected = run(f"detect {cfg} wide --json --resize stretch --threshold 0.01").stdout
    assert expected != run(f"detect {cfg} wide --json --threshold 0.01").stdout
    run(f"convert {cfg} -o st.keras --resize stretch")
    result = run("detect st.keras wide --json --threshold 0.01")
    assert result.stdout == expected
    assert "--resize stretch (resize=) says it again" in result.stderr


def test_names_may_be_others(run, lite):
    run("convert net.cfg net.weights -o net.keras")
    Path("other.names").write_text("a\nb\nc\n")
    for file in ("net.keras", lite / "raw.tflite"):
        result = run(f"detect {file} p/0.png --json --names other.names --threshold 0.35")
        ((picture),) = json.loads(result.stdout)
        assert {d["name"] for d in picture["detections"]} <= {"a", "b", "c"} != set()


def test_layers_that_no_output_needs_survive(run):
    save(model_of(SPARE), SPARE)
    run("convert net.cfg net.weights -o net.keras")
    assert "darkconv_spare.npz" in zipfile.ZipFile("net.keras").namelist()
    run("convert net.keras -o back.cfg back.weights")
    assert Path("back.weights").read_bytes() == Path("net.weights").read_bytes()


def test_what_was_trained_is_written_and_read(folder):
    model = model_of()
    kmodel = dc.to_keras(model)
    kmodel.get_layer("001_convolutional").bias.assign(np.arange(16))
    write_keras(kmodel, "net.keras")
    read = read_keras("net.keras")
    back = dc.from_keras(read)
    np.testing.assert_array_equal(back.arrays["1.biases"], np.arange(16))
    np.testing.assert_array_equal(back.arrays["0.weights"], model.arrays["0.weights"])
    assert (back.header, back.names) == (Header(0, 2, 5, 32013312), NAMES)
    write_keras(read, "again.keras")
    np.testing.assert_array_equal(
        dc.from_keras(read_keras("again.keras")).arrays["1.biases"], np.arange(16)
    )


def test_a_suffix_may_be_in_capitals(run):
    """Keras wants small letters."""
    run("convert net.cfg net.weights -o NET.KERAS")
    run("convert NET.KERAS -o back.cfg back.weights")
    assert Path("back.weights").read_bytes() == Path("net.weights").read_bytes()
    run("verify net.cfg net.weights NET.KERAS")


def test_class_trees_are_in_the_file(folder):
    tree = Tree(("a", "b", "c"), (-1, -1, 0))
    body = LINEAR.format(n=3) + "[avgpool]\n[softmax]\ntree=t.tree\n"
    net = network(body, SHAPE, trees={"t.tree": tree})
    write_keras(dc.to_keras(random_model(net)), "net.keras")
    assert dc.from_keras(read_keras("net.keras")).network.layers[2].tree == tree


def test_what_keras_loads_by_itself_needs_the_cfg(folder):
    model = dc.load("net.cfg", "net.weights")
    write_keras(dc.to_keras(model), "net.keras")
    kmodel = keras.models.load_model("net.keras")
    with pytest.raises(DarkconvError, match="does not know its network"):
        dc.from_keras(kmodel)
    back = dc.from_keras(kmodel, "net.cfg")
    for key, array in model.arrays.items():
        np.testing.assert_array_equal(back.arrays[key], array)


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_what_keras_saves_by_itself_needs_the_cfg(folder):
    dc.to_keras(model_of()).save("net.keras")
    with pytest.raises(DarkconvError, match="does not know its network"):
        dc.from_keras(read_keras("net.keras"))


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_what_keras_saves_by_itself_is_not_compared(run, fail):
    dc.to_keras(model_of()).save("net.keras")
    message = "error: net.keras: has no cfg in it: darkconv did not write it"
    fail("verify net.cfg net.weights net.keras", message)


def test_models_of_other_programs_are_not_written(folder):
    kmodel = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    with pytest.raises(DarkconvError, match="the Keras model does not know its network"):
        write_keras(kmodel, "x.keras")
    assert not Path("x.keras").exists()


# --- .keras files that are run


@pytest.mark.parametrize(
    ("head", "outputs"),
    [
        ("raw", ["002_yolo"]),
        ("boxes", ["boxes", "scores"]),
        ("logits", ["002_yolo_logits"]),
    ],
)
def test_keras_files_are_compared_with_their_model(run, head, outputs):
    write_keras(dc.to_keras(model_of(), head=head), "net.keras")
    file = read_keras_file("net.keras")
    assert (file.head, file.precision, file.names) == (head, "float32", NAMES)
    assert file.run.outputs == outputs
    result = run("verify net.cfg net.weights net.keras --image p/0.png --json")
    found = json.loads(result.stdout)["rows"]
    assert [entry["name"] for entry in found] == outputs
    assert all(entry["error"] <= entry["allowed"] == 1e-4 for entry in found)
    assert result.stderr == ""
    save(model_of(seed=5), BODY)
    run("verify net.cfg net.weights net.keras", 1)


@pytest.mark.parametrize("head", ["raw", "boxes"])
@pytest.mark.parametrize(
    ("body", "dialect"),
    [
        (RECURRENT + "[route]\nlayers=0\n" + YOLO, "alexeyab"),
        NETS["region"],
        (NETS["region"][0], "pjreddie"),
        (CLASSIFIER, "alexeyab"),
    ],
    ids=["two heads and state", "region", "pjreddie's region", "classifier"],
)
def test_keras_files_of_every_kind_are_compared(run, body, dialect, head):
    save(model_of(body, dialect=dialect), body)
    model = dc.load("net.cfg", "net.weights", dialect=dialect)
    write_keras(dc.to_keras(model, head=head), "net.keras")
    run(f"verify net.cfg net.weights net.keras --dialect {dialect}")


def test_logits_of_a_head_that_reads_the_input_are_the_input(run):
    body = "[region]\nclasses=3\nnum=2\n"
    save(model_of(body, (16, 4, 4)), body, (16, 4, 4))
    write_keras(dc.to_keras(dc.load("net.cfg", "net.weights"), head="logits"), "net.keras")
    run("verify net.cfg net.weights net.keras")


def test_no_boxes_are_read_from_logits(folder):
    write_keras(dc.to_keras(model_of(), head="logits"), "net.keras")
    with pytest.raises(DarkconvError, match=r"net.keras: gives logits.*\n  hint: convert with --h"):
        dc.Detector(read_keras_file("net.keras"))("p/0.png")


def test_a_keras_file_finds_what_its_model_finds(folder):
    expected = dc.detect(model_of(), "p/0.png")
    for head in ("raw", "boxes"):
        write_keras(dc.to_keras(model_of(), head=head), "net.keras")
        found = dc.Detector(read_keras_file("net.keras"))("p/0.png")
        assert [d.name for d in found] == [d.name for d in expected] != []


METADATA_DAMAGES = {
    "no head": ({"head": None}, "the metadata have no head"),
    "unknown head": ({"head": "x"}, "head: expected raw, boxes, logits, found x"),
    "other outputs": ({"head": "boxes"}, "outputs: expected boxes, scores, found 004_yolo"),
    "no number": ({"threshold": "x"}, "threshold: expected a number from 0 to 1, found x"),
}


@pytest.mark.parametrize("damage", METADATA_DAMAGES)
def test_keras_files_with_wrong_metadata_are_not_run(fail, sound, damage):
    path, text = sound
    changes, message = METADATA_DAMAGES[damage]
    changed = {key: value for key, value in (text | changes).items() if value is not None}
    Path("x.keras").write_bytes(altered(path, **{"darkconv.json": json.dumps(changed)}))
    fail("verify net.cfg net.weights x.keras", f"error: x.keras: damaged: {message}")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("x.savedmodel/", "compare a .keras file: it is made from the same graph"),
        ("x.cfg", "darkconv weights diff compares the arrays"),
    ],
)
def test_other_files_are_not_compared(fail, name, hint):
    message = (
        f"error: {name}: its outputs cannot be compared: expected a file that ends in .onnx, "
        f".keras, .tflite or .pt2\n  hint: {hint}"
    )
    fail(f"verify net.cfg net.weights {name}", message)


# --- Keras in place of PyTorch and ONNX


def test_verify_and_detect_run_in_keras(run):
    assert "torch and keras agree: wo" in run("verify net.cfg net.weights --backend keras").stdout
    both = [
        found_in(run(f"detect net.cfg net.weights p/0.png --json --backend {backend}"))
        for backend in ("torch", "keras")
    ]
    assert [entry[0] for entry in both[0]] == [entry[0] for entry in both[1]] != []


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("detect x.tflite p/0.png --backend keras", "about models: x.tflite runs by itself"),
        ("eval x.onnx --data p --backend torch", "about models: x.onnx runs by itself"),
        (
            "verify net.cfg net.weights x.keras --backend keras",
            "about layers, and FILE says itself what runs it",
        ),
    ],
)
def test_files_that_run_by_themselves_take_no_backend(fail, line, message):
    fail(line, f"Error: --backend is {message}", 2)


def test_a_runner_does_not_keep_its_model():
    model = model_of()
    runner(model, "keras")(noise())
    kept = weakref.ref(model)
    del model
    gc.collect()
    assert kept() is None


def test_keras_says_what_it_does_not_run_on():
    result = subprocess.run(
        [sys.executable, "-c", "import darkconv.backends as b; b.spoke('keras')"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "foo"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr.endswith(
        "DarkconvError: KERAS_BACKEND: expected tensorflow, torch, jax, openvino, found foo\n"
        "  hint: unset KERAS_BACKEND\n"
    )


@pytest.mark.parametrize(
    ("library", "chosen", "task", "command"),
    [
        ("jax", "jax", "Keras (KERAS_BACKEND=jax)", "pip install jax"),
        ("torch", None, "Keras (by its keras.json)", "pip install 'darkconv[torch]'"),
        ("tensorflow", None, "the keras backend", "pip install 'darkconv[keras]'"),
    ],
)
def test_what_keras_is_to_run_on_is_named(monkeypatch, library, chosen, task, command):
    def missing(_):
        raise ModuleNotFoundError(f"No module named {library!r}", name=library)

    monkeypatch.setattr("darkconv.backends.import_module", missing)
    monkeypatch.setenv("KERAS_BACKEND", chosen or "")
    with pytest.raises(MissingDependencyError) as error:
        spoke("keras")
    assert str(error.value) == (
        f"{task} needs {library}, which is not installed\n  hint: {command}"
    )


# --- Damaged .keras files


def altered(path, **members):
    """The bytes of an archive with some members replaced, added, or (None) left out."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(buffer, "w") as new:
        found = {name: old.read(name) for name in old.namelist()} | members
        for name, content in found.items():
            if content is not None:
                new.writestr(name, content)
    return buffer.getvalue()


def npz(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A sound file, and what it says of its network."""
    path = tmp_path_factory.mktemp("sound") / "net.keras"
    write_keras(dc.to_keras(model_of(SPARE)), path)
    with zipfile.ZipFile(path) as archive:
        return path, json.loads(archive.read("darkconv.json"))


UNREADABLE = ": cannot be read as a Keras model: "
NO_TEXTS = ": damaged: the metadata are no texts by name"
JSON_ERROR = "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
DAMAGES = {
    "truncated": (
        # the archive of spare arrays is whole, and stands last
        lambda p, _: p.read_bytes()[:-100],
        UNREADABLE + "has no member config.json",
    ),
    "half": (lambda p, _: p.read_bytes()[:9999], UNREADABLE + "is no zip archive, or is cut short"),
    "empty": (lambda *_: b"", UNREADABLE + "is empty"),
    "no zip": (lambda *_: b"<html>" * 99, UNREADABLE + "is no zip archive, or is cut short"),
    "no config": (
        lambda p, _: altered(p, **{"config.json": None}),
        UNREADABLE + "has no member config.json",
    ),
    "wrong config": (
        lambda p, _: altered(p, **{"config.json": "{"}),
        UNREADABLE + "its config.json is no JSON",
    ),
    "no weights": (
        lambda p, _: altered(p, **{"model.weights.h5": None}),
        UNREADABLE + "has no member model.weights.h5",
    ),
    "wrong weights": (
        lambda p, _: altered(p, **{"model.weights.h5": b"abc"}),
        UNREADABLE + "its model.weights.h5 is no HDF5 file",
    ),
    "wrong json": (lambda p, _: altered(p, **{"darkconv.json": "{"}), f": damaged: {JSON_ERROR}"),
    "a number": (lambda p, _: altered(p, **{"darkconv.json": "5"}), NO_TEXTS),
    "a list": (lambda p, _: altered(p, **{"darkconv.json": '["cfg"]'}), NO_TEXTS),
    "no text": (lambda p, _: altered(p, **{"darkconv.json": '{"cfg": 5}'}), NO_TEXTS),
    "no cfg": (
        lambda p, _: altered(p, **{"darkconv.json": "{}"}),
        ": has no cfg in its metadata: darkconv did not write it",
    ),
    "no dialect": (
        lambda p, d: altered(p, **{"darkconv.json": json.dumps({"cfg": d["cfg"]})}),
        ": damaged metadata: no 'dialect'",
    ),
    "another cfg": (
        lambda p, d: altered(
            p, **{"darkconv.json": json.dumps({**d, "cfg": d["cfg"].replace("[yolo]", "[foo]")})}
        ),
        ":23: layer 4 [foo]: expected a Darknet layer type, found [foo]",
    ),
    "objects": (
        lambda p, _: altered(p, **{"darkconv_spare.npz": npz(a=np.array([None]))}),
        ": damaged: darkconv_spare.npz: its array a holds Python objects, which are never "
        "unpickled",
    ),
    "half of spare arrays": (
        lambda p, _: altered(p, **{"darkconv_spare.npz": npz(a=np.zeros(9))[:-30]}),
        ": damaged: darkconv_spare.npz: is no zip archive, or is cut short",
    ),
    "no spare arrays": (
        lambda p, _: altered(p, **{"darkconv_spare.npz": b""}),
        ": damaged: darkconv_spare.npz: is empty",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_keras_files_are_refused(fail, sound, damage):
    make, message = DAMAGES[damage]
    Path("x.keras").write_bytes(make(*sound))
    fail("convert x.keras -o y.cfg y.weights", f"error: x.keras{message}")


def test_a_file_that_is_missing_is_named(fail):
    fail("convert none.keras -o y.cfg y.weights", "error: none.keras: no such file")


def test_spare_arrays_of_another_shape_are_refused(fail, sound):
    path, _ = sound
    with (
        zipfile.ZipFile(path) as archive,
        np.load(io.BytesIO(archive.read("darkconv_spare.npz"))) as arrays,
    ):
        spare = {**arrays, "1.biases": np.zeros(3, np.float32)}
    Path("x.keras").write_bytes(altered(path, **{"darkconv_spare.npz": npz(**spare)}))
    fail(
        "convert x.keras -o y.cfg y.weights",
        "error: x.keras: damaged: darkconv_spare.npz: 1.biases: expected float32 (4,), found "
        "float32 (3,)",
    )


def test_code_in_a_file_is_not_run(folder):
    kmodel = keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: x + 1)])
    kmodel.save("x.keras")
    with pytest.raises(DarkconvError, match="x.keras: cannot be read as a Keras model: .*Lambda"):
        read_keras("x.keras")


# --- Writing


@pytest.mark.parametrize("suffix", ["keras", "savedmodel", "tflite"])
def test_suppression_is_no_keras_operation(fail, suffix):
    fail(
        f"convert net.cfg net.weights -o x.{suffix} --head nms",
        "Error: --head nms is about .onnx files",
        2,
    )


def test_batch_norm_of_litert_files_is_always_folded(fail):
    message = "Error: --fold-bn is about .keras and .savedmodel files, and none is written"
    fail("convert net.cfg net.weights -o x.tflite --fold-bn", message, 2)


@pytest.mark.parametrize("suffix", ["keras", "savedmodel", "tflite"])
def test_a_folder_that_does_not_exist_is_named(fail, monkeypatch, suffix):
    monkeypatch.setattr("darkconv.backends.keras.litert.converted", lambda *_: b"")
    message = f"error: none/x.{suffix}: cannot write: No such file or directory"
    fail(f"convert net.cfg net.weights -o none/x.{suffix}", message)


@pytest.mark.parametrize("suffix", ["savedmodel", "tflite"])
def test_other_backends_do_not_write_tensorflows_files(fail, monkeypatch, suffix):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    kind = {"savedmodel": "a SavedModel", "tflite": "a LiteRT file"}[suffix]
    message = f"error: {kind} needs Keras on TensorFlow: found jax\n  hint: unset KERAS_BACKEND"
    fail(f"convert net.cfg net.weights -o x.{suffix}", message)


@pytest.mark.parametrize("target", ["p", "net.cfg"])
def test_a_saved_model_replaces_nothing_else(folder, target):
    before = contents(folder)
    with pytest.raises(DarkconvError) as error:
        write_saved_model(dc.to_keras(model_of()), target)
    assert str(error.value) == f"{target}: is there already, and is no SavedModel"
    assert contents(folder) == before


def test_a_saved_model_replaces_a_saved_model(run, folder):
    run("convert net.cfg net.weights -o net.savedmodel")
    Path("net.savedmodel/mine").write_text("of the old one")
    before = {path.name for path in folder.iterdir()}
    run("convert net.cfg net.weights -o net.savedmodel --head boxes --fold-bn")
    assert {path.name for path in folder.iterdir()} == before
    assert not Path("net.savedmodel/mine").exists()
    loaded = tensorflow.saved_model.load("net.savedmodel")
    outputs = loaded.serve(tensorflow.constant(channels_last(noise())))
    assert set(outputs) == {"boxes", "scores"}


def fails(*_, **__):
    raise DarkconvError("no")


@pytest.mark.parametrize(
    ("suffix", "where"),
    [
        ("keras", "darkconv.backends.keras.files.file_metadata"),
        ("savedmodel", "keras.Model.export"),
        ("tflite", "darkconv.backends.keras.litert.converted"),
    ],
)
def test_a_failing_write_leaves_the_old_file(run, fail, monkeypatch, suffix, where):
    if suffix == "tflite":
        Path("net.tflite").write_bytes(b"the old one")
    else:
        run(f"convert net.cfg net.weights -o net.{suffix}")
    monkeypatch.setattr(where, fails)
    fail(f"convert net.cfg net.weights -o net.{suffix} --head boxes", "error: no")


# --- .tflite


@pytest.fixture(scope="module")
def lite(tmp_path_factory):
    """A file with the raw head, one with boxes, and one that keeps state."""
    folder = tmp_path_factory.mktemp("lite")
    write_litert(model_of(), folder / "raw.tflite")
    write_litert(model_of(), folder / "boxes.tflite", head="boxes")
    write_litert(model_of(RECURRENT), folder / "recurrent.tflite")
    return folder


def test_a_litert_file_says_what_it_is(lite):
    file = read_litert(lite / "boxes.tflite")
    assert (file.head, file.precision, file.names) == ("boxes", "float32", NAMES)
    assert file.input_size == (24, 16)
    assert file.network.shapes == model_of().network.shapes
    assert file.run.outputs == ["boxes", "scores"]
    assert file.path == str(lite / "boxes.tflite")
    assert file.metadata["darkconv"] == dc.__version__
    assert file.metadata["resize"] == "stretch"
    assert file.metadata["input"] == "float32-nhwc"
    assert (file.metadata["threshold"], file.metadata["nms_kind"]) == ("0.25", "sort")
    assert json.loads(file.metadata["header"])["seen"] == 32013312


@pytest.mark.parametrize("count", [1, 5, 2])
def test_batches_of_every_size_run(lite, count):
    x = noise(count=count)
    (found,) = read_litert(lite / "raw.tflite").run(x)
    assert_close(found, dc.trace(model_of(), x)[-1], f"{count} pictures")


def test_state_is_kept_until_a_batch_of_another_size(lite):
    file = read_litert(lite / "recurrent.tflite")
    assert file.run.outputs == ["003_yolo"]
    for count in (1, 3):
        inputs = [noise(count=count, seed=seed) for seed in range(3)]
        for x, layers in zip(inputs, dc.trace(model_of(RECURRENT), inputs), strict=True):
            (found,) = file.run(x)
            assert_close(found, layers[-1], f"{count} pictures")


def test_a_region_head_has_the_order_of_c(folder):
    body, dialect = NETS["region"]
    write_litert(model_of(body, dialect=dialect), "net.tflite")
    (found,) = read_litert("net.tflite").run(noise())
    expected = dc.trace(model_of(body, dialect=dialect), noise())[-1]
    assert_close(found.reshape(expected.shape), expected, "region")


def test_verify_compares_a_file_with_its_model(run, lite):
    for name, outputs in (("raw", ["002_yolo"]), ("boxes", ["boxes", "scores"])):
        result = run(f"verify net.cfg net.weights {lite}/{name}.tflite --image p/0.png --json")
        found = json.loads(result.stdout)["rows"]
        assert [entry["name"] for entry in found] == outputs
        assert all(entry["error"] <= entry["allowed"] == 1e-4 for entry in found)
        assert result.stderr == ""


def test_verify_finds_another_models_file(run, lite):
    save(model_of(seed=5), BODY)
    for name in ("raw", "boxes"):
        run(f"verify net.cfg net.weights {lite}/{name}.tflite", 1)


def test_verify_keeps_state_apart(run, lite):
    save(model_of(RECURRENT), RECURRENT)
    run(f"verify net.cfg net.weights {lite}/recurrent.tflite")


def found_in(result):
    """(class, score, box) of a picture, in order of class and place."""
    ((picture),) = json.loads(result.stdout)
    entries = [(d["name"], d["score"], d["box"]) for d in picture["detections"]]
    return sorted(entries, key=lambda entry: (entry[0], entry[2]))


@pytest.mark.parametrize("name", ["raw", "boxes"])
@pytest.mark.parametrize("options", ["", "--resize letterbox --threshold 0.35 --nms 0.2"])
def test_detect_needs_the_file_alone(run, lite, name, options):
    expected = found_in(run(f"detect net.cfg net.weights p/0.png --json {options}"))
    found = found_in(run(f"detect {lite}/{name}.tflite p/0.png --json {options}"))
    assert len(found) > 3
    assert [entry[0] for entry in found] == [entry[0] for entry in expected]
    for one, other in zip(found, expected, strict=True):
        assert one[1] == pytest.approx(other[1], abs=1e-5)
        np.testing.assert_allclose(one[2], other[2], atol=1e-3)


def label_with_what_is_found(run, picture):
    """Write as the labels of a picture what the model finds best in it."""
    with image_module.open(f"p/{picture}.png") as image:
        size = np.tile(image.size, 2)
    result = run(f"detect net.cfg net.weights p/{picture}.png --json")
    found = json.loads(result.stdout)[0]["detections"][:5]
    lines = []
    for one in found:
        x0, y0, x1, y1 = one["box"] / size
        box = ((x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0)
        lines.append(" ".join(map(str, (one["class_id"], *box))))
    Path(f"p/{picture}.txt").write_text("\n".join(lines))


def test_eval_runs_the_file(run, lite):
    pytest.importorskip("faster_coco_eval")
    for picture in range(4):
        label_with_what_is_found(run, picture)
    files = ("net.cfg net.weights", f"{lite}/raw.tflite", f"{lite}/boxes.tflite")
    results = [
        json.loads(run(f"eval {file} --data p --data-names net.names --json").stdout)
        for file in files
    ]
    assert results[0]["ap"] > 0.1
    for result in results[1:]:
        assert result["ap"] == pytest.approx(results[0]["ap"], rel=1e-3)


def test_eval_runs_a_classifier(run, folder):
    save(model_of(CLASSIFIER), CLASSIFIER)
    for number, name in enumerate(("cat", "dog", "fox", "cat")):
        (folder / "c" / name).mkdir(parents=True, exist_ok=True)
        Path(f"p/{number}.png").rename(f"c/{name}/{number}.png")
    write_litert(dc.load("net.cfg", "net.weights"), "net.tflite")
    both = [
        json.loads(run(f"eval {model} --data c --json").stdout)
        for model in ("net.cfg net.weights", "net.tflite")
    ]
    for name in ("pictures", "top1", "confusion", "names"):
        assert both[0][name] == both[1][name]
    assert both[0]["pictures"] == 4


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("raw", "--input-size 32x32", "input size: expected 3x16x24, which is fixed in the graph, "
         "found 32x32\n  hint: convert with --input-size, or to ONNX with --dynamic batch,size"),
        ("boxes", "--nms-kind obj", "boxes have lost their objectness, which nms_kind=obj goes by\n"
         "  hint: convert with --head raw"),
    ],
)  # fmt: skip
def test_detect_says_what_a_file_cannot_do(fail, lite, name, options, message):
    file = f"{lite}/{name}.tflite"
    fail(f"detect {file} p/0.png {options}", f"error: {file}: {message}")


@pytest.mark.parametrize("line", [
    "info x.savedmodel", "convert x.savedmodel/ -o x.cfg x.weights", "detect x.savedmodel p/0.png",
    "verify x.savedmodel x.keras", "eval X.SavedModel --data p",
])  # fmt: skip
def test_a_saved_model_is_no_model(fail, line):
    file = line.split()[1]
    fail(
        line,
        f"error: {file}: Darknet's arrays cannot be read back from a SavedModel, which is for "
        "TensorFlow: expected NET.cfg NET.weights, or a file that ends in .safetensors, .keras or "
        ".onnx",
    )


@pytest.mark.parametrize("name", ["x.keras", "x.safetensors", "x.tflite", "x.onnx"])
def test_files_say_their_dialect_themselves(fail, name):
    message = f"Error: --{{}} is about Darknet's files, not {name}"
    fail(f"detect {name} p/0.png --dialect alexeyab", message.format("dialect"), 2)
    if name in ("x.keras", "x.safetensors"):
        line = f"convert {name} -o x.cfg x.weights --cutoff 1"
        fail(line, message.format("cutoff"), 2)


@pytest.mark.parametrize(
    "line",
    ["info {}", "convert {} -o x.cfg x.weights", "reclass {} --keep cat -o x.cfg x.weights"],
)
def test_darknets_arrays_cannot_be_read_back(fail, lite, line):
    file = f"{lite}/raw.tflite"
    fail(
        line.format(file),
        f"error: {file}: Darknet's arrays cannot be read back from a LiteRT file: expected NET.cfg "
        "NET.weights, or a file that ends in .safetensors, .keras or .onnx\n"
        "  hint: detect and eval run it, verify compares it",
    )


def with_metadata(file, text):
    """A LiteRT file's graph, and other metadata behind it."""
    whole = file.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("darkconv.json", text)
    return whole[: whole.rindex(b"PK\x03\x04")] + buffer.getvalue()


def metadata_of(file):
    with zipfile.ZipFile(file) as archive:
        return json.loads(archive.read("darkconv.json"))


FOREIGN = "has no cfg in its metadata: darkconv did not write it, or it is cut short"
LITERT_DAMAGES = {
    "truncated": (lambda f: f.read_bytes()[:-20], FOREIGN),
    "empty": (lambda f: b"", FOREIGN),
    "no metadata": (lambda f: f.read_bytes()[: f.read_bytes().rindex(b"PK\x03\x04")], FOREIGN),
    "wrong json": (lambda f: with_metadata(f, "{"), FOREIGN),
    "a number": (lambda f: with_metadata(f, "5"), FOREIGN),
    "no cfg": (lambda f: with_metadata(f, "{}"), FOREIGN.removesuffix(", or it is cut short")),
    "no outputs": (
        lambda f: with_metadata(f, json.dumps({**metadata_of(f), "outputs": "5"})),
        "damaged: 'int' object is not iterable",
    ),
    "no states": (
        lambda f: with_metadata(
            f, json.dumps({k: v for k, v in metadata_of(f).items() if k != "states"})
        ),
        "damaged: 'states'",
    ),
    "no head": (
        lambda f: with_metadata(
            f, json.dumps({k: v for k, v in metadata_of(f).items() if k != "head"})
        ),
        "damaged: the metadata have no head",
    ),
    "an unknown precision": (
        lambda f: with_metadata(f, json.dumps({**metadata_of(f), "precision": "int4"})),
        "damaged: precision: expected float32, float16, int8, found int4",
    ),
    "another output": (
        lambda f: with_metadata(f, json.dumps({**metadata_of(f), "outputs": '["x"]'})),
        "damaged: the graph has no output x",
    ),
    "too few outputs": (
        lambda f: with_metadata(f, json.dumps({**metadata_of(f), "outputs": "[]"})),
        "damaged: outputs: expected 1, found none",
    ),
    "another state": (
        lambda f: with_metadata(f, json.dumps({**metadata_of(f), "states": '{"x": "002_yolo"}'})),
        "damaged: the graph has the inputs input",
    ),
    "no graph": (
        lambda f: f.read_bytes()[f.read_bytes().rindex(b"PK\x03\x04") :],
        "damaged: The model is not a valid Flatbuffer buffer",
    ),
}


@pytest.mark.parametrize("damage", LITERT_DAMAGES)
def test_damaged_litert_files_are_refused(fail, lite, damage):
    make, message = LITERT_DAMAGES[damage]
    Path("x.tflite").write_bytes(make(lite / "raw.tflite"))
    fail("detect x.tflite p/0.png", f"error: x.tflite: {message}")
    fail("detect none.tflite p/0.png", "error: none.tflite: no such file")


def test_impossible_options_are_refused(folder):
    with pytest.raises(DarkconvError, match="precision: expected float32, float16, int8, found f"):
        write_litert(model_of(), "x.tflite", precision="f")
    with pytest.raises(DarkconvError, match="8-bit values need inputs by which their ranges"):
        write_litert(model_of(), "x.tflite", precision="int8")
    with pytest.raises(DarkconvError, match="head: expected raw, boxes, logits, found nms"):
        write_litert(model_of(), "x.tflite", head="nms")
    assert not Path("x.tflite").exists()


def test_what_the_converter_refuses_is_told(folder, monkeypatch):
    class Converter:
        def convert(self):
            raise ValueError("first line\nsecond line")

    converter = "tensorflow.lite.TFLiteConverter.from_saved_model"
    monkeypatch.setattr(converter, lambda _: Converter())
    with pytest.raises(UnsupportedError) as error:
        write_litert(model_of(), "x.tflite")
    assert str(error.value) == "test.cfg: LiteRT cannot express it: first line"
    assert not Path("x.tflite").exists()


# --- Less precision


WIDE = CONV.format(n=32, act="leaky") + CONV.format(n=48, act="leaky\nstride=2") + YOLO


def tame(model):
    """The model with weights so small that values stay about 1 from layer to layer."""
    scale = {key: 1 / np.sqrt(a[0].size) for key, a in model.arrays.items() if "weights" in key}
    return dc.replace_arrays(
        model, {k: model.arrays[k] * np.float32(s / 0.3) for k, s in scale.items()}
    )


def test_half_precision_halves_the_file(run):
    save(tame(model_of(WIDE)), WIDE)
    result = run("convert net.cfg net.weights -o half.tflite --head boxes --fp16 --json")
    report = json.loads(result.stdout)["half.tflite"]
    whole, half = report["sizes"]
    assert half == os.stat("half.tflite").st_size < 0.6 * whole
    assert report["precision"] == read_litert("half.tflite").precision == "float16"
    assert 0 < report["likeness"]["errors"]["scores"] < 1e-2
    run("verify net.cfg net.weights half.tflite")


def test_eight_bits_are_smaller_and_near(run):
    save(tame(model_of(WIDE)), WIDE)
    line = "convert net.cfg net.weights -o small.tflite --head boxes --int8 --calibrate p --json"
    result = run(line)
    assert "calibrating on pictures: 4 of 4" in result.stderr
    assert "5 of 4" not in result.stderr
    report = json.loads(result.stdout)["small.tflite"]
    whole, small = report["sizes"]
    assert small == os.stat("small.tflite").st_size < 0.5 * whole
    file = read_litert("small.tflite")
    assert report["precision"] == file.precision == "int8"
    x = noise(count=1)
    expected = np.asarray(
        dc.to_keras(dc.load("net.cfg", "net.weights"), head="boxes")(channels_last(x))["scores"]
    )
    found = file.run(x)[1]
    assert (found.shape, found.dtype) == (expected.shape, np.float32)
    error = np.abs(found - expected).max()
    assert 0 < error < 0.05 < expected.std()
    assert not np.allclose(256 * found, np.rint(256 * found)), "the sigmoid rounds to 8 bits"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--int8", "Error: --int8 needs --calibrate: pictures such as it will see"),
        ("--int8 --calibrate p --calibration minmax", "Error: --calibration is about .onnx files"),
        ("--int8 --calibrate p --reduce-range", "Error: --reduce-range is about .onnx files"),
    ],
)
def test_options_that_are_about_onnx_are_refused(fail, options, message):
    fail(f"convert net.cfg net.weights -o x.tflite {options}", message, 2)


def test_precision_is_about_files_that_run(fail):
    message = "Error: --fp16 is about .onnx and .tflite files, and none is written"
    fail("convert net.cfg net.weights -o x.keras --fp16", message, 2)
