"""Without a library, each command works or says in a line which extra brings it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import darkconv as dc
from darkconv.cli import COMMANDS
from darkconv.libraries import EXTRAS, require
from darkconv.options.models import write_model
from darkconv.options.params import OutputFiles
from networks import cfg_text, network, random_model

BODY = (
    "[convolutional]\nfilters=8\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky\n\n"
    "[convolutional]\nfilters=16\nsize=1\nactivation=linear\n\n"
    "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\n"
)
SHAPE = (3, 16, 16)

WORKING = [
    "info yolov3-tiny",
    "info net.cfg net.weights --json",
    "convert net.cfg net.weights -o out/a.cfg out/a.weights",
    "reclass net.cfg net.weights --keep cat -o out/b.cfg out/b.weights",
    "prune net.cfg net.weights --score l1 --ratio 0.5 -o out/c.cfg out/c.weights",
    "prune net.cfg net.weights --explain 1",
    "graft net.cfg net.weights net.cfg -o out/d.cfg out/d.weights",
    "weights fold net.cfg net.weights -o out/e.cfg out/e.weights",
    "weights average net.cfg net.weights net.weights -o out/f.cfg out/f.weights",
    "weights swap-rgb net.cfg net.weights -o out/g.cfg out/g.weights",
    "weights stats net.cfg net.weights",
    "weights diff net.cfg net.weights net.cfg net.weights",
    "weights partial net.cfg net.weights --layers 1 -o out/h.weights",
    "weights backbone net.cfg net.weights -o out/i.weights",
    "fetch",
    "completion bash",
    "serve --help",  # it waits until it is stopped
]
"""What needs numpy alone."""
OTHERS = [
    "convert net.cfg net.weights -o out/a.onnx",
    "convert net.cfg net.weights -o out/b.onnx --fp16",
    "convert net.cfg net.weights -o out/c.onnx --int8 --calibrate pics",
    "convert net.cfg net.weights -o out/a.safetensors",
    "convert net.cfg net.weights -o out/a.keras",
    "convert net.cfg net.weights -o out/a.tflite",
    "convert net.cfg net.weights -o out/a.pt2",
    "convert net.cfg net.weights -o out/a.savedmodel",
    "convert made.safetensors -o out/j.cfg out/j.weights",
    "convert made.keras -o out/k.cfg out/k.weights",
    "verify net.cfg net.weights",
    "verify net.cfg net.weights --backend keras",
    "verify net.cfg net.weights --image pics/0.png",
    "verify net.cfg net.weights --report out/v.html",
    "verify net.cfg net.weights made.onnx",
    "verify net.cfg net.weights made.tflite",
    "verify net.cfg net.weights made.keras",
    "detect net.cfg net.weights pics",
    "detect net.cfg net.weights pics --backend onnx",
    "detect net.cfg net.weights pics --backend keras",
    "detect net.cfg net.weights pics -o out/drawn",
    "detect made.onnx pics",
    "detect made.tflite pics",
    "detect made.keras pics",
    "detect made.safetensors pics",
    "eval net.cfg net.weights --data net.data",
    "eval net.cfg net.weights --data net.data -o out/plots",
    "eval net.cfg net.weights --data net.data -o out/texts --no-plots",
    "eval net.cfg net.weights --data net.data --report out/e.html",
    "eval made.onnx --data net.data",
    "profile net.cfg net.weights pics -o out/p.npz",
    "profile net.cfg net.weights pics -o out/q.npz --report out/p.html --taylor",
    "prune net.cfg net.weights --images pics --ratio 0.5 -o out/l.cfg out/l.weights",
    "prune net.cfg net.weights --score l1 --ratio 0.5 --reconstruct pics -o out/m.cfg"
    " out/m.weights",
    "dissect net.cfg net.weights --keep cat --images net.data -o out/n.cfg out/n.weights",
    "dissect net.cfg net.weights --images pics --all-pictures --no-reconstruct --no-report"
    " -o out/o.cfg out/o.weights",
    "dissect net.cfg net.weights --images net.data --recover --steps 1 --no-report"
    " -o out/t.cfg out/t.weights",
    "finetune net.cfg net.weights --data net.data --steps 1 --workers 0 -o out/q.cfg out/q.weights",
    "finetune net.cfg net.weights --data pics --teacher net.cfg net.weights --steps 1 --workers 0"
    " -o out/r.cfg out/r.weights",
    "data check net.data",
    "data check net.data -o out/sheet.png",
    "anchors --data net.data -n 1",
    "anchors --data net.data -n 1 --plot out/a.png",
]
LONG = [
    "demo -o out/demo",
    "info net.cfg --view",
    "fetch yolov3-tiny --url http://127.0.0.1:9/none -o out",
]
"""Lines that take long, never end, or end otherwise where nothing is missing."""

MADE = {".onnx": "onnx", ".safetensors": "torch", ".keras": "keras", ".tflite": "tensorflow"}

RUN = """
import json, os, sys, traceback, warnings
from importlib.machinery import PathFinder

hidden, lines = set(sys.argv[1].split(",")), json.load(sys.stdin)

class Hiding:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] not in hidden:
            return PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Hiding
warnings.simplefilter("ignore")
from click.testing import CliRunner
from darkconv import cli
from darkconv.console import program
program.FAULTS = ()

def run(line):
    result = CliRunner().invoke(cli.main, line.split())
    fault = result.exception
    trace = None if isinstance(fault, SystemExit) else fault and traceback.format_exception(fault)
    return result.exit_code, result.stderr, trace and "".join(trace)

found = {line: run(line) for line in lines}
print("\\0" + json.dumps(found))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model, pictures with labels, and a file of each format that is there."""
    image_module = pytest.importorskip("PIL.Image")
    folder = tmp_path_factory.mktemp("bare")
    model = random_model(network(BODY, SHAPE), names=("cat", "dog", "fox"))
    dc.save(model, folder / "net.cfg", folder / "net.weights", names=folder / "net.names")
    (folder / "net.cfg").write_text(cfg_text(BODY, SHAPE))
    for name in ("pics", "out"):
        (folder / name).mkdir()
    for number in range(2):
        image_module.new("RGB", (30, 20), (9 * number, 80, 99)).save(folder / f"pics/{number}.png")
        (folder / f"pics/{number}.txt").write_text("0 0.5 0.5 0.2 0.4\n")
    (folder / "list.txt").write_text("pics/0.png\npics/1.png\n")
    text = "classes=3\ntrain=list.txt\nvalid=list.txt\nnames=net.names\n"
    (folder / "net.data").write_text(text)
    for suffix, library in MADE.items():
        pytest.importorskip(library)
        write_model(model, OutputFiles(folder / f"made{suffix}"))
    return folder


def outcomes(hidden, lines, folder):
    """Status, stderr and traceback of each line, in a process without some libraries."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, ",".join(hidden)],
        input=json.dumps(lines),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.rpartition("\0")[2])


def missing(stderr):
    """Whether a text is the line about a library that is not installed."""
    text = stderr[stderr.find("error: ") :]
    return "which is not installed\n  hint: pip install 'darkconv[" in text


def test_every_command_is_walked_over():
    assert {line.split()[0] for line in (*WORKING, *OTHERS, *LONG)} == set(COMMANDS)


def test_a_bare_wheel_works_or_names_the_extra(folder):
    found = outcomes(EXTRAS, [*WORKING, *OTHERS, *LONG], folder)
    for line, (status, stderr, trace) in found.items():
        assert trace is None, f"{line}\n{trace}"
        assert (status == 0) == (line in WORKING), f"{line}\n{stderr}"
        assert line in WORKING or missing(stderr), f"{line}\n{stderr}"


ALONE = [
    name if name in ("torch", "PIL") else pytest.param(name, marks=pytest.mark.full)
    for name in EXTRAS
]


@pytest.mark.slow
@pytest.mark.parametrize("name", ALONE)
def test_any_library_alone_may_be_missing(name, folder):
    for line, (status, stderr, trace) in outcomes([name], OTHERS, folder).items():
        assert trace is None, f"{line}\n{trace}"
        assert status == 0 or missing(stderr), f"{line}\n{stderr}"


def test_a_function_that_needs_a_library_says_so_when_it_is_taken():
    code = (
        "import sys, darkconv as dc\n"
        f"sys.modules.update(dict.fromkeys({sorted(EXTRAS)!r}))\n"
        "for name in dc.__all__:\n"
        "    try: getattr(dc, name)\n"
        "    except dc.DarkconvError as error: print(name, repr(error.hint))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    hint = "pip install 'darkconv[torch]'"
    needing = ("Recipe", "finetune", "measure_losses", "profile", "reconstruct")
    assert done.stdout.splitlines() == [f"{name} {hint!r}" for name in needing]


def test_a_library_is_found_without_being_imported(monkeypatch):
    require("numpy", task="this")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(dc.DarkconvError, match="profile needs torch, which is not installed"):
        require("torch", task="profile")


def test_the_extras_are_those_of_the_package():
    text = (Path(__file__).parents[1] / "setup.cfg").read_text()
    extras = text.partition("[options.extras_require]")[2]
    assert all(f"\n{extra} =\n" in extras for extra in EXTRAS.values())
