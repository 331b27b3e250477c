"""Rules of single layouts: data.yaml's paths, difficult lists, encodings, EXIF, OIDv4's folders."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("yaml")
image_module = pytest.importorskip("PIL.Image")

from darkconv.core.names import Names  # noqa: E402
from darkconv.darknet.data import read_names  # noqa: E402
from darkconv.dataset import open_dataset  # noqa: E402
from darkconv.errors import DatasetError, MissingDependencyError  # noqa: E402

HALF = "0 0.5 0.5 0.5 0.5\n"
NAMES = "names: [cat, dog]\n"


@pytest.fixture
def write(tmp_path):
    """Write pictures of 40 by 20 pixels, and texts, below tmp_path."""

    def write_files(*pictures, **texts):
        for name in pictures:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            image_module.new("RGB", (40, 20)).save(path)
        for name, text in texts.get("texts", {}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path

    return write_files


def images(dataset, root):
    return [sample.image.relative_to(root).as_posix() for sample in dataset.samples]


# data.yaml


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train: images", ()),
        ("train: ./images", ()),
        ("train: ../images", ()),
        ("train: ../../images", ()),
        ("path: .\ntrain: images/", ()),
        ("path: ''\ntrain: images", ()),
        ("path: ../set\ntrain: images", ()),
        ("path: ../nowhere/set\ntrain: images", ("nowhere",)),
        ("path: /nowhere/set\ntrain: images", ("/nowhere/set",)),
        ("path: C:\\data\\set\ntrain: images", ("C:\\data\\set",)),
        ("train: /nowhere/set/images", ()),
        ("train: [images]", ()),
        ("train: list.txt", ()),
        ("train: [list.txt, images]", ()),
        ("train:\n- images\nval:\ntest: # optional", ()),
    ],
)
def test_paths_of_a_description(write, text, told):
    root = write(
        "set/images/a.jpg",
        texts={
            "set/labels/a.txt": HALF,
            "set/data.yaml": f"{text}\n{NAMES}",
            "set/list.txt": "./images/a.jpg\n",
        },
    )
    for source in ("set/data.yaml", "set"):
        found = open_dataset(root / source)
        assert images(found, root) == ["set/images/a.jpg"]
        assert found.samples[0].names == ("cat",)
        assert found.problems == ()
        assert len(found.notes) == len(told)
        assert all(word in note for word, note in zip(told, found.notes, strict=True))


def test_a_folder_above_that_is_there_counts(write):
    root = write(
        "images/a.jpg", "set/images/b.jpg", texts={"set/data.yaml": f"train: ../images\n{NAMES}"}
    )
    assert images(open_dataset(root / "set"), root) == ["images/a.jpg"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nc: 2", "expected train:, val: or test:, found none of them"),
        ("- a\n- b", "expected names:, train:, val:, found no keys"),
        ("train: images\nnames: {0: a, 2: b}", "names: expected the classes 0 to 1, found no 1"),
        ("train: images\nnames: [[a], b]", "names: expected a text for each class"),
        ("train: {a: b}", "train: expected a path, or a list of paths"),
        ("train: images\ntrain: images", "data.yaml:2: has a key twice: found train"),
        ("train: &x [images, *x]", "data.yaml:1: is YAML that is nested too deeply"),
        (
            "a: &a [x, x, x, x]\n"
            + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in pairwise("abcdefghijk"))
            + "train: images",
            "data.yaml:1: expected YAML of at most 250,000 values, its aliases written out, "
            "found more",
        ),
        ("train: [images", "data.yaml:1: is not well-formed YAML"),
        (
            "train: none\nnames: [a]",
            "no picture can be used\n  hint: .*no such folder or list: none",
        ),
        ("x: " + "y" * 300_000, "expected at most 250,000 characters, found 300,003"),
        ("x: " + "[" * 200_000, "data.yaml:1: is YAML that is nested too deeply"),
        ("\tx: y", "is not well-formed YAML"),
    ],
)
def test_descriptions_that_are_none(write, text, message):
    root = write("images/a.jpg", texts={"data.yaml": text})
    with pytest.raises(DatasetError, match=message):
        open_dataset(root / "data.yaml")


def test_words_of_yaml_stay_names(write):
    root = write(
        texts={"n.yaml": "names:\n  0: no\n  1: yes\n  2: 007\n  3: 1e3\n  4: null\n  5: ~\n"}
    )
    assert read_names(root / "n.yaml") == Names(["no", "yes", "007", "1e3", "null", "~"])
    (root / "k.yaml").write_bytes(b"names: [caf\xe9, b]\n")
    assert read_names(root / "k.yaml") == Names(["caf\udce9", "b"])
    assert read_names(root / "k.yaml", encoding="latin-1") == Names(["caf\u00e9", "b"])


def test_another_count_of_classes_is_told(write):
    root = write("images/a.jpg", texts={"data.yaml": f"train: images\nnc: 3\n{NAMES}"})
    (problem,) = open_dataset(root).problems
    assert problem.endswith("data.yaml: nc: expected 2, as many as there are names, found 3")


def test_keypoints_follow_the_box(write):
    line = "1 0.5 0.5 0.5 0.5 " + " ".join(["0.1 0.2 2"] * 4)
    texts = {"labels/a.txt": line, "data.yaml": f"train: images\n{NAMES}kpt_shape: [4, 3]\n"}
    found = open_dataset(write("images/a.jpg", texts=texts))
    assert found.samples[0].boxes.tolist() == [[10, 5, 30, 15]]
    assert list(found.changes) == ["keypoints"]


def test_missing_pyyaml_is_told(write, monkeypatch):
    root = write("images/a.jpg", texts={"data.yaml": f"train: images\n{NAMES}"})
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    message = r"reading YAML needs yaml, which is not installed\n  hint: .*images"
    with pytest.raises(MissingDependencyError, match=message):
        open_dataset(root)


# Darknet


def test_the_list_of_difficult_labels_is_heeded(write):
    root = write(
        "images/a.jpg",
        "images/b.jpg",
        texts={
            "labels/a.txt": HALF,
            "hard/labels/a.txt": "1 0.25 0.5 0.5 0.5\n" + HALF,
            "valid.txt": "images/none.jpg\nimages/a.jpg\nimages/b.jpg\n",
            "hard.txt": "hard/images/none.jpg\nhard/images/a.jpg\nhard/images/b.jpg\n",
            "x.names": "cat\ndog\n",
            "x.data": "valid=valid.txt\ntrain=valid.txt\nnames=x.names\ndifficult=hard.txt\n",
        },
    )
    sample = open_dataset(root / "x.data").samples[0]
    assert sample.names == ("cat", "dog")
    assert sample.difficult.tolist() == [False, True]
    assert open_dataset(root / "x.data", split="train").samples[0].names == ("cat",)
    (root / "hard.txt").unlink()
    with pytest.raises(DatasetError, match="x.data: difficult: no such list: hard.txt"):
        open_dataset(root / "x.data")


def test_two_paths_never_end_at_the_same_moved_picture(write):
    root = write("a.jpg", texts={"l.txt": "/x/one/a.jpg\n/x/two/a.jpg\n"})
    found = open_dataset(root / "l.txt")
    assert images(found, root) == ["a.jpg"]
    assert len(found.changes["moved"]) == 1
    assert "l.txt:2: no such picture: /x/two/a.jpg" in found.problems[0]


def test_several_names_files_are_told(write):
    root = write("a.jpg", texts={"a.txt": HALF, "x.names": "cat", "y.names": "dog"})
    found = open_dataset(root)
    assert found.samples[0].names == ("0",)
    assert (
        "has several files of class names (x.names, y.names), of which none is taken"
        in found.notes[0]
    )


# VOC


def voc(name, encoding=None):
    declared = f"<?xml version='1.0' encoding='{encoding}'?>" if encoding else ""
    box = "<xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>12</ymax>"
    thing = f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"
    return f"{declared}<annotation>{thing}</annotation>".encode(encoding or "utf-8")


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("caf\u00e9", "iso-8859-1"),
        ("\u043a\u043e\u0442", "windows-1251"),
        ("\u732b", "gb2312"),
        ("\u732b", "Shift_JIS"),
        ("\u732b", "utf-16"),
        ("\u732b", None),
    ],
)
def test_annotations_are_read_in_the_encoding_that_they_declare(write, name, encoding):
    root = write("a.jpg", texts={"a.xml": voc(name, encoding)})
    assert open_dataset(root).names == (name,)


@pytest.mark.parametrize("encoding", ["zip", "rot13", "idna", "punycode", "unicode_escape", "nix"])
def test_other_codecs_are_refused(write, encoding):
    text = voc("cat").decode()
    root = write("a.jpg", texts={"a.xml": f"<?xml version='1.0' encoding='{encoding}'?>{text}"})
    with pytest.raises(DatasetError, match=f"expected a known encoding, found {encoding}"):
        open_dataset(root / "a.xml")


@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        (5, [3, 2, 7, 5]),
        (6, [13, 2, 17, 5]),
        (7, [13, 35, 17, 38]),
        (8, [3, 35, 7, 38]),
    ],
)
def test_boxes_are_turned_with_a_picture_that_exif_turns(write, orientation, expected):
    from darkconv.pictures.picture import read_picture

    box = "<xmin>2</xmin><ymin>3</ymin><xmax>5</xmax><ymax>7</ymax>"
    size = "<size><width>40</width><height>20</height></size>"
    body = f"<annotation>{size}<object><name>c</name><bndbox>{box}</bndbox></object></annotation>"
    root = write(texts={"a.xml": body})
    levels = np.zeros((20, 40, 3), np.uint8)
    levels[3:7, 2:5] = 255
    exif = image_module.Exif()
    exif[0x0112] = orientation
    image_module.fromarray(levels).save(root / "a.png", exif=exif)
    found = open_dataset(root / "a.xml")
    assert found.samples[0].boxes.tolist() == [expected]
    assert list(found.changes) == ["turned"]
    x0, y0, x1, y1 = expected
    upright = np.asarray(read_picture(root / "a.png", channels=3))
    upright = upright if upright.shape[0] == 3 else upright.transpose(2, 0, 1)
    assert (upright[:, y0:y1, x0:x1] > 0).all()
    assert (upright > 0).sum() == 3 * 12


# COCO and OIDv4


def test_names_of_label_studio_and_the_supercategory(write):
    content = {
        "images": [{"id": 0, "file_name": "/data/local-files/?d=here/a.jpg"}],
        "categories": [
            {"id": 0, "name": "things", "supercategory": "none"},
            {"id": 1, "name": "cat", "supercategory": "things"},
        ],
        "annotations": [{"image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4]}],
    }
    root = write("images/a.jpg", texts={"r.json": json.dumps(content)})
    assert open_dataset(root / "r.json").names == ("cat",)
    content["annotations"][0]["category_id"] = 0
    (root / "r.json").write_text(json.dumps(content))
    assert open_dataset(root / "r.json").names == ("things", "cat")


def test_pictures_in_the_folders_of_several_classes_are_one(write):
    root = write(
        "OID/Dataset/train/Cat/a.jpg",
        "OID/Dataset/train/Alarm clock/a.jpg",
        "OID/Dataset/validation/Cat/b.jpg",
        texts={
            "OID/Dataset/train/Cat/Label/a.txt": "Cat 1 2 9 9\n",
            "OID/Dataset/train/Alarm clock/Label/a.txt": "Alarm clock 2.5 2 9 9.5\nCat 1 2 9 9\n",
            "OID/Dataset/validation/Cat/Label/b.txt": "Cat 1 2 9\n",
        },
    )
    found = open_dataset(root, split="train")
    assert [sorted(sample.names) for sample in found.samples] == [["Alarm clock", "Cat"]]
    assert len(found.changes["merged"]) == 1
    (problem,) = open_dataset(root, split="val").problems
    assert problem.endswith(
        "b.txt:1: expected the name of a class and four numbers, found Cat 1 2 9"
    )


def test_two_packed_folders_of_labels_are_not_mixed(write):
    root = write("images/a.jpg", texts={"labels_one/a.txt": HALF, "labels_two/a.txt": HALF})
    assert not open_dataset(root).labelled
    shutil.rmtree(root / "labels_two")
    assert open_dataset(root).labelled
