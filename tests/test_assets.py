"""The bundled model: small, with valid labels, and good at what it does."""

from pathlib import Path

import numpy as np
import pytest

import darkconv as dc
import darkconv.assets
from darkconv.boxes import as_corners
from darkconv.darknet.data import read_labels
from darkconv.dataset import open_dataset
from darkconv.evaluation.average_precision import average_precision

FOLDER = Path(darkconv.assets.__file__).parent / "digits10"
CFG, WEIGHTS = FOLDER / "digits10.cfg", FOLDER / "digits10.weights"
IMAGES = sorted((FOLDER / "images").glob("*.jpg"))
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@pytest.fixture(scope="module")
def model():
    return dc.load(CFG, WEIGHTS)


def labels(image):
    return read_labels(image.with_suffix(".txt"))


def true_boxes(image):
    """Class, x0, y0, x1, y1 in pixels."""
    pil_image = pytest.importorskip("PIL.Image")
    with pil_image.open(image) as picture:
        rows = labels(image)
        corners = as_corners(rows[:, 1:]) * np.array(picture.size * 2)
        return np.hstack([rows[:, :1], corners])


def test_names_are_found_and_the_dialect_is_recognised(model):
    assert model.names == NAMES
    assert model.dialect.name == "alexeyab"
    assert not model.initial_layers


def test_the_weights_are_small_and_tell_what_they_are(model):
    assert WEIGHTS.stat().st_size <= 700_000
    header = model.header
    options = model.network.options
    assert (header.major, header.minor, header.revision) == (0, 2, 5)
    assert header.seen == options.batch * options.max_batches


def test_the_network_is_cheap(model):
    assert sum(layer.macs for layer in model.network.layers) <= 60_000_000


def test_the_network_has_something_of_everything(model):
    types = [layer.type for layer in model.network.layers]
    assert {"convolutional", "maxpool", "shortcut", "route", "upsample"} <= set(types)
    assert types.count("yolo") == 1


def test_everything_together_is_small():
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 1_200_000


def test_there_are_thirty_pictures_with_labels():
    assert len(IMAGES) == 30
    assert all(image.with_suffix(".txt").is_file() for image in IMAGES)


def test_they_are_a_data_set_too():
    dataset = open_dataset(FOLDER / "digits10.data")
    assert [sample.image for sample in dataset.samples] == IMAGES
    assert dataset.names == tuple(NAMES)
    assert not dataset.problems


@pytest.mark.parametrize("image", IMAGES, ids=lambda path: path.stem)
def test_labels_lie_inside_the_picture(image):
    rows = labels(image)
    assert 2 <= len(rows) <= 7
    assert set(rows[:, 0]) <= set(range(len(NAMES)))
    assert (rows[:, 3:] > 0).all()
    assert (rows[:, 1:3] - rows[:, 3:] / 2 >= -1e-6).all()
    assert (rows[:, 1:3] + rows[:, 3:] / 2 <= 1 + 1e-6).all()


def test_every_class_is_shown():
    shown = np.concatenate([labels(image)[:, 0] for image in IMAGES])
    assert set(shown) == set(range(len(NAMES)))


def test_the_bundled_pictures_are_read_well(model):
    pytest.importorskip("torch")
    truths = [true_boxes(image) for image in IMAGES]
    found = [dc.detect(model, image, threshold=0.005, nms=0.45) for image in IMAGES]
    assert average_precision(found, truths, num_classes=len(NAMES)).mean >= 0.9
