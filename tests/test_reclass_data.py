"""`reclass --data`: a data set whose labels have the numbers of the new classes."""

import json
import shutil

import pytest
from click.testing import CliRunner

pytest.importorskip("PIL.Image")

from darkconv.assets import digits10_folder
from darkconv.cli import main
from darkconv.darknet.data import read_data
from darkconv.dataset import open_dataset, open_splits

ORDER = "nine,eight,seven,six,five,four,three,two,one,zero"
MODEL = ("digits10.cfg", "digits10.weights")


@pytest.fixture
def digits(tmp_path, monkeypatch):
    shutil.copytree(digits10_folder(), tmp_path / "d")
    monkeypatch.chdir(tmp_path / "d")
    return tmp_path / "d"


def run(*words, status=0):
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == status, result.output
    return result


def reclass(*words, status=0):
    return run("reclass", *MODEL, *words, "-o", "ro.cfg", "ro.weights", status=status)


def boxes(dataset):
    return {
        sample.image.name: sorted(zip(sample.names, sample.boxes.round(3).tolist(), strict=True))
        for sample in dataset.samples
    }


def test_another_order_gives_the_same_boxes_under_the_same_names(digits):
    told = reclass("--keep", ORDER, "--data", "digits10.data").stderr
    assert "wrote ro.data: 30 pictures, " in told
    assert boxes(open_dataset("ro.data")) == boxes(open_dataset("digits10.data"))
    assert open_dataset("ro.data").names == tuple(ORDER.split(","))
    data = read_data("ro.data")
    assert data == {"classes": "10", "names": "ro.names", "valid": "ro_data/valid.txt"}
    first = (digits / "images/000.txt").read_text().split()[0]
    assert (digits / "ro_data/labels/000.txt").read_text().split()[0] == str(9 - int(first))
    assert (digits / "ro_data/valid.txt").read_text().startswith("ro_data/images/000.jpg\n")


def test_classes_that_share_a_name_keep_their_own_boxes(digits):
    names = (digits / "digits10.names").read_text()
    (digits / "digits10.names").write_text(names.replace("seven", "zero"))
    expected = boxes(open_dataset("digits10.data").keep_classes(["zero:7", "one"]))
    told = reclass("--keep", "7,1", "--data", "digits10.data").stderr
    assert "boxes of classes that are dropped are left out: " in told
    assert "zero:0 " in told
    found = boxes(open_dataset("ro.data").renamed({"zero": "zero:7"}))
    assert found == expected


def test_the_new_model_finds_what_is_labelled(digits):
    pytest.importorskip("torch")
    pytest.importorskip("faster_coco_eval")
    reclass("--keep", ORDER, "--data", "digits10.data")
    found = [
        json.loads(run("eval", *words, "--limit", "10", "--json").stdout)
        for words in (
            (*MODEL, "--data", "digits10.data"),
            ("ro.cfg", "ro.weights", "--data", "ro.data"),
        )
    ]
    assert found[0]["ap"] == found[1]["ap"] > 0.9
    assert found[1]["left_out"] == []


def test_merged_dropped_and_new_classes(digits):
    told = reclass(
        "--keep", "low=one+two,nine", "--add", "letter", "--data", "digits10.data"
    ).stderr
    found, before = open_dataset("ro.data"), open_dataset("digits10.data")
    assert found.names == ("low", "nine", "letter")
    assert len(found) == len(before)
    renamed = before.renamed({"one": "low", "two": "low"}).keep_classes(("low", "nine"))
    assert boxes(found) == boxes(renamed)
    assert "digits10.data: boxes of classes that are dropped are left out: " in told


def test_a_class_that_is_named_as_a_dropped_one_gets_none_of_its_boxes(digits):
    reclass("--keep", "three=one,two", "--data", "digits10.data")
    before = open_dataset("digits10.data").keep_classes(("one", "two")).renamed({"one": "three"})
    assert boxes(open_dataset("ro.data")) == boxes(before)


def test_classes_of_another_list_are_new(digits):
    (digits / "to.names").write_text("letter\nfour\n")
    run("reclass", *MODEL, "--to-names", "to.names", "--data", "digits10.data", "-o", "ro.cfg",
        "ro.weights")  # fmt: skip
    found = open_dataset("ro.data")
    assert found.names == ("letter", "four")
    assert boxes(found) == boxes(open_dataset("digits10.data").keep_classes(("four",)))


def test_without_labels_no_data_set_is_written(digits):
    told = reclass("--keep", "one,two", "--data", "digits10.data", "--no-labels").stderr
    assert "boxes are of the new classes; no data set is written" in told
    assert not (digits / "ro.data").exists()
    assert not (digits / "ro_data").exists()
    result = reclass("--keep", "one", "--no-labels", status=2)
    assert "--no-labels would do nothing" in result.stderr


def test_other_lines_stay_and_a_second_run_replaces_the_first(digits):
    (digits / "x.data").write_text(
        "# mine\nclasses=10\nvalid = valid.txt\ntrain=valid.txt\n"
        "names=digits10.names\nbackup = b/\n"
    )
    for keep in ("one,two", "three"):
        reclass("--keep", keep, "--data", "x.data")
    assert (digits / "ro.data").read_text() == (
        "# mine\nclasses= 1\nvalid = ro_data/valid.txt\ntrain= ro_data/train.txt\n"
        "names= ro.names\nbackup = b/\n"
    )
    assert {split: len(part) for split, part in open_splits("ro.data").items()} == {
        "valid": 30,
        "train": 30,
    }


def test_any_layout_may_be_given_and_another_folder_stays(digits):
    shutil.copytree("images", "set")
    shutil.copy("digits10.names", "set")
    reclass("--keep", ORDER, "--data", "set")
    assert boxes(open_dataset("ro.data")) == boxes(open_dataset("set"))
    shutil.rmtree("ro_data")
    (digits / "ro_data").mkdir()
    (digits / "ro_data/own").write_text("")
    result = reclass("--keep", "one", "--data", "set", status=1)
    assert "ro_data: is there already, and was not written by darkconv" in result.stderr


def test_a_model_without_names_keeps_numbers(digits):
    (digits / "digits10.names").unlink()
    (digits / "n.data").write_text("classes=10\nvalid=valid.txt\n")
    reclass("--keep", "9,0", "--data", "n.data")
    found = open_dataset("ro.data")
    assert read_data("ro.data") == {"classes": "2", "valid": "ro_data/valid.txt"}
    before = open_dataset("n.data").keep_classes(("9", "0")).renamed({"9": "a", "0": "b"})
    assert boxes(found.renamed({"0": "a", "1": "b"})) == boxes(before)


def test_a_blank_in_the_cfgs_name_is_refused_as_no_data_file_could_name_it(digits):
    line = ("reclass", *MODEL, "--keep", "one", "--data", "digits10.data")
    told = run(*line, "-o", "a b.cfg", "a b.weights", status=2).stderr
    assert "choose an OUT.cfg without blanks" in told
    assert not list(digits.glob("a b*"))
