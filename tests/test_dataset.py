"""Data sets in every form; what is skipped, and the words for it."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkconv.core.names import name_problem
from darkconv.dataset import Dataset, Sample, only_classes, open_dataset
from darkconv.dataset.check import check as check_dataset
from darkconv.dataset.darknet import parse_label
from darkconv.dataset.label import (
    Label,
    checked_label,
    class_name,
    parse_name,
    problem,
    shown,
)
from darkconv.dataset.lines import parse_box, split_boxes, split_line
from darkconv.dataset.paths import Bounds, is_picture, picture_size, read_text, walk_files
from darkconv.dataset.voc import parse_size, parse_xml
from darkconv.errors import DatasetError, MissingDependencyError

SIZE = (200, 100)
PICTURE = b"P6 200 100 255\n" + bytes(200 * 100 * 3)  # Pillow goes by content, not by suffix
HALF = "0 0.5 0.5 0.5 0.5\n"


@pytest.fixture
def write(tmp_path):
    """Write files below tmp_path; a picture where no text is given."""

    def write_files(*pictures, **texts):
        for name in pictures:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(PICTURE)
        for name, text in texts.get("texts", {}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return tmp_path

    return write_files


@pytest.fixture
def _pillow():
    pytest.importorskip("PIL")


pillow = pytest.mark.usefixtures("_pillow")


def images(dataset, root):
    return [os.path.relpath(sample.image, root) for sample in dataset.samples]


def problems(dataset, root):
    return [line.replace(f"{root}/", "") for line in dataset.problems]


def xml(*objects, size="<width>200</width><height>100</height>", filename="x.jpg"):
    body = "\n".join(objects)
    return (
        f"<annotation>\n<filename>{filename}</filename>\n<size>{size}</size>\n{body}\n</annotation>"
    )


def thing(name="cat", box=(10, 20, 30, 60), extra=""):
    tags = "".join(
        f"<{tag}>{value}</{tag}>"
        for tag, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=False)
    )
    return f"<object><name>{name}</name>{extra}<bndbox>{tags}</bndbox></object>"


def coco(**changes):
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 200, "height": 100}],
        "categories": [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}],
        "annotations": [{"image_id": 1, "category_id": 3, "bbox": [10, 20, 20, 40]}],
    }
    return json.dumps(content | changes)


def sample(*names):
    return Sample.of("x.jpg", [Label(name, (0, 0, 1, 1)) for name in names])


# Sample and Dataset


def test_a_sample_holds_boxes_names_and_marks():
    labels = [Label("cat", (1, 2, 3, 4)), Label("dog", (5, 6, 7, 8), difficult=True)]
    found = Sample.of("x.jpg", labels, SIZE)
    assert found.boxes.dtype == np.float64
    assert found.boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert found.names == ("cat", "dog")
    assert found.difficult.tolist() == [False, True]
    assert found.size == SIZE


def test_a_sample_without_boxes_keeps_their_shapes():
    found = Sample.of("x.jpg")
    assert found.boxes.shape == (0, 4)
    assert found.difficult.shape == (0,)
    assert found.keep_classes({"cat"}).boxes.shape == (0, 4)


def test_keep_classes_drops_boxes_but_no_pictures():
    dataset = Dataset((sample("cat", "dog", "cat"), sample("dog"), sample()), ("cat", "dog"), "x")
    kept = dataset.keep_classes(("bird", "cat"))
    assert [s.names for s in kept.samples] == [("cat", "cat"), (), ()]
    assert [len(s.boxes) for s in kept.samples] == [2, 0, 0]
    assert kept.names == ("bird", "cat")
    assert len(kept) == 3


def test_renaming_can_merge_classes():
    dataset = Dataset((sample("car", "cat", "bus"),), ("bus", "car", "cat"), "x")
    found = dataset.renamed({"car": "vehicle", "bus": "vehicle", "none": "y"})
    assert found.samples[0].names == ("vehicle", "cat", "vehicle")
    assert found.names == ("vehicle", "cat")


def test_labelled_is_about_boxes():
    assert Dataset((sample(), sample("a")), ("a",), "x").labelled
    assert not Dataset((sample(),), ("a",), "x").labelled


@pytest.mark.parametrize(
    ("names", "stays"),
    [
        (("cat",), True),
        (("cat", "cat", "dog"), True),
        (("cat", "bird"), False),
        (("cat", "unheard-of"), True),
        (("unheard-of",), False),
        ((), False),
    ],
    ids=["wanted", "all wanted", "known other", "unknown other", "only unknown", "no box"],
)
def test_only_classes_counts_what_the_model_knows(names, stays):
    dataset = Dataset((sample(*names),), ("bird", "cat", "dog", "unheard-of"), "x")
    found = only_classes(dataset, ["cat", "dog"], ["bird", "cat", "dog"])
    assert [s.names for s in found.samples] == ([names] if stays else [])
    assert found.names == dataset.names


def test_without_known_classes_every_class_counts():
    dataset = Dataset((sample("cat", "unheard-of"), sample("cat")), ("cat", "unheard-of"), "x")
    assert [s.names for s in dataset.only(["cat"]).samples] == [("cat",)]


# Darknet


@pillow
def test_darknet_labels_lie_in_labels_or_beside(write):
    root = write(
        "set/images/deep/a.jpg",
        "set/images/b.PNG",
        "set/c.jpeg",
        "set/JPEGImages/d.jpg",
        texts={
            "set/labels/deep/a.txt": HALF,
            "set/images/deep/a.txt": "1 0.5 0.5 1 1\n",  # C would not look here
            "set/images/b.txt": HALF,
            "set/c.txt": "1 0.25 0.5 0.5 1",
            "set/labels/d.txt": "",
            "set/.hidden.jpg": "",
            "set/.folder/x.jpg": "",
        },
    )
    found = open_dataset(root / "set", names=["cat", "dog"])
    assert images(found, root / "set") == [
        "JPEGImages/d.jpg",
        "c.jpeg",
        "images/b.PNG",
        "images/deep/a.jpg",
    ]
    assert [s.names for s in found.samples] == [(), ("dog",), ("cat",), ("cat",)]
    assert found.samples[1].boxes.tolist() == [[0, 0, 100, 100]]
    assert found.samples[3].boxes.tolist() == [[50, 25, 150, 75]]
    assert [s.size for s in found.samples] == [None, SIZE, SIZE, SIZE]
    assert found.names == ("cat", "dog")
    assert found.problems == ()
    assert found.source == str(root / "set")


@pillow
def test_labels_are_found_from_inside_the_folder_of_pictures(write, monkeypatch):
    root = write("images/a.jpg", texts={"labels/a.txt": HALF})
    monkeypatch.chdir(root / "images")
    for source in (".", "a.jpg", "*.jpg"):
        assert open_dataset(source).labelled


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x", "expected a class and four numbers, found x"),
        ("0 0.5 0.5 0.5", "expected a class and four numbers, found 0 0.5 0.5 0.5"),
        ("", "expected a class and four numbers, found an empty line"),
        ("0 nan 0.5 0.5 0.5", "expected finite numbers, found 0 nan 0.5 0.5 0.5"),
        ("0 0.5 0.5 inf 0.5", "expected finite numbers, found 0 0.5 0.5 inf 0.5"),
        ("2 0.5 0.5 0.5 0.5", "expected a class from 0 to 1, found 2"),
        ("-1 0.5 0.5 0.5 0.5", "expected a class from 0 to 1, found -1"),
        ("0.5 0.5 0.5 0.5 0.5", "expected a class from 0 to 1, found 0.5"),
        ("0 0.5 0.5 0 0.5", "expected a width and a height above 0, found 0 0.5"),
        ("0 0.5 0.5 0.5 -0.5", "expected a width and a height above 0, found 0.5 -0.5"),
        ("0 0.5 0.5 1e-320 0.5", "expected a box of some width and height, found 0.5,0.2,0.5,0.8"),
        ("0 1 1 0 0 1", "expected a class and four numbers, found 0 1 1 0 0 1"),
        ("0 1 1 0 0 1 nan", "expected finite numbers, found 0 1 1 0 0 1 nan"),
    ],
)
@pillow
def test_bad_label_lines_are_skipped_and_told(write, line, message):
    root = write("a.jpg", texts={"a.txt": f"{HALF}{line}\r\n{HALF}\n\n"})
    found = open_dataset(root / "a.jpg", names=["cat", "dog"])
    assert found.samples[0].names == ("cat", "cat")
    assert len(found.problems) == 1
    assert problems(found, root)[0].startswith(f"a.txt:2: {message}")


@pillow
def test_a_pixel_beyond_the_edge_is_rounding(write):
    root = write("a.jpg", texts={"a.txt": "0 0.5 0.5 1.009 1.019\n"})
    found = open_dataset(root / "a.jpg")
    np.testing.assert_allclose(found.samples[0].boxes, [[-0.9, -0.95, 200.9, 100.95]])
    assert found.problems == ()
    assert found.changes == {}


@pytest.mark.parametrize(
    ("line", "box", "kind", "found"),
    [
        ("0 0.5 0.5 1.2 0.5", (0, 25, 200, 75), "outside", "cat -20,25,220,75"),
        ("0 0.5 1 0.5 0.4", (50, 80, 150, 100), "outside", "cat 50,80,150,120"),
        ("0 1 0.5 0.5 1", (150, 0, 200, 100), "outside", "cat 150,0,250,100"),
        ("0 0.5 1.1 0.5 0.5", None, "beyond", "cat 50,85,150,135"),
        ("0 100 50 40 40", None, "beyond", "cat 16000,3000,24000,7000"),
        ("0 1e308 0.5 1e308 1", None, "beyond", "cat inf,0,inf,100"),
    ],
)
@pillow
def test_boxes_that_leave_the_picture_are_clipped_unless_their_centre_does(
    write, line, box, kind, found
):
    root = write("a.jpg", texts={"a.txt": f"{HALF}{line}\n"})
    dataset = open_dataset(root / "a.jpg", names=["cat", "dog"])
    assert dataset.samples[0].boxes[1:].tolist() == ([list(box)] if box else [])
    place = root / "a.txt"
    assert dataset.changes == {kind: (f"{place}:2: expected a box inside 200x100, found {found}",)}
    assert dataset.problems == ()


def boxes_at_the_edge(form):
    """The same three boxes in each form: one inside, one that is clipped, one left out."""
    boxes = [(10, 20, 30, 60), (150, 50, 210, 90), (190, 50, 230, 90)]
    if form == "voc":
        return {"a.xml": xml(*(thing(box=box) for box in boxes))}, "a.xml"
    if form == "coco":
        rows = [[x0, y0, x1 - x0, y1 - y0] for x0, y0, x1, y1 in boxes]
        entries = [{"image_id": 1, "category_id": 3, "bbox": row} for row in rows]
        return {"c.json": coco(annotations=entries)}, "c.json"
    if form == "list":
        return {
            "l.txt": f"a.jpg {' '.join(','.join(map(str, b)) + ',cat' for b in boxes)}"
        }, "l.txt"
    lines = [
        f"0 {(a + c) / 400} {(b + d) / 200} {(c - a) / 200} {(d - b) / 100}" for a, b, c, d in boxes
    ]
    return {"a.txt": "\n".join(lines), "x.names": "cat"}, "a.jpg"


@pytest.mark.parametrize("form", ["darknet", "voc", "coco", "list"])
@pillow
def test_every_form_clips_boxes_in_the_same_way(write, form):
    texts, source = boxes_at_the_edge(form)
    found = open_dataset(write("a.jpg", texts=texts) / source)
    np.testing.assert_allclose(found.samples[0].boxes, [[10, 20, 30, 60], [150, 50, 200, 90]])
    assert found.samples[0].names == ("cat", "cat")
    assert {kind: len(lines) for kind, lines in found.changes.items()} == {
        "outside": 1,
        "beyond": 1,
    }


@pillow
def test_a_polygon_is_the_box_around_it(write):
    root = write("a.jpg", texts={"a.txt": "0 0.1 0.2 0.5 0.25 0.3 0.75\n" + HALF})
    found = open_dataset(root / "a.jpg")
    np.testing.assert_allclose(found.samples[0].boxes[0], [20, 20, 100, 75])
    assert found.changes == {"polygons": (f"{root / 'a.txt'}:1",)}


@pillow
def test_without_names_classes_are_named_by_index_and_sorted_by_value(write):
    rest = " 0.5 0.5 0.5 0.5\n"
    root = write("a.jpg", texts={"a.txt": f"10{rest}2{rest}2.0{rest}-1{rest}"})
    found = open_dataset(root / "a.jpg")
    assert found.samples[0].names == ("10", "2", "2")
    assert found.names == ("2", "10")
    assert problems(found, root) == ["a.txt:4: expected a class from 0, found -1"]


@pytest.mark.parametrize("place", ["set/x.names", "set/images/classes.txt"])
@pillow
def test_the_one_names_file_nearby_gives_the_names(write, place):
    root = write("set/images/a.jpg", texts={"set/labels/a.txt": HALF, place: "cat\ndog\n"})
    for source in ("images", "images/a.jpg", "images/*.jpg"):
        found = open_dataset(str(root / "set" / source))
        assert found.names == ("cat", "dog")
        assert found.samples[0].names == ("cat",)


@pillow
def test_of_two_names_files_none_is_taken(write):
    root = write("a.jpg", texts={"a.txt": HALF, "x.names": "cat", "y.names": "dog"})
    assert open_dataset(root / "a.jpg").names == ("0",)
    assert open_dataset(root / "a.jpg", names=root / "y.names").names == ("dog",)


@pillow
def test_a_broken_picture_with_labels_is_skipped(write):
    root = write("b.jpg", texts={"a.jpg": "no picture", "a.txt": HALF})
    found = open_dataset(root)
    assert images(found, root) == ["b.jpg"]
    assert problems(found, root) == ["a.jpg: is a text file, not a picture"]


@pillow
def test_pictures_without_labels_among_labelled_ones_are_told(write):
    root = write("a.jpg", "b.jpg", "c.jpg", texts={"b.txt": HALF})
    found = open_dataset(root)
    assert [s.names for s in found.samples] == [(), ("0",), ()]
    assert found.problems == (
        f"{root}: no label file for 2 of 3 pictures, which count as empty, "
        f"the first is {root / 'a.jpg'}",
    )


@pytest.mark.parametrize("kind", ["folder", "circle", "nothing"])
def test_what_is_no_label_file_leaves_its_picture_out_and_is_told(write, kind):
    root = write("images/a.jpg", "images/b.jpg", texts={"labels/b.txt": "0 .5 .5 .5 .5\n"})
    path = root / "labels" / "a.txt"
    if kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path if kind == "circle" else root / "gone.txt")
    found = open_dataset(root)
    assert images(found, root) == ["images/b.jpg"]
    (line,) = problems(found, root)
    assert line.startswith("labels/a.txt: cannot read: ")
    (root / "images" / "a.txt").write_text("0 .5 .5 .5 .5\n")
    assert len(open_dataset(root)) == 2


def test_pictures_without_labels_are_a_data_set_too(write):
    root = write("a.jpg", "b/c.bmp")
    found = open_dataset(root)
    assert images(found, root) == ["a.jpg", "b/c.bmp"]
    assert not found.labelled
    assert found.problems == ()


@pillow
def test_a_turned_picture_has_the_size_that_it_is_read_with(tmp_path):
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", SIZE).save(tmp_path / "a.jpg", exif=exif)
    (tmp_path / "a.txt").write_text("0 0.5 0.5 1 1")
    found = open_dataset(tmp_path)
    assert found.samples[0].size == (100, 200)
    assert found.samples[0].boxes.tolist() == [[0, 0, 100, 200]]


def test_missing_pillow_is_told(write, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    root = write("a.jpg", texts={"a.txt": HALF})
    with pytest.raises(MissingDependencyError, match=r"reading pictures needs PIL"):
        open_dataset(root)


# lists and .data files


def test_paths_of_a_list_are_relative_to_it_or_to_the_working_folder(write, monkeypatch):
    root = write(
        "set/a b.jpg", "set/sub/c.jpg", "d.jpg", texts={"set/l.txt": "a b.jpg\n\nsub\\c.jpg\nd.jpg"}
    )
    monkeypatch.chdir(root)
    found = open_dataset("set/l.txt")
    assert images(found, root) == ["set/a b.jpg", "set/sub/c.jpg", "d.jpg"]
    assert found.problems == ()


def test_missing_pictures_of_a_list_are_told(write):
    root = write("a.jpg", texts={"l.list": f"a.jpg\nnone.jpg\n{'x' * 300}.jpg\nb\0.jpg\n\x1b[1m\n"})
    found = open_dataset(root / "l.list")
    assert images(found, root) == ["a.jpg"]
    assert problems(found, root) == [
        "l.list:2: no such picture: none.jpg",
        f"l.list:3: no such picture: {'x' * 57}...",
        r"l.list:4: no such picture: b\x00.jpg",
        r"l.list:5: no such picture: \x1b[1m",
    ]


@pytest.mark.parametrize("absolute", [False, True])
def test_paths_that_lead_outside_need_leave(write, absolute):
    root = write("set/sub/a.jpg", "b.jpg")
    name = str(root / "b.jpg") if absolute else "../../b.jpg"
    write(texts={"set/sub/l.txt": f"a.jpg\n{name}\n"})
    found = open_dataset(root / "set/sub/l.txt")
    assert images(found, root) == ["set/sub/a.jpg"]
    assert found.problems == (
        f"{root}/set/sub/l.txt:2: {shown(name)} leads outside {root}/set, "
        "which needs --outside (in Python outside=True)",
    )
    assert len(open_dataset(root / "set/sub/l.txt", outside=True)) == 2


def test_links_that_lead_outside_need_leave(write):
    root = write("set/sub/a.jpg", "b.jpg", texts={"set/sub/l.txt": "a.jpg\nlink.jpg\n"})
    (root / "set/sub/link.jpg").symlink_to(root / "b.jpg")
    found = open_dataset(root / "set/sub/l.txt")
    assert images(found, root) == ["set/sub/a.jpg"]
    assert "link.jpg leads outside" in found.problems[0]


def test_the_folder_above_may_be_used_but_not_the_root(tmp_path):
    bounds = Bounds.around(tmp_path / "a/l.txt", outside=False)
    assert bounds.hold(tmp_path / "b/x.jpg")
    assert not Bounds.around(Path("/data/l.txt"), outside=False).hold(tmp_path)


@pytest.fixture
def data_file(write):
    def write_data(text, **texts):
        return write(
            "data/a.jpg",
            "data/b.jpg",
            texts={
                "data/train.txt": "data/a.jpg\ndata/b.jpg\n",
                "data/val.txt": "data/b.jpg\n",
                "data/b.txt": "1 0.5 0.5 0.5 0.5\n",
                "data/x.names": "cat\ndog\n",
                "cfg/x.data": text,
            },
        )

    return write_data


@pytest.mark.parametrize(("split", "count"), [(None, 1), ("valid", 1), ("val", 1), ("train", 2)])
@pillow
def test_a_data_file_names_lists_and_classes(data_file, split, count):
    root = data_file("train = data/train.txt\nvalid = data/val.txt\nnames = data/x.names\n")
    found = open_dataset(root / "cfg/x.data", split=split)
    assert len(found) == count
    assert found.names == ("cat", "dog")
    assert found.samples[-1].names == ("dog",)
    assert found.source == str(root / "cfg/x.data")


@pillow
def test_a_data_file_without_valid_gives_train_and_says_so(data_file):
    root = data_file("classes=2\ntrain=../data/train.txt")
    found = open_dataset(root / "cfg/x.data")
    assert len(found) == 2
    assert found.names == ("0", "1")
    assert found.notes == (
        f"{root}/cfg/x.data: has no valid =, so the list of its train = is read",
    )
    assert found.layouts[0].split == "train"


def test_names_that_cannot_be_read_do_not_number_the_classes(data_file):
    root = data_file("classes=2\ntrain=../data/train.txt\nnames=none.names")
    with pytest.raises(
        DatasetError, match=r"x.data: names: no such file: none.names\n  hint: --da"
    ):
        open_dataset(root / "cfg/x.data")
    assert len(open_dataset(root / "cfg/x.data", names=["cat", "dog"])) == 2
    (root / "data/x.names").write_bytes(bytes(50))
    for source in ("data", "data/b.jpg", "data/train.txt"):
        with pytest.raises(DatasetError, match="x.names: is a binary file, not text"):
            open_dataset(root / source)


@pillow
def test_a_data_file_may_leave_classes_without_names(data_file):
    root = data_file("train=data/train.txt")
    (root / "data/x.names").unlink()
    assert open_dataset(root / "cfg/x.data").names == ("1",)


@pytest.mark.parametrize(
    ("text", "split", "message"),
    [
        ("classes=2", None, "x.data: expected valid or train =, found neither"),
        ("valid=data/val.txt", "train", "x.data: expected one of the splits valid, found train"),
        ("valid=data/x.txt\ntrain=data/train.txt", None, "valid: no such list: data/x.txt"),
        ("train=/etc/passwd", None, "x.data: train: /etc/passwd leads outside"),
    ],
)
def test_a_data_file_without_a_usable_list_is_refused(data_file, text, split, message):
    with pytest.raises(DatasetError, match=message):
        open_dataset(data_file(text) / "cfg/x.data", split=split)


# lists with boxes


def test_lists_with_boxes_are_told_by_their_commas(write):
    root = write(
        "my cat.jpg",
        "b.jpg",
        "c.jpg",
        texts={
            "l.txt": "my cat.jpg 1,2,3.5,4,1 5,6,7,8,dining table 0,0,9,9,cow\nb.jpg\n\n"
            "c.jpg 1,2,3,4,0\nc.jpg 5,6,7,8,0\n"
        },
    )
    found = open_dataset(root / "l.txt", names=["dining table", "cat"])
    assert images(found, root) == ["my cat.jpg", "b.jpg", "c.jpg"]
    assert found.samples[0].names == ("cat", "dining table", "cow")
    assert found.samples[0].boxes[0].tolist() == [1, 2, 3.5, 4]
    assert found.samples[2].names == ("dining table", "dining table")
    assert found.names == ("dining table", "cat", "cow")
    assert found.problems == ()


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ("1,2,3,4", "expected xmin,ymin,xmax,ymax,label, found 1,2,3,4"),
        ("1,2,x,4,0", "expected xmin,ymin,xmax,ymax,label, found 1,2,x,4,0"),
        ("1,2,3,4,0 stray", "expected xmin,ymin,xmax,ymax,label, found 1,2,3,4,0 stray"),
        ("stray", "expected xmin,ymin,xmax,ymax,label, found stray"),
        ("1,2,3,4,", "expected a class name, found nothing"),
        ("1,2,3,4,2", "expected a class from 0 to 1, found 2"),
        ("1,2,3,4,-1", "expected a class from 0 to 1, found -1"),
        (f"1,2,3,4,{'9' * 500}", "expected a class from 0 to 1, found inf"),
        ("1,2,nan,4,0", "expected finite numbers, found 1,2,nan,4"),
        ("3,2,1,4,0", "expected a box of some width and height, found 3,2,1,4"),
    ],
)
def test_bad_boxes_of_a_list_are_skipped_and_told(write, boxes, message):
    root = write("a.jpg", texts={"l.txt": f"none.jpg 1,2,3,4,0\na.jpg {boxes}\na.jpg 1,2,3,4,0\n"})
    found = open_dataset(root / "l.txt", names=["cat", "dog"])
    assert [s.names for s in found.samples] == [("cat",)]
    assert problems(found, root) == ["l.txt:1: no such picture: none.jpg", f"l.txt:2: {message}"]


def test_a_list_with_boxes_may_not_lead_outside(write):
    root = write(
        "b.jpg", "s/t/a.jpg", texts={"s/t/l.txt": "a.jpg 1,2,3,4,x\n../../b.jpg 1,2,3,4,x"}
    )
    found = open_dataset(root / "s/t/l.txt")
    assert images(found, root) == ["s/t/a.jpg"]
    assert "../../b.jpg leads outside" in found.problems[0]


def test_a_line_is_split_behind_the_picture():
    assert split_line("a.b/my x.JPG 1,2,3,4,5 6") == ("a.b/my x.JPG", "1,2,3,4,5 6")
    assert split_line("x.jpgs/y") == ("x.jpgs/y", "")
    assert split_boxes("1,2 a b 3,4") == ["1,2 a b", "3,4"]


# VOC


@pytest.mark.parametrize(
    ("annotations", "pictures"), [("Annotations", "JPEGImages"), ("annotations", "images")]
)
def test_voc_folders(write, annotations, pictures):
    root = write(
        f"set/{pictures}/a.jpg",
        f"set/{pictures}/b.png",
        f"set/{pictures}/c.jpg",
        texts={
            f"set/{annotations}/a.xml": xml(
                thing("dog", extra="<difficult>1</difficult>"),
                thing("cat", (0.5, 0, 201, 100), extra="<part><name>head</name></part>"),
            ),
            f"set/{annotations}/b.xml": xml(size="<width>0</width><height>0</height>"),
        },
    )
    found = open_dataset(root / "set")
    assert images(found, root / "set") == [f"{pictures}/a.jpg", f"{pictures}/b.png"]
    first, second = found.samples
    assert first.names == ("dog", "cat")
    assert first.boxes.tolist() == [[10, 20, 30, 60], [0.5, 0, 201, 100]]
    assert first.difficult.tolist() == [True, False]
    assert first.size == SIZE
    assert second.names == ()
    assert second.size is None
    assert found.names == ("cat", "dog")
    assert open_dataset(root / "set", names=["dog", "bird"]).names == ("dog", "bird", "cat")
    assert problems(found, root) == [
        f"set/{pictures}: no annotation for 1 of 3 pictures, which are left out, "
        f"the first is set/{pictures}/c.jpg"
    ]


def test_voc_files_may_lie_beside_the_pictures(write):
    root = write("a.jpg", "b.jpg", texts={"a.xml": xml(thing()), "b.xml": xml(thing("dog"))})
    assert open_dataset(root).names == ("cat", "dog")
    single = open_dataset(root / "b.xml")
    assert images(single, root) == ["b.jpg"]
    assert single.names == ("dog",)


def test_a_single_voc_file_finds_its_picture(write):
    root = write("s/JPEGImages/a.jpg", "s/JPEGImages/b.jpg", texts={"s/Annotations/a.xml": xml()})
    assert images(open_dataset(root / "s/Annotations/a.xml"), root) == ["s/JPEGImages/a.jpg"]


def test_the_filename_counts_only_where_no_picture_has_the_same_name(write):
    root = write(
        "s/images/a.jpg",
        "s/images/x.jpg",
        "out.jpg",
        texts={
            "s/annotations/a.xml": xml(),
            "s/annotations/b.xml": xml(),
            "s/annotations/c.xml": xml(filename="../../out.jpg"),
            "s/annotations/d.xml": xml(filename="none.jpg"),
            "s/annotations/e.xml": xml(filename=""),
        },
    )
    found = open_dataset(root / "s")
    assert images(found, root) == ["s/images/a.jpg", "s/images/x.jpg"]
    outside = "leads outside {}, which needs --outside (in Python outside=True)"
    assert found.problems == (
        f"{root}/s/annotations/c.xml: ../../out.jpg {outside.format(root / 's')}",
        f"{root}/s/annotations/d.xml: no such picture: none.jpg",
        f"{root}/s/annotations/e.xml: no such picture: e.jpg",
    )
    assert len(open_dataset(root / "s", outside=True)) == 3


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (thing(box=(5, 5, 5, 9)), "cat: expected a box of some width and height, found 5,5,5,9"),
        (thing(box=(9, 5, 5, 9)), "cat: expected a box of some width and height, found 9,5,5,9"),
        (thing(box=(5, 5, "nan", 9)), "cat: expected finite numbers, found 5,5,nan,9"),
        (thing(box=(5, 5, 9)), "cat: expected xmin, ymin, xmax and ymax, found 5,5,9,nothing"),
        (thing(box=(5, "a", 9, 9)), "cat: expected xmin, ymin, xmax and ymax, found 5,a,9,9"),
        (thing(name=" "), "expected a class name, found nothing"),
        ("<object/>", "expected a class name, found nothing"),
    ],
)
def test_bad_objects_are_skipped_and_told(write, body, message):
    root = write("a.jpg", texts={"a.xml": xml(thing(), body)})
    found = open_dataset(root)
    assert found.samples[0].names == ("cat",)
    assert problems(found, root) == [f"a.xml:5: {message}"]


def test_without_certain_lines_only_the_file_is_told(write):
    root = write("a.jpg", texts={"a.xml": xml("<!-- <object> -->", thing(box=(5, 5, 5, 9)))})
    found = open_dataset(root)
    assert problems(found, root)[0].startswith("a.xml: cat: expected a box of some width")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", "is not well-formed XML: no element found: line 1, column 12"),
        (
            "<!DOCTYPE a [<!ENTITY x 'y'>]><a/>",
            "is refused: annotations with <!DOCTYPE may do harm",
        ),
        ("<a/><!ENTITY", "is refused: annotations with <!ENTITY may do harm"),
        ("<a>\0</a>", "is not well-formed XML: not well-formed (invalid token): line 1, column 3"),
        ("", "is not well-formed XML: no element found: line 1, column 0"),
    ],
)
def test_broken_or_dangerous_xml_is_skipped_and_told(write, text, message):
    root = write("a.jpg", "b.jpg", texts={"a.xml": xml(thing()), "b.xml": text})
    found = open_dataset(root)
    assert images(found, root) == ["a.jpg"]
    assert problems(found, root) == [f"b.xml: {message}"]


def test_a_doctype_in_another_encoding_is_not_followed():
    hidden = "<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>".encode("utf-16")
    with pytest.raises(DatasetError, match="is not well-formed XML"):
        parse_xml(hidden.decode("utf-8", "replace"))


def test_names_in_a_wrong_encoding_are_refused(write):
    body = xml(thing("caf\u00e9"), thing("cat")).encode("latin-1")
    root = write("a.jpg", texts={"a.xml": body})
    found = open_dataset(root)
    assert found.names == ("cat",)
    assert problems(found, root) == ["a.xml:4: expected a class name, found caf\ufffd"]


def test_odd_sizes_are_no_sizes():
    for size in ("<width>x</width><height>1</height>", "<width>-1</width><height>1</height>", ""):
        assert parse_size(parse_xml(xml(size=size))) is None


@pytest.fixture
def voc_splits(write):
    return write(
        "out.jpg",
        "s/JPEGImages/a.jpg",
        "s/JPEGImages/b.jpg",
        texts={
            "out.xml": xml(),
            "s/Annotations/a.xml": xml(thing()),
            "s/Annotations/b.xml": xml(thing("dog")),
            "s/ImageSets/Main/val.txt": "b\n",
            "s/ImageSets/Main/train.txt": "a\nnone\n\n../../out\n",
            "s/ImageSets/Main/cat_trainval.txt": "a  1\nb -1\n",
        },
    )


@pytest.mark.parametrize(
    ("split", "expected"),
    [
        (None, ["a.jpg", "b.jpg"]),
        ("val", ["b.jpg"]),
        ("valid", ["b.jpg"]),
        ("train", ["a.jpg"]),
        ("cat_trainval", ["a.jpg"]),
    ],
)
def test_image_sets(voc_splits, split, expected):
    found = open_dataset(voc_splits / "s", split=split)
    assert images(found, voc_splits / "s/JPEGImages") == expected


def test_a_list_of_an_image_set_is_that_set(voc_splits):
    found = open_dataset(voc_splits / "s/ImageSets/Main/train.txt")
    assert images(found, voc_splits / "s/JPEGImages") == ["a.jpg"]
    root = voc_splits / "s"
    assert found.problems == (
        f"{root}/ImageSets/Main/train.txt:2: no such annotation: none.xml",
        f"{root}/ImageSets/Main/train.txt:4: no such annotation: ../../out.xml",
    )


def test_an_unknown_image_set_is_refused(voc_splits):
    message = "s: expected one of the splits train, val, cat_trainval, found test"
    with pytest.raises(DatasetError, match=message):
        open_dataset(voc_splits / "s", split="test")


@pytest.mark.parametrize("source", ["", "a.xml", "a.jpg", "*.jpg", "l.txt", "b.txt", "c.json"])
@pillow
def test_a_source_without_splits_refuses_one(write, source):
    texts = {
        "a.xml": xml(thing()),
        "l.txt": "a.jpg\n",
        "b.txt": "a.jpg 1,2,3,4,cat\n",
        "c.json": coco(),
    }
    root = write("a.jpg", texts=texts)
    assert len(open_dataset(f"{root}/{source}")) == 1
    with pytest.raises(DatasetError, match="has no splits, so there is no split 'train'"):
        open_dataset(f"{root}/{source}", split="train")


# COCO


@pytest.mark.parametrize(
    ("file", "picture"),
    [
        ("a.json", "a.jpg"),
        ("a.json", "images/a.jpg"),
        ("val.json", "val/a.jpg"),
        ("annotations/instances_val.json", "val/a.jpg"),
        ("annotations/instances_val.json", "images/val/a.jpg"),
    ],
)
def test_coco_files_find_their_pictures(write, file, picture):
    root = write(picture, texts={file: coco()})
    found = open_dataset(root / file)
    assert images(found, root) == [picture]
    assert found.samples[0].boxes.tolist() == [[10, 20, 30, 60]]
    assert found.samples[0].names == ("cat",)
    assert found.samples[0].size == SIZE
    assert found.names == ("dog", "cat")
    assert found.problems == ()


def test_coco_crowds_are_difficult_and_ids_may_be_texts(write):
    content = coco(
        images=[{"id": "x", "file_name": "sub/a.jpg"}],
        annotations=[
            {"image_id": "x", "category_id": "7", "bbox": [0, 0, 5, 5], "iscrowd": "1"},
            {"image_id": "x", "category_id": 3.0, "bbox": [0, 0, 5, 5], "iscrowd": 0},
        ],
    )
    root = write("sub/a.jpg", texts={"a.json": content})
    found = open_dataset(root / "a.json")
    assert found.samples[0].difficult.tolist() == [True, False]
    assert found.samples[0].size == SIZE
    assert open_dataset(root / "a.json", names=["cat"]).names == ("cat", "dog")


@pytest.mark.parametrize(
    ("key", "entry", "message"),
    [
        ("images", 5, "images[1]: expected an object, found 5"),
        ("images", {"file_name": "b.jpg"}, "images[1]: expected id as a number or a text, found"),
        ("images", {"id": 2}, "images[1]: expected a file_name, found None"),
        ("images", {"id": 1, "file_name": "b"}, "images[1]: expected an id of its own, found 1"),
        ("images", {"id": 2, "file_name": "b.jpg"}, "no such picture: b.jpg"),
        ("images", {"id": 2, "file_name": "/etc/passwd"}, "/etc/passwd leads outside"),
        ("categories", {"id": 9, "name": 4}, "categories[2]: expected a class name, found 4"),
        ("categories", {"id": 9, "name": "\ud800"}, "categories[2]: expected a class name, found"),
        (
            "annotations",
            {"image_id": 2, "category_id": 3},
            "annotations[1]: expected an image_id of images, found 2",
        ),
        (
            "annotations",
            {"image_id": 1, "category_id": 4},
            "annotations[1]: expected a category_id of categories, found 4",
        ),
        (
            "annotations",
            {"image_id": [1], "category_id": 4},
            "annotations[1]: expected image_id as a number or a text, found [1]",
        ),
        (
            "annotations",
            {"image_id": "01", "category_id": 3},
            "annotations[1]: expected an image_id of images, found '01'",
        ),
        (
            "annotations",
            {"image_id": True, "category_id": 3},
            "annotations[1]: expected image_id as a number or a text, found True",
        ),
        (
            "annotations",
            {"image_id": 1.5, "category_id": 3},
            "annotations[1]: expected image_id as a number or a text, found 1.5",
        ),
        ("images", {"id": "1", "file_name": "b"}, "images[1]: expected an id of its own, found 1"),
        *(
            ("annotations", {"image_id": 1, "category_id": 3, "bbox": bbox}, f"annotations[1]: {m}")
            for bbox, m in (
                (None, "expected a bbox of four numbers, found None"),
                ([1, 2, 3], "expected a bbox of four numbers, found [1, 2, 3]"),
                (["1", 2, 3, 4], "expected a bbox of four numbers, found ['1', 2, 3, 4]"),
                ([10**400, 2, 3, 4], "expected a bbox of four numbers, found [1000"),
                ([1, 2, 0, 4], "expected a box of some width and height, found [1, 2, 0, 4]"),
                ([1, 2, float("nan"), 4], "expected finite numbers, found [1, 2, nan, 4]"),
            )
        ),
    ],
)
def test_bad_entries_of_coco_are_skipped_and_told(write, key, entry, message):
    content = json.loads(coco())
    content[key].append(entry)
    root = write("a.jpg", texts={"a.json": json.dumps(content)})
    found = open_dataset(root / "a.json")
    assert [s.names for s in found.samples] == [("cat",)]
    assert len(found.problems) == 1
    assert problems(found, root)[0].startswith(f"a.json: {message}")


def test_sizes_of_coco_may_be_written_with_a_point(write):
    content = json.loads(coco())
    own = {"width": 2.0 * SIZE[0], "height": str(2 * SIZE[1])}
    content["images"] = [{**content["images"][0], **own}]
    root = write("a.jpg", texts={"a.json": json.dumps(content)})
    (found,) = open_dataset(root / "a.json").samples
    (plain,) = open_dataset(write("a.jpg", texts={"b.json": coco()}) / "b.json").samples
    np.testing.assert_allclose(found.boxes, plain.boxes / 2)


def test_categories_that_share_a_name_are_told(write):
    content = json.loads(coco())
    content["categories"].append({"id": 77, "name": "cat"})
    content["annotations"].append({"image_id": 1, "category_id": 77, "bbox": [0, 0, 5, 5]})
    root = write("a.jpg", texts={"a.json": json.dumps(content)})
    found = open_dataset(root / "a.json")
    assert found.samples[0].names == ("cat", "cat")
    (line,) = found.changes["namesakes"]
    assert line == f"{root / 'a.json'}: the categories 3, 77 are all cat"
    assert check_dataset(found).findings["namesakes"] == (line,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "a.json: is not well-formed JSON: Expecting property name"),
        ("[" * 100_000, "a.json: is JSON that is nested too deeply"),
        ("[]", "a.json: expected a COCO file: images, annotations, categories, found list"),
        ('{"a": 1}', "a.json: expected a COCO file: .*, found \\['a'\\]"),
        (coco(annotations={}), "a.json: annotations: expected a list, found dict"),
        (coco(images=[]), "a.json: no picture can be used\n  hint: .*expected an image_id"),
        ('{"images": []}', "a.json: holds no pictures"),
    ],
)
def test_files_that_are_no_coco_are_refused(write, text, message):
    root = write("a.jpg", texts={"a.json": text})
    with pytest.raises(DatasetError, match=message):
        open_dataset(root / "a.json")


@pillow
def test_a_folder_with_a_file_of_coco_is_one(write):
    root = write("images/a.jpg", texts={"annotations/a.json": coco(), "notes.json": "[]"})
    assert open_dataset(root).samples[0].names == ("cat",)


def test_a_folder_with_an_unread_json_says_so(write):
    root = write("images/a.jpg", texts={"annotations/a.json": '{"shapes": []}'})
    found = open_dataset(root)
    assert not found.labelled
    assert problems(found, root) == []
    assert found.changes == {"unread": (f"{root}/annotations/a.json: its form is not known",)}


# sources


def test_patterns_match_pictures_only(write, monkeypatch):
    root = write("a.jpg", "b/c.png", "d[1].jpg", texts={"a.md": "", "e.jpg/x": ""})
    assert images(open_dataset(f"{root}/b/*"), root) == ["b/c.png"]
    monkeypatch.chdir(root)
    assert images(open_dataset("**/*"), root) == ["a.jpg", "b/c.png", "d[1].jpg"]
    assert images(open_dataset("d[1].jpg"), root) == ["d[1].jpg"]
    assert open_dataset("*.jpg").source == "*.jpg"


@pillow
def test_several_sources_are_united(write):
    root = write(
        "a.jpg",
        "b.jpg",
        "voc/c.jpg",
        texts={"a.txt": HALF, "x.names": "dog", "voc/c.xml": xml(thing()), "l.txt": "b.jpg\nb.jpg"},
    )
    names = ("a.jpg", "b.jpg", "a.jpg", "voc", "l.txt")
    found = open_dataset([root / name for name in names])
    assert images(found, root) == ["a.jpg", "b.jpg", "voc/c.jpg"]
    assert found.names == ("dog", "cat")
    assert found.source == f"{root / 'a.jpg'} and 3 more"
    assert problems(found, root) == [
        "a.jpg and 1 more: no label file for 1 of 2 pictures, which count as empty, "
        "the first is b.jpg"
    ]


def test_a_list_may_repeat_a_picture(write):
    root = write("a.jpg", texts={"l.txt": "a.jpg\na.jpg\n"})
    assert len(open_dataset(root / "l.txt")) == 2


@pillow
def test_each_picture_takes_names_from_its_own_folder(write):
    root = write(
        "a/x.jpg",
        "b/y.jpg",
        texts={"a/x.txt": HALF, "b/y.txt": HALF, "a/a.names": "cat", "b/b.names": "dog"},
    )
    found = open_dataset(str(root / "*" / "*.jpg"))
    assert [s.names for s in found.samples] == [("cat",), ("dog",)]
    assert found.names == ("cat", "dog")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none", "^none: no such file or folder\n  hint: looked in /"),
        ("", "^'': no such file or folder"),
        ("/none/x.jpg", "^/none/x.jpg: no such file or folder$"),
        ("*.jpg", r"^\*.jpg: no picture matches the pattern$"),
        ("README.md", "^README.md: is no data set\n  hint: a source is a picture, a folder"),
        ("empty", "^empty: holds no pictures\n  hint: a source is"),
        (
            "l.txt",
            "^l.txt: no picture can be used\n  hint: l.txt:1: no such picture: x\n  --data-images",
        ),
        ("m.txt", "^m.txt: no picture can be used\n  hint: 2 problems: m.txt:1: no such"),
        ([], "^no source of pictures\n  hint: a source is"),
    ],
)
def test_sources_without_pictures_are_refused(write, monkeypatch, source, message):
    texts = {"README.md": "", "l.txt": "x\n", "m.txt": "x\ny\n", "empty/x": ""}
    monkeypatch.chdir(write(texts=texts))
    with pytest.raises(DatasetError, match=message):
        open_dataset(source)


def test_what_cannot_be_read_is_told(tmp_path):
    with pytest.raises(DatasetError, match="none: cannot read: No such file"):
        walk_files(tmp_path / "none")
    with pytest.raises(DatasetError, match="cannot read: Is a directory"):
        read_text(tmp_path)
    pytest.importorskip("PIL")
    with pytest.raises(DatasetError, match="is a folder, not a picture"):
        picture_size(tmp_path)


def test_picture_files_are_known_by_suffix():
    assert is_picture("x/a.JPeG")
    assert not is_picture("x/._a.jpg")
    assert not is_picture(".jpg")


# nothing but a label or an error comes out of any text

NUMBERS = st.one_of(
    st.integers().map(str), st.floats().map(str), st.sampled_from(["nan", "-inf", "1e999", "x", ""])
)
NAMES = st.none() | st.lists(st.sampled_from(["cat", "dog", "a b"]), max_size=3)


def check(parse, *arguments):
    try:
        label = parse(*arguments)
    except DatasetError as error:
        line = problem(error, "f.txt", 1)
        assert line.startswith("f.txt:1: ")
        assert line.isprintable()
        assert len(line) < 300
    else:
        x0, y0, x1, y1 = label.box
        assert np.isfinite(label.box).all()
        assert x0 < x1
        assert y0 < y1
        assert name_problem(label.name) is None


@given(st.text() | st.lists(NUMBERS, min_size=4, max_size=6).map(" ".join), NAMES)
def test_any_darknet_line_is_a_label_or_a_problem(line, names):
    check(parse_label, line.strip(), names)


@given(*[st.floats(0, 1)] * 4)
def test_darknet_boxes_inside_are_taken(x, y, width, height):
    width, height = width * 2 * min(x, 1 - x), height * 2 * min(y, 1 - y)
    if width * height < 1e-9:
        return
    label = parse_label(f"0 {x} {y} {width} {height}", None)
    expected = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    np.testing.assert_allclose(label.box, expected, atol=1e-12)


@given(st.text() | st.lists(NUMBERS, min_size=4, max_size=6).map(",".join), NAMES)
def test_any_box_of_a_list_is_a_label_or_a_problem(text, names):
    check(parse_box, text, names)


@given(st.tuples(*[st.floats()] * 4))
def test_any_four_numbers_are_a_label_or_a_problem(box):
    check(lambda: checked_label("cat", box))


@given(st.floats(), NAMES)
def test_any_class_is_a_name_or_a_problem(index, names):
    check(lambda: Label(class_name(index, names), (0, 0, 1, 1)))


@given(st.text() | st.integers() | st.none() | st.binary())
def test_any_name_is_one_for_a_names_file_or_a_problem(text):
    check(lambda: Label(parse_name(text), (0, 0, 1, 1)))


@given(st.text())
def test_any_text_is_xml_or_a_problem(text):
    check(lambda: (parse_xml(text), Label("x", (0, 0, 1, 1)))[1])
