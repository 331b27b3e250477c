"""What labelling tools and people do to data sets besides: the same boxes, and nothing in silence.

The data sets here have two pictures of 40 by 20 pixels: `a` with a cat and a dog, `b` with a dog.
"""

import json
import os
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest

pytest.importorskip("yaml")
pytest.importorskip("PIL.Image")

from PIL import Image

from darkconv.dataset import open_dataset, open_splits
from darkconv.dataset.names import FILES
from darkconv.dataset.unread import FOREIGN
from darkconv.dataset.write import write_dataset
from darkconv.errors import DatasetError

CLASSES = ("cat", "dog")
BOXES = {"a": [("cat", (4, 2, 20, 12)), ("dog", (10, 4, 40, 20))], "b": [("dog", (0, 0, 8, 10))]}
WIDTH, HEIGHT = 40, 20
NAMES = "names: [cat, dog]\n"


def put(root, *names):
    """Write pictures, each by its path."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        form = {".jpg": "JPEG", ".jpeg": "JPEG"}.get(path.suffix.lower())
        Image.new("RGB", (WIDTH, HEIGHT)).save(path, form)
    return root


def text(root, name, content):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def darknet(stem, *, end="\n", first=0):
    """Darknet's labels of a picture."""
    rows = (
        f"{CLASSES.index(name) + first} {(x0 + x1) / 80} {(y0 + y1) / 40} {(x1 - x0) / 40} "
        f"{(y1 - y0) / 20}"
        for name, (x0, y0, x1, y1) in BOXES[stem]
    )
    return "".join(f"{row}{end}" for row in rows)


def voc(stem, filename=None, size=(WIDTH, HEIGHT)):
    """An annotation of VOC."""
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax>"
        f"<ymax>{y1}</ymax></bndbox></object>"
        for name, (x0, y0, x1, y1) in BOXES[stem]
    )
    return (
        f"<annotation><filename>{filename or stem}.png</filename><size><width>{size[0]}</width>"
        f"<height>{size[1]}</height></size>{objects}</annotation>"
    )


def coco(names=("a.png", "b.png"), **changed):
    """A file of COCO."""
    annotations = [
        {
            "image_id": number,
            "category_id": CLASSES.index(name),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
        }
        for number, boxes in enumerate(BOXES.values())
        for name, (x0, y0, x1, y1) in boxes
    ]
    return {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(CLASSES)],
        "annotations": annotations,
        **changed,
    }


def darkmark(stem, *, named=True):
    """A file of DarkMark: points in shares of the picture, a name and a number."""
    marks = [
        {
            "class_idx": CLASSES.index(name),
            "name": name if named else "old name",
            "rect": {"x": 0, "y": 0, "w": 1, "h": 1, "int_x": 0, "int_y": 0},
            "points": [
                {"x": x / WIDTH, "y": y / HEIGHT, "int_x": x, "int_y": y}
                for x, y in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))
            ],
        }
        for name, (x0, y0, x1, y1) in BOXES[stem]
    ]
    image = {"scale": 1.0, "width": WIDTH, "height": HEIGHT}
    return json.dumps({"mark": marks, "image": image, "version": "1.10", "completely_empty": False})


def labelme(stem, size=(WIDTH, HEIGHT)):
    """A file of labelme: rectangles in pixels."""
    shapes = [
        {"label": name, "points": [[x0, y0], [x1, y1]], "shape_type": "rectangle", "flags": {}}
        for name, (x0, y0, x1, y1) in BOXES[stem]
    ]
    whole = {"version": "5.5.0", "shapes": shapes, "imagePath": f"{stem}.png", "imageData": None}
    return json.dumps({**whole, "imageWidth": size[0], "imageHeight": size[1]})


def contents(dataset):
    """Names and boxes by the stem of the picture."""
    return {
        sample.image.stem: [
            (name, tuple(round(value, 6) for value in box))
            for name, box in zip(sample.names, sample.boxes.tolist(), strict=True)
        ]
        for sample in dataset.samples
        if sample.names
    }


def told(dataset):
    """All that is said of a data set."""
    changes = [f"{kind}: {line}" for kind, lines in dataset.changes.items() for line in lines]
    return "\n".join((*dataset.problems, *dataset.notes, *changes))


def build_numbered(root):
    put(root, "images/a.png", "images/b.png")
    for stem in BOXES:
        text(root, f"labels/{stem}.txt", darknet(stem))
    text(root, "classes.txt", "cat\ndog\n")


def build_described(root):
    build_numbered(root)
    (root / "classes.txt").unlink()
    text(root, "data.yaml", f"train: images\n{NAMES}")


def build_listed_names(root):
    build_numbered(root)
    (root / "classes.txt").rename(root / "obj.names")


def build_voc(root):
    put(root, "JPEGImages/a.png", "JPEGImages/b.png")
    for stem in BOXES:
        text(root, f"Annotations/{stem}.xml", voc(stem))


def build_voc_beside(root):
    put(root, "a.png", "b.png")
    for stem in BOXES:
        text(root, f"{stem}.xml", voc(stem))


def build_coco(root):
    put(root, "images/a.png", "images/b.png")
    text(root, "a.json", json.dumps(coco()))


def build_darkmark(root):
    put(root, "set/a.png", "set/b.png")
    for stem in BOXES:
        text(root, f"set/{stem}.json", darkmark(stem))
    text(root, "project.names", "cat\ndog\n")


def build_labelme(root):
    put(root, "a.png", "b.png")
    for stem in BOXES:
        text(root, f"{stem}.json", labelme(stem))


def build_keras(root):
    put(root, "train/a.png", "train/b.png")
    lines = ("a.png 4,2,20,12,0 10,4,40,20,1", "b.png 0,0,8,10,1")
    text(root, "train/_annotations.txt", "\n".join(lines))
    text(root, "train/_classes.txt", "cat\ndog")


BUILDERS = [build_numbered, build_described, build_listed_names, build_voc, build_voc_beside,
            build_coco, build_darkmark, build_labelme, build_keras]  # fmt: skip


@pytest.fixture(params=BUILDERS, ids=lambda builder: builder.__name__.removeprefix("build_"))
def export(request, tmp_path):
    """A folder with a data set, of each layout in turn."""
    root = tmp_path / "export"
    root.mkdir()
    request.param(root)
    return root


def test_every_layout_is_read(export):
    found = open_dataset(export)
    assert contents(found) == BOXES
    assert told(found) == ""


def test_suffixes_of_any_case_are_the_same(export):
    for path in sorted(export.rglob("*")):
        if path.is_file():
            path.rename(path.with_suffix(path.suffix.upper()))
    if (listed := export / "train/_annotations.TXT").exists():
        listed.write_text(listed.read_text().replace(".png", ".PNG"))
    if (coco_file := export / "a.JSON").exists():
        coco_file.write_text(coco_file.read_text().replace(".png", ".PNG"))
    found = open_dataset(export)
    assert contents(found) == BOXES


def test_folders_of_any_case_are_the_same(export):
    for name in ("images", "labels", "JPEGImages", "Annotations"):
        if (export / name).is_dir():
            (export / name).rename(export / name.upper())
    if (export / "data.yaml").is_file():
        text(export, "data.yaml", f"train: IMAGES\n{NAMES}")
    assert contents(open_dataset(export)) == BOXES


def test_the_folder_above_is_the_same(export):
    text(export.parent, "README.txt", "unpacked here\n")
    above = open_dataset(export.parent)
    assert contents(above) == BOXES
    assert above.layouts[0].form == open_dataset(export).layouts[0].form
    assert set(open_splits(export.parent)) == set(open_splits(export))


def test_byte_order_marks_and_line_ends_are_the_same(export):
    for path in export.rglob("*"):
        if path.suffix in (".txt", ".names", ".yaml", ".json", ".xml"):
            content = path.read_text().replace("\n", "\r\n")
            path.write_bytes(content.encode("utf-8-sig"))
    assert contents(open_dataset(export)) == BOXES


def test_texts_in_utf_16_are_the_same(export):
    for path in export.rglob("*"):
        if path.suffix in (".txt", ".names", ".yaml", ".json", ".xml"):
            path.write_bytes(path.read_text().encode("utf-16"))
    assert contents(open_dataset(export)) == BOXES


def test_copies_of_programs_and_what_is_no_file_are_passed_over(export):
    pictures = next(export.rglob("a.png")).parent
    for name in ("darkmark_image_cache", "__MACOSX", "@eaDir"):
        shutil.copytree(pictures, export / name / "x")
    os.mkfifo(pictures / "c.png")
    os.mkfifo(pictures / "c.txt")
    (pictures / "up").symlink_to("..")
    (pictures / "round").symlink_to("round")
    found = open_dataset(export)
    assert contents(found) == BOXES
    assert len(found) == 2


def test_names_of_pictures_may_be_odd(tmp_path):
    names = ["with blank", "кот №1", "x.y.z", "d#1 (2)", "l'été & co", "100%", "日本 語", "a%20b"]
    for form in ("darknet", "voc", "coco"):
        root = tmp_path / form
        for name in names:
            put(root, f"images/{name}.jpeg")
            if form == "darknet":
                text(root, f"labels/{name}.txt", darknet("a"))
            if form == "voc":
                text(root, f"annotations/{name}.xml", voc("a"))
        if form == "darknet":
            text(root, "classes.txt", "cat\ndog\n")
        if form == "coco":
            boxes = [{**box, "image_id": n} for n in range(len(names))
                     for box in coco()["annotations"][:2]]  # fmt: skip
            files = [f"{name}.jpeg" for name in names]
            text(root, "c.json", json.dumps(coco(files, annotations=boxes)))
        assert contents(open_dataset(root)) == dict.fromkeys(names, BOXES["a"])


# Paths that tools write


@pytest.mark.parametrize(
    "written",
    [
        lambda name: f"/data/local-files/?d=images/{quote(name)}",
        lambda name: f"/data/local-files/?d={quote('images/' + name, safe='')}",
        lambda name: f"/data/upload/3/{name}",
        lambda name: f"https://nobody.invalid/set/images/{quote(name)}?Expires=1&Signature=a/b",
        lambda name: f"s3://bucket/images/{name}",
        lambda name: f"C:\\Users\\me\\images\\{name}",
        lambda name: f"images\\{name}",
        quote,
    ],
    ids=["local", "local-quoted", "upload", "https", "s3", "windows", "backslash", "quoted"],
)
def test_paths_of_coco_are_found_by_their_last_parts(tmp_path, written):
    names = ("a b.png", "ü%c.png")
    put(tmp_path, *(f"images/{name}" for name in names))
    path = text(tmp_path, "result.json", json.dumps(coco([written(name) for name in names])))
    found = open_dataset(path)
    assert contents(found) == {"a b": BOXES["a"], "ü%c": BOXES["b"]}
    assert found.problems == ()


def test_what_is_decoded_does_not_lead_outside(tmp_path):
    put(tmp_path, "out.png", "x/set/in.png")
    names = ["%2e%2e/%2e%2e/out.png", "http://x/..%2f..%2fout.png", "%00.png", "..\\..\\out.png"]
    path = text(tmp_path, "x/set/a.json", json.dumps(coco(names, annotations=[])))
    with pytest.raises(DatasetError, match="no picture can be used"):
        open_dataset(path)


@pytest.mark.parametrize("form", ["coco", "list", "images"])
def test_two_pictures_never_become_one(tmp_path, form):
    names = ["x/a/1.png", "x/b/1.png"]
    put(tmp_path, "images/1.png")
    listed = "\n".join(f"/home/me/{name} {n},1,9,9,0" for n, name in enumerate(names))
    if form == "list":
        path = text(tmp_path, "images/l.txt", listed)
        found = open_dataset(path)
    else:
        path = text(tmp_path, "c.json", json.dumps(coco(names)))
        found = open_dataset(path, images=tmp_path / "images" if form == "images" else None)
    assert len(found) == 1
    assert "no such picture" in found.problems[0]


def test_a_picture_that_is_listed_twice_has_the_boxes_of_both(tmp_path):
    put(tmp_path, "a.png")
    found = open_dataset(text(tmp_path, "c.json", json.dumps(coco(["a.png", "a.png"]))))
    assert contents(found) == {"a": [*BOXES["a"], *BOXES["b"]]}
    assert found.changes == {"merged": (f"{tmp_path}/c.json: a.png",)}


@pytest.mark.parametrize("form", ["darknet", "voc", "coco", "list"])
def test_pictures_elsewhere_are_found_by_their_name_below_the_folder(tmp_path, form):
    pictures = put(tmp_path / "pictures", "x/y/a.png", "z/b.png")
    root = tmp_path / "set"
    source = root
    for stem in BOXES:
        if form == "darknet":
            text(root, f"labels/{stem}.txt", darknet(stem))
            text(root, "classes.txt", "cat\ndog\n")
        if form == "voc":
            put(root, "JPEGImages/none.png")
            text(root, f"Annotations/{stem}.xml", voc(stem))
    if form == "coco":
        source = text(root, "c.json", json.dumps(coco()))
    if form == "list":
        rows = ("a.png 4,2,20,12,cat 10,4,40,20,dog", "q/b.png 0,0,8,10,dog")
        source = text(root, "l.txt", "\n".join(rows))
    found = open_dataset(source, images=pictures)
    assert contents(found) == BOXES


def test_pictures_elsewhere_of_the_same_name_are_not_mixed(tmp_path):
    put(tmp_path / "p", "x/1.png", "y/1.png")
    text(tmp_path / "set", "classes.txt", "cat\ndog\n")
    text(tmp_path / "set", "labels/1.txt", darknet("a"))
    with pytest.raises(DatasetError, match="no picture .*: c.json|no such picture in"):
        open_dataset(text(tmp_path, "c.json", json.dumps(coco(["1.png"], annotations=[]))),
                     images=tmp_path / "p")  # fmt: skip
    found = open_dataset(tmp_path / "set", images=tmp_path / "p")
    assert not found.labelled
    assert f"orphans: {tmp_path}/set/labels/1.txt" in told(found)
    text(tmp_path / "set", "labels/x/1.txt", darknet("a"))
    text(tmp_path / "set", "labels/y/1.txt", darknet("b"))
    found = open_dataset(tmp_path / "set", images=tmp_path / "p")
    assert [sample.names for sample in found.samples] == [("cat", "dog"), ("dog",)]


def test_packed_labels_of_a_neighbour_are_left_alone(tmp_path):
    for name in ("one/images/a.png", "one/images/b.png"):
        put(tmp_path, name)
    text(tmp_path, "one/labels/a.txt", darknet("a"))
    text(tmp_path, "labels_two_2024/b.txt", darknet("b"))
    text(tmp_path, "one/labels_old/b.txt", darknet("a"))
    found = open_dataset(tmp_path / "one", names=CLASSES)
    assert contents(found) == {"a": BOXES["a"]}
    assert "makesense" not in found.layouts[0].form
    assert "no label file for 1 of 2 pictures" in found.problems[0]
    assert found.changes == {"orphans": (f"{tmp_path}/one/labels_old/b.txt",)}


# What is not read is told


def test_labels_without_pictures_are_told(tmp_path):
    build_numbered(tmp_path)
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(DatasetError) as caught:
        open_dataset(tmp_path)
    assert "holds 2 files of labels, but no picture" in str(caught.value)
    assert "--data-images DIR (in Python images=) says where the pictures lie" in str(caught.value)


def test_an_archive_is_to_be_unpacked(tmp_path):
    for name in ("export.zip", "export.tar.gz", "export.7z"):
        with pytest.raises(DatasetError, match="is an archive\n  hint: unpack it"):
            open_dataset(text(tmp_path, name, b"PK"))


@pytest.mark.parametrize("folder", ["labels", "txts", "annotations", "labels/deeper"])
def test_label_files_that_belong_to_no_picture_are_told(tmp_path, folder):
    build_numbered(tmp_path)
    stray = text(tmp_path, f"{folder}/c.txt", darknet("a"))
    text(tmp_path, "README.txt", "1 2 3\n")
    found = open_dataset(tmp_path)
    assert contents(found) == BOXES
    assert found.changes == {"orphans": (str(stray),)}


def test_labels_of_other_splits_are_no_strangers(tmp_path):
    put(tmp_path, "train/a.png", "val/b.png")
    for stem in BOXES:
        text(tmp_path, f"labels/{stem}.txt", darknet(stem))
    text(tmp_path, "classes.txt", "cat\ndog\n")
    listed = text(tmp_path, "l.txt", "train/a.png\n")
    for found in (open_dataset(listed), open_dataset(tmp_path, split="val")):
        assert (len(found), found.labelled, found.changes) == (1, True, {})


@pytest.mark.parametrize("line", ["0.5 1 2 3 4", "1 100 200 30 40", "-1 0 0 1 1", "1 2 3", "x"])
def test_other_numbers_are_no_labels(tmp_path, line):
    build_numbered(tmp_path)
    text(tmp_path, "results.txt", f"{line}\n")
    assert told(open_dataset(tmp_path)) == ""


@pytest.mark.parametrize(
    ("name", "content", "form"),
    [
        ("annotations.xml", "<annotations><image/></annotations>", "CVAT's own form"),
        ("VOC/Annotations/a.xml", voc("a"), "of Pascal VOC, and of another folder"),
        ("x/y/a.json", json.dumps(coco()), "of COCO, and of another folder"),
        ("annotations/default.json", '{"dm_format_version": "1.0"}', "Datumaro's own form"),
        ("annotations/a.json", labelme("a"), "labelme's form, which is read beside its picture"),
        ("_annotations.createml.json", '[{"image": "", "coordinates": []}]', "Create ML's form"),
        ("via.json", '{"a.png12": {"regions": []}}', "the form of the VGG Image Annotator"),
        ("_annotations.csv", "filename,width\na.png,40\n", "its form is not known"),
        ("train.tfrecord", b"\0\1", "its form is not known"),
        ("label_2/a.txt", "cat 0 0 0 1 2 3 4\n", "its form is not known"),
    ],
)
def test_labels_in_other_forms_are_told(tmp_path, name, content, form):
    put(tmp_path, "pictures/a.png", "pictures/b.png")
    path = text(tmp_path, name, content)
    found = open_dataset(tmp_path)
    assert not found.labelled
    (line,) = found.changes["unread"]
    assert line.startswith(f"{path}: {form}")


def test_every_foreign_form_is_told_in_a_test():
    marks = test_labels_in_other_forms_are_told.pytestmark[0].args[1]
    assert {form.split(",")[0] for _, form in FOREIGN} <= {row[2].split(",")[0] for row in marks}


def test_annotations_of_pictures_without_label_file_are_told(tmp_path):
    put(tmp_path, "a.png", "b.png")
    text(tmp_path, "a.txt", darknet("a"))
    text(tmp_path, "b.xml", voc("b"))
    found = open_dataset(tmp_path, names=CLASSES)
    assert contents(found) == {"a": BOXES["a"]}
    assert "no label file for 1 of 2 pictures" in found.problems[0]
    assert found.changes["unread"][0].startswith(f"{tmp_path}/b.xml: of Pascal VOC")


def test_several_descriptions_are_told(tmp_path):
    build_described(tmp_path)
    (tmp_path / "data.yaml").rename(tmp_path / "one.yaml")
    text(tmp_path, "two.yaml", f"val: images\n{NAMES}")
    assert "has several descriptions (one.yaml, two.yaml), of which none is taken" in told(
        open_dataset(tmp_path)
    )


def test_classes_that_seem_to_be_counted_from_one_are_told(tmp_path):
    build_numbered(tmp_path)
    for stem in BOXES:
        text(tmp_path, f"labels/{stem}.txt", darknet(stem, first=1))
    found = open_dataset(tmp_path)
    assert "expected a class from 0 to 1, found 2" in found.problems[0]
    assert "no label is of class 0 (cat), and some are of class 2" in found.notes[0]


@pytest.mark.parametrize("more", ["0 .5 .5 .1 .1\n", "7 .5 .5 .1 .1\n"])
def test_other_wrong_numbers_of_classes_say_nothing_of_counting(tmp_path, more):
    build_numbered(tmp_path)
    text(tmp_path, "labels/a.txt", f"2 .5 .5 .1 .1\n{more}")
    text(tmp_path, "labels/b.txt", "")
    assert open_dataset(tmp_path).notes == ()


# JSON beside pictures


def test_the_text_beside_a_file_of_darkmark_counts(tmp_path):
    build_darkmark(tmp_path)
    text(tmp_path, "set/a.txt", "0 .5 .5 .5 .5\n")
    found = open_dataset(tmp_path)
    assert contents(found) == {"a": [("cat", (10, 5, 30, 15))], "b": BOXES["b"]}
    assert found.layouts[0].form == "pictures with Darknet's labels and DarkMark's files"
    assert found.layouts[0].numbered


def test_the_list_of_names_counts_before_the_names_of_darkmark(tmp_path):
    build_darkmark(tmp_path)
    for stem in BOXES:
        text(tmp_path, f"set/{stem}.json", darkmark(stem, named=False))
    assert contents(open_dataset(tmp_path)) == BOXES
    text(tmp_path, "project.names", "cat\n")
    found = open_dataset(tmp_path)
    assert found.names == ("cat", "old name")
    assert not found.layouts[0].numbered


@pytest.mark.parametrize("mark", [None, []])
def test_an_empty_picture_of_darkmark_is_one(tmp_path, mark):
    build_darkmark(tmp_path)
    whole = json.loads(darkmark("b")) | {"mark": mark, "completely_empty": True}
    text(tmp_path, "set/b.json", json.dumps(whole))
    found = open_dataset(tmp_path)
    assert (len(found), contents(found), told(found)) == (2, {"a": BOXES["a"]}, "")


def test_shapes_of_labelme_are_the_boxes_around_them(tmp_path):
    put(tmp_path, "a.png")
    shapes = [
        {"label": "cat", "points": [[20, 12], [4, 2]], "shape_type": "rectangle"},
        {"label": "dog", "points": [[10, 4], [40, 5], [30, 20]], "shape_type": "polygon"},
        {"label": "sun", "points": [[20, 10], [23, 14]], "shape_type": "circle"},
        {"label": "dot", "points": [[20, 10]], "shape_type": "point"},
        {"label": "none", "points": []},
        {"points": [[1, 2]]},
        7,
    ]
    text(tmp_path, "a.json", json.dumps({"shapes": shapes, "imagePath": "a.png"}))
    found = open_dataset(tmp_path)
    assert contents(found)["a"] == [*BOXES["a"], ("sun", (15, 5, 25, 15))]
    assert [line.partition("a.json: ")[2] for line in found.problems] == [
        "shapes[3]: expected a box of some width and height, found 20,10,20,10",
        "shapes[4]: expected points of two numbers, found []",
        "shapes[5]: expected a class name, found nothing",
        "shapes[6]: expected an object, found 7",
    ]


def test_shapes_of_labelme_are_scaled_to_the_picture(tmp_path):
    put(tmp_path, "a.png")
    whole = json.loads(labelme("a", size=(80, 40)))
    for shape in whole["shapes"]:
        shape["points"] = [[2 * x, 2 * y] for x, y in shape["points"]]
    text(tmp_path, "a.json", json.dumps(whole))
    found = open_dataset(tmp_path)
    assert contents(found) == {"a": BOXES["a"]}
    assert list(found.changes) == ["size"]


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"title": "a photo"}', '{"shapes": 1}', "9" * 5000]
)
def test_other_json_beside_a_picture_is_told_and_not_read(tmp_path, content):
    put(tmp_path, "a.png")
    text(tmp_path, "a.json", content)
    found = open_dataset(tmp_path)
    assert (len(found), found.labelled, found.problems) == (1, False, ())
    assert list(found.changes) == ["unread"]


# What is written


@pytest.mark.parametrize("form", ["darknet", "yolo", "voc", "coco"])
def test_a_picture_that_is_not_there_is_left_out_and_told(tmp_path, form):
    build_numbered(tmp_path / "set")
    (tmp_path / "set/images/gone.png").symlink_to("nowhere.png")
    written = write_dataset(open_splits(tmp_path / "set"), tmp_path / "out", form)
    assert written.problems == (f"{tmp_path}/set/images/gone.png: no such file",)
    assert contents(open_dataset(written.path)) == BOXES


@pytest.mark.parametrize("form", ["darknet", "yolo", "voc", "coco"])
def test_splits_that_are_written_apart_number_classes_alike(tmp_path, form):
    build_voc(tmp_path / "set")
    text(tmp_path, "set/ImageSets/Main/train.txt", "b\n")
    text(tmp_path, "set/ImageSets/Main/val.txt", "a\n")
    whole = write_dataset(open_splits(tmp_path / "set"), tmp_path / "whole", form)
    for split in ("train", "val"):
        parts = open_splits(tmp_path / "set", split=split)
        assert write_dataset(parts, tmp_path / split, form).names == whole.names


def test_a_folder_above_that_cannot_be_listed_does_no_harm(tmp_path, monkeypatch):
    listed = os.listdir

    def refuse(folder="."):
        if Path(folder) in (tmp_path, tmp_path / "set"):
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    put(tmp_path, "set/inner/a.png", "set/inner/b.png", "images/a.png")
    path = text(tmp_path, "set/inner/c.json", json.dumps(coco()))
    picture = put(tmp_path, "labelled/images/a.png") / "labelled/images/a.png"
    text(tmp_path, "labelled/labels/a.txt", darknet("a"))
    monkeypatch.setattr(os, "listdir", refuse)
    assert contents(open_dataset(path)) == BOXES
    assert contents(
        open_dataset(text(tmp_path, "labelled/l.txt", str(picture)), names=CLASSES)
    ) == {"a": BOXES["a"]}


# Single rules


def test_pictures_of_an_image_set_without_annotation_are_empty(tmp_path):
    build_voc(tmp_path)
    put(tmp_path, "JPEGImages/c.png", "JPEGImages/unlisted.png")
    text(tmp_path, "ImageSets/Main/train.txt", "a\nb\n")
    text(tmp_path, "ImageSets/Main/val.txt", "b\nc\n")
    text(tmp_path, "ImageSets/Main/test.txt", "unlisted\n")
    assert len(open_dataset(tmp_path, split="train")) == 2
    found = open_dataset(tmp_path, split="val")
    assert [(sample.image.name, sample.names) for sample in found.samples] == [
        ("b.png", ("dog",)),
        ("c.png", ()),
    ]
    assert "no annotation for 1 of 2 pictures of its image sets, which count as empty" in told(
        found
    )
    whole = open_dataset(tmp_path)
    assert len(whole) == 3
    assert "left out, the first is " + str(tmp_path / "JPEGImages/unlisted.png") in told(whole)


@pytest.mark.parametrize("folder", ["ImageSets/Main", "ImageSets"])
@pytest.mark.parametrize(
    "line", ["a", "a.png", "JPEGImages/a.png", "/home/me/voc/JPEGImages/a.jpg"]
)
def test_image_sets_may_name_pictures(tmp_path, folder, line):
    build_voc(tmp_path)
    text(tmp_path, f"{folder}/val.txt", f"{line}\r\n")
    found = open_dataset(tmp_path, split="val")
    assert contents(found) == {"a": BOXES["a"]}
    assert found.problems == ()
    assert contents(open_dataset(tmp_path / folder / "val.txt")) == {"a": BOXES["a"]}


def test_folders_of_annotations_are_splits(tmp_path):
    for split, stem in (("train", "a"), ("val", "b")):
        put(tmp_path, f"images/{split}/{stem}.png")
        text(tmp_path, f"annotations/{split}/{stem}.xml", voc(stem))
    assert {split: contents(part) for split, part in open_splits(tmp_path).items()} == {
        "train": {"a": BOXES["a"]},
        "val": {"b": BOXES["b"]},
    }


def test_of_pictures_that_differ_in_the_suffix_the_annotation_names_one(tmp_path):
    build_voc(tmp_path)
    put(tmp_path, "JPEGImages/a.jpg")
    found = open_dataset(tmp_path)
    assert {sample.image.name for sample in found.samples} == {"a.png", "b.png"}
    assert "no annotation for 1 of 3 pictures, which are left out" in told(found)


def test_an_annotation_that_exchanges_width_and_height_has_its_boxes_as_they_are(tmp_path):
    build_voc(tmp_path)
    text(tmp_path, "Annotations/a.xml", voc("a", size=(HEIGHT, WIDTH)))
    found = open_dataset(tmp_path)
    assert contents(found) == BOXES
    assert list(found.changes) == ["swapped"]


def test_a_description_that_only_names_classes_stands_for_its_folder(tmp_path):
    build_numbered(tmp_path)
    text(tmp_path, "classes.txt", "no\nnames\n")
    path = text(tmp_path, "data.yaml", f"nc: 2\n{NAMES}")
    found = open_dataset(path)
    assert contents(found) == BOXES
    assert found.layouts[0].names_from == (str(path),)
    assert found.layouts[0].numbered


def test_a_description_may_only_count_the_classes(tmp_path):
    build_described(tmp_path)
    for count, names in ((2, ("0", "1")), (5, ("0", "1", "2", "3", "4"))):
        text(tmp_path, "data.yaml", f"train: images\nnc: {count}\n")
        found = open_dataset(tmp_path)
        assert (found.names, found.problems, found.layouts[0].numbered) == (names, (), True)
    text(tmp_path, "data.yaml", "train: images\nnc: 1\n")
    assert "expected a class from 0 to 0, found 1" in told(open_dataset(tmp_path))
    text(tmp_path, "data.yaml", "train: images\nnc: many\n")
    assert "data.yaml: nc: expected a whole number above 0, found many" in told(
        open_dataset(tmp_path)
    )


def test_aliases_of_a_description_are_followed(tmp_path):
    build_described(tmp_path)
    text(tmp_path, "data.yaml", "x: &n [cat, dog]\ntrain: &t images\nval: *t\nnames: *n\n")
    assert contents(open_dataset(tmp_path)) == BOXES


def test_a_path_is_also_looked_for_beside_the_folder_of_its_file(tmp_path):
    build_numbered(tmp_path / "set")
    path = text(tmp_path, "repository/data/x.yaml", f"path: ../set\ntrain: images\n{NAMES}")
    assert contents(open_dataset(path, outside=True)) == BOXES
    with pytest.raises(DatasetError, match="needs --outside"):
        open_dataset(path)


def test_folders_of_cvat_are_the_splits_of_its_lists(tmp_path):
    for split in ("train", "Validation"):
        put(tmp_path, f"obj_{split}_data/a.png")
        text(tmp_path, f"obj_{split}_data/a.txt", darknet("a"))
        text(tmp_path, f"{split}.txt", f"data/obj_{split}_data/a.png\n")
    text(tmp_path, "obj.names", "cat\ndog\n")
    text(tmp_path, "obj.data", "classes = 2\ntrain = data/train.txt\n"
         "Validation = data/Validation.txt\nnames = data/obj.names\n")  # fmt: skip
    assert {name: len(part) for name, part in open_splits(tmp_path).items()} == {
        "train": 1,
        "Validation": 1,
    }


def test_folders_that_are_no_splits_are_put_together(tmp_path):
    put(tmp_path, "images/a.png", "images/street/b.png")
    text(tmp_path, "labels/a.txt", darknet("a"))
    text(tmp_path, "labels/street/b.txt", darknet("b"))
    (parts,) = open_splits(tmp_path, names=CLASSES).items()
    assert (parts[0], contents(parts[1])) == (None, BOXES)
    assert len(open_dataset(tmp_path, split="street", names=CLASSES)) == 1


def test_polygons_of_coco_without_a_box_are_the_box_around_them(tmp_path):
    put(tmp_path, "a.png", "b.png")
    content = coco()
    for entry in content["annotations"]:
        x, y, width, height = entry.pop("bbox")
        entry["segmentation"] = [[x, y, x + width, y], [x, y + height, x + width, y + height]]
    content["annotations"] += [
        {"image_id": 0, "category_id": 0, "segmentation": bad}
        for bad in (None, [], [[1, 2, 3]], {"counts": [1]}, [["a", "b"]], 3)
    ]
    found = open_dataset(text(tmp_path, "c.json", json.dumps(content)))
    assert contents(found) == BOXES
    assert len(found.changes["polygons"]) == 3
    assert [line.partition("]: ")[2] for line in found.problems] == [
        "expected a bbox of four numbers, found None"
    ] * 6


@pytest.mark.parametrize("name", FILES)
def test_every_names_file_without_a_suffix_of_its_own_is_found(tmp_path, name):
    build_numbered(tmp_path)
    (tmp_path / "classes.txt").rename(tmp_path / name)
    found = open_dataset(tmp_path)
    assert contents(found) == BOXES
    assert [Path(one).name for one in found.layouts[0].names_from] == [name]
