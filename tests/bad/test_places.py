"""Files with odd names, and a working folder that is gone: each command works or gives its line."""

import os
import shutil

import pytest

from bad.catalogue import run
from darkconv.cli import COMMANDS

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

BYTES = os.fsdecode(b"o\xff")
"""A name that is no UTF-8."""
LONGEST = 255  # bytes of a name
WRITERS = (".onnx", ".safetensors", ".pt2")
KERAS_WRITERS = (".keras", ".tflite", ".savedmodel")
READERS = (".onnx", ".safetensors")
KERAS_READERS = (".keras", ".tflite")

LINES = [
    "info {m} --names {0.names} --json",
    "convert {m} -o {1.cfg} {1.weights} --names {0.names}",
    "convert {m} -o {1.onnx} --head nms",
    "convert {m} -o {1.onnx} --fp16",
    "convert {m} -o {1.onnx} --int8 --calibrate pics",
    "detect {m} {0.png} --names {0.names} --json -o drawn",
    "detect {m} {0.png} --json -o {1.png}",
    "detect {m} {0.png} --names {0.names}",
    "verify {m} --report {1.html}",
    "verify {m} --image {0.png} --json",
    "eval {m} --names {0.names} --data {0.list} --data-names {0.names} --report {1.html}",
    "reclass {m} --names {0.names} --keep cat -o {1.cfg} {1.weights}",
    "profile {m} {0.png} -o {1.npz} --report {1.html}",
    "prune {m} --score l1 --ratio 0.5 --save-plan {1.json} -o {1.cfg} {1.weights}",
    "dissect {m} --names {0.names} --images {0.png} --report {1.html} --all-pictures -o {1.cfg}"
    " {1.weights}",
    "finetune {m} --names {0.names} --data {0.list} --data-names {0.names} --steps 1 --workers 0"
    " -o {1.cfg} {1.weights}",
    "graft {m} {m} -o {1.cfg} {1.weights}",
    "data check {0.list} --data-names {0.names} -o {1.png}",
    "anchors --data {0.list} -n 1",
    "weights fold {m} -o {1.cfg} {1.weights}",
    "weights swap-rgb {m} -o {1.cfg} {1.weights}",
    "weights average {m} {0.weights} -o {1.cfg} {1.weights}",
    "weights stats {m}",
    "weights diff {m} {m}",
    "weights partial {m} --layers 1 -o {1.weights}",
]
"""`{0.cfg}` is a file that is there, `{1.cfg}` one that is to be written, `{m}` the model."""
ELSEWHERE = {"fetch", "completion", "demo", "serve"}
"""Commands without files of the user's, and one that waits until it is stopped."""


def named(number, suffix):
    """A name that is no UTF-8, as long as can be; the names file's is longer than the cfg's."""
    longest = LONGEST - 2 if suffix == "cfg" else LONGEST
    start = os.fsencode(f"{number}{BYTES}")
    return os.fsdecode(start.ljust(longest - len(suffix) - 1, b"y")) + f".{suffix}"


class Names:
    """Gives `{0.cfg}` of a line its name."""

    def __init__(self, number):
        self.number = number

    def __getattr__(self, suffix):
        return named(self.number, suffix)


def words_of(line):
    model = [named(0, "cfg"), named(0, "weights")]
    words = []
    for word in line.split():
        words += model if word == "{m}" else [word.format(Names(0), Names(1))]
    return words


@pytest.fixture
def odd(folder):
    """The case's folder, with files of odd names."""
    try:
        for file in ("net.cfg", "net.weights", "net.names"):
            shutil.copy(folder / file, folder / named(0, file[4:]))
    except OSError:
        pytest.skip("this file system has no such names")
    shutil.copy(folder / "pics/0.png", folder / named(0, "png"))
    shutil.copy(folder / "pics/0.txt", (folder / named(0, "png")).with_suffix(".txt"))
    (folder / named(0, "list")).write_bytes(os.fsencode(named(0, "png")) + b"\n")
    return folder


def test_every_command_is_walked_over():
    assert {line.split()[0] for line in LINES} | ELSEWHERE == set(COMMANDS)


@pytest.mark.parametrize("line", LINES)
def test_files_of_any_name_are_read_and_written(line, odd):
    outcome = run(words_of(line), odd)
    assert outcome.status == 0, outcome.stderr
    written = {word for word in words_of(line) if word.startswith(f"1{BYTES}")}
    assert written <= set(os.listdir(odd))
    assert not [name for name in os.listdir(odd) if name.endswith(".tmp")]


@pytest.mark.parametrize("suffix", [*WRITERS, *KERAS_WRITERS])
def test_every_format_is_written_and_read_under_any_name(suffix, odd):
    if suffix in KERAS_WRITERS:
        pytest.importorskip("tensorflow")
    outcome = run(words_of(f"convert {{m}} -o {{1{suffix}}}"), odd)
    assert outcome.status == 0, outcome.stderr
    assert os.path.exists(odd / named(1, suffix[1:]))
    if suffix in (*READERS, *KERAS_READERS):
        outcome = run(words_of(f"detect {{1{suffix}}} {{0.png}} --json"), odd)
        assert outcome.status == 0, outcome.stderr


def test_arrays_beside_a_graph_are_found_in_a_folder_of_any_name(folder):
    place = folder / BYTES
    place.mkdir()
    line = f"convert net.cfg net.weights -o {BYTES}/x.onnx --external"
    assert run(line.split(), folder).status == 0
    outcome = run(f"detect {BYTES}/x.onnx pics/0.png --json".split(), folder)
    assert outcome.status == 0, outcome.stderr


@pytest.mark.parametrize("option", ["--external", "--in-place"])
def test_a_graph_cannot_name_a_file_whose_name_is_no_utf8(option, odd):
    outcome = run([*words_of("convert {m} -o"), f"{BYTES}.onnx", option], odd)
    assert outcome.status == 1
    assert "its name is no UTF-8, so that an ONNX file cannot say" in outcome.stderr


TOO_LONG = "q" * 300
REFUSED = [
    "info {}",
    "info net.cfg {}.weights",
    "info net.cfg --names {}",
    "convert net.cfg net.weights -o {}.cfg {}.weights",
    "convert net.cfg net.weights -o {}.onnx",
    "convert net.cfg net.weights -o {}.safetensors",
    "convert net.cfg net.weights -o {}.savedmodel",
    "convert net.cfg net.weights -o a.onnx --int8 --calibrate {}",
    "detect {}.onnx pics",
    "detect {}.tflite pics",
    "detect net.cfg net.weights {}.png",
    "detect net.cfg net.weights pics -o {}",
    "verify net.cfg net.weights {}.onnx",
    "verify net.cfg net.weights --image {}",
    "eval net.cfg net.weights --data {}",
    "reclass net.cfg net.weights --keep {} -o a.cfg a.weights",
    "profile net.cfg net.weights {} -o a.npz",
    "profile net.cfg net.weights pics -o {}.npz",
    "prune net.cfg net.weights --profile {} --ratio 0.5 -o a.cfg a.weights",
    "prune net.cfg net.weights --plan {} -o a.cfg a.weights",
    "prune net.cfg net.weights --score l1 --ratio 0.5 --save-plan {}",
    "dissect net.cfg net.weights --images {} -o a.cfg a.weights",
    "finetune net.cfg net.weights --data {} -o a.cfg a.weights",
    "graft net.cfg net.weights {} -o a.cfg a.weights",
    "data check {}",
    "data check pics -o {}.png",
    "anchors --data {}",
    "weights partial net.cfg net.weights --layers 1 -o {}",
    "fetch {}",
    "demo -o {}",
]


@pytest.mark.parametrize("line", REFUSED)
def test_a_name_that_no_system_takes_is_refused_in_a_line(line, folder):
    before = sorted(folder.rglob("*"))
    outcome = run(line.replace("{}", TOO_LONG).split(), folder)
    assert outcome.status == 1
    assert "error: " in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert sorted(folder.rglob("*")) == before


def test_a_working_folder_that_is_gone_is_told(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    error = "the working folder is gone\n  hint: cd to another folder, and run it again"
    outcome = run(["info", "yolov3-tiny"], gone, removed=True)
    assert (outcome.status, outcome.stderr) == (1, f"error: {error}\n")
    gone.mkdir()
    assert run(["info", "--help"], gone, removed=True).status == 0
