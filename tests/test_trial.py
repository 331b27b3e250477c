"""Every ONNX and LiteRT file is run once before it is called written."""

import logging
import sys

import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from darkconv.errors import DarkconvError
from networks import network, random_model

pytest.importorskip("onnxruntime")

CONV = "[convolutional]\nfilters={n}\nsize=3\npad=1\nbatch_normalize=1\nactivation=leaky\n"
YOLO = CONV.format(n=80) + CONV.format(n=16) + "[yolo]\nclasses=3\nnum=2\nanchors=2,3,4,1\n"
BODIES = {
    "yolo": YOLO,
    "region": YOLO.replace("yolo", "region"),
    "vector": "[connected]\noutput=4\n[softmax]\n",
    "recurrent": "[crnn]\noutput=6\nhidden=4\npad=1\nbatch_normalize=1\n",
}
FORMS = [
    {},
    {"external": True},
    {"in_place": True},
    {"fp16": True},
    {"opset": 11},
    {"dynamic": "none"},
    {"dynamic": "batch,size"},
    {"input": "uint8-nhwc-bgr"},
    {"head": "boxes"},
    {"head": "nms"},
    {"head": "nms", "threshold_inputs": True, "dynamic": "size"},
]


def saved(folder, body=YOLO, shape=(3, 64, 96)):
    dc.save(random_model(network(body, shape)), folder / "net.cfg", folder / "net.weights")
    return dc.load(folder / "net.cfg", folder / "net.weights", dialect="alexeyab")


@pytest.fixture
def model(tmp_path):
    return saved(tmp_path)


@pytest.fixture
def broken(monkeypatch):
    """Graphs for levels in OpenCV's order then read a sixth channel, which no checker notices."""
    from darkconv.backends.onnx import picture

    monkeypatch.setattr(picture, "BGR", {3: (2, 1, 5)})
    return {"input": "uint8-nhwc-bgr"}


@pytest.fixture
def runs(monkeypatch):
    """The shapes of the input in every run of onnxruntime."""
    import onnxruntime

    seen = []
    original = onnxruntime.InferenceSession.run

    def run(self, names, feed, *rest):
        seen.append(feed["input"].shape)
        return original(self, names, feed, *rest)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", run)
    return seen


def write(model, path, **options):
    from darkconv.backends.onnx import write_onnx

    write_onnx(model, path, **options)


def only(folder, *names):
    return sorted(path.name for path in folder.iterdir()) == sorted(
        [*names, "net.cfg", "net.weights"]
    )


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("body", BODIES)
def test_every_form_is_run_once(body, form, runs, tmp_path, caplog):
    caplog.set_level(logging.ERROR, "darkconv")
    model = saved(tmp_path, BODIES[body])
    may = body in ("yolo", "region") or not {"head", "dynamic"} & form.keys()
    try:
        write(model, tmp_path / "net.onnx", **form)
    except DarkconvError:
        assert not may
        assert not runs
        return
    (shape,) = runs
    assert shape[0] == 1
    is_free = "size" in form.get("dynamic", "")
    assert set(shape[1:]) == ({3, 32} if is_free else {3, 64, 96})


@pytest.mark.parametrize("form", [{}, {"external": True}, {"in_place": True}], ids=str)
def test_what_does_not_run_is_not_written(model, broken, form, tmp_path):
    with pytest.raises(DarkconvError, match="net.onnx: onnxruntime cannot run it.*\n  hint: "):
        write(model, tmp_path / "net.onnx", **form, **broken)
    assert only(tmp_path)


def test_the_file_of_before_stays(model, broken, tmp_path):
    path = tmp_path / "net.onnx"
    write(model, path)
    before = path.read_bytes()
    with pytest.raises(DarkconvError):
        write(model, path, **broken)
    assert path.read_bytes() == before
    assert only(tmp_path, "net.onnx")


def test_no_check_leaves_the_run_out(model, broken, runs, tmp_path):
    write(model, tmp_path / "net.onnx", **broken, check=False)
    words = f"convert {tmp_path}/net.cfg {tmp_path}/net.weights -o {tmp_path}/b.onnx"
    order = ["--input", "uint8-nhwc-bgr"]
    assert CliRunner().invoke(main, [*words.split(), *order, "--no-check"]).exit_code == 0
    assert not runs
    result = CliRunner().invoke(main, [*words.split()[:-1], f"{tmp_path}/c.onnx", *order])
    assert result.exit_code == 1
    assert "c.onnx: onnxruntime cannot run it" in result.stderr
    assert only(tmp_path, "net.onnx", "b.onnx")


def test_no_check_is_about_files_that_are_run(model, tmp_path):
    words = f"convert {tmp_path}/net.cfg {tmp_path}/net.weights -o {tmp_path}/b.safetensors"
    result = CliRunner().invoke(main, [*words.split(), "--no-check"])
    assert result.exit_code == 2
    assert "--no-check is about .onnx and .tflite files" in result.stderr


def test_an_onnxruntime_that_takes_no_arrays_beside_a_graph_is_told(
    model, monkeypatch, tmp_path, caplog
):
    monkeypatch.setattr("darkconv.backends.onnx.trial.IN_MEMORY", "not there")
    write(model, tmp_path / "net.onnx", external=True)
    assert "net.onnx: was not run: onnxruntime " in caplog.text
    assert only(tmp_path, "net.onnx", "net.onnx.data")


def test_without_onnxruntime_it_is_said(model, monkeypatch, tmp_path, caplog):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    write(model, tmp_path / "net.onnx")
    assert "net.onnx: was not run, for onnxruntime is not installed" in caplog.text
    assert only(tmp_path, "net.onnx")


def test_8_bit_files_are_run(model, tmp_path, monkeypatch):
    from darkconv.assets import digits10_pictures
    from darkconv.backends.onnx import writing

    tried = []

    def fail(*files):
        tried.append(files)
        raise DarkconvError("it does not run")

    monkeypatch.setattr(writing, "try_out", fail)
    how = {"int8": True, "calibrate": digits10_pictures()[:1], "min_agreement": 0.0}
    with pytest.raises(DarkconvError, match="it does not run"):
        dc.export(model, tmp_path / "small.onnx", **how, compare=False)
    assert len(tried) == 1
    assert only(tmp_path)
    dc.export(model, tmp_path / "small.onnx", **how, compare=False, check=False)
    assert len(tried) == 1
    assert only(tmp_path, "small.onnx")


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_litert_files_are_run(precision, tmp_path, monkeypatch):
    litert = pytest.importorskip("darkconv.backends.keras.litert")
    pytest.importorskip("ai_edge_litert")
    calls = []
    make = litert.make_interpreter
    monkeypatch.setattr(litert, "make_interpreter", lambda x: calls.append(x) or make(x))
    model = random_model(network(YOLO))
    litert.write_litert(model, tmp_path / "net.tflite", precision=precision)
    assert calls == [(tmp_path / "net.tflite").read_bytes()]
    litert.write_litert(model, tmp_path / "net.tflite", precision=precision, check=False)
    assert len(calls) == 1
    monkeypatch.setattr(litert, "finished", lambda *_: b"no graph at all")
    with pytest.raises(DarkconvError, match="b.tflite: LiteRT cannot run it.*\n  hint: --no-check"):
        litert.write_litert(model, tmp_path / "b.tflite")
    assert [path.name for path in tmp_path.iterdir()] == ["net.tflite"]
