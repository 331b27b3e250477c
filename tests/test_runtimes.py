"""Runtimes of other people run the exported files with the numbers of onnxruntime."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import darkconv as dc
from darkconv.assets import digits10_folder, digits10_pictures, load_digits10
from darkconv.cli import main
from darkconv.detection.engine import make_engine
from darkconv.evaluation.evaluate import runner_of
from darkconv.loading import open_exported
from environments import EnvironmentMissingError
from networks import network, random_model
from opencv5 import share_of_allowed
from runtimes import OPENVINO, RUNTIMES, Running, told_apart
from worker import Worker, WorkerError

onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("ignore:.*Swig.*:DeprecationWarning")

PICTURES = digits10_pictures()[:4]
HEADS = ("raw", "boxes", "nms")
REFUSED = {"ncnn": {"nms": "unordered_map::at"}}
"""What pnnx says to what it does not know."""
WRONG = {("mnn", "nms", 2)}
"""Where the numbers are wrong by the fault of the runtime."""
DIFFERS = 0.01
"""Of scores between float32 and bfloat16; other digits of a picture are further apart."""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a file for each head of the bundled model."""
    folder = tmp_path_factory.mktemp("runtimes")
    for head in HEADS:
        dc.export(load_digits10(), folder / f"{head}.onnx", head=head)
    return folder


@pytest.fixture(scope="module")
def x(files):
    """Two pictures, in each of which something is found."""
    engine = make_engine(files / "raw.onnx")
    return np.concatenate([engine.prepare(picture)[0] for picture in PICTURES[:2]])


@pytest.fixture(scope="module")
def running(request):
    try:
        with Running(request.param) as process:
            yield process
    except EnvironmentMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def openvino():
    """Lets this process import OpenVINO from the environment that has it."""
    pytest.importorskip("click")
    try:
        folder = str(OPENVINO.packages())
    except EnvironmentMissingError as error:
        pytest.skip(str(error))
    sys.path.append(folder)
    yield
    sys.path.remove(folder)


def by_onnxruntime(path, x):
    session = onnxruntime.InferenceSession(path)
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, session.run(None, {"input": x}), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "running", [name for name in RUNTIMES if name != "litert"], indirect=True, scope="module"
)
def test_a_runtime_gives_the_numbers_of_onnxruntime(request, running, head, files, x):
    name = request.node.callspec.params["running"]
    path = files / f"{head}.onnx"
    for count in range(1, (running.runtime.most or 2) + 1):
        expected = by_onnxruntime(path, x[:count])
        if refused := REFUSED.get(name, {}).get(head):
            with pytest.raises(WorkerError, match=refused):
                running.run(path, {"input": x[:count]}, expected)
            continue
        found = running.run(path, {"input": x[:count]}, expected)
        assert found.keys() == expected.keys()
        shares = [share_of_allowed(found[one], values) for one, values in expected.items()]
        assert (max(shares) > 1) == ((name, head, count) in WRONG), shares


@pytest.mark.slow
@pytest.mark.parametrize("running", ["litert"], indirect=True)
@pytest.mark.parametrize("head", ["raw", "boxes"])
def test_litert_with_xnnpack_gives_the_numbers_of_onnxruntime(running, head, files, x, tmp_path):
    pytest.importorskip("keras")
    dc.export(load_digits10(), tmp_path / "net.tflite", head=head)
    expected = by_onnxruntime(files / f"{head}.onnx", x[:1])
    if head == "raw":
        expected = {name: values.transpose(0, 2, 3, 1) for name, values in expected.items()}
    given = {"input": x[:1].transpose(0, 2, 3, 1)}
    found = running.run(tmp_path / "net.tflite", given, expected)
    for name, values in expected.items():
        assert share_of_allowed(found[name], values) <= 1


def alike(found, expected, tolerance):
    """The same objects in each picture, with scores that differ by no more than that."""
    for one, other in zip(found, expected, strict=True):
        assert sorted(one.names) == sorted(other.names)
        np.testing.assert_allclose(np.sort(one.scores), np.sort(other.scores), atol=tolerance)
        assert len(one)


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
def test_a_detector_finds_the_same_in_openvino(openvino, head, files):
    path = files / f"{head}.onnx"
    expected = dc.Detector(path)(PICTURES)
    detector = dc.Detector(path, runtime="openvino", threads=1, batch=2)
    found = detector(PICTURES)
    alike(found, expected, 1e-5)
    with ThreadPoolExecutor(4) as pool:
        alike(list(pool.map(detector, PICTURES * 5)), expected * 5, 1e-5)


@pytest.mark.slow
def test_a_model_runs_in_openvino_as_its_file_does(openvino, files):
    model = load_digits10()
    expected = dc.Detector(model, backend="onnx")(PICTURES)
    alike(dc.Detector(model, runtime="openvino")(PICTURES), expected, 1e-5)
    again = dc.Detector(model, runtime="onnxruntime")(PICTURES)
    assert [one.to_dict() for one in again] == [one.to_dict() for one in expected]


@pytest.mark.slow
def test_openvino_computes_in_bfloat16_where_that_is_asked_for_alone(openvino, files, monkeypatch):
    path = files / "boxes.onnx"

    def precision(engine):
        return engine.file.run.session.compiled.get_property("INFERENCE_PRECISION_HINT").to_string()

    assert precision(make_engine(path, runtime="openvino")) == "f32"
    try:
        engine = make_engine(path, runtime="openvino:bf16")
    except dc.DarkconvError as error:
        assert "expected a processor that computes in bfloat16" in str(error)  # noqa: PT017
    else:
        assert precision(engine) == "bf16"
        assert runner_of(engine.file, None) == "OpenVINO in bfloat16"
        found = dc.Detector(engine.file)(PICTURES)
        alike(found, dc.Detector(path)(PICTURES), DIFFERS)
    settings = "darkconv.backends.onnx.on_openvino.HINTS"
    monkeypatch.setitem(sys.modules[settings.rpartition(".")[0]].HINTS, "bfloat16", "f16")
    with pytest.raises(dc.DarkconvError, match="expected a processor that computes in bfloat16"):
        make_engine(path, runtime="openvino:bf16")


@pytest.mark.slow
def test_openvino_computes_with_the_threads_that_are_asked_for(openvino, files):
    opened = make_engine(files / "raw.onnx", runtime="openvino", threads=1)
    compiled = opened.file.run.session.compiled
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert make_engine(opened.file).file is opened.file
    assert make_engine(opened.file, runtime="onnxruntime").file.run.runtime == "onnxruntime"
    assert make_engine(opened.file, threads=2).file.run.runtime == "openvino"


@pytest.mark.slow
def test_openvino_keeps_states_and_takes_any_size(openvino, tmp_path):
    body = "[crnn]\nsize=1\noutput=4\nhidden=4\noutput_filters=4\nhidden_filters=4\n"
    body += "[convolutional]\nfilters=14\n[yolo]\nclasses=2\nnum=2\nanchors=4,6,8,3\n"
    dc.export(random_model(network(body, (3, 8, 8))), tmp_path / "state.onnx")
    pictures = list(np.random.default_rng(0).integers(0, 256, (4, 9, 9, 3), np.uint8))
    made = [
        dc.Detector(tmp_path / "state.onnx", runtime=runtime, threshold=0.1)
        for runtime in ("onnxruntime", "openvino")
    ]
    expected, found = ([detector(one) for one in pictures] for detector in made)
    alike(found, expected, 1e-5)
    dc.export(load_digits10(), tmp_path / "free.onnx", dynamic="batch,size")
    file = make_engine(tmp_path / "free.onnx", runtime="openvino").file
    assert file.has_free_size
    assert file.fixed_batch is None
    wide = file.with_input_size(192, 96)
    alike(
        [dc.Detector(wide)(PICTURES[0])],
        [dc.Detector(wide, runtime="onnxruntime")(PICTURES[0])],
        1e-5,
    )


@pytest.mark.slow
@pytest.mark.parametrize("head", ["raw", "boxes"])
def test_a_classifier_keeps_the_names_of_its_outputs_in_openvino(openvino, head, tmp_path):
    body = "[convolutional]\nfilters=5\n[avgpool]\n[softmax]\n"
    dc.export(random_model(network(body)), tmp_path / "net.onnx", head=head)
    x = np.random.default_rng(0).random((2, 3, 8, 8), np.float32)
    runs = [
        open_exported(tmp_path / "net.onnx", runtime=name).run
        for name in ("onnxruntime", "openvino")
    ]
    assert runs[0].outputs == runs[1].outputs
    for expected, found in zip(*(run(x) for run in runs), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.slow
def test_what_openvino_does_not_know_is_told_in_one_line(openvino, files, tmp_path):
    damaged = (files / "raw.onnx").read_bytes().replace(b"LeakyRelu", b"LeakyRelx")
    (tmp_path / "odd.onnx").write_bytes(damaged)
    with pytest.raises(
        dc.DarkconvError, match="odd.onnx: OpenVINO cannot run it: .*LeakyRelx"
    ) as told:
        dc.Detector(tmp_path / "odd.onnx", runtime="openvino")
    assert len(str(told.value).splitlines()) == 1


@pytest.mark.slow
def test_commands_run_files_and_models_in_openvino(openvino, files, capsys, monkeypatch):
    monkeypatch.chdir(digits10_folder())
    found = []
    for words in (["digits10.cfg", "digits10.weights"], [str(files / "boxes.onnx")]):
        main(
            ["detect", *words, "images", "--every", "40", "--runtime", "openvino", "--json"],
            standalone_mode=False,
        )
        found.append(json.loads(capsys.readouterr().out))
    names = [[one["name"] for one in picture["detections"]] for picture in found[0]]
    assert names == [[one["name"] for one in picture["detections"]] for picture in found[1]]
    assert any(names)
    result = dc.evaluate(files / "boxes.onnx", "digits10.data", runtime="openvino")
    assert result.runner == "OpenVINO"
    assert result.mean.ap > 0.99


def test_a_runtime_goes_with_onnx_graphs_alone(files, tmp_path):
    model = load_digits10()
    for options, message in (
        ({"runtime": "tensorrt"}, "runtime: expected onnxruntime, openvino, openvino:bf16, found"),
        ({"runtime": "openvino", "backend": "torch"}, "runtime: expected None: .* not torch"),
        ({"runtime": "openvino", "device": "cuda"}, "device: expected auto or cpu, on which Open"),
    ):
        with pytest.raises(dc.DarkconvError, match=message):
            dc.Detector(model, **options)
    with pytest.raises(dc.DarkconvError, match="device: expected auto or cpu, on which OpenVINO"):
        dc.Detector(files / "raw.onnx", runtime="openvino", device="cuda")
    pytest.importorskip("keras")
    for name in ("net.keras", "net.tflite"):
        dc.export(model, tmp_path / name)
        with pytest.raises(dc.DarkconvError, match="runtime: expected None: it is about ONNX"):
            dc.Detector(tmp_path / name, runtime="openvino")


def test_outputs_without_names_are_told_apart_by_their_shapes():
    expected = {"boxes": np.zeros((1, 3, 4)), "scores": np.zeros((1, 3, 1))}
    found = told_apart([np.ones(3), np.full((3, 4), 2.0)], expected)
    assert {name: (values.shape, values.max()) for name, values in found.items()} == {
        "boxes": ((1, 3, 4), 2),
        "scores": ((1, 3, 1), 1),
    }
    with pytest.raises(WorkerError, match="no output of the shape of scores"):
        told_apart([np.ones((3, 4)), np.ones(2)], expected)
    with pytest.raises(WorkerError, match="1 outputs more"):
        told_apart([np.ones((3, 4)), np.ones(3), np.ones(3)], expected)


ECHO = """
import json, sys
for line in sys.stdin:
    request = json.loads(line)
    if request.get("end"):
        sys.exit(3)
    print(json.dumps(request), flush=True)
"""


def test_a_worker_that_ends_is_started_anew():
    with Worker([sys.executable, "-c", ECHO]) as worker:
        assert worker.ask(number=1) == {"number": 1}
        with pytest.raises(WorkerError, match="its process ended with 3"):
            worker.ask(end=True)
        with pytest.raises(WorkerError, match="no such thing"):
            worker.ask(error="no such thing")
        assert worker.ask(number=2) == {"number": 2}


def test_the_page_counts_what_is_right_and_says_what_is_not(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "tools"))
    from runtimes_page import page

    def line(network, runtime, variant, said, **more):
        return {
            "network": network, "trained": not network.startswith("cfgs/"), "runtime": runtime,
            "variant": variant, "said": said, "version": "1.2", **more,
        }  # fmt: skip

    lines = [
        line("a", "mnn", "nms, 2 pictures", "right"),
        line("a", "mnn", "nms, 2 pictures", "wrong", off=5.0),
        line("b", "mnn", "nms, 2 pictures", "right"),
        line("cfgs/c", "tract", "raw", "refused: no Odd | operator"),
        line("cfgs/c", "mnn", "raw", "not made: no head"),
    ]
    text = page(lines, {"mnn": "MNN", "ncnn": "ncnn", "tract": "tract"}, ["raw", "nms, 2 pictures"])
    assert "| MNN | 1.2 |\n| tract | 1.2 |\n" in text
    assert "| nms, 2 pictures | 1 of 2 | - |\n" in text
    assert "| raw | - | 0 of 1 |\n" in text
    assert "| MNN | wrong | nms, 2 pictures | a | MNN's NonMaxSuppression finds nothing" in text
    assert "| tract | refused | raw | c | not looked into: no Odd \\| operator |\n" in text
    assert "ncnn" not in text.partition("## What is not right")[2]
