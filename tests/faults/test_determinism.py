"""The same inputs and seed give the same bytes, in another process, folder, hour and hash order."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import darkconv as dc
from darkconv.assets import digits10_folder
from faults.processes import PATIENCE, digests

ROOT = Path(dc.__file__).parents[1]
MODEL = "digits10.cfg digits10.weights"
HUB = [
    f"convert {MODEL} -o o.cfg o.weights",
    f"reclass {MODEL} --keep one,two --add new -o r.cfg r.weights --seed 3",
    f"prune {MODEL} --score random --seed 3 --ratio 0.8 --save-plan p.json",
    f"prune {MODEL} --plan p.json -o p.cfg p.weights --json",
    f"weights fold {MODEL} -o f.cfg f.weights",
    f"info {MODEL} --json",
    f"weights stats {MODEL} --json",
    "anchors --data digits10.data --json",
]
EXPORTS = [
    f"convert {MODEL} -o o.onnx",
    f"convert {MODEL} -o n.onnx --head nms",
    f"convert {MODEL} -o h.onnx --fp16",
    f"convert {MODEL} -o e.onnx --external",
    f"convert {MODEL} -o i.onnx --in-place",
    f"convert {MODEL} -o o.safetensors",
    f"convert {MODEL} -o o.pt2",
]
MEASURED = [
    f"profile {MODEL} unlabelled -o p.npz --report p.html --json",
    f"prune {MODEL} --profile p.npz --ratio 0.8 --reconstruct unlabelled -o p.cfg p.weights",
    f"dissect {MODEL} --keep one,two --images unlabelled -o d.cfg d.weights --json",
    f"detect {MODEL} images/000.jpg images/001.jpg -o drawn --json",
]
TRAINED = [
    f"finetune {MODEL} --data digits10.data --split valid --valid images --steps 4 --batch 4 "
    "--workers 1 --device cpu --evaluate-every 1 -o t.cfg t.weights",
]
KERAS = [
    f"convert {MODEL} -o o.keras",
    f"convert {MODEL} -o b.keras --head boxes --fold-bn",
    f"convert {MODEL} -o o.tflite",
]
TIMED = ("run/history.csv", "run/curves.png", "run/tensorboard", "run/checkpoints", "d.html")
"""What says how long something took, as the tables that `convert` prints do."""
SCRIPT = """
import sys
from darkconv.cli import main

for number, line in enumerate(sys.argv[1:]):
    name = "/dev/null" if line.startswith("convert") else f"stdout{number}.txt"
    with open(name, "w") as sys.stdout:
        main(line.split(), standalone_mode=False)
"""


def results(folder, commands, **environment):
    """Start a process that carries out commands in a folder of its own."""
    shutil.copytree(digits10_folder(), folder)
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    words = [sys.executable, "-c", SCRIPT, *commands]
    return subprocess.Popen(words, cwd=folder, env=variables, stderr=subprocess.PIPE, text=True)


def check(tmp_path, commands, count):
    """Assert that two processes write the same files, and so many at least."""
    folders = tmp_path / "one", tmp_path / "another/place"
    started = [
        results(folders[0], commands, PYTHONHASHSEED="1", TZ="UTC0"),
        results(folders[1], commands, PYTHONHASHSEED="2", TZ="XXX-9", LC_ALL="C"),
    ]
    for process in started:
        _, text = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, text
    first, second = (
        {name: d for name, d in digests(folder).items() if not is_timed(name)} for folder in folders
    )
    assert first == second
    assert len(first) - len(digests(digits10_folder())) >= count


def is_timed(name):
    return any(part in name for part in TIMED)


def test_darknet_files_plans_and_json(tmp_path):
    check(tmp_path, HUB, 3 + 3 + 1 + 3 + 3 + len(HUB) - 1)


def test_exported_files(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx_ir")
    check(tmp_path, EXPORTS, len(EXPORTS) + 1)


def test_profiles_refitted_weights_and_pictures(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("PIL")
    check(tmp_path, MEASURED, 2 + 3 + 3 + 2 + len(MEASURED))


@pytest.mark.slow
def test_training(tmp_path):
    pytest.importorskip("lightning")
    pytest.importorskip("faster_coco_eval")
    check(tmp_path, TRAINED, 4)


@pytest.mark.slow
def test_keras_files(tmp_path):
    pytest.importorskip("tensorflow")
    pytest.importorskip("ai_edge_litert")
    check(tmp_path, KERAS, 3)
