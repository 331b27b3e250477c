"""Detector: every form of a picture and of many, batches, devices, threads, files."""

import contextlib
import copy
import io
import json
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.assets import digits10_folder, digits10_pictures, load_digits10
from darkconv.backends import spoke
from darkconv.cli import main
from darkconv.detection.engine import ModuleEngine, make_engine, run_in_pieces
from darkconv.detection.stream import Seconds, read_batches, stream
from darkconv.errors import DarkconvError, DatasetError
from darkconv.pictures.picture import read_picture
from networks import network, random_model

image_module = pytest.importorskip("PIL.Image")
pytest.importorskip("torch")

PICTURES = digits10_pictures()[:7]


@pytest.fixture(scope="module")
def model():
    return load_digits10()


@pytest.fixture(scope="module")
def detector(model):
    return dc.Detector(model)


@pytest.fixture
def folder(tmp_path):
    """Three pictures, and one that is broken."""
    for number, path in enumerate(PICTURES[:3]):
        shutil.copy(path, tmp_path / f"{number}.jpg")
    (tmp_path / "1b.jpg").write_bytes(b"no picture")
    return tmp_path


@pytest.fixture
def whole(folder):
    (folder / "1b.jpg").unlink()
    return folder


def values(found):
    return [one.found if hasattr(one, "found") else one for one in found]


def test_one_picture_in_every_form_gives_the_same(detector, tmp_path):
    path = PICTURES[0]
    levels = read_picture(path)
    expected = detector(path)
    assert len(expected) > 0
    with path.open("rb") as file, image_module.open(path) as image:
        forms = [str(path), path.read_bytes(), file, io.BytesIO(path.read_bytes()), image, levels]
        for form in forms:
            assert detector(form) == expected
    assert detector(levels[:, :, ::-1], order="bgr") == expected
    assert detector([path, levels]) == [expected, expected]
    assert next(detector.stream(levels)).found == expected
    with pytest.raises(DarkconvError, match="order: expected rgb or bgr, found gbr"):
        detector(levels, order="gbr")


def test_many_pictures_in_every_form_come_in_order(detector, whole):
    expected = [detector(path) for path in sorted(whole.glob("*.jpg"))]
    (whole / "list.txt").write_text("".join(f"{whole}/{n}.jpg\n" for n in range(3)))
    sources = [
        whole, str(whole), f"{whole}/*.jpg", whole / "list.txt", dc.open_dataset(whole),
        sorted(whole.glob("*.jpg")), [read_picture(p) for p in sorted(whole.glob("*.jpg"))],
        (str(p) for p in sorted(whole.glob("*.jpg"))), [[whole / "0.jpg"], f"{whole}/[12].jpg"],
    ]  # fmt: skip
    for source in sources:
        frames = list(detector.stream(source))
        assert values(frames) == expected, source
        assert [frame.index for frame in frames] == [0, 1, 2]
    assert detector(dc.open_dataset(whole)) == expected
    assert [one.index for one in detector.stream(whole, every=2)] == [0, 2]
    for nothing in ([], f"{whole}/*.png"):
        with pytest.raises(DatasetError, match="no picture"):
            detector.stream(nothing)


def test_what_was_found_is_told_in_arrays(detector):
    found = detector(PICTURES[0])
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert found.boxes.shape == (len(found), 4)
    assert found.class_ids.tolist() == [one.class_id for one in found]
    assert found.names == [one.name for one in found]
    assert found[0] == next(iter(found))
    assert len(found[:1]) == 1
    assert (np.diff(found.scores) <= 0).all()
    assert json.loads(json.dumps(found.to_dicts()))[0]["name"] == found.names[0]
    assert found.names[0] in repr(found)
    picture = read_picture(PICTURES[0])
    drawn = np.asarray(found.draw(PICTURES[0]))
    assert drawn.shape == picture.shape
    assert (drawn != picture).any()
    assert repr(dc.Detections()) == "<Detections: none>"


def test_boxes_are_cut_at_the_border_where_that_is_wanted(model):
    wild = random_model(network("[convolutional]\nfilters=14\n[yolo]\nclasses=2\nnum=2\n"
                                "anchors=40,60,80,30\n", (3, 8, 8)))  # fmt: skip
    levels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    whole, cut = (dc.Detector(wild, threshold=0.1, clip=clip)(levels) for clip in (False, True))
    assert whole.boxes.min() < 0
    np.testing.assert_allclose(cut.boxes, whole.boxes.clip(0, [30, 20, 30, 20]))


@pytest.mark.parametrize("unreadable", ["raise", "skip"])
@pytest.mark.parametrize("batch", [1, 2, 8])
def test_one_rule_for_pictures_that_cannot_be_read(model, folder, caplog, unreadable, batch):
    detector = dc.Detector(model, batch=batch)
    seen = []
    if unreadable == "raise":
        with pytest.raises(DatasetError, match=r"1b\.jpg"):
            seen.extend(detector.stream(folder))
        assert [frame.index for frame in seen] == [0, 1]
        return
    seen.extend(detector.stream(folder, unreadable="skip"))
    assert [frame.index for frame in seen] == [0, 1, 3]
    assert sum("1b.jpg" in text for text in caplog.messages) == 1
    assert caplog.messages[-1] == "1 of 4 pictures could not be read"


def test_a_source_without_a_picture_that_can_be_read_is_an_error(detector, folder):
    for number in range(3):
        (folder / f"{number}.jpg").write_bytes(b"")
    with pytest.raises(DatasetError, match="none of 4 pictures could be read"):
        list(detector.stream(folder, unreadable="skip"))
    with pytest.raises(DatasetError, match=r"0\.jpg: is empty"):
        list(detector.stream(folder / "0.jpg", unreadable="skip"))
    for options, message in (
        ({"unreadable": "ignore"}, "unreadable: expected raise or skip, found ignore"),
        ({"every": 0}, "every: expected a number from 1, found 0"),
    ):
        with pytest.raises(DarkconvError, match=message):
            detector.stream(folder, **options)


def test_batches_are_read_ahead_and_keep_their_places():
    def prepare(number):
        if number % 4 == 3:
            raise DatasetError(f"{number} is broken")
        return -number

    skipped = []
    batches = read_batches(prepare, range(10), batch=3, unreadable="skip", skipped=skipped)
    assert list(batches) == [
        [(0, 0), (1, -1), (2, -2)], [(4, -4), (5, -5), (6, -6)], [(8, -8), (9, -9)],
    ]  # fmt: skip
    assert len(skipped) == 2


@pytest.mark.parametrize("backend", ["torch", "onnx", "keras"])
def test_batches_give_what_single_pictures_give(model, backend):
    pytest.importorskip({"onnx": "onnxruntime"}.get(backend, backend))
    single = values(dc.Detector(model, backend=backend).stream(PICTURES))
    several = values(dc.Detector(model, backend=backend, batch=3).stream(PICTURES))
    for one, other in zip(single, several, strict=True):
        assert one.names == other.names
        np.testing.assert_allclose(one.boxes, other.boxes, rtol=1e-3, atol=0.05)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)


def exported(model, name, folder):
    kind, _, head = name.partition(" ")
    path = folder / f"net.{kind}"
    dynamic = "none" if "fixed" in head else "batch"
    options = {"dynamic": dynamic} if kind == "onnx" else {}
    head = head.removesuffix(" fixed")
    dc.export(model, path, **({"head": head} if head else {}), **options)
    return path


FILES = (
    "onnx raw", "onnx boxes", "onnx nms", "onnx nms fixed", "tflite boxes", "keras raw",
    "keras boxes", "safetensors",
)  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_files_find_what_their_model_finds(model, detector, tmp_path, name):
    pytest.importorskip("onnxruntime" if "onnx" in name else "keras")
    path = exported(model, name, tmp_path)
    found = values(dc.Detector(path, batch=2).stream(PICTURES[:3]))
    for one, other in zip(found, detector(PICTURES[:3]), strict=True):
        assert one.names == other.names
        np.testing.assert_allclose(one.boxes, other.boxes, rtol=1e-3, atol=0.1)
    assert dc.Detector(path)(PICTURES[0]).names == found[0].names


def test_other_files_cannot_be_run():
    with pytest.raises(DarkconvError, match=r"cannot be run by itself.*\n.*darkconv.load"):
        dc.Detector(digits10_folder() / "digits10.cfg")


@pytest.mark.parametrize("name", ["model torch", "model keras", "onnx raw", "tflite raw"])
def test_several_threads_may_call_at_once(model, tmp_path, name):
    pytest.importorskip({"onnx": "onnxruntime", "model": "torch"}.get(name.split()[0], "keras"))
    if name.startswith("model"):
        detector = dc.Detector(model, backend=name.split()[1])
    else:
        detector = dc.Detector(exported(model, name, tmp_path))
    expected = detector(PICTURES)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(detector, PICTURES * 5))
    assert found == expected * 5


def test_missing_devices_are_errors_that_list_what_there_is(model, tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    path = exported(model, "onnx raw", tmp_path)
    with pytest.raises(DarkconvError, match="device cuda: PyTorch finds no GPU here"):
        dc.Detector(model, device="cuda")
    for device in ("openvino", "coreml", "directml", "tensorrt:1"):
        with pytest.raises(DarkconvError, match=f"device {device}: onnxruntime .*cannot.*cpu"):
            dc.Detector(path, device=device)
    with pytest.raises(DarkconvError, match="device: expected auto, cpu, cuda"):
        dc.Detector(path, device="toaster")
    with pytest.raises(DarkconvError, match="device: expected auto or cpu"):
        dc.Detector(exported(model, "tflite raw", tmp_path), device="cuda")


def test_a_session_that_fell_back_to_the_cpu_is_an_error(model, tmp_path, monkeypatch):
    onnxruntime = pytest.importorskip("onnxruntime")
    path = exported(model, "onnx raw", tmp_path)
    real = onnxruntime.InferenceSession
    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)

    def without_gpu(graph, options, *, providers, enable_fallback):
        assert providers[0] == ("CUDAExecutionProvider", {"device_id": 1}) or providers == both
        return real(graph, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", without_gpu)
    with pytest.raises(DarkconvError, match="device cuda:1: onnxruntime .*cannot compute on it"):
        dc.Detector(path, device="cuda:1")
    assert len(dc.Detector(path, device="auto")(PICTURES[0]))


def test_threads_are_those_that_compute(model, tmp_path):
    onnx = pytest.importorskip("onnxruntime") and spoke("onnx")
    path = exported(model, "onnx raw", tmp_path)
    for threads in (1, 2):
        engine = make_engine(path, threads=threads)
        options = engine.file.run.session.get_session_options()
        assert options.intra_op_num_threads == threads
    opened = onnx.read_onnx(path)
    assert make_engine(opened).file is opened
    assert make_engine(opened, threads=3).file.run.threads == 3
    import torch

    before = torch.get_num_threads()
    try:
        assert dc.Detector(model, threads=before + 1)(PICTURES[0]) is not None
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)
    with pytest.raises(DarkconvError, match="threads: expected 1 to"):
        dc.Detector(model, threads=0)


def test_a_module_in_training_finds_what_its_model_finds(model, detector):
    module = dc.to_torch(model)
    engine = ModuleEngine(model, module)
    seconds = Seconds()
    found = values(stream(engine, PICTURES[:3], batch=2, seconds=seconds))
    for one, other in zip(found, detector(PICTURES[:3]), strict=True):
        assert one.names == other.names
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-3)
    assert seconds.pictures == 3
    assert all(0 < part < 10 for part in seconds.per_picture().values())


def test_pieces_of_a_fixed_size_are_filled_up():
    sizes = []

    def run(x):
        sizes.append(len(x))
        return [2 * x, x.sum(axis=1)]

    x = np.arange(10.0).reshape(5, 2)
    twice, sums = run_in_pieces(run, x, 2)
    np.testing.assert_array_equal(twice, 2 * x)
    np.testing.assert_array_equal(sums, x.sum(axis=1))
    assert sizes == [2, 2, 2]


def test_a_network_with_state_takes_one_picture_at_a_time():
    body = "[crnn]\nsize=1\noutput=4\nhidden=4\noutput_filters=4\nhidden_filters=4\n"
    body += "[convolutional]\nfilters=14\n"
    made = random_model(network(body + "[yolo]\nclasses=2\nnum=2\nanchors=4,6,8,3\n", (3, 8, 8)))
    pictures = list(np.random.default_rng(0).integers(0, 256, (4, 9, 9, 3), np.uint8))
    found = []
    for batch in (1, 3):
        copy = dc.replace_arrays(made, {})
        found.append(values(dc.Detector(copy, threshold=0.1, batch=batch).stream(pictures)))
    assert found[0] == found[1]
    assert all(map(len, found[0]))


def test_wrong_options_are_errors_before_anything_runs(model):
    with pytest.raises(DarkconvError, match="Detector: threshold: expected a number"):
        dc.Detector(model, threshold="high")
    with pytest.raises(DarkconvError, match="batch: expected a number from 1"):
        dc.Detector(model, batch=0)
    with pytest.raises(DarkconvError, match="nms_kind"):
        dc.Detector(model, nms_kind="soft")
    with pytest.raises(DarkconvError, match="resize: expected stretch or letterbox, found crop"):
        dc.Detector(model, resize="crop")
    with pytest.raises(TypeError, match="treshold"):
        dc.Detector(model, treshold=0.5)


def test_exact_levels_are_those_of_stb_image(model):
    path = PICTURES[0]
    fast, exact = make_engine(model), make_engine(model, exact=True)
    np.testing.assert_array_equal(fast.read(path), read_picture(path))
    np.testing.assert_array_equal(exact.read(path), read_picture(path, exact=True))
    assert (fast.read(path) != exact.read(path)).any()


def test_the_command_takes_every_option(whole, monkeypatch):
    monkeypatch.chdir(whole)
    words = [str(digits10_folder() / f"digits10.{kind}") for kind in ("cfg", "weights")]
    words = ["detect", *words, "*.jpg", "--json", "--batch", "2", "--device", "cpu"]
    result = CliRunner().invoke(main, [*words, "--every", "2", "--exact"])
    assert result.exit_code == 0, result.output
    assert [one["image"] for one in json.loads(result.stdout)] == ["0.jpg", "2.jpg"]
    result = CliRunner().invoke(main, [*words, "--device", "toaster"])
    assert result.exit_code == 2


@pytest.mark.parametrize("source", [{}, {"a.jpg": 1}, "", None, 3.5])
def test_what_is_no_source_is_an_error_and_not_nothing(detector, source):
    for call in (detector, detector.stream, partial(dc.detect, load_digits10())):
        with pytest.raises(DarkconvError, match="picture: expected"):
            list(call(source))


def test_a_file_that_was_read_to_its_end_is_told_from_an_empty_one(detector):
    file = io.BytesIO(PICTURES[0].read_bytes())
    detector(file)
    with pytest.raises(DatasetError, match=r"was read to its end before\n  hint: file\.seek"):
        detector(file)
    with pytest.raises(DatasetError, match="is empty"):
        detector(io.BytesIO())


def test_a_camera_is_a_whole_number_of_any_library(detector):
    pytest.importorskip("av")
    with pytest.raises(DatasetError, match="camera 97"):
        detector.stream(np.int64(97))


def test_a_stream_can_be_closed_before_its_end(detector):
    with contextlib.closing(detector.stream(PICTURES[:9])) as frames:
        next(frames)
    assert list(frames) == []


def test_a_detector_is_built_anew_in_another_process(model, detector, tmp_path):
    dc.export(model, tmp_path / "net.onnx", head="boxes")
    for one in (detector, dc.Detector(tmp_path / "net.onnx", threshold=0.6, batch=2)):
        other = pickle.loads(pickle.dumps(one))
        assert other.batch == one.batch
        assert other(PICTURES[0]) == one(PICTURES[0])
        assert copy.deepcopy(one)(PICTURES[0]) == one(PICTURES[0])


def test_the_arrays_of_a_result_cannot_be_written_to(detector):
    found = detector(PICTURES[0])
    for values in (found.boxes, found.scores, found.class_ids):
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 0


@pytest.mark.parametrize("several", [tuple, list, iter, "dataset"])
def test_the_short_form_gives_a_list_of_lists_for_several_pictures(model, whole, several):
    some = dc.open_dataset(whole) if several == "dataset" else several(PICTURES[:2])
    found = dc.detect(model, some, batch=2)
    assert all(type(one) is list for one in found)
    assert isinstance(found[0][0], dc.Detection)
