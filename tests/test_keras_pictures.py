"""PictureBatches: what `keras.Model.fit` gets of a data set."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("keras")

from PIL import Image

import darkconv as dc
from darkconv.assets import digits10_folder
from darkconv.backends.keras.picture_batches import PictureBatches
from darkconv.dataset import Dataset, Sample, open_dataset
from darkconv.dataset.label import Label
from darkconv.detection.detect import PictureFit
from darkconv.pictures.picture import read_picture

NET = "[net]\nwidth=64\nheight=48\nchannels=3\n"
CONV = "[convolutional]\nfilters=14\nactivation=linear\n"
YOLO = CONV + "[yolo]\nclasses=2\nnum=2\nanchors=4,6,8,3\n"


@pytest.fixture(scope="module")
def model():
    folder = digits10_folder()
    return dc.load(folder / "digits10.cfg", names=folder / "digits10.names")


@pytest.fixture(scope="module")
def digits():
    return open_dataset(digits10_folder() / "digits10.data")


def small_model(tmp_path, heads=1, options=""):
    cfg = tmp_path / "net.cfg"
    cfg.write_text(NET + options + YOLO * heads)
    return replace(dc.load(cfg, dialect="alexeyab"), names=("a", "b"))


def one_picture(folder, *labels, size=(100, 50)):
    path = folder / "one.png"
    Image.fromarray(np.full((size[1], size[0], 3), 90, np.uint8)).save(path)
    return Dataset((Sample.of(path, list(labels), size),), ("a", "b", "c"), "one")


def test_every_picture_comes_once_in_an_epoch(digits, model):
    batches = PictureBatches(digits, model, batch=5)
    assert len(batches) == 6
    seen = []
    for _ in range(2):
        pictures = np.concatenate([batches[number][0] for number in range(len(batches))])
        assert len(np.unique(pictures.reshape(30, -1), axis=0)) == 30
        seen.append(pictures)
        batches.on_epoch_end()
    assert not np.array_equal(*seen)


def test_the_seed_decides(digits, model):
    first, again, other = (PictureBatches(digits, model, seed=seed)[0] for seed in (1, 1, 2))
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(first[0], other[0])


def test_pictures_are_fitted_as_detection_does(digits, model):
    x, y = PictureBatches(digits, model, batch=30)[0]
    assert x.shape == (30, 160, 160, 3)
    assert x.dtype == np.float32
    for sample in digits.samples:
        picture = read_picture(sample.image, exact=False)
        expected = (
            PictureFit(picture.shape[1::-1], (160, 160), False).apply(picture).transpose(1, 2, 0)
        )
        (place,) = [i for i, one in enumerate(x) if np.array_equal(one, expected)]
        rows = y[place][y[place][:, 0] >= 0]
        assert [model.names[int(row[0])] for row in rows] == list(sample.names)
        corners = np.hstack([rows[:, 1:3] - rows[:, 3:] / 2, rows[:, 1:3] + rows[:, 3:] / 2])
        np.testing.assert_allclose(
            corners, (sample.boxes / (picture.shape[1::-1] * 2)).clip(0, 1), atol=1e-6
        )


def test_boxes_follow_a_letterbox(tmp_path):
    model = small_model(tmp_path, options="letter_box=1\n")
    data = one_picture(tmp_path, Label("b", (50, 0, 100, 50)))
    x, y = PictureBatches(data, model, batch=1)[0]
    np.testing.assert_allclose(x[0, :8], 0.5)  # 64x32 of 64x48 are the picture
    np.testing.assert_allclose(x[0, 8:40], 90 / 255, rtol=1e-6)
    np.testing.assert_allclose(y, [[[1, 0.75, 0.5, 0.5, 32 / 48]]])


def test_other_classes_and_difficult_boxes_do_not_count(tmp_path):
    labels = (
        Label("c", (0, 0, 50, 50)),
        Label("a", (0, 0, 50, 25)),
        Label("b", (0, 0, 9, 9), difficult=True),
    )
    data = one_picture(tmp_path, *labels)
    _, y = PictureBatches(data, small_model(tmp_path), batch=1)[0]
    np.testing.assert_allclose(y, [[[0, 0.25, 0.25, 0.5, 0.5], [-1, 0, 0, 0, 0], [-1, 0, 0, 0, 0]]])


def test_each_head_gets_the_boxes(tmp_path):
    data = one_picture(tmp_path, Label("a", (0, 0, 50, 25)))
    _, y = PictureBatches(data, small_model(tmp_path, heads=2), batch=2)[0]
    assert len(y) == 2
    np.testing.assert_array_equal(*y)


def test_pictures_are_changed_by_a_stream_of_their_own(tmp_path):
    def mirror_some(x, rows, stream):
        if stream.random() < 0.5:
            return x, rows
        rows = rows.copy()
        rows[:, [1, 3]] = x.shape[1] - rows[:, [3, 1]]
        return x[:, ::-1], rows

    data = one_picture(tmp_path, Label("a", (0, 0, 50, 25)))
    model = small_model(tmp_path)
    batches = [PictureBatches(data, model, batch=8, change=mirror_some)[0] for _ in range(2)]
    np.testing.assert_array_equal(batches[0][1], batches[1][1])
    centres = batches[0][1][:, 0, 1]
    assert sorted(set(centres.round(3).tolist())) == [0.25, 0.75]


def test_boxes_that_a_change_moves_out_are_dropped(tmp_path):
    def away(x, rows, _):
        return x, rows + np.array([0, 60, 0, 60, 0])

    data = one_picture(tmp_path, Label("a", (0, 0, 50, 25)), Label("b", (0, 0, 4, 40)))
    _, y = PictureBatches(data, small_model(tmp_path), batch=1, change=away)[0]
    np.testing.assert_allclose(y[0, 0], [0, 62 / 64, 0.25, 4 / 64, 0.5])
    assert (y[0, 1, 0]) == 1


def test_a_broken_picture_is_stood_in_for(tmp_path, caplog):
    data = one_picture(tmp_path, Label("a", (0, 0, 50, 25)))
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    data = replace(data, samples=(Sample.of(broken), *data.samples))
    x, y = PictureBatches(data, small_model(tmp_path), batch=2)[0]
    np.testing.assert_array_equal(x[0], x[1])
    np.testing.assert_array_equal(y[0], y[1])
    assert caplog.text.count("another picture stands in for it") == 1
