"""Commands end with the command that usually follows, and that line runs as it is printed."""

import shlex
import shutil

import pytest
from click.testing import CliRunner

from darkconv.assets import digits10_folder
from darkconv.cli import main

for library in ("torch", "onnx", "onnxruntime"):
    pytest.importorskip(library)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the bundled model, whose files have names that a shell needs quoted."""
    shutil.copytree(digits10_folder(), tmp_path, dirs_exist_ok=True)
    for suffix in (".cfg", ".weights", ".names"):
        (tmp_path / f"digits10{suffix}").rename(tmp_path / f"my&digits{suffix}")
    data = (tmp_path / "digits10.data").read_text()
    (tmp_path / "digits10.data").write_text(data.replace("digits10.names", "my&digits.names"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line):
    result = CliRunner().invoke(main, shlex.split(line), catch_exceptions=False)
    assert result.exit_code == 0, f"{line}\n{result.output}"
    return result


def next_of(line):
    """Run a command line, and return the one that it prints as the next; empty if it has none."""
    last = run(line).stderr.splitlines()[-1:]
    start = "next: darkconv "
    return last[0].removeprefix(start) if last[0].startswith(start) else ""


BIG = "'my&digits.cfg' 'my&digits.weights'"
SMALL = "'a&b.cfg' 'a&b.weights'"
STEPS = {
    f"convert {BIG} -o 'a&b.onnx'": f"verify {BIG} 'a&b.onnx'",
    f"convert {BIG} -o 'a&b.onnx' --input-size 64x32 --dialect alexeyab": (
        f"verify {BIG} 'a&b.onnx' --dialect alexeyab --input-size 64x32"
    ),
    f"convert {BIG} -o a.pt2 -o {SMALL}": f"verify {SMALL}",
    f"convert {BIG} -o -a.onnx": f"verify {BIG} ./-a.onnx",
    f"reclass {BIG} --keep 1,2 -o {SMALL}": f"convert {SMALL} -o 'a&b.onnx'",
    f"reclass {BIG} --keep 1,2 -o {SMALL} --data digits10.data": (
        f"finetune {SMALL} --data 'a&b.data' -o 'a&b-tuned.cfg' 'a&b-tuned.weights'"
    ),
    f"reclass {BIG} --keep 1,2 -o {SMALL} --data digits10.data --no-labels": (
        f"convert {SMALL} -o 'a&b.onnx'"
    ),
    f"reclass {BIG} --keep 1,2 -o two.safetensors": "convert two.safetensors -o two.onnx",
    f"prune {BIG} --score l1 --ratio 0.5 -o {SMALL}": f"convert {SMALL} -o 'a&b.onnx'",
    f"prune {BIG} --ratio 0.5 -o {SMALL} --images images --limit 3 --input-size 64x64": (
        f"finetune {SMALL} --teacher {BIG} --data images "
        "-o 'a&b-recovered.cfg' 'a&b-recovered.weights' --input-size 64x64 --limit 3"
    ),
    f"prune {BIG} --ratio 0.5 -o {BIG} --overwrite --images images --limit 3": (
        f"convert {BIG} -o 'my&digits.onnx'"
    ),
    f"prune {BIG} --score l1 --ratio 0.5 --save-plan p.json": (
        f"prune {BIG} --plan p.json -o 'my&digits-pruned.cfg' 'my&digits-pruned.weights'"
    ),
    f"dissect {BIG} --keep 1,2 --images images --limit 3 -o {SMALL}": (
        f"convert {SMALL} -o 'a&b.onnx'"
    ),
    f"finetune {BIG} --data images --steps 1 --workers 0 -o {SMALL}": (
        f"convert {SMALL} -o 'a&b.onnx'"
    ),
    f"finetune {BIG} --data images --steps 1 --workers 0 -o {SMALL} --valid digits10.data "
    "--valid-split valid --rename nine=nine": f"eval {SMALL} --data digits10.data --split valid "
    "--rename nine=nine",
    f"graft {BIG} 'my&digits.cfg' -o {SMALL}": f"verify {SMALL}",
    f"graft {BIG} 'my&digits.cfg' -o start.weights": "verify 'my&digits.cfg' start.weights",
    f"profile {BIG} 'images/00[0-3].jpg' -o 'p q.npz'": (
        f"prune {BIG} --profile 'p q.npz' --ratio 0.5 "
        "-o 'my&digits-pruned.cfg' 'my&digits-pruned.weights'"
    ),
    **{
        f"data convert digits10.data -o 'my set' --to {form}": "data check 'my set'"
        for form in ("darknet", "yolo", "voc", "coco")
    },
}
"""Command lines, and those that they print."""


@pytest.mark.parametrize("line", STEPS)
def test_the_next_command_runs_as_it_is_printed(line, folder):
    if line.startswith("finetune"):
        pytest.importorskip("lightning")
    found = next_of(line)
    assert found == STEPS[line]
    run(f"{found} --steps 1 --workers 0" if found.startswith("finetune") else found)


def test_what_is_cut_off_is_not_compared(folder):
    run(f"weights partial {BIG} --layers 3 -o first.weights")
    assert not next_of("convert 'my&digits.cfg' first.weights --cutoff 3 -o a.onnx")


@pytest.mark.parametrize(
    "line",
    [
        f"convert {BIG} -o a.onnx -q",
        f"prune {BIG} --score l1 --ratio 0.5 -o {SMALL} --json",
        f"prune {BIG} --score l1 --ratio 0.5 --dry-run",
        f"prune {BIG} --explain 3",
        f"convert {BIG} -o 'a\nb.onnx'",
        f"reclass {BIG} --keep 1,2 -o two.onnx",
        f"info {BIG}",
        "fetch",
    ],
)
def test_no_next_command_is_printed(line, folder):
    assert "next:" not in run(line).stderr
