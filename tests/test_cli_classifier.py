"""Classifiers on the command line: trained on folders of pictures, and measured."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import darkconv as dc
from darkconv.cli import main
from darkconv.dataset import open_classified

pytest.importorskip("torch")
pytest.importorskip("lightning")

CONV = (
    "[convolutional]\nbatch_normalize=1\nfilters=8\nsize=3\nstride=2\npad=1\nactivation=leaky\n\n"
)
CFG = (
    "[net]\nwidth=24\nheight=24\nchannels=3\nlearning_rate=0.01\nflip=0\nhue=.02\nsaturation=1.1\n"
    f"\n{CONV}{CONV}[convolutional]\nfilters=3\nsize=1\nactivation=linear\n\n"
    "[avgpool]\n\n[softmax]\ngroups=1\n\n[cost]\ntype=sse\n"
)
COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}
LEARN = "finetune net.cfg --names net.names --data photos/train --valid photos/valid --workers 0"
QUICK = "--steps 60 --batch 12 --lr 0.02 --ema 0.9 --device cpu"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.cfg").write_text(CFG)
    (tmp_path / "net.names").write_text("".join(f"{name}\n" for name in COLOURS))
    stream = np.random.default_rng(0)
    for part, count in (("train", 8), ("valid", 5)):
        for name, colour in COLOURS.items():
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            for number in range(count):
                noise = stream.integers(-40, 40, (30, 34, 3))
                levels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(levels).save(folder / f"{number}.png")

    def invoke(line, status=0):
        result = CliRunner().invoke(main, line.split())
        assert result.exit_code == status, result.output
        return result

    return invoke


def test_a_classifier_is_trained_from_its_cfg_alone(run):
    result = run(f"{LEARN} {QUICK} --last -o out.cfg out.weights --json")
    rows = json.loads(result.stdout)["rows"]
    assert rows[-1]["top1"] == 1.0
    assert rows[-1]["top5"] == 1.0
    assert rows[0]["loss"] == pytest.approx(math.log(3), abs=0.4)
    assert "before training" not in result.stderr  # there is no original
    assert dc.load("out.cfg", "out.weights").header.seen == 60 * 12


def test_classes_are_told_apart_by_eval(run):
    run(f"{LEARN} {QUICK} -o out.cfg out.weights")
    found = json.loads(
        run("eval out.cfg out.weights --names net.names --data photos/valid --json").stdout
    )
    assert found["pictures"] == 15
    assert found["top1"] == 1.0
    assert np.array_equal(found["confusion"], 5 * np.eye(3))
    line = "eval out.cfg out.weights --names net.names --data photos/valid --report found.html"
    text = run(line).stdout
    assert "<dt>top-1</dt><dd>100.0" in Path("found.html").read_text()
    assert re.search(r"top-1 +100\.0", text)
    assert re.search(r"green +5 +100\.0", text)


@pytest.mark.slow
def test_a_teacher_teaches_a_classifier_without_labels(run, tmp_path):
    run(f"{LEARN} {QUICK} -o out.cfg out.weights")
    run("prune out.cfg out.weights --score l1 --ratio 0.5 --multiple 1 -o s.cfg s.weights")
    (tmp_path / "mixed").mkdir()
    for number, path in enumerate(sorted((tmp_path / "photos").rglob("*.png"))):
        path.rename(tmp_path / "mixed" / f"{number}.png")
    result = run(
        "finetune s.cfg s.weights --names net.names --teacher out.cfg out.weights --data mixed "
        f"--workers 0 {QUICK} -o r.cfg r.weights --json"
    )
    rows = json.loads(result.stdout)["rows"]
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]


def test_weights_of_classes_count(run):
    result = run(f"{LEARN} {QUICK} --class-weights red=5 -o out.cfg out.weights --json")
    assert json.loads(result.stdout)["rows"][-1]["top1"] == 1.0


def test_a_folder_of_other_classes_is_an_error(run, tmp_path):
    (tmp_path / "net.names").write_text("cat\ndog\nfox\n")
    result = run(f"{LEARN} {QUICK} -o out.cfg out.weights", status=1)
    assert "no picture can be used" in result.stderr


@pytest.mark.parametrize("command", ["eval", "finetune"])
@pytest.mark.parametrize("count", [2, 4])
def test_classes_of_pictures_that_are_not_the_classifier_s_are_refused(command, count, run):
    """Without names, nothing tells which of its classes a folder is of."""
    folders = ["a", "b", "c", "d"][:count]
    for name in folders:
        Path("others", name).mkdir(parents=True)
        Image.new("RGB", (24, 24)).save(f"others/{name}/0.png")
    Path("net.names").unlink()
    model = dc.load("net.cfg")
    dc.save(model, "net.cfg", "net.weights")
    more = f"{QUICK} -o out.cfg out.weights" if command == "finetune" else ""
    text = run(f"{command} net.cfg net.weights --data others {more}", 1).stderr
    found = ", ".join(folders)
    assert f"others: expected 3 classes, as net.cfg predicts, found {count}: {found}" in text
    assert "--names FILE" in text
    data = open_classified("others")
    with pytest.raises(dc.DarkconvError, match="expected 3 classes, as net.cfg predicts"):
        dc.evaluate(model, data)
    if command == "finetune":
        with pytest.raises(dc.DarkconvError, match="expected 3 classes, as net.cfg predicts"):
            dc.finetune(model, data, recipe=dc.Recipe(steps=1))


@pytest.mark.parametrize("names", ["blue green", "blue green red black"])
def test_classes_without_a_name_are_called_by_their_numbers(names, run):
    Path("net.names").write_text("".join(f"{name}\n" for name in names.split()))
    model = dc.load("net.cfg", names="net.names")
    weights = 0 * model.arrays["2.weights"]
    biases = np.array([0, 0, 9])  # always the third class
    model = dc.replace_arrays(model, {"2.biases": biases, "2.weights": weights})
    dc.save(model, "net.cfg", "net.weights")
    found = json.loads(run("eval net.cfg net.weights --data photos/valid --json").stdout)
    others = [one["taken_for"] for one in found["classes"]]
    assert others == (["2", "2"] if len(names.split()) == 2 else ["red", "red", None])
