"""What the pages say is so: commands run, their output is as shown, names exist, links resolve.

A page's `sh` blocks are run from top to bottom in a folder with the bundled model in it. A `text`
block shows what the block before it prints; its numbers may differ, nothing else. A `console` block
has a command and the message that it prints about a file with a fault. Commands that
train, quantise or start TensorFlow run with --full alone; without it their options are parsed, and
the model that they read stands in for the one that they would write.
"""

import ast
import configparser
import hashlib
import importlib
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from click.testing import CliRunner

from darkconv.cli import main

for library in ("torch", "onnx", "onnxruntime"):
    pytest.importorskip(library)

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "darkconv" / "assets" / "digits10"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]

OWN_TESTS = {
    "docs/opencv5.md": "its programs need OpenCV 4 and 5: tests/test_opencv_recipe.py",
    "docs/keras.md": "its programs need TensorFlow: tests/test_keras_recipe.py",
    "docs/json.md": "what its commands print is compared: tests/test_json.py",
}
SLOW = re.compile(
    r"finetune|--recover|--max-loss|\.keras|\.tflite|\.savedmodel|--backend keras|--int8|int8\.onnx"
)
"""Commands that train, start TensorFlow, or quantise, and what reads the result."""
NOT_RUN = {
    "darkconv fetch": "needs the network",
    "darkconv serve": "answers until it is stopped: tests/test_kits_browser.py",
    "--for openvino": "needs OpenVINO: tests/test_kits.py",
    "--for ncnn": "needs ncnn and pnnx: tests/test_kits.py",
    "--for coreml": "needs coremltools: tests/test_kits.py",
    "--for browser": "needs what is fetched: tests/test_kits_browser.py",
    "darkconv completion": "writes into the shell's own files",
    "darkconv demo": "tests/test_cli.py runs it",
    "clip.mp4": "no video is bundled: tests/test_video.py",
    "--runtime openvino": "it is not installed: tests/test_runtimes.py",
    "rtsp://": "there is no such camera",
    "--show": "needs a screen",
    "bccd": "its model and data set are not bundled",
}
"""Commands whose options alone are parsed, even with --full."""
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
NUMBER = re.compile(r"\d[\d,]*(\.\d+)?(e[-+]\d+)?")


class Block(NamedTuple):
    """A fenced block of a page."""

    kind: str
    text: str

    @property
    def commands(self):
        """Lines, those that end in a backslash joined with the next."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]

    @property
    def program(self):
        """The file name on the first line of a program, or None."""
        match = re.match(r"# (\w+\.py)\b", self.text)
        return match and match[1]


def blocks(page):
    return [Block(*match) for match in FENCE.findall((ROOT / page).read_text())]


def kinds(kind, pages=NAMES):
    return [(page, block) for page in pages for block in blocks(page) if block.kind == kind]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A copy of the bundled model and its pictures, as the working folder."""
    shutil.copytree(DIGITS, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", [name for name in NAMES if name not in OWN_TESTS])
def test_the_commands_of_a_page_run_and_print_what_it_shows(page, folder, pytestconfig):
    is_full, printed = pytestconfig.getoption("--full"), None
    for block in blocks(page):
        if block.kind == "sh":
            printed = [run(line, folder, is_full) for line in block.commands]
        elif block.kind == "text" and printed:
            if None not in printed:
                assert_shown(block.text, "".join(printed))
            printed = None
        elif block.program and (is_full or not needs_slow_file(block, folder)):
            (folder / block.program).write_text(block.text)
            runpy.run_path(block.program, run_name="__main__")


def changed(cfg, old, new):
    assert old in cfg
    return cfg.replace(old, new)


@pytest.fixture
def broken(folder):
    """The folder, with the files of docs/troubleshooting.md that something is wrong with."""
    cfg, weights = (folder / "digits10.cfg").read_text(), (folder / "digits10.weights").read_bytes()
    page = b"<!DOCTYPE html><html>"
    files = {
        "c3.cfg": changed(changed(cfg, "classes=10", "classes=3"), "filters=45", "filters=24"),
        "f255.cfg": changed(cfg, "filters=45", "filters=255"),
        "depthwise.cfg": changed(cfg, "[convolutional]", "[depthwise_convolutional]"),
        "short.weights": weights[:300_000],
        "page.cfg": page,
        "page.weights": page,
        "lfs.weights": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "two.names": "one\ntwo\n",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return folder


@pytest.mark.parametrize(("page", "block"), kinds("console"), ids=lambda x: str(x)[-40:])
@pytest.mark.usefixtures("broken")
def test_messages_of_a_page_are_what_commands_print(page, block):
    """A `console` block is a command behind `$ darkconv`, and the error or warning it prints."""
    line, _, shown = block.text.partition("\n")
    result = CliRunner().invoke(main, shlex.split(line.removeprefix("$ darkconv ")))
    assert result.exit_code == (1 if shown.startswith("error: ") else 0), result.output
    printed = iter(result.output.splitlines())
    for wanted in shown.splitlines():
        assert wanted in printed, f"{page} shows\n{wanted}\nand not\n{result.output}"


@pytest.mark.parametrize("page", NAMES)
def test_commands_in_the_text_of_a_page_exist(page):
    """`darkconv x --y` between backquotes: the command and its options are known."""
    text = FENCE.sub("", (ROOT / page).read_text())
    for found in re.findall(r"`darkconv( [^`]*)`", text):
        words = [word for word in found.replace("\\|", "|").split() if word != "..."]
        known = main.list_commands(click.Context(main))
        if words[0] in known:
            parse(words, is_strict=False)
        else:
            assert words[0].startswith("--"), f"{page}: darkconv{found}"


@pytest.mark.parametrize("page", NAMES)
def test_every_block_says_what_it_is(page):
    """A block that does not is compared with nothing."""
    assert [block.text for block in blocks(page) if not block.kind] == []


def needs_slow_file(block, folder):
    """Whether a program reads a file that only --full has made."""
    files = re.findall(r"[\"']([\w.-]+\.(?:onnx|pt2|tflite|keras|cfg|weights))[\"']", block.text)
    return any(not (folder / name).exists() for name in files)


def run(line, folder, is_full):
    """Run a line of an `sh` block: what it prints, or None if it was only checked."""
    program, *arguments = shlex.split(line, comments=True)
    if program != "darkconv":
        CHECKS[program](*arguments)
        if is_full and "--training" in arguments:
            script = [sys.executable, ROOT / arguments[0].removeprefix("../"), *arguments[1:]]
            subprocess.run(script, check=True, capture_output=True)
        return None
    is_never_run = any(part in line for part in NOT_RUN)
    if is_never_run or (SLOW.search(line) and not is_full):
        parse(arguments, is_strict=not is_never_run)
        stand_in(arguments, folder)
        return None
    return remembered(arguments, folder)


DONE = {}
"""What commands printed on either stream, and wrote: one that is on several pages is run once."""


def remembered(arguments, folder):
    """Run a command, or do what it did when its files were the same."""
    files = [folder / word for word in arguments if (folder / word).is_file()]
    key = (*arguments, *(hashlib.sha256(file.read_bytes()).digest() for file in files))
    if key not in DONE:
        before = stamps(folder)
        result = CliRunner().invoke(main, arguments, catch_exceptions=False)
        assert result.exit_code == 0, f"{arguments}\n{result.output}"
        for name in outputs(arguments):
            assert (folder / name).exists(), f"{arguments}: no {name}"
        new = [folder / name for name, _ in stamps(folder) - before]
        DONE[key] = result.output, {path.name: path.read_bytes() for path in new}
    printed, written = DONE[key]
    for name, data in written.items():
        (folder / name).write_bytes(data)
    return printed


def stamps(folder):
    """Names of files, and when they were written."""
    return {(path.name, path.stat().st_mtime_ns) for path in folder.iterdir() if path.is_file()}


def parse(arguments, *, is_strict):
    """Check a command's options, and with `is_strict` their values."""
    command, name, context = main, "darkconv", None
    while isinstance(command, click.Group):
        context = click.Context(command, parent=context, info_name=name)
        name, command, arguments = command.resolve_command(context, arguments)
    if is_strict:
        command.make_context(name, list(arguments), parent=context)
        return
    known = {option for parameter in command.params for option in parameter.opts}
    known |= {option for parameter in command.params for option in parameter.secondary_opts}
    assert {word for word in arguments if re.match("--?[a-z]", word)} <= known


def outputs(arguments):
    """What -o, --save-plan and --report name: a word, or two of Darknet's files."""
    found = []
    for word, *following in zip(arguments, arguments[1:], [*arguments[2:], ""], strict=False):
        if word in ("-o", "--output", "--save-plan", "--report"):
            is_pair = following[0].endswith(".cfg") and following[1].endswith(".weights")
            found += following if is_pair else following[:1]
    return found


def stand_in(arguments, folder):
    """In place of the Darknet model that a command would write, the one that it reads."""
    sources = {Path(word).suffix: folder / word for word in arguments[2:0:-1]}
    for name in outputs(arguments):
        target = folder / name
        source = sources.get(target.suffix)
        if target.suffix in (".cfg", ".weights") and source and source.exists():
            shutil.copy(source, target)
            shutil.copy(source.with_suffix(".names"), target.with_suffix(".names"))


def check_pip(*arguments):
    """`pip install 'darkconv[extras]'`: the extras exist."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    (package,) = [word for word in arguments[1:] if not word.startswith("-")]
    name, _, extras = package.rstrip("]").partition("[")
    assert arguments[0] == "install"
    assert name in ("darkconv", ".")
    assert set(filter(None, extras.split(","))) <= set(config["options.extras_require"])


def check_script(name, *arguments):
    """A script of the repository, or of the one above: it exists, and its text has the options."""
    path = ROOT / name.removeprefix("../")
    assert path.is_file(), name
    assert path.suffix == ".py" or os.access(path, os.X_OK), f"{name} cannot be run"
    if path.suffix == ".py":
        for word in arguments:
            assert not word.startswith("--") or f'"{word}"' in path.read_text(), f"{name} {word}"


def check_program(name, *arguments):
    """`python x.py` and `python -m module`."""
    if name == "-m":
        assert importlib.util.find_spec(arguments[0]), arguments[0]
    elif not any(block.program == name for _, block in kinds("python")):
        check_script(name, *arguments)


def check_copy(*arguments):
    """`cp -r a b`: the first exists."""
    sources = [word for word in arguments if not word.startswith("-")][:-1]
    assert all((ROOT / source).exists() for source in sources)


CHECKS = {
    "pip": check_pip,
    "python": check_program,
    ".venv/bin/python": check_program,
    "cp": check_copy,
    "cd": lambda name: None,
    **{
        name: lambda *arguments, name=name: check_script(name, *arguments)
        for name in ("./tools/demo", "./tools/test", "./tools/docs", "tools/test", ".ci/run")
    },
}


def assert_shown(shown, printed):
    """Every line of a page's output is printed, in this order, whatever the numbers; `...` cuts."""
    lines = iter([normal(line) for line in printed.splitlines()])
    for line in shown.splitlines():
        if line.strip() not in ("", "..."):
            assert normal(line) in lines, f"the page shows\n{line}\nand not\n{printed}"


def normal(line):
    """Numbers and the width of columns do not count."""
    return " ".join(NUMBER.sub("0", line).split())


@pytest.mark.parametrize(("page", "block"), kinds("python"), ids=lambda x: str(x)[:24])
def test_python_compiles_and_what_it_imports_exists(page, block):
    tree = ast.parse(block.text, filename=page)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [(node.module, alias.name) for alias in node.names]
        else:
            continue
        for module, name in modules:
            package = module.split(".")[0]
            if package in ("keras", "tensorflow", "cv2", "ai_edge_litert") or "keras" in module:
                continue  # slow to import, and not always there; the pages' own tests run these
            found = importlib.import_module(module)
            is_there = name is None or hasattr(found, name)
            assert is_there or importlib.util.find_spec(f"{module}.{name}"), f"{module}.{name}"
    for name in darkconv_names(tree):
        assert hasattr(importlib.import_module("darkconv"), name), f"dc.{name}"


def darkconv_names(tree):
    """`dc.name` of a program."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "dc":
            yield node.attr


@pytest.mark.parametrize("page", NAMES)
def test_links_lead_somewhere(page):
    text = FENCE.sub("", (ROOT / page).read_text())
    for target in LINK.findall(text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        assert path.exists(), f"{page} links {target}"
        if anchor:
            assert anchor in anchors(path), f"{page} links {target}"


def anchors(path):
    """What headings are called in links."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_in_the_index():
    index = (ROOT / "docs" / "README.md").read_text()
    names = {path.name for path in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert names <= set(LINK.findall(index))


def test_every_command_is_on_a_page():
    text = "\n".join(page.read_text() for page in PAGES)
    context = click.Context(main)
    for name in main.list_commands(context):
        assert f"darkconv {name}" in text, name


def test_paths_in_the_text_exist():
    """`tools/x.py`, `tests/x.py`, `darkconv/x.py` in the running text."""
    pattern = re.compile(r"`((?:tools|tests|darkconv|cfgs)/[\w./-]*)`")
    for page in PAGES:
        for name in pattern.findall(page.read_text()):
            assert (ROOT / name).exists(), f"{page.name}: {name}"
