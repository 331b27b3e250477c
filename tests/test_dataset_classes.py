"""Classes of labels against classes of models: spellings, renaming, and what is left out."""

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv import zoo
from darkconv.assets import digits10_folder
from darkconv.cli import main
from darkconv.core.names import Names
from darkconv.core.spellings import matching_names, spelled
from darkconv.darknet.data import read_names
from darkconv.dataset import Dataset, Sample, open_dataset, open_splits
from darkconv.dataset.class_folders import open_classified
from darkconv.dataset.classes import (
    UnknownClass,
    matched,
    names_for_model,
    renamed,
    unknown_classes,
)
from darkconv.dataset.label import Label
from darkconv.dataset.sample import DatasetLayout
from darkconv.dataset.telling import SHOWN_CLASSES, told_left_out
from darkconv.errors import DatasetError

ZOO = Path(zoo.__file__).parent
VOC, DARKNET_COCO = (tuple(read_names(ZOO / f"{name}.names")) for name in ("voc", "coco"))
OTHERS = {
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}
COCO = tuple(OTHERS.get(name, name) for name in DARKNET_COCO)
"""The classes as the data set itself calls them."""
SAME = [
    ("aeroplane", "airplane"),
    ("motorbike", "motorcycle"),
    ("sofa", "couch"),
    ("tvmonitor", "tv"),
    ("tvmonitor", "TV monitor"),
    ("diningtable", "dining table"),
    ("diningtable", "Dining_Table"),
    ("pottedplant", "potted plant"),
    ("pottedplant", "potted-plant"),
    ("person", "Person"),
    ("donut", "doughnut"),
    ("hair drier", "hair dryer"),
    ("cafe\u0301", "caf\u00e9"),
]


def sample(*names):
    return Sample.of("x.jpg", [Label(name, (0, 0, 1, 1)) for name in names])


def labelled(*names, own=(), **layout):
    found = Dataset((sample(*names),), tuple(own) or tuple(dict.fromkeys(names)), "x")
    layouts = (DatasetLayout(source="x", form="y", **layout),)
    return Dataset(found.samples, found.names, "x", layouts=layouts)


@pytest.mark.parametrize(("name", "other"), SAME)
def test_known_spellings_are_the_same_class(name, other):
    assert spelled(name) == spelled(other)
    assert matching_names([other], [name, "zebra"]) == {other: name}
    assert matching_names([name], [other, "zebra"]) == {name: other}


def test_every_class_of_voc_is_one_of_coco():
    assert matching_names(VOC, COCO) == OTHERS
    assert matching_names(COCO, DARKNET_COCO) == {other: name for name, other in OTHERS.items()}
    assert {spelled(name) for name in VOC} <= {spelled(name) for name in COCO}


def test_lists_of_classes_match_themselves_only():
    for names in (VOC, COCO, DARKNET_COCO):
        assert matching_names(names, names) == {}
        assert len(set(map(spelled, names))) == len(names)


def test_a_class_that_the_model_has_by_this_name_stays():
    assert matching_names(["tv", "sofa"], ["tv", "tvmonitor", "couch"]) == {"sofa": "couch"}
    assert matching_names(["TV"], ["tv", "tvmonitor"]) == {}  # it could be either


def test_matched_labels_have_the_models_names():
    found, changed = matched(labelled("couch", "dog", "couch"), ("sofa", "dog"))
    assert found.samples[0].names == ("sofa", "dog", "sofa")
    assert changed == {"couch": "sofa"}


def test_other_classes_are_counted_with_the_nearest_names():
    dataset = labelled("cat", "pottedplnt", "pottedplnt", "sofa")
    first, second = unknown_classes(dataset, (*VOC[:3], "pottedplant", "sofa"))
    assert (first.name, first.boxes, first.nearest) == ("pottedplnt", 2, ("pottedplant",))
    assert str(first) == (
        "the model has no class pottedplnt (the nearest are pottedplant), so 2 boxes of it are "
        "left out; --rename pottedplnt=pottedplant counts them"
    )
    assert (second.name, second.boxes, second.nearest) == ("cat", 1, ())
    assert str(second) == (
        "the model has no class cat, so 1 box of it is left out; --rename cat=CLASS counts them"
    )


def test_classes_without_a_near_name_share_a_line():
    dataset = labelled("cow", "cow", "pottedplnt", "train", "sofa")
    found = unknown_classes(dataset, ("pottedplant", "sofa"))
    near, others = told_left_out(found)
    assert near == str(next(one for one in found if one.name == "pottedplnt"))
    assert others == (
        "the model does not have 2 of the labels' classes, so 3 boxes are left out "
        "(cow 2, train 1); --rename cow=CLASS (in Python rename=) counts those of one class"
    )
    assert told_left_out(found[:1]) == [str(found[0])]
    many = [UnknownClass(f"class {index}", 2, ()) for index in range(SHOWN_CLASSES + 5)]
    (line,) = told_left_out(many)
    assert "35 of the labels' classes, so 70 boxes are left out (class 0 2, " in line
    assert " and 5 more); --rename 'class 0=CLASS' (in Python" in line


def test_a_renaming_that_matches_nothing_is_refused():
    dataset = labelled("cat", "dog")
    assert renamed(dataset, {"cat": "pet", "dog": "pet"}).samples[0].names == ("pet", "pet")
    message = "x: no label is of the class cow, which is to be renamed: expected one of cat, dog"
    with pytest.raises(DatasetError, match=message):
        renamed(dataset, {"cat": "pet", "cow": "pet"})
    assert renamed(dataset, {"cat": "pet", "cow": "pet"}, partly=True).names == ("pet", "dog")


def test_a_model_without_names_takes_those_of_numbered_labels():
    assert names_for_model(labelled("0", "2"), 3, "m.cfg") == Names(["0", "1", "2"])
    own = labelled("cat", own=("cat", "dog"), numbered=True)
    assert names_for_model(own, 2, "m.cfg") == Names(["cat", "dog"])
    with pytest.raises(DatasetError, match="m.cfg: expected names for 3 classes, found 2 of x"):
        names_for_model(own, 3, "m.cfg")
    with pytest.raises(DatasetError, match="found none, and labels with names in x\n  hint: --na"):
        names_for_model(labelled("cat", "dog"), 2, "m.cfg")


# commands


@pytest.fixture
def digits(tmp_path, monkeypatch):
    pytest.importorskip("PIL")
    shutil.copytree(digits10_folder(), tmp_path / "d")
    monkeypatch.chdir(tmp_path / "d")
    return tmp_path / "d"


def run(*words, status=0):
    result = CliRunner().invoke(main, list(words))
    assert result.exit_code == status, result.output
    return result


def evaluate(*words, model=("digits10.cfg", "digits10.weights")):
    pytest.importorskip("torch")
    pytest.importorskip("faster_coco_eval")
    return run("eval", *model, *words, "--json", "--limit", "6")


@pytest.fixture
def whole(digits):
    return json.loads(evaluate("--data", "digits10.data").stdout)


@pytest.fixture
def twins(digits):
    """Digits whose class 7 is called as class 0."""
    names = (digits / "digits10.names").read_text().replace("seven", "zero")
    (digits / "digits10.names").write_text(names)
    return digits


def as_digits(dataset):
    own = {"zero:0": "zero", "zero:7": "seven"}
    return [[own.get(name, name) for name in sample.names] for sample in dataset.samples]


def test_numbers_of_classes_that_share_a_name_stay(digits, whole, request):
    expected = [list(sample.names) for sample in open_dataset("digits10.data").samples]
    request.getfixturevalue("twins")
    found = open_dataset("digits10.data")
    assert (found.names[0], found.names[7]) == ("zero:0", "zero:7")
    assert as_digits(found) == expected
    given = open_dataset("images", names=["zero" if i in (0, 7) else str(i) for i in range(10)])
    assert given.names[:2] == ("zero:0", "1")
    (line,) = found.changes["numbered"]
    assert "zero is zero:0, zero:7" in line
    told = run("data", "check", "digits10.data").output
    assert "names that several classes of a list share" in told
    result = json.loads(evaluate("--data", "digits10.data").stdout)
    names = [one["name"] for one in result["classes"]]
    assert {"zero:0", "zero:7"} & set(names)
    own = {"zero:0": "zero", "zero:7": "seven"}
    classes = [{**one, "name": own.get(one["name"], one["name"])} for one in result["classes"]]
    assert classes == whole["classes"]


@pytest.mark.parametrize("form", ["darknet", "yolo", "voc", "coco"])
def test_classes_that_share_a_name_are_written_apart(twins, form):
    expected = as_digits(open_dataset("digits10.data"))
    run("data", "convert", "digits10.data", "--to", form, "-o", "new")
    assert as_digits(open_dataset("new")) == expected


def test_labels_by_a_name_that_classes_share_are_counted_and_left_out(twins):
    run("data", "convert", "digits10.data", "--to", "voc", "--rename", "zero:0=zero", "-o", "new")
    told = evaluate("--data", "new").stderr
    assert "the model has no class zero (the nearest are zero:" in told
    wrong = run("eval", "digits10.cfg", "digits10.weights", "--data", "digits10.data",
                "--only-classes", "zero", status=1)  # fmt: skip
    assert "2 classes are called 'zero': 0, 7" in wrong.output


def test_training_takes_classes_that_share_a_name_by_number(twins):
    pytest.importorskip("torch")
    from darkconv.augmentation.box_rows import numbers_of, sample_rows
    from darkconv.training.counts import class_weights
    from darkconv.training.recipe import Recipe

    model = dc.load("digits10.cfg", "digits10.weights")
    sample = open_dataset("digits10.data").samples[0]
    rows = sample_rows(sample, numbers_of(model.names), (100, 100), difficult=True)
    lines = (twins / "images" / sample.image.name).with_suffix(".txt").read_text().splitlines()
    assert rows[:, 0].tolist() == [float(line.split()[0]) for line in lines]
    weights = class_weights(Recipe(class_weights={"zero:7": 3.0, "one": 2.0}), model, [1] * 10)
    assert weights == (1, 2, 1, 1, 1, 1, 1, 3, 1, 1)
    with pytest.raises(DatasetError, match="2 classes are called 'zero': 0, 7"):
        class_weights(Recipe(class_weights={"zero": 3.0}), model, [1] * 10)


@pytest.fixture
def coded(digits):
    """Digits with two names in GBK."""
    names = (digits / "digits10.names").read_text().replace("zero", "零").replace("one", "壹")
    (digits / "digits10.names").write_bytes(names.encode("gbk"))
    return digits


GBK = ("--names-encoding", "gbk")


def test_names_of_labels_are_read_in_an_encoding(coded, caplog):
    found = open_dataset("digits10.data", names_encoding="gbk")
    assert found.names[:3] == ("零", "壹", "two")
    assert open_dataset("images", names="digits10.names", names_encoding="gbk").names[0] == "零"
    assert "--names-encoding" not in caplog.text
    shown = run("data", "check", "digits10.data", *GBK).output
    assert "壹" in shown
    assert "--names-encoding" not in shown
    for form in ("voc", "coco", "darknet", "yolo"):
        run("data", "convert", "digits10.data", "--to", form, "-o", form, *GBK)
        again = open_dataset(form)
        assert {"零", "壹"} < set(again.names)
        assert len(again) == len(found)
    assert "--names-encoding" not in run("anchors", "--data", "digits10.data", "-n", "2").output


def test_classes_of_labels_are_those_of_a_model_in_an_encoding(coded):
    result = evaluate("--data", "digits10.data", *GBK)
    assert json.loads(result.stdout)["left_out"] == []
    assert "--names-encoding" not in result.stderr
    words = ["reclass", "digits10.cfg", "digits10.weights", *GBK, "--keep", "壹,零"]
    told = run(*words, "--data", "digits10.data", "-o", "ro.cfg", "ro.weights")
    assert "2 classes" in told.stderr
    assert open_dataset("ro.data").names == ("壹", "零")
    assert open_dataset("ro.data").counts()["零"][0] > 0


@pytest.mark.parametrize(
    ("encoding", "message"),
    [
        ("klingon", "unknown encoding"),
        ("shift_jis_2004x", "unknown encoding"),
        ("ascii", "digits10.names: is no text in ascii"),
    ],
)
def test_an_encoding_that_reads_no_name_is_refused(coded, encoding, message):
    with pytest.raises(DatasetError, match=message):
        open_dataset("digits10.data", names_encoding=encoding)
    with pytest.raises(DatasetError, match=message):
        open_splits("digits10.data", names_encoding=encoding)


def test_an_encoding_of_names_that_are_text_is_refused(digits):
    with pytest.raises(DatasetError, match="text already, with nothing to decode"):
        open_dataset("digits10.data", names_encoding="gbk")


def test_pictures_of_classes_are_found_in_an_encoding(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    for name in ("零", "壹"):
        folder = os.fsdecode(os.fsencode(tmp_path / "p") + b"/" + name.encode("gbk"))
        os.makedirs(folder)
        pillow.new("RGB", (8, 8)).save(f"{folder}/a.png")
    names = ("壹", "零")
    found = open_classified(tmp_path / "p", names, names_encoding="gbk")
    assert found.problems == ()
    by_class = {image.parent.name.encode("utf-8", "surrogateescape").decode("gbk"): number
                for image, number in found.samples}  # fmt: skip
    assert by_class == {"壹": 0, "零": 1}
    paths = b"".join(os.fsencode(image) + b"\n" for image, _ in found.samples)
    (tmp_path / "t.txt").write_bytes(paths)
    (tmp_path / "l.names").write_bytes("零\n壹\n".encode("gbk"))
    (tmp_path / "c.data").write_text("train = t.txt\nlabels = l.names\n")
    again = open_classified(tmp_path / "c.data", names, names_encoding="gbk", outside=True)
    assert sorted(again.samples) == sorted(found.samples)


def test_spellings_are_matched_in_eval_and_told_once(digits, whole):
    (digits / "digits10.names").write_text(
        "\n".join(
            ["Zero", "O_ne", *["two", "three", "four", "five", "six", "seven", "eight", "nine"]]
        )
    )
    result = evaluate("--data", "digits10.data", model=(*["digits10.cfg", "digits10.weights"],
                      "--names", str(digits10_folder() / "digits10.names")))  # fmt: skip
    found = json.loads(result.stdout)
    assert found["ap"] == whole["ap"]
    assert found["left_out"] == []
    told = "known spellings of the model's classes: Zero is zero, O_ne is one"
    assert result.stderr.count(told) == 1


def test_classes_that_the_model_lacks_are_told_in_text_table_and_json(digits):
    names = (digits / "digits10.names").read_text().replace("seven", "sevn")
    (digits / "own.names").write_text(names)
    words = ("--data", "digits10.data", "--data-names", "own.names")
    result = evaluate(*words)
    (left,) = json.loads(result.stdout)["left_out"]
    assert left["name"] == "sevn"
    assert left["nearest"] == ["seven"]
    assert f"so {left['boxes']} box" in result.stderr
    assert "--rename sevn=seven counts them" in result.stderr
    table = run("eval", "digits10.cfg", "digits10.weights", *words, "--limit", "6").stdout
    (row,) = (line.split() for line in table.splitlines() if line.startswith("sevn"))
    assert row == ["sevn", str(left["boxes"]), *["not", "a", "class", "of", "the", "model"]]


def test_renaming_works_in_eval_and_several_become_one(digits, whole):
    names = (digits / "digits10.names").read_text().replace("seven", "sieben")
    (digits / "own.names").write_text(names)
    words = ("--data", "digits10.data", "--data-names", "own.names")
    found = json.loads(evaluate(*words, "--rename", "sieben=seven").stdout)
    assert found["ap"] == whole["ap"]
    merged = json.loads(evaluate(*words, "--rename", "sieben=zero,one=zero").stdout)
    boxes = {one["name"]: one["boxes"] for one in merged["classes"]}
    before = {one["name"]: one["boxes"] for one in whole["classes"]}
    assert boxes["zero"] == before["zero"] + before["one"] + before["seven"]
    result = run(
        "eval", "digits10.cfg", "digits10.weights", *words, "--rename", "acht=eight", status=1
    )
    assert "no label is of the class acht, which is to be renamed" in result.stderr


@pytest.mark.parametrize("form", ["names", "numbers"])
def test_a_model_without_names_is_measured_on_numbered_labels(digits, whole, form):
    for name in ("cfg", "weights"):
        (digits / f"digits10.{name}").rename(digits / f"bare.{name}")
    if form == "numbers":
        (digits / "digits10.names").unlink()
        (digits / "digits10.data").write_text("classes=10\nvalid=valid.txt\n")
    found = evaluate("--data", "digits10.data", model=("bare.cfg", "bare.weights"))
    classes = json.loads(found.stdout)["classes"]
    expected = [one["name"] for one in whole["classes"]]
    if form == "numbers":
        expected = [str(number) for number in range(10)]
    assert [one["name"] for one in classes] == expected
    assert json.loads(found.stdout)["ap"] == whole["ap"]
    assert ("has no class names, so those of the labels count" in found.stderr) == (form == "names")


def test_renaming_is_refused_where_no_label_counts(digits):
    pytest.importorskip("torch")
    result = run("profile", "digits10.cfg", "digits10.weights", "images", "-o", "p.npz",
                 "--rename", "one=two", status=2)  # fmt: skip
    assert "--rename is about labels, which only --only-classes looks at here" in result.stderr


def test_training_and_evaluation_take_the_splits_of_one_source(digits):
    pytest.importorskip("torch")
    from darkconv.dataset.for_model import Selection
    from darkconv.loading import load
    from darkconv.training.sources import open_pictures

    model = load("digits10.cfg", "digits10.weights")
    for name, count in (("train", 4), ("val", 2)):
        (digits / f"set/images/{name}").mkdir(parents=True)
        (digits / f"set/labels/{name}").mkdir(parents=True)
        for path in sorted((digits / "images").glob("*.jpg"))[:count]:
            shutil.copy(path, digits / f"set/images/{name}")
            shutil.copy(path.with_suffix(".txt"), digits / f"set/labels/{name}")
    shutil.copy("digits10.names", "set")
    own = open_pictures(model, "set")
    assert (len(own.training), len(own.valid), own.splits) == (4, 2, ("train", "val"))
    one = open_pictures(model, "set", selection=Selection(split="val"))
    assert (len(one.training), one.valid) == (2, None)
    with pytest.raises(DatasetError, match="expected one of the splits train, val, found nix"):
        open_pictures(model, "set", valid_split="nix")


def test_names_of_the_labels_may_be_those_of_a_description(digits):
    pytest.importorskip("yaml")
    names = (digits / "digits10.names").read_text().split()
    (digits / "own.yaml").write_text(
        "names:\n" + "".join(f"  {i}: {n}\n" for i, n in enumerate(names))
    )
    found = open_dataset("images", names="own.yaml")
    assert found.names == tuple(names)
