"""`.keras` files where darkconv is not: with Keras and TensorFlow, JAX or PyTorch alone."""

import contextlib
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

import darkconv as dc
from darkconv.boxes import as_corners
from darkconv.detection.decode import box_heads, decode
from environments import Environment, EnvironmentMissingError
from reference.collection import Case, assert_close, assert_small_error, is_folder
from reference.test_models import HEAD_TOLERANCE, RealModel, close
from reference.test_onnx_models import same, stored
from reference.test_opencv5 import plain_detections

pytest.importorskip("keras")

from darkconv.backends.keras import write_keras
from keras_worker import run, train, write

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")
WORKER = Path(__file__).parents[1] / "keras_worker.py"
SECONDS_TO_RUN = 3600
PACKAGES = {"jax": "jax", "tensorflow": "tensorflow-cpu", "torch": "torch"}
"""By Keras backend; the slowest comes first."""
ENVIRONMENTS = {
    backend: Environment(f"keras-{backend}", ("keras", package))
    for backend, package in PACKAGES.items()
}
MICRO = (
    "alexeyab-rnn",
    "alexeyab-gru",
    "alexeyab-lstm-bn-softmax",
    "alexeyab-crnn-1x1-shortcut",
    "alexeyab-conv-lstm-peephole",
    "alexeyab-implicit",
    "alexeyab-shortcut-per-feature-softmax",
    "pjreddie-region-softmax",
)
"""Small networks: those with state, with arrays that no stock layer has, and another head."""
TRAINED = ("yoloface-50k-raw", "alexeyab-implicit", "alexeyab-shortcut-per-feature-softmax")


class Worker:
    """The process of one environment and what it has written, or why there is none.

    Attributes:
        missing: why there is none.
    """

    def __init__(self, backend, folder, into):
        self._into, self._process, self.missing = into, None, ""
        try:
            python = ENVIRONMENTS[backend].python()
        except EnvironmentMissingError as error:
            self.missing = str(error)
            return
        with (into / "log").open("w") as log:
            self._process = subprocess.Popen(
                [python, "-I", WORKER, folder, into, *TRAINED],
                cwd=into,
                env=variables_of(backend, into),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                bufsize=0,
            )

    def announce(self, name):
        """Say that a file is there."""
        if self._process:
            with contextlib.suppress(BrokenPipeError):  # tests will miss what it has not written
                self._process.stdin.write(f"{name}\n".encode())

    def finish(self):
        """Let it come to its end."""
        if self._process:
            self._process.stdin.close()
            try:
                self._process.wait(timeout=SECONDS_TO_RUN)
            except subprocess.TimeoutExpired:
                self.stop()

    def stop(self):
        """End it."""
        if self._process:
            self._process.stdin.close()
            self._process.kill()
            self._process.wait()

    def report(self, name):
        path = self._into / f"{name}.json"
        if not path.is_file():
            log = (self._into / "log").read_text(errors="replace")
            pytest.fail(f"no word of {name}; the last ones: {log[-2000:]}")
        report = json.loads(path.read_text())
        assert "error" not in report, report["error"]
        return report

    def outputs(self, name):
        """By name, (steps, N, ...)."""
        self.report(name)
        return arrays_of(self._into / f"{name}.npz")


def variables_of(backend, home):
    """The user's, but for those of Keras and what saves time."""
    variables = {key: value for key, value in os.environ.items() if not key.startswith("KERAS_")}
    if backend != "tensorflow":  # which is the default
        variables["KERAS_BACKEND"] = backend
    return variables | {
        "KERAS_HOME": str(home),
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # they take longer than what they improve
    }


def arrays_of(path):
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """The folder that files come into, and by backend the processes that read them there."""
    folder = tmp_path_factory.mktemp("keras")
    started = {}
    try:
        for backend in ENVIRONMENTS:
            started[backend] = Worker(backend, folder, tmp_path_factory.mktemp(backend))
        yield folder, started
    finally:
        for worker in started.values():
            worker.stop()


@pytest.fixture(scope="module")
def files(workers, golden_dir, models_dir, data_dir):
    """The folder with every model and some small networks; workers are at it meanwhile."""
    folder, started = workers
    for name, model, steps, options in networks(golden_dir, models_dir, data_dir):
        save(model, steps, folder / name, **options)
        for worker in started.values():
            worker.announce(name)
    return folder


def networks(golden_dir, models_dir, data_dir):
    """(name, model, inputs of successive calls, options of `to_keras`) of each file."""
    for path in filter(is_folder, sorted(models_dir.iterdir())):
        case = RealModel(path, golden_dir, data_dir)
        pictures = np.stack(list(case.inputs.values()))[None]
        for head in ("raw", "boxes"):
            yield f"{path.name}-{head}", case.model, pictures, {"head": head}
    for name in MICRO:
        case = micro(golden_dir, name)
        yield name, case.model, steps_of(case), {}


def save(model, steps, path, **options):
    """Write .keras, its inputs, channels last, as .npy, and what it makes of them here.

    Its outputs are in .npz; of a model of TRAINED .json tells of a training step.
    """
    steps = np.moveaxis(steps, 2, -1) if steps.ndim == 5 else steps
    kmodel = dc.to_keras(model, **options)
    write_keras(kmodel, f"{path}.keras")
    np.save(f"{path}.npy", steps)
    np.savez(f"{path}.npz", **run(kmodel, steps))
    if path.name in TRAINED:
        write(Path(f"{path}.json"), **train(kmodel, steps[0]))


def micro(golden_dir, name):
    folder = golden_dir / "micro" / name
    return Case(folder, folder / "net.weights")


def steps_of(case):
    """Inputs of successive calls: (steps, 1, C, H, W) or (steps, 1, values)."""
    shape = case.model.network.input_shape
    each = tuple(shape) if shape.is_map else (shape.size,)
    return np.stack([case.expected[f"input{end}"].reshape(1, *each) for end in ends_of(case)])


def ends_of(case):
    """What the names of stored arrays end with, by step."""
    return [f"_step{k}" if k else "" for k in range(case.layout.get("steps", 1))]


@pytest.fixture(scope="module", params=ENVIRONMENTS)
def answers(request, workers, files):
    """The worker of one environment when it is done."""
    worker = workers[1][request.param]
    if worker.missing:
        pytest.skip(worker.missing)
    worker.finish()
    return worker


@pytest.fixture(scope="module")
def model_case(request, golden_dir, data_dir):
    return RealModel(request.param, golden_dir, data_dir)


def test_only_one_framework_is_there(answers, request):
    backend = request.node.callspec.params["answers"]
    assert answers.report("environment") == {"backend": backend, "found": [backend]}


def test_inputs_and_outputs_have_their_names_and_shapes(model_case, answers):
    network = model_case.model.network
    c, h, w = network.input_shape
    raw, boxes = (answers.report(f"{model_case.folder.name}-{head}") for head in ("raw", "boxes"))
    assert raw["inputs"] == boxes["inputs"] == {"input": [None, h, w, c]}
    heads = box_heads(network)
    assert raw["outputs"] == {
        f"{head.index:03d}_{head.type}": [None, *head.out_shape[1:], head.out_shape.c]
        for head in heads
    }
    assert list(raw["outputs"]) == sorted(raw["outputs"])
    classes = heads[0].spec.classes
    count = sum(head.out_shape.size // (5 + classes) for head in heads)
    assert boxes["outputs"] == {"boxes": [None, count, 4], "scores": [None, count, classes]}


@pytest.mark.parametrize("head", ["raw", "boxes"])
def test_outputs_are_those_before_it_was_saved(model_case, head, answers, files):
    name = f"{model_case.folder.name}-{head}"
    found, expected = answers.outputs(name), arrays_of(files / f"{name}.npz")
    assert list(found) == list(expected)
    for key, values in expected.items():
        assert_small_error(found[key], values, key)
        assert_close(found[key], values, key)


def heads_of(model_case, answers):
    """Of each head its outputs for the stored inputs, in Darknet's order: [(N, ...)]."""
    outputs = answers.outputs(f"{model_case.folder.name}-raw")
    heads = model_case.model.network.heads
    return [np.moveaxis(outputs[f"{head.index:03d}_{head.type}"][0], -1, 1) for head in heads]


def test_outputs_of_heads_are_those_of_c(model_case, answers):
    heads = model_case.model.network.heads
    for head, found in zip(heads, heads_of(model_case, answers), strict=True):
        for values, key in zip(found, model_case.inputs, strict=True):
            name = f"{key}|head{head.index}|out"
            places, expected = (model_case.tensors[f"{name}_{part}"] for part in ("idx", "val"))
            close(values.ravel()[places], expected, HEAD_TOLERANCE, name)


def boxes_of(model_case, answers):
    """(boxes, scores) of each stored input."""
    outputs = answers.outputs(f"{model_case.folder.name}-boxes")
    found = list(zip(outputs["boxes"][0], outputs["scores"][0], strict=True))
    assert len(found) == len(model_case.inputs)
    return found


def test_boxes_are_those_of_the_decoder(model_case, answers):
    heads = heads_of(model_case, answers)
    for i, (boxes, scores) in enumerate(boxes_of(model_case, answers)):
        expected = decode(model_case.model.network, [head[i] for head in heads], threshold=0)
        assert_close(boxes, as_corners(expected.boxes), "boxes")
        assert_close(scores, expected.scores, "scores")


def test_boxes_leave_the_detections_of_c(model_case, answers):
    found = boxes_of(model_case, answers)
    for (boxes, scores), (_, fit, result) in zip(found, stored(model_case), strict=True):
        same(plain_detections(boxes, scores, fit), result["detections"])


@pytest.mark.parametrize("name", MICRO)
def test_small_networks_have_the_numbers_of_c(name, answers, golden_dir):
    """Recurrent state goes from call to call."""
    case = micro(golden_dir, name)
    outputs = answers.outputs(name)
    network = case.model.network
    for index, steps in zip(network.outputs, outputs.values(), strict=True):
        for end, found in zip(ends_of(case), steps, strict=True):
            expected = case.expected[f"layer_{index:03d}{end}"]
            found = np.moveaxis(found, -1, 1) if found.ndim == 4 else found
            assert_close(found.reshape(expected.shape), expected, f"layer {index}{end}")


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_step_is_the_same_and_changes_the_arrays(name, answers, files):
    """But for shifts that the next batch norm takes away again: they have no gradient."""
    report, here = answers.report(name), json.loads((files / f"{name}.json").read_text())
    assert report["loss"] == pytest.approx(here["loss"], rel=1e-5)
    assert [path for path in report["unchanged"] if not path.endswith("_bn/beta")] == []
