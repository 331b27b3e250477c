"""Names of classes and files reach terminals and pages without what these would obey."""

import ast
import dataclasses
import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import COMMANDS, main
from darkconv.errors import DarkconvError, Where
from networks import network, random_model

PIL = pytest.importorskip("PIL.Image")
pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

BODY = (
    "[convolutional]\nfilters=8\nsize=3\npad=1\nactivation=leaky\n"
    "[convolutional]\nfilters=21\nactivation=linear\n"
    "[yolo]\nclasses=2\nnum=3\nmask=0,1,2\nanchors=2,3,4,4,6,5\n"
)
COLOUR, TITLE, TURN = "\x1b[31m", "\x1b]0;x\x07", "\u202e"
NAMES = (f"a{COLOUR}b{TURN}c", f"\udcff{TITLE}\x9b1m\u200b\u0436")
STEM = f"n{COLOUR}{TURN}\n\udcff"
ALLOWED = {"\n"}

OUT = ("-o", "{f}/o.cfg", "{f}/o.weights")
M, P, D = ("{n}.cfg", "{n}.weights"), "{p}.png", "{f}"
CALLS = {
    "info": [M, (*M, "--json"), (*M, "--names", "{n}.names"), ("{n}.none",)],
    "convert": [(*M, "-o", "{f}/o.safetensors"), (*M, "-o", "{n}.onnx"), (*M, "-o", "{n}.xyz")],
    "verify": [M, (*M, "{n}.onnx"), (*M, "--report", "{f}/v.html"), (*M, "{n}.keras")],
    "detect": [
        (*M, P, "--threshold", "0.05", "-o", "{f}/drawn"),
        (*M, P, "--threshold", "0.05", "--json"),
        (*M, "{p}.none"),
        (*M, P, "{n}.names"),
    ],
    "eval": [
        (*M, "--data", D, "--no-exact", "--report", "{f}/e.html", "-o", "{f}/found"),
        (*M, "--data", D, "--no-exact", "--json"),
        (*M, "--data", "{n}.none"),
    ],
    "reclass": [
        (*M, "--keep", "0", *OUT),
        (*M, "--keep", COLOUR, *OUT),
        (*M, "--keep", "0", "--add", f"x{COLOUR}", *OUT),
    ],
    "dissect": [
        (*M, "--keep", "0", "--images", D, "--all-pictures", "--report", "{f}/d.html", *OUT),
    ],
    "profile": [(*M, P, "-o", "{f}/p.npz", "--report", "{f}/p.html")],
    "prune": [(*M, "--score", "l1", "--keep", "0.9", *OUT)],
    "finetune": [(*M, "--data", "{f}/other", *OUT)],
    "graft": [(*M, *M, *OUT)],
    "data": [("check", D), ("check", D, "--json"), ("check", "{n}.none")],
    "anchors": [("--data", D, "-n", "1"), ("--data", "{n}.none")],
    "weights": [("fold", *M, *OUT), ("stats", *M), ("stats", COLOUR)],
    "fetch": [(COLOUR,), (TITLE, "-o", "{n}")],
    "serve": [("{n}.none",)],
    "completion": [(COLOUR,)],
    "demo": [(COLOUR,)],
}
"""For each command what makes it print names, or the words that it is given."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("x") / f"d{TITLE}"
    place.mkdir()
    model = dataclasses.replace(random_model(network(BODY, (3, 16, 16))), names=NAMES)
    files = [os.fsdecode(place / f"{STEM}.{end}") for end in ("cfg", "weights", "names")]
    dc.save(model, files[0], files[1], names=files[2])
    levels = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    PIL.fromarray(levels).save(place / f"p{STEM}.png")
    (place / f"p{STEM}.txt").write_text("0 0.5 0.5 0.5 0.5\n1 0.3 0.3 0.2 0.2\nx\n9 1 1 1 1\n")
    (place / "other").mkdir()
    PIL.fromarray(levels).save(place / "other" / "p.png")
    (place / "other" / "p.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (place / "other" / "x.names").write_text(f"z{COLOUR}\n")
    return place


def filled(word, folder):
    places = {"n": str(folder / STEM), "p": str(folder / f"p{STEM}"), "f": str(folder)}
    return word.format(**places) if "{" in word else word


def harmful(text):
    """Characters that a terminal obeys, or that turn or hide what follows."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs")} - ALLOWED


CASES = [(command, call) for command, calls in CALLS.items() for call in calls]


def test_every_command_is_called():
    assert set(CALLS) == set(COMMANDS)


@pytest.mark.parametrize(("command", "call"), CASES, ids=lambda one: ascii(one)[:50])
def test_what_commands_print_has_nothing_that_a_terminal_obeys(command, call, folder):
    arguments = [filled(word, folder) for word in call]
    result = CliRunner().invoke(main, [command, *arguments], color=False)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert not harmful(result.output)
    if "--json" in call:
        json.loads(result.stdout)
    for page in folder.glob("*.html"):
        assert not harmful(page.read_text("utf-8")), page.name


@pytest.mark.parametrize("call", CALLS["info"][:1] + CALLS["detect"][:1] + CALLS["reclass"][:1])
def test_names_that_stdout_cannot_encode_are_written_out(call, folder):
    command = next(name for name, calls in CALLS.items() if call in calls)
    arguments = [filled(word, folder) for word in call]
    result = CliRunner(charset="latin-1").invoke(main, [command, *arguments])
    assert result.exit_code == 0, result.exception
    assert command == "reclass" or "\\u0436" in result.stdout


def test_a_process_writes_out_what_its_encoding_lacks(folder):
    words = ["detect", *(filled(word, folder) for word in (*M, P)), "--threshold", "0.05"]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    result = subprocess.run(
        [sys.executable, "-m", "darkconv", *words], env=environment, capture_output=True, check=True
    )
    assert b"\\u0436" in result.stdout
    assert not harmful(result.stdout.decode("latin-1"))


def test_a_line_break_in_a_file_name_begins_no_line():
    error = DarkconvError(
        "m\nn", where=Where(file="a\nb"), found="c\nd", hint="e", details=["f\ng"]
    )
    assert str(error) == "a\\nb: m\\nn: found c\\nd\n  f\\ng\n  hint: e"


def test_commands_print_in_one_place():
    package = Path(dc.__file__).parent
    for path in sorted([*package.glob("cli/*.py"), *package.glob("console/*.py")]):
        if path.name == "printing.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            name = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert name not in ("click.echo", "click.secho", "click.style", "print"), path.name


def test_pages_write_names_in_one_way():
    package = Path(dc.__file__).parent
    for path in sorted(package.rglob("*.py")):
        if path.name != "markup.py":
            assert "from html import" not in path.read_text(), path
