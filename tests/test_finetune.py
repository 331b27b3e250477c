"""dc.finetune: training in Python, from whatever names the pictures, and what it leaves."""

import logging
import math
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.assets import digits10_folder, load_digits10
from darkconv.cli import main

pytest.importorskip("torch")
pytest.importorskip("lightning")

from darkconv.training import device
from darkconv.training.history import read_history
from darkconv.training.recipe import plan_course
from darkconv.training.training import remedies
from trainings import beginning

QUICK = {"steps": 2, "batch": 2, "workers": 0, "draw_every": 0}
DATA = digits10_folder() / "digits10.data"
MODEL = [str(digits10_folder() / f"digits10.{kind}") for kind in ("cfg", "weights")]


@pytest.fixture
def model():
    return beginning(taught=False)[0]


def train(model, dataset=DATA, *others, made=None, **options):
    return dc.finetune(
        model, dataset, *others, recipe=dc.Recipe(**QUICK, **(made or {})), **options
    )


def test_a_run_without_a_folder_leaves_nothing_behind(model, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with caplog.at_level(logging.INFO, "darkconv"):
        done = train(model, device="cpu")
    assert not list(tmp_path.iterdir())
    assert done.folder is None
    assert f"training in {tmp_path}" in caplog.text
    assert [row["step"] for row in done.history] == [2]
    assert done.model.header.seen == model.header.seen + 4
    assert repr(done) == f"<Finetuned: 2 steps, loss {done.history[0]['loss']:.4g}>"
    assert f'<td style="text-align: right">{done.history[0]["loss"]:.4g}</td>' in done._repr_html_()
    assert done.to_dict() == {"best_epoch": None, "rows": [dict(done.history[0])]}


@pytest.mark.slow
def test_a_folder_keeps_the_files_of_the_run(model, tmp_path):
    done = train(model, valid=DATA, folder=tmp_path / "run", made={"evaluate_every": 1})
    assert done.folder == tmp_path / "run"
    assert read_history(tmp_path / "run" / "history.csv") == list(done.history)
    assert (tmp_path / "run" / "best.safetensors").is_file()
    assert done.best_epoch == done.history[-1]["epoch"]
    assert "AP" in done.history[-1]
    with pytest.raises(dc.DarkconvError, match="holds a run with a checkpoint of step 2"):
        train(model, folder=tmp_path / "run")
    again = train(model, folder=tmp_path / "run", overwrite=True)
    assert again.best_epoch is None


def test_pictures_alone_do_with_a_teacher():
    start, teacher = beginning(taught=True)
    done = train(start, digits10_folder() / "unlabelled", teacher)
    assert done.history[-1]["loss"] > 0
    with pytest.raises(dc.DatasetError, match="can be learned from with a teacher"):
        train(start, digits10_folder() / "unlabelled")


def test_a_source_with_both_splits_is_evaluated_on_one(model, tmp_path):
    shutil.copytree(digits10_folder(), tmp_path, dirs_exist_ok=True)
    pictures = sorted((tmp_path / "images").glob("*.jpg"))
    for split, some in (("train", pictures[:4]), ("valid", pictures[4:6])):
        (tmp_path / f"{split}.txt").write_text("".join(f"images/{one.name}\n" for one in some))
    text = "classes=10\ntrain=train.txt\nvalid=valid.txt\nnames=digits10.names\n"
    (tmp_path / "own.data").write_text(text)
    begun = []
    done = train(model, tmp_path / "own.data", ready=begun.append)
    assert begun[0].pictures.splits == ("train", "valid")
    assert len(begun[0].pictures.training) == 4
    assert "AP" in done.history[-1]


def test_the_start_tells_steps_and_what_the_model_costs(model):
    told = {}

    def ready(start):
        told.update(steps=start.steps, costs=dict(start.costs()))

    train(model, ready=ready, progress=lambda done: told.update(done=done))
    assert told["steps"] == told["done"] == 2
    assert told["costs"]["model"]["loss"] > 0


def test_pictures_are_learned_by_heart(model):
    begun = []
    done = dc.finetune(
        model, DATA, recipe=dc.Recipe(steps=2, workers=0), overfit=2, ready=begun.append
    )
    assert len(begun[0].pictures.training) == begun[0].recipe.batch == 2
    assert "AP" in done.history[-1]


def test_class_weights_go_by_name(model):
    plain, weighted = (
        train(model, made={"seed": 1, "class_weights": weights}).history[-1]
        for weights in ((), {"zero": 0.0, "three": 100.0})
    )
    assert weighted["loss"] != plain["loss"]
    with pytest.raises(dc.DatasetError, match="class_weights: the model has no class cat"):
        train(model, made={"class_weights": {"cat": 2.0}})


def test_the_model_is_never_changed(model):
    before = {key: array.copy() for key, array in model.arrays.items()}
    train(model)
    assert all(np.array_equal(model.arrays[key], array) for key, array in before.items())


@pytest.mark.parametrize(
    ("made", "options", "message"),
    [
        ({}, {"resume": True}, "resume is about the folder of a run: give folder="),
        ({}, {"overwrite": True}, "overwrite is about the folder"),
        ({}, {"devices": 2}, "several processes need a folder that they share"),
        ({}, {"devices": 0}, "devices: expected 1 or more"),
        ({}, {"device": "cuda:7"}, "device"),
        ({}, {"device": "gpu"}, "device"),
        ({}, {"overfit": 0}, "overfit: expected 1 or more"),
        ({}, {"overfit": 1, "valid": DATA}, "valid would do nothing"),
        ({"feature_layers": (1,)}, {}, "feature_layers would do nothing: there is no teacher"),
        ({"evaluate_every": 1}, {}, "evaluate_every would do nothing"),
    ],
)
def test_options_that_would_do_nothing_are_errors(model, made, options, message):
    with pytest.raises(dc.DarkconvError, match=message):
        train(model, made=made, **options)


def test_a_teacher_without_labels_takes_no_rule_of_labels():
    start, teacher = beginning(taught=True)
    with pytest.raises(dc.DarkconvError, match="rule would do nothing: a teacher uses labels"):
        train(start, DATA, teacher, made={"rule": "darknet"})
    assert train(start, DATA, teacher, made={"rule": "darknet"}, labels=True).history


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 2, "epochs": 1}, "epochs would do nothing: steps counts"),
        ({"schedule": "cfg", "rate": 1.0}, "rate would do nothing"),
        ({"schedule": "linear"}, "schedule: expected 'cosine' or 'cfg'"),
        ({"optimizer": "adagrad"}, "optimizer: expected 'adamw'"),
        ({"steps": 2.5}, "steps: expected a whole number"),
        ({"class_weights": "many"}, "class_weights"),
        ({"momentum": 1.0}, "momentum: expected 0 to below 1"),
        ({"averaging": 1.0}, "averaging: expected a share from 0 to below 1"),
        (
            {"class_weights": {"zero": -1}},
            "class_weights: zero: expected a number from 0, found -1",
        ),
        ({"class_weights": {"zero": math.nan}}, "class_weights: zero: .*, found nan"),
        ({"class_weights": {"one": math.inf}}, "class_weights: one: .*, found inf"),
        ({"class_weights": {"one": "2"}}, "class_weights: one: .*, found 2"),
        ({"class_weights": (1.0, 1e39)}, "class_weights: 1: .*, found 1e\\+39"),
        ({"feature_weight": math.nan}, "feature_weight: expected 0 or more, found nan"),
        ({"decay": math.inf}, "decay: expected 0 or more, found inf"),
        ({"clip": -1}, "clip: expected 0 or more"),
        ({"epochs": 1e308}, r"epochs: expected a number above 0, up to a billion"),
    ],
)
def test_a_recipe_that_means_nothing_is_refused(options, message):
    with pytest.raises(dc.DarkconvError, match=message):
        dc.Recipe(**options)


@pytest.mark.parametrize("weight", ["-1", "nan", "inf"])
def test_the_command_refuses_the_same_weights_of_classes(weight, tmp_path):
    line = f"--data {DATA} --class-weights zero={weight} --steps 1 -o {tmp_path}/o.safetensors"
    result = CliRunner().invoke(main, ["finetune", *MODEL, *line.split()])
    assert result.exit_code == 1
    assert "class_weights: zero: expected a number from 0" in result.stderr


@pytest.mark.parametrize("weights", ["auto", {"zero": 2.0}])
@pytest.mark.parametrize("count", [9, 11])
def test_names_that_are_too_few_or_many_are_at_fault_for_weights_by_name(model, weights, count):
    names = ("zero", *map(str, range(1, count)))
    with pytest.raises(dc.DatasetError, match=f"expected 10 names.*, found {count} names") as told:
        train(replace(model, names=names), made={"class_weights": weights})
    assert "--names FILE (in Python names=)" in told.value.hint


def test_a_batch_that_no_memory_holds_is_refused_before_it_is_made(model):
    with pytest.raises(dc.DarkconvError, match="a batch of 1000000000000 pictures takes .* memory"):
        plan_course(dc.Recipe(batch=10**12), model.network, samples=64, processes=1)


def test_a_small_part_of_an_epoch_is_one_step(model):
    made = dc.Recipe(epochs=1e-6)
    assert plan_course(made, model.network, samples=64, processes=1).steps == 1


@pytest.mark.parametrize(
    ("options", "advice"),
    [
        ({}, "a lower rate"),
        ({"schedule": "cfg", "clip": 0}, "a lower learning_rate in the cfg, or gradient clipping"),
        ({"decay": 3, "class_weights": {"zero": 9}}, "a lower rate, or a lower decay, or a lower"),
    ],
)
def test_a_loss_that_is_no_number_names_what_may_be_at_fault(options, advice):
    assert remedies(dc.Recipe(**options), has_learned=True).startswith(advice)


def test_torchrun_says_how_many_processes_there_are(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert device.Machine("cpu", 1).processes == device.Machine("cpu", 2).processes == 4
    with pytest.raises(dc.DarkconvError, match="devices would do nothing: torchrun has started 2"):
        device.Machine("cpu", 3)


@pytest.mark.slow
def test_several_devices_of_the_cpu_speak_and_write_once(tmp_path):
    """Lightning starts the other processes with a LOCAL_RANK, and no RANK."""
    line = f"--data {DATA} --steps 2 --batch 4 --limit 4 --workers 0 --device cpu --devices 2"
    out = f"-o {tmp_path}/o.safetensors"
    command = [sys.executable, "-m", "darkconv", "finetune", *MODEL, *line.split(), *out.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout + done.stderr).count("before training") == 1
    assert (done.stdout + done.stderr).count("wrote") == 1


def test_a_gpu_of_a_number_is_one_device(monkeypatch):
    monkeypatch.setattr(device, "choose_device", lambda name: None)
    assert device.Machine("cuda:1").lightning_devices == [1]
    assert device.Machine("cuda", 2).lightning_devices == 2
    assert device.Machine("cuda:1").accelerator == "gpu"
    with pytest.raises(dc.DarkconvError, match="is one GPU, which 2 processes cannot share"):
        device.Machine("cuda:1", 2)


@pytest.mark.slow
def test_the_command_makes_what_python_makes(tmp_path, monkeypatch):
    monkeypatch.chdir(digits10_folder())
    line = (
        f"finetune digits10.cfg digits10.weights --data digits10.data --steps 2 --batch 2 "
        f"--workers 0 --device cpu -o {tmp_path}/o.cfg {tmp_path}/o.weights"
    )
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 0, result.output
    ours = dc.load(tmp_path / "o.cfg", tmp_path / "o.weights")
    folder = digits10_folder()
    start = dc.load(folder / "digits10.cfg", folder / "digits10.weights")
    done = dc.finetune(start, DATA, recipe=dc.Recipe(steps=2, batch=2, workers=0), device="cpu")
    for key, array in done.model.arrays.items():
        assert array.tobytes() == ours.arrays[key].tobytes(), key


def test_gpu_is_another_word_for_cuda(tmp_path):
    cfg = digits10_folder() / "digits10.cfg"
    line = f"finetune {cfg} --data {DATA} --device gpu -o {tmp_path}/o.cfg {tmp_path}/o.weights"
    result = CliRunner().invoke(main, line.split())
    assert result.exit_code == 1
    assert "device cuda: PyTorch finds no GPU here" in result.stderr


@pytest.mark.slow
def test_a_teacher_alone_gives_no_names_to_a_model_without_them():
    """The pictures have labels beside them, which are not used."""
    whole = replace(load_digits10(), names=())
    pruned = dc.prune(whole, dc.plan(whole, score="l1", keep=0.5))
    recipe = dc.Recipe(steps=1, batch=2, workers=0)
    done = dc.finetune(pruned, digits10_folder() / "images", whole, recipe, device="cpu")
    assert done.model.names == ()
