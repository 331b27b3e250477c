"""The two data sets of the collection, read as their descriptions say."""

from collections import Counter

import pytest

from darkconv.darknet.data import read_names
from darkconv.dataset import only_classes, open_dataset

WANTED = ("tvmonitor", "person", "chair", "pottedplant")
MODEL = "mobilenetv2-yolov3-nano-voc"


def counts(dataset):
    return Counter(name for sample in dataset.samples for name in sample.names)


@pytest.fixture(scope="module")
def bccd(data_dir):
    return open_dataset(data_dir / "bccd")


@pytest.fixture(scope="module")
def indoor85(data_dir):
    return open_dataset(data_dir / "indoor85")


def test_bccd_is_complete_but_for_the_boxes_without_area(bccd):
    assert len(bccd) == 364
    assert counts(bccd) == {"RBC": 4155 - 2, "WBC": 372, "Platelets": 361}
    assert bccd.names == ("Platelets", "RBC", "WBC")
    assert {sample.size for sample in bccd.samples} == {(640, 480)}


def test_the_boxes_without_area_are_told(bccd, data_dir):
    folder = data_dir / "bccd" / "Annotations"
    expected = "RBC: expected a box of some width and height, found"
    assert bccd.problems == (
        f"{folder}/BloodImage_00338.xml:158: {expected} 504,337,504,337",
        f"{folder}/BloodImage_00343.xml:50: {expected} 181,329,181,329",
    )


@pytest.mark.parametrize(
    ("split", "count"), [("train", 205), ("val", 87), ("trainval", 292), ("test", 72)]
)
def test_bccd_has_four_image_sets(data_dir, split, count):
    dataset = open_dataset(data_dir / "bccd", split=split)
    assert len(dataset) == count


def test_indoor85_is_complete(indoor85):
    assert len(indoor85) == 85
    assert sum(counts(indoor85).values()) == 686
    assert len(indoor85.names) == 30
    assert counts(indoor85)["chair"] == 106
    assert indoor85.problems == ()


def test_boxes_that_stick_out_by_a_pixel_are_left_as_they_are(indoor85):
    below = [(sample.boxes[:, 3] > sample.size[1]).sum() for sample in indoor85.samples]
    assert sum(below) == 5
    assert indoor85.changes == {}


def test_nineteen_pictures_hold_wanted_classes_and_nothing_else_that_the_model_knows(
    indoor85, models_dir
):
    file = models_dir / MODEL / f"{MODEL}.names"
    if not file.is_file():
        pytest.skip(f"no model {MODEL} in {models_dir}")
    known = read_names(file).names
    found = only_classes(indoor85, WANTED, known)
    assert len(found) == 19
    assert all(set(sample.names) & set(WANTED) for sample in found.samples)
    assert set(counts(found)) & set(known) == set(WANTED)
