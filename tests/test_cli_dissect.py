"""`darkconv dissect` on the bundled model and pictures."""

import json

import numpy as np
import pytest

import darkconv as dc

pytest.importorskip("torch")

MODEL = "dissect digits10.cfg digits10.weights"
FEW = "--keep one,seven,four --images images"


def parameters(model):
    return sum(layer.parameters for layer in model.network.layers)


def test_files_and_report_are_written(run):
    result = run(f"{MODEL} {FEW} --all-pictures --ratio 0.5 -o s.cfg s.weights")
    whole, small = dc.load("digits10.cfg", "digits10.weights"), dc.load("s.cfg", "s.weights")
    assert small.names == ("one", "seven", "four")
    assert parameters(small) < 0.5 * parameters(whole)
    with open("s.html", encoding="utf-8") as file:
        page = file.read()
    assert "Kept 3 of 10 classes: one, seven, four." in page
    assert "profiled on 30 pictures" in page
    assert page.count("<figure>") == 2 * 4
    assert "parameters    158,045 -> " in result.stdout
    assert "profiling all 30 pictures" in result.stderr


def test_pictures_of_nothing_but_the_kept_classes_are_profiled(run):
    classes = "zero,one,two,three,four,five,six,seven,eight"
    result = run(f"{MODEL} --keep {classes} --images images --no-report -o s.cfg s.weights")
    text = result.stderr
    count = int(text.partition("profiling ")[2].split()[0])
    assert 0 < count < 30
    assert "those that show nothing but the kept classes" in text


def test_where_no_picture_is_of_the_kept_classes_alone_all_are_taken(run):
    result = run(f"{MODEL} --keep nine --images images --no-report --json -o s.cfg s.weights")
    assert "profiling all 30 pictures, since none shows nothing but" in result.stderr
    assert json.loads(result.stdout)["pictures"] == {"profiled": 30, "found": 30}


def test_a_choice_of_the_user_that_leaves_no_picture_is_an_error(run, tmp_path):
    result = run(
        f"{MODEL} --keep nine --images images --only-classes nine -o s.cfg s.weights", status=1
    )
    assert "no picture shows nothing but nine" in result.stderr
    assert "hint: every picture with one of them shows other classes too" in result.stderr
    assert not (tmp_path / "d" / "s.cfg").exists()


def test_a_budget_is_kept(run):
    result = run(
        f"{MODEL} {FEW} --all-pictures --params 0.3 --multiple 1 --json --no-report "
        "-o s.cfg s.weights"
    )
    found = json.loads(result.stdout)
    assert found["after"]["parameters"] <= 0.3 * found["before"]["parameters"]
    assert parameters(dc.load("s.cfg", "s.weights")) == found["after"]["parameters"]


def test_without_classes_only_channels_go(run):
    run(f"{MODEL} --images images --all-pictures --no-report -o s.cfg s.weights")
    assert dc.load("s.cfg", "s.weights").names == dc.load("digits10.cfg").names


def test_contrast_compares_with_the_other_pictures(run):
    classes = "zero,one,two,three,four,five,six,seven,eight"
    run(f"{MODEL} --keep {classes} --images images --score contrast --no-report -o s.cfg s.weights")
    run(f"{MODEL} {FEW} --all-pictures --score contrast -o t.cfg t.weights", status=1)


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        (f"{MODEL} --keep one,eleven --images images -o s.cfg s.weights", 1, "eleven"),
        (f"{MODEL} --keep , --images images -o s.cfg s.weights", 1, "no class to keep"),
        (f"{MODEL} --keep one --images nowhere -o s.cfg s.weights", 1, "nowhere"),
        (f"{MODEL} --keep one -o s.cfg s.weights", 2, "--images"),
        (f"{MODEL} {FEW}", 2, "-o"),
        (f"{MODEL} {FEW} --ratio 0.5 --params 0.5 -o s.cfg s.weights", 2, "--params"),
    ],
)
def test_bad_input(run, line, status, message):
    assert message in run(line, status).stderr


def test_the_report_of_a_profile(run):
    run("profile digits10.cfg digits10.weights images -o p.npz --report p.html")
    with open("p.html", encoding="utf-8") as file:
        assert "Profile of digits10" in file.read()


def test_refitted_weights_come_nearer_to_the_whole_model(run):
    line = f"{MODEL} {FEW} --all-pictures --ratio 0.6 --no-report"
    run(f"{line} -o a.cfg a.weights")
    run(f"{line} --no-reconstruct -o b.cfg b.weights")
    whole = dc.reclass(dc.load("digits10.cfg", "digits10.weights"), ["one", "seven", "four"])
    x = np.random.default_rng(0).random(whole.network.input_shape, np.float32)
    head = dc.trace(whole, x)[-1]
    errors = [
        np.abs(dc.trace(dc.load(f"{name}.cfg", f"{name}.weights"), x)[-1] - head).mean()
        for name in "ab"
    ]
    assert errors[0] < errors[1]
