"""A disk without room: one clear line, the old file as it was, and no temporary one."""

import contextlib
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec

import pytest

import darkconv as dc
from darkconv.assets import digits10_folder
from darkconv.darknet.bundled import bundled_cfg
from faults.processes import digests, limit_files, run

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnx_ir")
pytest.importorskip("PIL")

TOO_LARGE, NO_SPACE = "File too large", "No space left on device"
MODEL = "digits10.cfg digits10.weights"
TRAINING = "--data digits10.data --split valid --steps 4 --batch 4 --workers 0 --device cpu"
PLAN = f"{MODEL} --score l1 --ratio 0.8"


@dataclass(frozen=True)
class Case:
    """A command that writes into the full folder `out`.

    Attributes:
        name: of the case.
        command: its words.
        old: a file that is there already.
        failed: what cannot be written, if it is not that.
        needs: libraries.
        left: files that may be new.
        moved: another name that the old file has then.
    """

    name: str
    command: str
    old: str
    failed: str | None = None
    needs: tuple[str, ...] = ()
    left: tuple[str, ...] = field(default=())
    moved: str | None = None

    def __str__(self) -> str:
        return self.name


CASES = [
    Case("weights", f"convert {MODEL} -o out/o.cfg out/o.weights", "o.weights"),
    Case("names", f"convert {MODEL} -o out/o.cfg o.weights --overwrite", "o.names"),
    Case("cfg", "convert nameless.cfg nameless.weights -o out/o.cfg o.weights", "o.cfg"),
    Case("onnx", f"convert {MODEL} -o out/o.onnx", "o.onnx"),
    Case("onnx data", f"convert {MODEL} -o out/o.onnx --external --overwrite", "o.onnx.data"),
    Case("onnx in place", "convert digits10.cfg out/w.weights -o out/o.onnx --in-place", "o.onnx"),
    Case("onnx fp16", f"convert {MODEL} -o out/o.onnx --fp16", "o.onnx", needs=("onnxruntime",)),
    Case(
        "onnx int8",
        f"convert {MODEL} -o out/o.onnx --int8 --calibrate unlabelled",
        "o.onnx",
        needs=("onnxruntime",),
    ),
    Case("safetensors", f"convert {MODEL} -o out/o.safetensors", "o.safetensors"),
    Case("pt2", f"convert {MODEL} -o out/o.pt2", "o.pt2"),
    Case("keras", f"convert {MODEL} -o out/o.keras", "o.keras", needs=("keras",)),
    Case("tflite", f"convert {MODEL} -o out/o.tflite", "o.tflite", needs=("tensorflow",)),
    Case(
        "SavedModel",
        f"convert {MODEL} -o out/o.savedmodel",
        "other",
        "o.savedmodel",
        needs=("keras", "tensorflow"),
    ),
    Case("profile", f"profile {MODEL} unlabelled -o out/o.npz", "o.npz"),
    Case("profile report", f"profile {MODEL} unlabelled -o o.npz --report out/o.html", "o.html"),
    Case("plan", f"prune {PLAN} --save-plan out/o.json", "o.json"),
    Case("pruned", f"prune {PLAN} -o out/o.cfg out/o.weights", "o.weights"),
    Case("reclassed", f"reclass {MODEL} --keep one -o out/o.cfg out/o.weights", "o.weights"),
    Case("folded", f"weights fold {MODEL} -o out/o.cfg out/o.weights", "o.weights"),
    Case(
        "dissection",
        f"dissect {MODEL} --keep one --images unlabelled -o o.cfg o.weights --report out/o.html",
        "o.html",
    ),
    Case("comparison", f"verify {MODEL} --report out/o.html", "o.html", needs=("onnxruntime",)),
    Case(
        "evaluation",
        f"eval {MODEL} --data digits10.data --report out/o.html",
        "o.html",
        needs=("faster_coco_eval",),
    ),
    Case(
        "detections",
        f"eval {MODEL} --data digits10.data -o out --no-plots --overwrite",
        "000.txt",
        needs=("faster_coco_eval",),
    ),
    Case(
        "anchors", "anchors --data digits10.data --plot out/o.png", "o.png", needs=("matplotlib",)
    ),
    Case("PNG", f"detect {MODEL} images/000.jpg -o out/o.png --overwrite", "o.png"),
    Case("pictures", f"detect {MODEL} images -o out --overwrite", "000.jpg"),
    Case(
        "training",
        f"finetune {MODEL} {TRAINING} --run out -o o.cfg o.weights --overwrite",
        "history.csv",
        "",
        needs=("lightning", "tensorboard"),
        left=("tensorboard", "checkpoints", "pictures", "history.previous.csv"),
        moved="history.previous.csv",
    ),
    Case(
        "trained",
        f"finetune {MODEL} {TRAINING} --run run -o out/o.cfg out/o.weights",
        "o.weights",
        needs=("lightning", "tensorboard"),
    ),
]


@pytest.fixture(
    params=[
        pytest.param(case, marks=[pytest.mark.slow] if "tensorflow" in case.needs else [])
        for case in CASES
    ],
    ids=str,
)
def case(request):
    for library in request.param.needs:
        if not find_spec(library):
            pytest.skip(f"needs {library}")
    return request.param


@pytest.fixture
def folder(case, tmp_path):
    """The bundled model and its pictures, and `out` with an old file."""
    shutil.copytree(digits10_folder(), tmp_path, dirs_exist_ok=True)
    shutil.copy(tmp_path / "digits10.cfg", tmp_path / "nameless.cfg")
    shutil.copy(tmp_path / "digits10.weights", tmp_path / "nameless.weights")
    (tmp_path / "out").mkdir()
    return tmp_path


def put_old(case, folder):
    """Write the old file, and weights that lie beside it; gives digests of what is there."""
    (folder / "out" / case.old).write_bytes(b"old")
    shutil.copy(folder / "digits10.weights", folder / "out/w.weights")
    return digests(folder / "out")


def check(case, outcome, folder, before, reason):
    status, text = outcome
    failed = "/".join(filter(None, ("out", case.old if case.failed is None else case.failed)))
    assert text.splitlines()[-1] == f"error: {failed}: cannot write: {reason}"
    assert "Traceback" not in text
    assert status == 1
    after = digests(folder / "out")
    if case.moved:
        before = {case.moved if name == case.old else name: one for name, one in before.items()}
    assert {name: after.get(name) for name in before} == before
    assert {name.split("/")[0] for name in after.keys() - before.keys()} <= set(case.left)


WRITING_MORE = (
    "onnx fp16", "onnx int8", "tflite", "names", "cfg", "profile report", "dissection", "trained",
)  # fmt: skip
"""Cases in which a limit on every file would be met elsewhere."""
SMALL = {"detections": 10}
"""Bytes of the limit, where 100 are too many."""


LIMITED = [
    pytest.param(case, marks=[pytest.mark.slow] if "keras" in case.needs else [], id=case.name)
    for case in CASES
    if case.name not in WRITING_MORE
]
"""Cases that one limit on every file is right for; TensorFlow is imported with --slow alone."""


@pytest.mark.parametrize("case", LIMITED, indirect=True)
def test_a_size_that_no_file_may_have(case, folder):
    before = put_old(case, folder)
    limit = partial(limit_files, SMALL.get(case.name, 100))
    check(case, run(case.command, folder, limit), folder, before, TOO_LARGE)


@pytest.fixture
def full_disk(case, folder):
    """`out` is a file system of its own, and full."""
    size = "size=2m"
    mount = ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder / "out")]
    try:
        subprocess.run(mount, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"cannot mount a tmpfs: {getattr(error, 'stderr', error)}")
    yield folder / "out"
    subprocess.run(["umount", str(folder / "out")], check=True)


def test_a_full_disk(case, folder, full_disk):
    before = put_old(case, folder)
    filler = full_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass
    before["filler"] = digests(full_disk)["filler"]
    check(case, run(case.command, folder), folder, before, NO_SPACE)


@pytest.mark.parametrize(
    "command", [f"info {MODEL}", f"info {MODEL} --json", f"weights stats {MODEL}"]
)
def test_standard_output_without_room(command, tmp_path):
    shutil.copytree(digits10_folder(), tmp_path, dirs_exist_ok=True)
    status, text = run(command, tmp_path, print_to_full)
    assert text == f"error: standard output: cannot write: {NO_SPACE}\n"
    assert status == 1


def print_to_full(events):
    """Preparation: there is no room for what is printed."""
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def test_a_download_without_room_can_go_on(tmp_path):
    pytest.importorskip("requests")
    pytest.importorskip("requests")
    cfg = bundled_cfg("yolov3-tiny")
    dc.save(dc.load(cfg), tmp_path / "net.cfg", tmp_path / "net.weights")
    command = f"fetch yolov3-tiny -o out --url {(tmp_path / 'net.weights').as_uri()}"
    status, text = run(command, tmp_path, partial(limit_files, 100_000))
    part = "out/yolov3-tiny.weights.part"
    assert f"error: {part}: cannot write: {TOO_LARGE}\n" in text
    assert status == 1
    assert list(digests(tmp_path / "out")) == ["yolov3-tiny.weights.part"]
    assert (tmp_path / part).stat().st_size == 100_000
    status, text = run(command, tmp_path)
    assert status == 0, text
    found = digests(tmp_path / "out")
    assert found["yolov3-tiny.weights"] == digests(tmp_path)["net.weights"]
    assert not [name for name in found if name.startswith(".") or name.endswith(".part")]


@pytest.mark.parametrize(
    ("suffix", "library"),
    [
        ("onnx --fp16", "onnxruntime"),
        pytest.param("tflite", "tensorflow", marks=pytest.mark.slow),
    ],
)
def test_temporary_files_without_room_are_told_with_their_folder(suffix, library, tmp_path):
    pytest.importorskip(library)
    command = f"convert {MODEL} -o o.{suffix}"
    shutil.copytree(digits10_folder(), tmp_path, dirs_exist_ok=True)
    status, text = run(command, tmp_path, partial(limit_files, 100))
    *_, error, hint = text.splitlines()
    assert error.startswith("error: /")
    assert "darkconv-" in error
    assert error.endswith(f": cannot write: {TOO_LARGE}")
    assert hint == "  hint: TMPDIR=FOLDER has temporary files elsewhere"
    assert status == 1
