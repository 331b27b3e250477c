"""`darkconv data check`: counts, findings and the sheet."""

import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from darkconv.assets import digits10_folder
from darkconv.cli import main
from darkconv.console.values import read_pairs
from darkconv.dataset import Dataset, Sample
from darkconv.dataset.check import KINDS, check
from darkconv.dataset.label import Label

image_module = pytest.importorskip("PIL.Image")


def run(line, status=0):
    result = CliRunner().invoke(main, ["data", "check", *map(str, line)])
    assert result.exit_code == status, result.output
    return result


def as_json(*line):
    return json.loads(run([*line, "--json"]).stdout)


def picture(path, size=(40, 20), shade=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(shade).integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    image_module.fromarray(levels).save(path)
    return path


@pytest.fixture
def darknet(tmp_path):
    """Three pictures with labels, one of them empty."""
    root = tmp_path / "set"
    for shade, labels in enumerate(("0 0.5 0.5 0.5 0.5\n1 0.25 0.5 0.1 0.2\n", "", "0 .5 .5 1 1")):
        picture(root / "images" / f"{shade}.jpg", shade=shade)
        (root / "labels").mkdir(exist_ok=True)
        (root / "labels" / f"{shade}.txt").write_text(labels)
    (root / "set.names").write_text("cat\ndog\nfox\n")
    return root


def voc(root, name, objects, size=(40, 20)):
    boxes = "".join(
        f"<object>\n<name>{label}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>\n"
        for label, x0, y0, x1, y1 in objects
    )
    (root / "Annotations").mkdir(parents=True, exist_ok=True)
    (root / "Annotations" / f"{name}.xml").write_text(
        f"<annotation>\n<size><width>{size[0]}</width><height>{size[1]}</height></size>\n"
        f"{boxes}</annotation>\n"
    )
    return picture(root / "JPEGImages" / f"{name}.png", shade=sum(name.encode()))


def test_boxes_and_pictures_are_counted(darknet):
    found = as_json(darknet)
    assert (found["pictures"], found["boxes"]) == (3, 3)
    assert [path.rpartition("/")[2] for path in found["empty"]] == ["1.jpg"]
    cat, dog, fox = found["classes"]
    assert (cat["name"], cat["boxes"], cat["pictures"]) == ("cat", 2, 2)
    assert (cat["width"], cat["height"]) == pytest.approx((0.75, 0.75))
    assert cat["area"] == pytest.approx((0.25 + 1) / 2)
    assert (dog["width"], dog["height"]) == pytest.approx((0.1, 0.2))
    assert (fox["boxes"], fox["pictures"], fox["width"]) == (0, 0, None)
    assert list(found["findings"]) == list(KINDS)
    assert not any(found["findings"].values())


def test_the_table_shows_the_counts(darknet):
    lines = run([darknet]).stdout.splitlines()
    assert lines[:5] == [
        f"{darknet}: pictures with Darknet's labels",
        f"  names: {darknet}/set.names",
        f"  labels: {darknet}/labels",
        "  splits: none",
        "3 pictures, 1 without a box, 3 boxes",
    ]
    lines = lines[4:]
    assert lines[2].split() == ["cat", "2", "66.7%", "2", "75.0%", "75.0%"]
    assert lines[4].split() == ["fox", "0", "0.0%", "0"]
    assert lines[-1] == "nothing is wrong with pictures and labels"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0 0.5", "2.txt:1: expected a width and a height above 0, found 0 0.5"),
        ("7 0.5 0.5 0.1 0.1", "2.txt:1: expected a class from 0 to 2, found 7"),
        ("0 1 2", "2.txt:1: expected a class and four numbers"),
    ],
)
def test_broken_labels_are_told_with_file_and_line(darknet, line, message):
    (darknet / "labels" / "2.txt").write_text(line)
    result = run([darknet])
    assert "skipped when labels were read: 1" in result.stdout
    assert message in result.stdout


def test_pictures_that_end_early_are_found(darknet):
    path = darknet / "images" / "2.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    (line,) = as_json(darknet)["findings"]["unreadable"]
    assert "2.jpg: cannot be read as a picture" in line


def test_another_size_than_the_annotation_says_is_found(tmp_path):
    voc(tmp_path, "a", [("cat", 1, 1, 9, 9)], size=(80, 40))
    voc(tmp_path, "b", [("cat", 1, 1, 9, 9)])
    (line,) = as_json(tmp_path)["findings"]["size"]
    assert re.search(r"a\.png: expected 80x40, found 40x20$", line)


def test_boxes_that_leave_the_picture_are_found(tmp_path):
    boxes = [("cat", 1, 1, 41, 20), ("dog", 20, 5, 60, 15), ("dog", -3, 5, 9, 15)]
    voc(tmp_path, "a", [*boxes, ("dog", 30, 5, 60, 15)])
    found = as_json(tmp_path)
    lines = found["findings"]["outside"]
    assert [line.partition("found ")[2] for line in lines] == ["dog 20,5,60,15", "dog -3,5,9,15"]
    (line,) = found["findings"]["beyond"]
    assert line.endswith("a.xml:9: expected a box inside 40x20, found dog 30,5,60,15")
    assert found["boxes"] == 3


def test_repeated_boxes_are_found(tmp_path):
    voc(tmp_path, "a", [("cat", 1, 1, 9, 9)] * 3 + [("dog", 1, 1, 9, 9)])
    (line,) = as_json(tmp_path)["findings"]["repeated"]
    assert line.endswith("a.png: cat 1,1,9,9 is there 3 times")


def test_copies_of_pictures_are_found(darknet):
    shutil.copy(darknet / "images" / "0.jpg", darknet / "images" / "9.jpg")
    found = as_json(darknet)["findings"]
    (line,) = found["copies"]
    assert "9.jpg: the same bytes as" in line
    assert line.endswith("0.jpg")
    assert "no label file for 1 of 4 pictures" in found["skipped"][0]


def test_labels_without_a_picture_are_found(darknet):
    (darknet / "labels" / "gone.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    (darknet / "labels" / "notes.txt").write_text("these are notes\n")
    (line,) = as_json(darknet)["findings"]["orphans"]
    assert line.endswith("gone.txt")


def test_other_parts_of_a_data_set_are_no_orphans(darknet):
    (darknet / "train.txt").write_text("images/0.jpg\n")
    found = as_json(darknet / "train.txt")
    assert found["pictures"] == 1
    assert not found["findings"]["orphans"]


def test_coco_and_lists_are_checked(tmp_path):
    picture(tmp_path / "a.png")
    (tmp_path / "boxes.txt").write_text("a.png 1,1,9,9,cat 1,1,9,9,cat 2,2,2,9,cat\n")
    coco = {
        "images": [{"id": 1, "file_name": "a.png", "width": 40, "height": 21}],
        "categories": [{"id": 7, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 7, "bbox": [1, 1, 8, 8], "iscrowd": 1}],
    }
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    listed = as_json(tmp_path / "boxes.txt")
    assert listed["classes"][0]["boxes"] == 2
    assert [len(listed["findings"][kind]) for kind in ("skipped", "repeated")] == [1, 1]
    found = as_json(tmp_path / "coco.json")
    assert found["classes"][0]["difficult"] == 1
    assert len(found["findings"]["size"]) == 1


def test_folders_of_classes_are_counted(tmp_path):
    for number, name in enumerate(("cat", "cat", "dog")):
        picture(tmp_path / name / f"{number}.png", shade=number)
    found = as_json(tmp_path)
    assert [(c["name"], c["pictures"]) for c in found["classes"]] == [("cat", 2), ("dog", 1)]
    assert ["cat", "0", "66.7%", "2"] in [x.split() for x in run([tmp_path]).stdout.splitlines()]


def test_many_findings_are_cut_short(tmp_path):
    voc(tmp_path, "a", [(f"c{i}", 1, 1, 60, 9) for i in range(12)])
    text = run([tmp_path]).stdout
    assert "boxes that leave their picture, which are clipped: 12" in text
    assert "... and 2 more: --all shows them" in text
    assert "--all" not in run([tmp_path, "--all"]).stdout


def test_a_sheet_shows_pictures_of_every_class(tmp_path):
    result = run([digits10_folder() / "images", "-o", tmp_path / "sheet.png", "--count", "5"])
    assert "drew" in result.stderr
    with image_module.open(tmp_path / "sheet.png") as image:
        assert image.width == 3 * 370 + 10
        assert len(image.convert("RGB").getcolors(1 << 22)) > 1000


def test_a_sheet_leaves_out_what_cannot_be_read(darknet, tmp_path):
    path = darknet / "images" / "2.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    run([darknet, "-o", tmp_path / "sheet.jpg"])
    assert (tmp_path / "sheet.jpg").stat().st_size > 1000


def test_rare_classes_have_their_share_of_a_sheet():
    from darkconv.dataset.sheet import choose

    def sample(number, name):
        return Sample.of(f"{number}.png", [Label(name, (0, 0, 1, 1))])

    samples = [sample(i, "common") for i in range(50)] + [sample(i, "rare") for i in range(50, 53)]
    dataset = Dataset(tuple(samples), ("common", "rare"), "")
    chosen = [one.names[0] for one in choose(dataset, 6)]
    assert sorted(chosen) == ["common"] * 3 + ["rare"] * 3
    assert len(choose(dataset, 100)) == 53
    assert choose(dataset, 6) == choose(dataset, 6)
    bare = Dataset(tuple(Sample.of(f"{i}.png") for i in range(10)), (), "")
    assert [one.image for one in choose(bare, 2)] == ["0.png", "5.png"]


def test_without_a_label_it_is_never_said_that_nothing_is_wrong(tmp_path):
    picture(tmp_path / "images" / "a.png")
    result = run([tmp_path])
    assert "nothing is wrong" not in result.stdout
    assert "no label was found: 1" in result.stdout
    assert f"{tmp_path}: pictures without labels" in result.stdout
    assert "  labels: nothing" in result.stdout
    (line,) = as_json(tmp_path)["findings"]["unlabelled"]
    assert line.startswith(f"{tmp_path}: looked for a .txt file beside each picture")
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text("")
    (line,) = as_json(tmp_path)["findings"]["unlabelled"]
    assert line == f"{tmp_path}: the files of labels in {tmp_path}/labels hold none"


def test_the_layout_is_told_with_its_names_labels_and_splits(tmp_path):
    pytest.importorskip("yaml")
    for split in ("train", "val"):
        picture(tmp_path / "images" / split / "a.png")
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "labels" / split / "a.txt").write_text("1 .5 .5 .5 .5")
    text = "path: .\ntrain: images/train\nval: images/val\nnames: [no, yes]\n"
    (tmp_path / "data.yaml").write_text(text)
    (found,) = as_json(tmp_path, "--split", "val")["layouts"]
    assert found == {
        "source": str(tmp_path / "data.yaml"),
        "form": "data.yaml, as Ultralytics has it",
        "names_from": [str(tmp_path / "data.yaml")],
        "labels_from": [str(tmp_path / "labels/val")],
        "numbered": True,
        "splits": ["train", "val"],
        "split": "val",
    }
    assert "  splits: train, val (read)" in run([tmp_path, "--split", "valid"]).stdout
    assert "its splits train, val are read as one" in run([tmp_path]).stdout
    assert as_json(tmp_path)["classes"][1]["name"] == "yes"


def test_progress_is_told(darknet):
    from darkconv.dataset import open_dataset

    told = []
    check(open_dataset(darknet), told.append)
    assert told == [1, 2, 3]


def test_usage(darknet):
    run([], status=2)
    assert "no such file or folder" in run(["nowhere"], status=1).stderr
    assert "expected a name that ends in" in run([darknet, "-o", "a.gif"], status=1).stderr


def test_names_that_the_user_gives_are_said_to_be_where_they_come_from(darknet, tmp_path):
    names = tmp_path / "other.names"
    names.write_text("a,b\nc=d\ne\n")
    for more in ([], ["--split", "train"]):
        (darknet / "train.txt").write_text("".join(f"images/{i}.jpg\n" for i in range(3)))
        (darknet / "x.data").write_text("classes = 3\ntrain = train.txt\n")
        text = run([darknet / "x.data", "--names", names, *more]).stdout
        assert f"names: {names}" in text


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("a=b,c=d", {"a": "b", "c": "d"}),
        (" a = b , c d = e ", {"a": "b", "c d": "e"}),
        ('"a,b"=c', {"a,b": "c"}),
        ("'a,b'=\"c,d\",e=f", {"a,b": "c,d", "e": "f"}),
        ('"a=b"=c', {"a=b": "c"}),
        ('"a ""b"""=c', {'a "b"': "c"}),
        ("a=b=c", {"a": "b=c"}),
        ("5\"=it's", {'5"': "it's"}),
    ],
)
def test_pairs_of_names_may_hold_every_sign(text, pairs):
    assert read_pairs(text, "--rename") == pairs


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "--rename wants A=B,C=D, not ''"),
        ("a", "--rename wants A=B,C=D, not 'a'"),
        ("=b", "--rename wants A=B,C=D, not '=b'"),
        ("a=b,", "--rename wants A=B,C=D, not 'a=b,'"),
        ("a=b,c", "not 'c' (names with , or = in quotes: \"a,b\"=c)"),
        ("a=b,a=c", "--rename has 'a' twice"),
    ],
)
def test_pairs_of_names_that_are_none_are_wrong_usage(text, message, darknet, tmp_path):
    words = [darknet, "--names", darknet / "set.names", "--to", "yolo", "-o", tmp_path / "new"]
    words = ["data", "convert", *map(str, words), "--rename", text]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "new").exists()
