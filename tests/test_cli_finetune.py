"""`darkconv finetune` on the bundled model and pictures."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import darkconv as dc
from darkconv.training.run_folder import Folder

pytest.importorskip("torch")
pytest.importorskip("lightning")

ROOT = Path(dc.__file__).parents[1]
MODEL = "finetune digits10.cfg digits10.weights"
DATA = "--data digits10.data --split valid"
QUICK = "--steps 4 --batch 4 --workers 0 --device cpu"


@pytest.fixture
def folder(digits10):
    return digits10


def values(path):
    """The learned numbers of a weights file."""
    return np.fromfile(path, np.float32, offset=20)


def test_result_is_a_darknet_model_that_has_seen_more_pictures(run):
    result = run(f"{MODEL} {DATA} {QUICK} -o out.cfg out.weights -o out.safetensors")
    before, after = (dc.load(f"{name}.cfg", f"{name}.weights") for name in ("digits10", "out"))
    assert after.header.seen == before.header.seen + 4 * 4
    assert after.names == before.names
    assert not np.array_equal(values("digits10.weights"), values("out.weights"))
    assert Path("digits10.cfg").read_bytes() == Path("out.cfg").read_bytes()
    assert Path("out.safetensors").is_file()
    assert "before training, model: loss" in result.stderr


def test_a_run_leaves_history_curves_and_pictures(run):
    run(f"{MODEL} {DATA} {QUICK} --valid images -o out.cfg out.weights")
    folder = Path("out.run")
    header, *rows = (folder / "history.csv").read_text().splitlines()
    assert {"step", "loss", "box", "objectness", "classes", "iou", "recall", "AP"} <= set(
        header.split(",")
    )
    assert rows
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert list((folder / "pictures").glob("step_*.jpg"))
    assert list((folder / "tensorboard").glob("events*"))


def test_a_run_in_the_folder_of_another_keeps_its_checkpoint(run):
    run(f"{MODEL} {DATA} {QUICK} -o out.cfg out.weights")
    checkpoints = Path("out.run/checkpoints")
    first = (checkpoints / "last.ckpt").stat().st_ino
    refused = run(f"{MODEL} {DATA} {QUICK} -o out.cfg out.weights", status=1).stderr
    assert "out.run: holds a run with a checkpoint of step 4, which this run would re" in refused
    assert "--resume goes on with it" in refused
    assert (checkpoints / "last.ckpt").stat().st_ino == first
    run(f"{MODEL} {DATA} {QUICK} -o out.cfg out.weights --overwrite")
    assert (checkpoints / "previous.ckpt").stat().st_ino == first
    assert sorted(path.name for path in checkpoints.iterdir()) == ["last.ckpt", "previous.ckpt"]


def test_a_run_that_begins_anew_gives_the_files_of_the_one_before_other_names(tmp_path):
    folder = Folder(tmp_path)
    folder.checkpoints.mkdir()
    for file in (folder.last, folder.history, folder.curves, folder.best):
        file.write_bytes(b"of the run before")
    folder.begin_anew()
    kept = {path.name for path in tmp_path.rglob("*") if path.is_file()}
    assert kept == {"previous.ckpt", "history.previous.csv", "best.previous.safetensors"}


def test_json_has_every_row(run):
    result = run(f"{MODEL} {DATA} {QUICK} -o out.cfg out.weights --json")
    content = json.loads(result.stdout)
    assert content["rows"][-1]["step"] == 4
    assert content["best_epoch"] is None


@pytest.mark.slow
def test_one_picture_is_learned_by_heart(run):
    result = run(
        "finetune digits10.cfg --data digits10.data --split valid --overfit 1 --steps 250 "
        "--workers 0 --lr 0.004 --evaluate-every 100 -o out.cfg out.weights --json"
    )
    assert json.loads(result.stdout)["rows"][-1]["AP"] == 1.0


@pytest.mark.slow
def test_a_teacher_recovers_a_pruned_model_without_labels(run, folder):
    for file in Path("images").glob("*.txt"):
        file.unlink()
    run("prune digits10.cfg digits10.weights --images images --ratio 0.7 -o s.cfg s.weights")
    result = run(
        "finetune s.cfg s.weights --teacher digits10.cfg digits10.weights --data images "
        "--steps 60 --batch 8 --workers 0 --lr 0.003 -o r.cfg r.weights --json"
    )
    rows = json.loads(result.stdout)["rows"]
    assert rows[-1]["loss"] < 0.3 * rows[0]["loss"]
    assert rows[-1]["features"] > 0
    assert dc.load("r.cfg", "r.weights").network.shapes == dc.load("s.cfg").network.shapes


def test_frozen_layers_come_out_bit_for_bit(run):
    run(f"{MODEL} {DATA} {QUICK} --freeze 3 -o out.cfg out.weights")
    before, after = (dc.load(f"{n}.cfg", f"{n}.weights").arrays for n in ("digits10", "out"))
    same = {key: np.array_equal(before[key], after[key]) for key in before}
    assert all(same[key] == (int(key.split(".")[0]) < 3) for key in before if "biases" in key)


def test_half_precision_and_parts_of_a_batch_train_too(run):
    run(f"{MODEL} {DATA} {QUICK} --precision bf16 --accumulate 2 -o out.cfg out.weights")
    before, after = values("digits10.weights"), values("out.weights")
    assert np.isfinite(after).all()
    assert 0 < np.median(np.abs(after - before)) < 0.01  # four steps of 0.001


def test_the_cfgs_own_schedule_and_optimiser(run):
    cfg = Path("digits10.cfg").read_text()
    Path("digits10.cfg").write_text(cfg.replace("burn_in=200", "burn_in=2"))
    line = f"{MODEL} {DATA} --schedule cfg --optimizer cfg --rule darknet --steps 4 --batch 4"
    result = run(f"{line} --workers 0 --device cpu -o out.cfg out.weights --json")
    rows = json.loads(result.stdout)["rows"]
    assert rows[-1]["rate"] == 0.002
    assert not np.array_equal(values("digits10.weights"), values("out.weights"))


def test_backbone_is_grafted_where_it_fits(run):
    result = run(
        f"finetune digits10.cfg --backbone digits10.cfg digits10.weights {DATA} {QUICK} "
        "--freeze-backbone -o out.cfg out.weights"
    )
    assert "backbone: " in result.stderr
    before, after = (dc.load(f"{n}.cfg", f"{n}.weights").arrays for n in ("digits10", "out"))
    assert np.array_equal(before["0.weights"], after["0.weights"])


CHECKPOINTS = [
    "pth",
    *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("safetensors", "h5")),
]


def write_other(name, kind):
    """The bundled model as another program would have saved it."""
    import torch

    from import_files import keras_layers, ultralytics, write_old_h5

    model = dc.load("digits10.cfg", "digits10.weights")
    path = f"{name}.{kind}"
    if kind == "h5":
        write_old_h5(keras_layers(model), path)
    elif kind == "pth":
        arrays = ultralytics(model).items()
        torch.save({"model": {k: torch.from_numpy(np.array(a)) for k, a in arrays}}, path)
    else:
        from safetensors.numpy import save_file

        save_file({k: np.array(a) for k, a in ultralytics(model).items()}, path)
    return path


@pytest.mark.parametrize("kind", CHECKPOINTS)
@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("finetune digits10.cfg digits10.weights --teacher digits10.cfg {}", ""),
        ("finetune digits10.cfg --backbone digits10.cfg {} --freeze-backbone", "backbone: "),
        ("finetune digits10.cfg {}", "before training, model: loss"),
    ],
    ids=["teacher", "backbone", "start"],
)
def test_other_tools_checkpoints_do_in_place_of_weights(run, kind, line, said):
    """What comes out is what the same numbers in a weights file make."""
    if kind == "h5":
        pytest.importorskip("h5py")
    rest = f" {DATA} --steps 2 --batch 2 --workers 0 --device cpu --seed 1"
    taught = " --labels" if "--teacher" in line else ""
    result = run(line.format(write_other("x", kind)) + rest + taught + " -o a.cfg a.weights")
    assert "arrays of 12 layers" in result.stderr
    assert said in result.stderr
    run(line.format("digits10.weights") + rest + taught + " -o b.cfg b.weights")
    np.testing.assert_array_equal(values("a.weights"), values("b.weights"))


def test_another_networks_checkpoint_is_refused_as_a_teacher(run):
    path = write_other("x", "pth")
    cfg = Path("digits10.cfg").read_text().replace("filters=16", "filters=24", 1)
    Path("other.cfg").write_text(cfg)
    result = run(f"{MODEL} --teacher other.cfg {path} {DATA} {QUICK} -o a.cfg a.weights", status=1)
    assert "x.pth: does not fit other.cfg: layer" in result.stderr
    assert not Path("a.weights").exists()


def test_classes_can_be_renamed(run):
    run(
        f"{MODEL} {DATA} {QUICK} --rename one=two -o out.cfg out.weights",
    )
    result = run(f"{MODEL} {DATA} {QUICK} --rename one -o b.cfg b.weights", status=2)
    assert "A=B,C=D" in result.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"{MODEL} --data images --names other.names {QUICK}", "no label is of a class"),
        (f"{MODEL} {DATA} {QUICK} --valid unlabelled", "no label is of a class"),
        (f"{MODEL} {DATA} {QUICK} --freeze 99", "layers to freeze: expected 0 to"),
        (f"{MODEL} {DATA} --batch 3 --accumulate 2", "expected a multiple of 2"),
        (f"{MODEL} {DATA} {QUICK} --class-weights cat=2", "the model has no class cat"),
        (f"{MODEL} {DATA} {QUICK} --class-weights one=x", "expected a number, found x"),
        (f"{MODEL} {DATA} {QUICK} --lr 1e30 --clip 0", "the loss became"),
    ],
)
def test_bad_input_is_one_clear_line(run, line, message):
    Path("other.names").write_text("".join(f"thing{i}\n" for i in range(10)))
    result = run(f"{line} -o out.cfg out.weights", status=1)
    assert message in result.stderr
    assert not Path("out.weights").exists()


def test_a_model_that_gives_no_number_is_not_blamed_on_the_rate(run):
    model = dc.load("digits10.cfg", "digits10.weights")
    broken = np.full(16, np.nan)
    broken = dc.replace_arrays(model, {"0.biases": broken})
    dc.save(broken, "nan.cfg", "nan.weights", allow_nonfinite=True)
    line = f"finetune nan.cfg nan.weights --allow-nonfinite {DATA} {QUICK} -o out.cfg out.weights"
    result = run(line, status=1)
    assert "the loss became nan at step 1\n  hint: nothing was learned yet" in result.stderr


def command(line):
    return [sys.executable, "-m", "darkconv", *line.split()]


def environment(**more):
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_weights(folder):
    line = f"{MODEL} {DATA} --steps 40 --batch 4 --checkpoint-every 3 --workers 1 --device cpu"
    subprocess.run(command(f"{line} -o a.cfg a.weights"), env=environment(), check=True)
    checkpoint = Path("b.run/checkpoints/last.ckpt")
    process = subprocess.Popen(
        command(f"{line} -o b.cfg b.weights"), env=environment(), start_new_session=True
    )
    while not checkpoint.is_file():
        assert process.poll() is None, "it ended before its first checkpoint"
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not Path("b.weights").exists()
    subprocess.run(command(f"{line} -o b.cfg b.weights --resume"), env=environment(), check=True)
    assert Path("a.weights").read_bytes() == Path("b.weights").read_bytes()


@pytest.mark.slow
def test_two_processes_are_one_with_the_doubled_batch(folder):
    line = (
        f"{MODEL} {DATA} --steps 20 --batch 8 --freeze-norms --optimizer sgd --lr 0.001 "
        "--workers 0 --device cpu"
    )
    subprocess.run(command(f"{line} -o a.cfg a.weights"), env=environment(), check=True)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
    several = [*torchrun, "-m", "darkconv", *f"{line} -o b.cfg b.weights".split()]
    subprocess.run(several, env=environment(OMP_NUM_THREADS="1"), check=True)
    one, two, start = (values(f"{name}.weights") for name in ("a", "b", "digits10"))
    assert np.abs(one - start).max() > 1e-3
    assert np.abs(one - two).max() < 1e-5


def test_a_row_shows_shares_in_per_cent():
    from darkconv.training.progress_line import row_as_text

    row = {"epoch": 1, "step": 8, "loss": 0.5, "iou": 0.71, "recall": 0.52, "AP": 0.383}
    text = row_as_text({**row, "pictures_per_second": 3})
    assert text == "epoch 1  step 8  loss 0.5  iou 0.71  recall 52.0 %  AP 38.3 %  3.0 pictures/s"
    assert "top-1 98.0 %  top-5 100.0 %" in row_as_text(
        {"epoch": 1, "step": 8, "top1": 0.98, "top5": 1.0, "pictures_per_second": 3}
    )
