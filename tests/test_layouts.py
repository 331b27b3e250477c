"""Every layout that labelling tools write: the same boxes, names and splits out of each."""

import shutil

import numpy as np
import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("yaml")

from darkconv.dataset import open_dataset, open_splits
from darkconv.dataset.anchors import box_sizes, find_anchors
from darkconv.errors import DatasetError
from layouts import CLASSES, build_layouts


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    return build_layouts(tmp_path_factory.mktemp("layouts"))


NUMBERED = {
    "fo_v4": "Darknet's labels (FiftyOne's YOLOv4)",
    "fo_v4/images.txt": "a list of pictures",
    "ls_yolo": "Darknet's labels (Label Studio)",
    "labelimg_flat": "Darknet's labels",
    "labelimg_labels": "Darknet's labels",
    "labelimg_labels/images": "Darknet's labels",
    "labelimg_split": "Darknet's labels",
    "yolo_mark": "Darknet's labels",
    "yolo_mark/data/obj.data": "Darknet's .data",
    "yolo_mark/data/train.txt": "a list of pictures",
    "yolo_mark_win/data/obj.data": "Darknet's .data",
    "yolo_mark_abs/data/obj.data": "Darknet's .data",
    "darkmark/nn/indoor": "Darknet's labels",
    "darkmark/nn/indoor/indoor.data": "Darknet's .data",
    "cvat_yolo11/data": "Darknet's labels (CVAT's YOLO 1.1)",
    "cvat_yolo11/data/obj.data": "Darknet's .data",
    "cvat_yolo11/task_1": "Darknet's labels (CVAT's YOLO 1.1)",
    "cvat_yolo11/task_1/obj.data": "Darknet's .data",
    "cvat_yolo11/task_1/train.txt": "a list of pictures",
    "cvat_ultra": "data.yaml",
    "cvat_ultra/data.yaml": "data.yaml",
    "cvat_ultra/train.txt": "a list of pictures",
    "rf_darknet": "Darknet's labels (Roboflow)",
    "rf_v5": "data.yaml",
    "rf_v5/data.yaml": "data.yaml",
    "makesense": "Darknet's labels (makesense)",
    "makesense/images": "Darknet's labels (makesense)",
}
"""Layouts whose names have an order of their own, and what they are called."""
NAMED = {
    "voc_ref": "Pascal VOC",
    "fo_voc": "Pascal VOC",
    "oidv4": "OIDv4 ToolKit",
    "oidv4/OID": "OIDv4 ToolKit",
    "oidv4/OID/Dataset/train": "OIDv4 ToolKit",
    "oidv4/OID/Dataset/train/Chair": "OIDv4 ToolKit",
    "rf_coco": "COCO",
    "rf_coco/train/_annotations.coco.json": "COCO",
    "fo_coco": "COCO",
    "fo_coco/labels.json": "COCO",
    "cvat_coco": "COCO",
    "cvat_coco/annotations/instances_default.json": "COCO",
    "ls_coco": "COCO",
    "ls_coco/result.json": "COCO",
    "ls_coco_win/result.json": "COCO",
    "ls_coco_media/result.json": "COCO",
    "ls_coco_9366/result.json": "COCO",
}
OF_OTHER_MACHINES = ("yolo_mark_abs/data/obj.data", "ls_coco_media/result.json",
                     "ls_coco_9366/result.json")  # fmt: skip


def stem(sample):
    """The name that the picture had before a tool added its own mark."""
    return sample.image.stem.split("_jpg")[0].split("-")[-1]


def contents(dataset):
    """Names and boxes by picture."""
    return {
        stem(sample): sorted(zip(sample.names, sample.boxes.tolist(), strict=True))
        for sample in dataset.samples
    }


def assert_same(found, expected, within):
    assert found.keys() == expected.keys()
    for key, boxes in expected.items():
        assert [name for name, _ in found[key]] == [name for name, _ in boxes]
        values, others = ([box for _, box in one] for one in (found[key], boxes))
        np.testing.assert_allclose(values, others, rtol=0, atol=within)


@pytest.fixture(scope="module")
def reference(layouts):
    return contents(open_dataset(layouts / "voc_ref"))


def test_the_reference_has_pictures_and_boxes(reference):
    assert len(reference) == 10
    assert sum(map(len, reference.values())) >= 20


@pytest.mark.parametrize("name", [*NUMBERED, *NAMED])
def test_every_layout_has_the_same_boxes_and_names(layouts, reference, name):
    found = open_dataset(layouts / name)
    assert_same(contents(found), reference, within=2e-4)  # labels have six digits
    assert found.problems == ()
    (layout,) = found.layouts
    assert (NUMBERED | NAMED)[name] in layout.form
    assert layout.labels_from
    assert layout.names_from or "OIDv4" in layout.form
    if name in NUMBERED:
        assert found.names == CLASSES
        assert layout.numbered
    assert set(found.changes) == ({"moved"} if name in OF_OTHER_MACHINES else set())


@pytest.mark.parametrize("name", [*NUMBERED, *NAMED])
def test_every_layout_gives_the_same_anchors(layouts, name):
    expected, found = (
        find_anchors(box_sizes(open_dataset(layouts / one), (416, 416)), 4)
        for one in ("voc_ref", name)
    )
    np.testing.assert_allclose(found.anchors, expected.anchors, atol=1e-3)
    assert found.counts.tolist() == expected.counts.tolist()
    assert found.mean_iou == pytest.approx(expected.mean_iou, abs=1e-5)


SPLITS = {
    "rf_darknet": {"train": 6, "valid": 2, "test": 2},
    "rf_v5": {"train": 6, "val": 2, "test": 2},
    "rf_v5/data.yaml": {"train": 6, "val": 2, "test": 2},
    "labelimg_split": {"train": 6, "val": 4},
    "cvat_ultra/data.yaml": {"train": 10},
    "cvat_yolo11/task_1": {"train": 10},
    "cvat_yolo11/task_1/obj.data": {"train": 10},
    "yolo_mark/data/obj.data": {"train": 10, "valid": 10},
    "darkmark/nn/indoor/indoor.data": {"train": 8, "valid": 10},
    "darkmark/nn/indoor": {"set_01": 10, "train": 8, "valid": 10},
    "oidv4": {"train": 10},
    "rf_coco": {"train": 10},
    "cvat_coco": {"default": 10},
}


@pytest.mark.parametrize("name", SPLITS)
def test_splits_are_those_of_the_layout(layouts, name):
    found = open_splits(layouts / name)
    assert {split: len(dataset) for split, dataset in found.items()} == SPLITS[name]
    for split, dataset in found.items():
        assert dataset.layouts[0].split == split
        assert set(dataset.layouts[0].splits) == set(SPLITS[name])
    with pytest.raises(DatasetError, match="expected one of the splits .*, found of-nobody"):
        open_dataset(layouts / name, split="of-nobody")


@pytest.mark.parametrize("name", ["voc_ref", "fo_coco", "labelimg_flat", "fo_v4/images.txt"])
def test_layouts_without_splits_refuse_one(layouts, name):
    with pytest.raises(DatasetError, match="has no splits, so there is no split 'valid'"):
        open_dataset(layouts / name, split="valid")


def test_words_for_the_same_split_are_the_same(layouts):
    for name, words in (("rf_darknet", ("valid", "val", "validation", "Valid")),):
        for word in words:
            assert len(open_dataset(layouts / name, split=word)) == 2
    assert len(open_dataset(layouts / "rf_v5", split="valid")) == 2


def test_all_splits_together_are_told(layouts):
    for name in ("rf_darknet", "rf_v5", "labelimg_split"):
        (note,) = open_dataset(layouts / name).notes
        assert "are read as one; --split NAME (in Python split=) reads one of them" in note


def test_an_export_never_takes_the_pictures_of_its_neighbour(layouts, tmp_path):
    shutil.copytree(layouts / "cvat_yolo11", tmp_path / "both")
    own = tmp_path / "both/task_1"
    for path in own.glob("obj_train_data/*.txt"):
        path.write_text("")
    for source in ("obj.data", "train.txt", ""):
        found = open_dataset(own / source)
        assert len(found) == 10
        assert not found.labelled
        assert {sample.image.parent for sample in found.samples} == {own / "obj_train_data"}
    shutil.rmtree(own / "obj_train_data")
    with pytest.raises(DatasetError, match="no picture can be used"):
        open_dataset(own / "obj.data")


def test_a_working_folder_beside_the_neighbour_changes_nothing(layouts, tmp_path, monkeypatch):
    shutil.copytree(layouts / "cvat_yolo11", tmp_path / "both")
    monkeypatch.chdir(tmp_path / "both")
    found = open_dataset("task_1/obj.data")
    assert {str(sample.image.parent) for sample in found.samples} == {"task_1/obj_train_data"}


def test_a_neighbour_of_roboflow_is_left_alone(layouts, tmp_path):
    shutil.copytree(layouts / "rf_v5", tmp_path / "one")
    shutil.copytree(layouts / "rf_v5/train", tmp_path / "train")
    shutil.copy(layouts / "rf_v5/data.yaml", tmp_path / "data.yaml")
    found = open_dataset(tmp_path / "one/data.yaml", split="train")
    assert {sample.image.parent for sample in found.samples} == {tmp_path / "one/train/images"}


@pytest.mark.parametrize("name", ["half_voc", "half_coco/result.json", "half_coco"])
def test_boxes_made_at_another_size_are_scaled(layouts, name):
    expected = contents(open_dataset(layouts / "half_yolo"))
    found = open_dataset(layouts / name)
    assert_same(contents(found), expected, within=4e-4)
    assert list(found.changes) == ["size"]
    assert len(found.changes["size"]) == 10
    assert "found 320x240" in found.changes["size"][0]


def test_boxes_that_leave_the_picture_are_clipped_alike(layouts):
    voc, yolo = (open_dataset(layouts / name) for name in ("over_voc", "over_yolo"))
    assert_same(contents(voc), contents(yolo), within=2e-4)
    assert voc.changes.keys() == yolo.changes.keys() == {"outside"}
    assert len(voc.changes["outside"]) == len(yolo.changes["outside"]) > 0
    for sample in voc.samples:
        assert (sample.boxes >= 0).all()
        assert (sample.boxes <= np.tile(sample.size, 2)).all()


def test_pictures_elsewhere(layouts, tmp_path):
    pictures = layouts / "ls_coco/images"
    for name in ("ls_coco/result.json", "ls_coco_win/result.json", "ls_coco_media/result.json"):
        copy = shutil.copy(layouts / name, tmp_path / "r.json")
        with pytest.raises(DatasetError, match=r"--data-images DIR \(in Python"):
            open_dataset(copy)
        assert len(open_dataset(copy, images=pictures)) == 10
    listed = shutil.copy(layouts / "yolo_mark_abs/data/train.txt", tmp_path / "train.txt")
    found = open_dataset(listed, images=layouts / "yolo_mark_abs/data/img", names=CLASSES)
    assert len(found) == 10
    assert found.labelled
    shutil.copytree(layouts / "voc_ref/Annotations", tmp_path / "x/Annotations")
    labels = shutil.copytree(layouts / "ls_yolo/labels", tmp_path / "y/labels")
    assert len(open_dataset(tmp_path / "x", images=layouts / "voc_ref/JPEGImages")) == 10
    assert open_dataset(labels.parent, images=layouts / "ls_yolo/images").labelled


def test_linked_folders_are_entered(layouts, tmp_path):
    for name in ("images", "labels", "classes.txt"):
        (tmp_path / name).symlink_to(layouts / "ls_yolo" / name)
    (tmp_path / "up").symlink_to(tmp_path.parent)
    found = open_dataset(tmp_path)
    assert (len(found), found.names) == (10, CLASSES)
    assert {sample.image.parent for sample in found.samples} == {tmp_path / "images"}
