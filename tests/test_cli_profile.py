"""`darkconv profile`, end to end on small pictures."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from darkconv.console import progress as progress_module
from darkconv.console.progress import progress
from networks import cfg_text, network, random_model

pytest.importorskip("torch")
Image = pytest.importorskip("PIL.Image")

BODY = (
    "[convolutional]\nfilters=8\nsize=3\nstride=2\npad=1\nbatch_normalize=1\nactivation=leaky\n"
    "[convolutional]\nfilters=16\nactivation=linear\n"
    "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\n"
)
SOME_DIGITS = "zero,two,five,seven,eight,nine"
LABELS = ("0", "0 1", "1", "2", "", "0 2")
"""Classes in each picture."""


@pytest.fixture(scope="module")
def model():
    model = random_model(network(BODY, (3, 16, 16)), names=("cat", "dog", "fox"))
    scales = model.arrays["0.scales"].copy()
    scales[[2, 5]] = 0
    return dc.replace_arrays(model, {"0.scales": scales})


@pytest.fixture
def folder(tmp_path, model):
    """net.cfg, net.weights, net.names, and pictures with labels in a folder."""
    (tmp_path / "net.cfg").write_text(cfg_text(BODY, (3, 16, 16)))
    dc.save(model, tmp_path / "net.cfg", tmp_path / "net.weights", names=tmp_path / "net.names")
    photos = tmp_path / "photos"
    photos.mkdir()
    stream = np.random.default_rng(0)
    for number, classes in enumerate(LABELS):
        levels = stream.integers(0, 256, (20, 30, 3), np.uint8)
        Image.fromarray(levels).save(photos / f"{number}.png")
        boxes = "".join(f"{c} 0.5 0.5 0.2 0.2\n" for c in classes.split())
        (photos / f"{number}.txt").write_text(boxes)
    (photos / "classes.txt").write_text("cat\ndog\nowl\n")
    return tmp_path


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.chdir(folder)

    def invoke(line, status=0):
        result = CliRunner().invoke(main, f"profile net.cfg net.weights {line}".split())
        assert result.exit_code == status, result.output
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return result

    return invoke


def test_a_profile_is_written_and_told(run, model):
    result = run("photos -o p.npz")
    assert result.stdout.splitlines() == [
        "6 pictures, 0 skipped, 3 layers",
        "layer  type           channels  constant  near dead",
        "    0  convolutional         8         2          0",
    ]
    assert "pictures: 6 of 6\nwrote p.npz" in result.stderr
    found = dc.Profile.load("p.npz")
    expected = dc.profile(model, sorted(Path("photos").glob("*.png")))
    assert found.pictures == 6
    assert found.notes["source"] == "photos"
    for index, mean in expected.mean.items():
        assert found.mean[index] == pytest.approx(mean)


def test_json_tells_every_layer(run):
    found = json.loads(run("photos -o p.npz --json --taylor --batch 4 --seed 3").stdout)
    assert (found["pictures"], found["skipped"], found["notes"]["seed"]) == (6, 0, 3)
    assert found["layers"] == [
        {"layer": 0, "type": "convolutional", "channels": 8, "constant": 2, "near_dead": 0},
        {"layer": 1, "type": "convolutional", "channels": 16, "constant": 0, "near_dead": 0},
    ]
    assert dc.Profile.load("p.npz").layers[0].effect is not None


def test_broken_pictures_are_told_and_counted(run):
    Path("broken.png").write_bytes(b"no picture")
    Path("list.txt").write_text("photos/0.png\nbroken.png\nmissing.png\nphotos/1.png\n")
    result = run("list.txt -o p.npz")
    assert "2 pictures, 1 skipped" in result.stdout
    assert "warning: broken.png: is a text file, not a picture: skipped" in result.stderr
    assert "list.txt:3: no such picture: missing.png" in result.stderr
    assert "list.txt: 2 problems in pictures and labels" in result.stderr
    assert "1 of 3 pictures could not be read" in result.stderr


def test_no_readable_picture_writes_nothing(run):
    Path("broken.png").write_bytes(b"no picture")
    assert "no picture could be read" in run("broken.png -o p.npz", status=1).stderr
    assert not Path("p.npz").exists()


@pytest.mark.parametrize(
    ("option", "count"),
    [
        ("--only-classes", 4),  # owl is no class of the model
        ("--only-classes cat", 2),
        ("--only-classes cat,dog", 4),
        ("--only-classes=dog", 1),
        ("--limit 4", 4),
        ("--only-classes cat,dog --limit 3", 3),
        ("--data-names net.names --only-classes fox", 1),
    ],
)
def test_pictures_are_chosen_by_what_they_show(run, option, count):
    assert f"{count} picture" in run(f"photos -o p.npz {option}").stdout
    assert dc.Profile.load("p.npz").pictures == count


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("photos -o p.npz --only-classes fox", "no picture shows nothing but fox"),
        ("photos -o p.npz --only-classes owl", "the model has no class owl"),
        ("nowhere -o p.npz", "no such file or folder"),
        ("p.npz -o q.npz", "p.npz: cannot read: No such file"),
    ],
)
def test_errors_are_one_clear_message(run, line, message):
    assert message in run(line, status=1).stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-o p.npz", "Missing argument 'IMAGE'"),
        ("photos", "Missing option '-o'"),
        ("photos -o p.json", "the name of a profile ends in .npz"),
        ("photos -o p.npz --batch 0", "--batch"),
        ("photos -o p.npz --device tpu", "--device"),
    ],
)
def test_wrong_usage_exits_with_2(run, line, message):
    assert message in run(line, status=2).stderr


def test_no_gpu_is_an_error(run, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "finds no GPU" in run("photos -o p.npz --device cuda", status=1).stderr


def test_profiles_are_merged(run):
    run("photos/0.png photos/1.png -o a.npz")
    run("photos/[2-5].png -o b.npz")
    run("photos -o whole.npz")
    assert "6 pictures" in run("a.npz b.npz -o c.npz").stdout
    run("a.npz photos/[2-5].png -o d.npz")
    whole = dc.Profile.load("whole.npz")
    for name in ("c.npz", "d.npz"):
        merged = dc.Profile.load(name)
        assert merged.pictures == 6
        for index, mean in whole.mean.items():
            assert merged.mean[index] == pytest.approx(mean, rel=1e-6, abs=1e-7)


def test_profiles_of_other_models_are_refused(run, model):
    run("photos -o a.npz")
    dc.save(random_model(model.network, seed=7), "net.cfg", "net.weights")
    assert "a.npz: is a profile of another model" in run("a.npz -o b.npz", status=1).stderr


def test_a_report_is_asked_for(run):
    assert "wrote r.html" in run("photos -o p.npz --report r.html").stderr
    page = Path("r.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert "Profile of net" in page
    assert "score nll0" in page


def test_the_bundled_model_is_profiled(tmp_path):
    from darkconv.assets import digits10_folder

    root = digits10_folder()
    words = [root / "digits10.cfg", root / "digits10.weights", root / "images"]
    line = [
        "profile",
        *map(str, words),
        "-o",
        str(tmp_path / "p.npz"),
        "--only-classes",
        SOME_DIGITS,
    ]
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 0, result.output
    found = dc.Profile.load(tmp_path / "p.npz")
    assert 0 < found.pictures < 30


def test_two_processes_write_one_profile(folder):
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    line = "-m darkconv profile net.cfg net.weights photos -o p.npz"
    environment = {**os.environ, "PYTHONPATH": str(Path(dc.__file__).parents[1])}
    done = subprocess.run(
        [*run, *line.split()],
        check=True, capture_output=True, text=True, cwd=folder, env=environment,
    )  # fmt: skip
    assert done.stdout.count("6 pictures, 0 skipped") == 1
    assert done.stderr.count("wrote p.npz") == 1
    assert dc.Profile.load(folder / "p.npz").pictures == 6


def test_progress_is_a_line_now_and_then(capsys, monkeypatch):
    times = iter([0.0, 1.0, 11.0, 12.0, 13.0])
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(times))
    with progress(8, "pictures") as update:
        for done in (2, 4, 6, 8):
            update(done)
    assert capsys.readouterr().err == "pictures: 4 of 8\npictures: 8 of 8\n"


def test_progress_is_a_bar_on_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress(8, "pictures") as update:
        update(8)
    assert "8/8" in capsys.readouterr().err


def test_other_processes_are_silent(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "1")
    with progress(8, "pictures") as update:
        update(8)
    assert capsys.readouterr().err == ""
