"""The programs of docs/keras.md, run as they stand."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.assets import load_digits10
from darkconv.backends.quiet import quiet
from darkconv.cli import main

pytest.importorskip("keras")
pytest.importorskip("ai_edge_litert")
pytest.importorskip("sklearn")

from darkconv.backends.keras.arrays import as_array
from darkconv.backends.keras.litert import make_interpreter

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "darkconv" / "assets" / "digits10"
BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```", (ROOT / "docs/keras.md").read_text(), re.DOTALL | re.MULTILINE
)
PROGRAMS = {
    code.split("\n")[0].split(":")[0].removeprefix("# "): code
    for kind, code in BLOCKS
    if kind == "python"
}
COMMANDS = [line for kind, code in BLOCKS if kind == "sh" for line in code.splitlines()]
BEFORE = [line for line in COMMANDS if "tuned" not in line]
AFTER = [line for line in COMMANDS if "tuned" in line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The model, its pictures, and what the page's first commands make."""
    folder = tmp_path_factory.mktemp("recipe")
    for suffix in ("cfg", "weights", "names", "data"):
        shutil.copy(DIGITS / f"digits10.{suffix}", folder)
    shutil.copytree(DIGITS / "images", folder / "images")
    shutil.copy(DIGITS / "valid.txt", folder)
    shutil.copy(DIGITS / "images" / "011.jpg", folder / "digits.jpg")
    for name, code in PROGRAMS.items():
        (folder / name).write_text(code)
    run_commands(BEFORE, folder)
    return folder


def run_commands(lines, folder):
    outputs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in lines:
            program, *arguments = shlex.split(line)
            assert program == "darkconv"
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == 0, result.output
            outputs.append(result.stdout)
    return outputs


def run_program(folder, name, *arguments):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, name, *arguments]
    process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout


def make_pictures(folder, count):
    command = [sys.executable, ROOT / "tools" / "make_digits10.py", "--training", folder]
    subprocess.run([*command, "--count", str(count)], check=True, capture_output=True)


def losses(output, name):
    return [float(value) for value in re.findall(rf"\b{name}: ([\d.]+)", output)]


def mean_precision(table):
    """AP in the last line of what `eval` prints."""
    return float(table.strip().splitlines()[-1].split()[2])


@pytest.mark.slow
def test_plain_keras_finds_the_digits(folder):
    lines = run_program(folder, "plain.py").splitlines()
    found = {int(line.split()[0]) for line in lines}
    labels = (DIGITS / "images" / "011.txt").read_text().splitlines()
    assert found == {int(line.split()[0]) for line in labels}


@pytest.mark.slow
def test_a_backbone_gets_a_new_head(folder):
    make_pictures(folder / "few", 64)
    output = run_program(folder, "finetune.py", "--train", "few", "--frozen", "1", "--epochs", "1")
    before, after = losses(output, "val_loss")
    assert after < before
    assert {path.name for path in (folder / "found").iterdir()} == {f"00{i}.jpg" for i in range(6)}
    assert sorted(path.name for path in (folder / "logs").iterdir()) == ["all", "frozen"]
    assert list((folder / "logs").rglob("events.out.tfevents.*"))
    assert len(run_commands(AFTER, folder)) == len(AFTER)


def test_keras_own_export_gives_the_same_numbers(tmp_path):
    kmodel = dc.to_keras(load_digits10(), head="boxes", fold_bn=True)
    with quiet():
        kmodel.export(tmp_path / "digits10.tflite", format="litert", verbose=False)
    interpreter = make_interpreter(tmp_path / "digits10.tflite")
    x = np.random.default_rng(0).random((1, 160, 160, 3), np.float32)
    found = interpreter.get_signature_runner()(input=x)
    for name, expected in kmodel(x).items():
        np.testing.assert_allclose(found[name], as_array(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.full
def test_the_whole_training_finds_nearly_all(folder):
    make_pictures(folder / "train", 1000)
    run_program(folder, "finetune.py")
    table, _ = run_commands(AFTER, folder)
    assert mean_precision(table) > 95
