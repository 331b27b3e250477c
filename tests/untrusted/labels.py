"""Labels of pictures, in all their forms, and the files about classes."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from darkconv.core.names import Names
from darkconv.darknet.data import (
    format_tree,
    names_bytes,
    parse_tree,
    read_data,
    read_labels,
    read_map,
    read_names,
    read_text,
    read_tree,
    replaced_data,
)
from darkconv.darknet.description import describe_names, read_described_names
from darkconv.dataset.class_folders import open_classified
from darkconv.dataset.open import open_dataset
from darkconv.dataset.reading import told_changes
from darkconv.encodings import encoded
from untrusted.mutation import OF_TEXT, line_from
from untrusted.reader import Reader, check_message

YAML = [
    b"""# of a stranger
path: .
train: images
val: [list.txt, ../images, ./images/a.png]
test: ../../outside.txt
nc: 3
names:
  0: cat
  1: "no"
  2: fox
""",
    b"train: ../train/images\nval: 'list.txt'\nnames: [cat, yes, ~]\nkpt_shape: [17, 3]\n",
    b"path: /nowhere/at/all\ntrain: images\nnames: set.names\ndifficult_train: list.txt\n",
]
OID = [
    b"cat 1.5 2 20 15\nAlarm clock 0.0 0 30 20\n",
    b"dog 1 2 3\r\n\r\ncat 25 2 90 15",
]
POLYGONS = [
    b"0 0.1 0.1 0.9 0.1 0.5 0.9\n1 0.5 0.5 0.2 0.2\n",
    b"2 0.1 0.1 1.9 0.1 0.5 0.9 -0.2 0.4\n",
]
WINDOWS = [
    b"C:\\Users\\me\\images\\a.png\r\ndata/images/b.png\nC:\\x\\..\\..\\outside.png\n",
    b"/home/me/images/a.png\nimages\\b.png\n//host/share/outside.png\n",
]
TXT = [
    b"0 0.5 0.5 0.2 0.4\n1 0.3 0.3 0.2 0.2\n",
    b"2 0.5 0.5 1 1\r\n\r\n0 0.1 0.1 0.1 0.1",
]
VOC = [
    b"""<annotation>
  <filename>a.png</filename>
  <size><width>30</width><height>20</height><depth>3</depth></size>
  <object>
    <name>cat</name>
    <difficult>1</difficult>
    <bndbox><xmin>1</xmin><ymin>2</ymin><xmax>20</xmax><ymax>15.5</ymax></bndbox>
    <part><name>head</name><bndbox><xmin>1</xmin></bndbox></part>
  </object>
</annotation>
""",
    b"<annotation><filename>../../outside.png</filename>\n<object><name>dog</name>"
    b"<bndbox><xmin>0</xmin><ymin>0</ymin><xmax>5</xmax><ymax>5</ymax></bndbox></object>"
    b"</annotation>",
]
COCO = [
    b"""{"images": [
  {"id": 1, "file_name": "a.png", "width": 30, "height": 20},
  {"id": "2", "file_name": "b.png"},
  {"id": 3, "file_name": "../../outside.png"}],
 "categories": [{"id": 7, "name": "cat"}, {"id": 8, "name": "dog"}],
 "annotations": [
  {"image_id": 1, "category_id": 7, "bbox": [1, 2, 10.5, 8], "iscrowd": 0},
  {"image_id": "2", "category_id": 8, "bbox": [0, 0, 30, 20], "iscrowd": 1}]}
"""
]
LIST = [
    b"images/a.png 1,2,10,12,cat 3,3,9,9,0\nimages/b.png\nimages/a.png 0,0,5,5,a fox\n",
    b"images/a.png\nimages/b.png\n../../outside.png\n",
]
DARKMARK = [
    b"""{"mark": [{"class_idx": 0, "name": "cat", "points": [{"x": 0.1, "y": 0.2, "int_x": 3},
  {"x": 0.9, "y": 0.2}, {"x": 0.9, "y": 1.5}]}], "image": {"width": 30, "height": 20}}
""",
    b'{"mark": null, "image": {}, "completely_empty": true}',
]
LABELME = [
    b"""{"shapes": [{"label": "cat", "points": [[1, 2], [20.5, 15]], "shape_type": "rectangle"},
  {"label": "dog", "points": [[10, 10], [12, 11]], "shape_type": "circle"}],
 "imagePath": "../../outside.png", "imageWidth": 30, "imageHeight": 20}
"""
]
IMAGE_SETS = [
    b"a\nb\n",
    b"JPEGImages/a.png\r\n../../outside\nb 1\n",
    b"/x/voc/a.jpg -1\n%2e%2e/a\n",
]
DATA = [
    b"classes= 3\ntrain  = list.txt\nvalid = list.txt\nnames = set.names\nlabels = set.names\n",
    b"classes=2\nvalid=../../outside.txt\ntrain=list.txt\nbackup = backup/\n",
]
NAMES = [b"cat\ndog\nfox\n", b"dont_show cat\r\n\r\ndog", "каша\n".encode()]
TREE = [b"animal -1\nthing -1\ncat 0\ndog 0\npug 3\n"]
MAP = [b"0\n1\n2 3\n", b"5"]

YAML_LINES = [
    b"names: &a [cat, *a]",
    b"a: &x [1,2]",
    b"names: *x",
    b"<<: *x",
    b"names: !!python/object/apply:os.system [id]",
    b"- " * 3000,
    b"[" * 3000,
    b"? [a]",
    b"names: {0: a, 5: b}",
    b"a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\nd: [*c, *c]",
    b"nc: 99999999999999999999",
    b"names: {0: a, 0: b}",
    b"val: [[a], {b: c}]",
    b"train: ../../../../..",
    b"path: ../../..",
    b"\xff\xfe",
]
JSON_LINES = [
    b"null,",
    b"[]",
    b"{}",
    b'"id": null,',
    b'"id": true,',
    b'"bbox": {},',
    b"NaN",
    b"[" * 3000,
    b'"points": [{"x": 1e999, "y": true}],',
    b'"points": [[NaN, -Infinity]],',
    b'"class_idx": 1e9,',
    b'"imageWidth": 0,',
    b'"file_name": "%2e%2e/%2e%2e/outside.png",',
    b'"segmentation": [[1, 2, 3, 4, 5, 6]],',
]
XML_LINES = [
    b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
    b"<object><name>&a;</name></object>",
    b"<object/>",
    b'<?xml version="1.0" encoding="utf-16"?>',
    b"<a>" * 3000,
]


def prepare(folder: Path) -> None:
    """Data sets of two pictures, and a picture and a list outside of their bounds."""
    inside = folder / "within" / "set"
    for images in ("images", "voc/JPEGImages", "coco/images"):
        (inside / images).mkdir(parents=True, exist_ok=True)
        for name in "ab":
            _picture(inside / images / f"{name}.png")
    (inside / "beside").mkdir(exist_ok=True)
    _picture(inside / "beside/a.png")
    _picture(inside / "voc/JPEGImages/c.png")
    (inside / "voc/Annotations/b.xml").parent.mkdir(exist_ok=True)
    (inside / "voc/Annotations/b.xml").write_bytes(VOC[1])
    (inside / "voc/ImageSets/Main").mkdir(parents=True, exist_ok=True)
    for empty in ("labels", "voc/Annotations", "OID/Dataset/train/cat/Label"):
        (inside / empty).mkdir(parents=True, exist_ok=True)
    _picture(inside / "OID/Dataset/train/cat/a.png")
    _picture(folder / "outside.png")
    (folder / "outside.txt").write_bytes(LIST[1])
    (inside / "list.txt").write_bytes(LIST[1])
    (inside / "set.names").write_bytes(b"a\nb\nfox\n")


def _picture(path: Path) -> None:
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(path)


def check_dataset(place: str, source: str, data: bytes, folder: Path) -> None:
    """Write one file of a data set, and open it.

    Args:
        place: of the file, within the set.
        source: what is opened.
        data: the file.
        folder: that holds all.
    """
    inside = folder / "within" / "set"
    path = inside / place
    path.write_bytes(data)
    try:
        dataset = open_dataset(inside / source)
    finally:
        path.unlink()
    for text in (*dataset.problems, *dataset.notes, *told_changes(dataset)):
        check_message(text)
    for sample in dataset.samples:
        assert sample.image.resolve().is_relative_to(folder.resolve() / "within")
        assert (sample.boxes >= -1).all()
        assert (sample.boxes <= [31, 21, 31, 21]).all()
        assert (sample.boxes[:, :2] < sample.boxes[:, 2:]).all()
        assert set(sample.names) <= set(dataset.names)
        assert len(sample.names) == len(sample.boxes) == len(sample.difficult)


def check_data(data: bytes, folder: Path) -> None:
    path = folder / "within" / "set" / "set.data"
    path.write_bytes(data)
    options = read_data(path)
    path.write_bytes(encoded(replaced_data(read_text(path), {"names": "new", "classes": 4})))
    assert read_data(path) == {**options, "names": "new", "classes": "4"}
    check_dataset("set.data", "set.data", data, folder)


def check_classified(data: bytes, folder: Path) -> None:
    path = folder / "within" / "set" / "classes.data"
    path.write_bytes(data)
    dataset = open_classified(path)
    for text in dataset.problems:
        check_message(text)
    for image, number in dataset.samples:
        assert image.resolve().is_relative_to(folder.resolve() / "within")
        assert 0 <= number < len(dataset.names)


def _file(check: Callable[[Path], None]) -> Callable[[bytes, Path], None]:
    def checked(data: bytes, folder: Path) -> None:
        path = folder / "file"
        path.write_bytes(data)
        check(path)

    return checked


@_file
def check_names(path: Path) -> None:
    found = read_names(path)
    assert set(found.shown) | found.hidden == set(range(len(found.names)))
    path.write_bytes(names_bytes(found, path))
    again = read_names(path)
    assert (again, again.hidden, again.text) == (found, found.hidden, found.text)
    path.write_bytes(names_bytes(Names(found, hidden=found.hidden), path))
    assert (read_names(path), read_names(path).hidden) == (found, found.hidden)
    told = read_described_names(describe_names(found))
    assert (told, told.hidden, told.text) == (found, found.hidden, found.text)


def check_yaml_names(data: bytes, folder: Path) -> None:
    path = folder / "names.yaml"
    path.write_bytes(data)
    found = read_names(path)
    path.with_suffix(".names").write_bytes(names_bytes(found, "x"))
    assert read_names(path.with_suffix(".names")) == found


@_file
def check_tree(path: Path) -> None:
    tree = read_tree(path)
    assert parse_tree(format_tree(tree)) == tree
    index, mask, back = tree.group_rows
    assert index.shape == mask.shape
    assert (index.ravel()[back] == np.arange(len(tree.names))).all()


@_file
def check_map(path: Path) -> None:
    assert all(isinstance(number, int) for number in read_map(path))


@_file
def check_boxes(path: Path) -> None:
    assert read_labels(path).shape[1] == 5


def _dataset(name: str, place: str, source: str, seeds: list[bytes], *lines: bytes) -> Reader:
    changes = (*OF_TEXT, line_from(lines)) if lines else OF_TEXT
    check = functools.partial(check_dataset, place, source)
    return Reader(name, check, lambda: seeds, changes, prepare)


LABELS = [
    _dataset("Darknet's labels", "labels/a.txt", "images", TXT),
    _dataset("VOC", "voc/Annotations/a.xml", "voc", VOC, *XML_LINES),
    _dataset("COCO", "coco/set.json", "coco/set.json", COCO, *JSON_LINES),
    _dataset("list", "boxes.txt", "boxes.txt", LIST),
    _dataset("list of another machine", "list2.txt", "list2.txt", WINDOWS),
    _dataset("list of Roboflow", "coco/_annotations.txt", "coco", LIST),
    _dataset("image set", "voc/ImageSets/Main/x.txt", "voc/ImageSets/Main/x.txt", IMAGE_SETS),
    _dataset("DarkMark", "beside/a.json", "beside", DARKMARK, *JSON_LINES),
    _dataset("labelme", "beside/a.json", "beside", LABELME, *JSON_LINES),
    _dataset("polygons", "labels/a.txt", "images", POLYGONS),
    _dataset("data.yaml", "data.yaml", "data.yaml", YAML, *YAML_LINES),
    _dataset("folder of data.yaml", "data.yaml", "", YAML, *YAML_LINES),
    _dataset("OIDv4", "OID/Dataset/train/cat/Label/a.txt", "OID", OID),
    _dataset("folder of COCO", "coco/set.json", "coco", COCO, *JSON_LINES),
    Reader("names in YAML", check_yaml_names, lambda: YAML[:1], (*OF_TEXT, line_from(YAML_LINES))),
    Reader("data", check_data, lambda: DATA, OF_TEXT, prepare),
    Reader("data of classes", check_classified, lambda: DATA[:1], OF_TEXT, prepare),
    Reader("names", check_names, lambda: NAMES, OF_TEXT),
    Reader("tree", check_tree, lambda: TREE, OF_TEXT),
    Reader("map", check_map, lambda: MAP, OF_TEXT),
    Reader("boxes", check_boxes, lambda: TXT, OF_TEXT),
]
