"""Choosing photographs on the command line by what they show."""

import pytest

from darkconv.options.pictures import PictureOptions, open_pictures
from networks import network, random_model

VOC = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "count"), [("tvmonitor,person,chair,pottedplant", 19), (None, 85)]
)
def test_photographs_that_show_only_some_classes(data_dir, wanted, count):
    folder = data_dir / "indoor85"
    if not folder.is_dir():
        pytest.skip(f"no photographs in {folder}")
    model = random_model(network("[avgpool]\n"), names=VOC)
    options = PictureOptions(only_classes=wanted)
    assert len(open_pictures([str(folder)], options, model=model)) == count
