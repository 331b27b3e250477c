"""Pictures in, boxes out: fitting, reading, drawing, suppression, the whole call."""

import numpy as np
import pytest

import darkconv as dc
from darkconv.detection import detect
from darkconv.detection import suppress as suppress_module
from darkconv.detection.decode import Candidates, decode
from darkconv.detection.detect import detections, nms_of, raw_runner, runner
from darkconv.detection.draw import draw
from darkconv.detection.engine import make_engine
from darkconv.detection.sources import open_source
from darkconv.detection.stream import stream
from darkconv.detection.suppress import suppress
from darkconv.errors import DarkconvError, DatasetError
from darkconv.pictures.drawing import class_color, picture_format, write_picture
from darkconv.pictures.picture import PictureFit, read_picture, resize
from networks import network, random_model

image_module = pytest.importorskip("PIL.Image")

CONV = "[convolutional]\nfilters={n}\nactivation=linear\n"
YOLO = CONV.format(n=14) + "[yolo]\nclasses=2\nnum=2\nanchors=4,6,8,3\n"


def levels(height, width, channels=3):
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), np.uint8)


def test_equal_sizes_are_copied():
    picture = levels(5, 7)
    np.testing.assert_array_equal(
        resize(picture, 7, 5), (picture / np.float32(255)).astype(np.float32).transpose(2, 0, 1)
    )


def test_corners_stay_corners():
    picture = levels(6, 9)
    resized = resize(picture, 4, 3)
    for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        expected = picture[row, column] / np.float32(255)
        np.testing.assert_allclose(resized[:, row, column], expected, rtol=1e-6)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 5), (5, 1), (30000, 2)])
def test_odd_sizes_work(width, height):
    assert resize(levels(height, width), 3, 4).shape == (3, 4, 3)
    assert resize(levels(4, 3), 1, 1).shape == (3, 1, 1)


def test_letterbox_keeps_proportions_on_grey():
    fit = PictureFit((8, 4), (16, 16), letterbox=True)
    assert fit.inner == (16, 8)
    x = fit.apply(levels(4, 8))
    assert (x[:, :4] == 0.5).all()
    assert (x[:, 12:] == 0.5).all()
    assert not (x[:, 4:12] == 0.5).all()


@pytest.mark.parametrize("letterbox", [True, False])
@pytest.mark.parametrize("size", [(640, 480), (333, 777), (10, 10)])
def test_boxes_go_back_to_the_picture(letterbox, size):
    """A box that fills the picture fills it again, whatever the fit."""
    fit = PictureFit(size, (416, 320), letterbox)
    (width, height), (net_width, net_height) = fit.inner, fit.network
    whole = np.array([[0.5, 0.5, width / net_width, height / net_height]], np.float32)
    np.testing.assert_allclose(fit.to_picture(whole), [[0.5, 0.5, 1, 1]], atol=1e-6)
    np.testing.assert_allclose(fit.to_pixels(whole)[0, 2:], size, rtol=1e-5)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "CMYK", "1", "LA"])
def test_pictures_of_every_mode_are_read_as_rgb(tmp_path, mode):
    suffix = ".jpg" if mode == "CMYK" else ".png"
    image_module.fromarray(levels(4, 6)).convert(mode).save(tmp_path / f"a{suffix}")
    picture = read_picture(tmp_path / f"a{suffix}")
    assert picture.shape == (4, 6, 3)
    assert picture.dtype == np.uint8


def test_16_bit_pictures_are_read_with_a_warning(tmp_path, caplog):
    deep = np.full((4, 6), 256 * 200, np.uint16)
    image_module.fromarray(deep).save(tmp_path / "a.png")
    with caplog.at_level("WARNING", logger="darkconv"):
        assert (read_picture(tmp_path / "a.png") == 200).all()
    assert "16-bit picture, read as 8-bit" in caplog.text


@pytest.mark.parametrize("name", ["a.gif", "a.tiff", "a.webp", "a.png"])
def test_files_with_several_pictures_are_told_of(name, tmp_path, caplog):
    first, second = (image_module.new("RGB", (8, 8), colour) for colour in ("red", "blue"))
    first.save(tmp_path / name, save_all=True, append_images=[second], lossless=True)
    picture = read_picture(tmp_path / name)
    assert picture[0, 0].tolist() == [255, 0, 0]
    assert "holds several pictures, of which the first is read" in caplog.text
    first.save(tmp_path / f"one{name[1:]}")
    caplog.clear()
    read_picture(tmp_path / f"one{name[1:]}")
    assert not caplog.records


def test_folders_with_the_name_of_a_picture_are_none(tmp_path):
    (tmp_path / "a.jpg").mkdir()
    image_module.new("RGB", (8, 8)).save(tmp_path / "b.png")
    for source in (tmp_path, f"{tmp_path}/*"):
        assert [one.source for one in open_source(source)] == [str(tmp_path / "b.png")]


def test_pictures_are_turned_upright(tmp_path, caplog):
    image = image_module.fromarray(levels(4, 6))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    with caplog.at_level("WARNING", logger="darkconv"):
        assert read_picture(tmp_path / "a.jpg").shape == (6, 4, 3)
    assert caplog.messages == [f"{tmp_path / 'a.jpg'}: turned upright as its EXIF data say"]


def test_grey_networks_get_grey_pictures(tmp_path):
    image_module.fromarray(np.full((2, 2, 3), (255, 0, 0), np.uint8)).save(tmp_path / "a.png")
    assert (read_picture(tmp_path / "a.png", channels=1) == 76).all()
    with pytest.raises(DarkconvError, match="expected a network of 1 or 3 channels, found 4"):
        read_picture(tmp_path / "a.png", channels=4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"text", "is a text file, not a picture"),
        (bytes(99), "is not a picture in a known format"),
        (None, "no such file"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, data, message):
    path = tmp_path / "a.jpg"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(DatasetError, match=message) as caught:
        read_picture(path)
    assert caught.value.where.file == str(path)


def test_truncated_pictures_are_refused(tmp_path):
    image_module.fromarray(levels(64, 64)).save(tmp_path / "a.jpg")
    data = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(DatasetError, match="cannot be read as a picture"):
        read_picture(tmp_path / "a.jpg")


def test_yolo_boxes_are_decoded_by_the_formula():
    net = network(YOLO, (3, 8, 16))
    output = np.zeros((14, 8, 16), np.float32)
    output[7:14, 2, 5] = [0.25, 0.75, np.log(2), 0, 0.8, 0.5, 0.1]
    found = decode(net, [output], threshold=0.3)
    np.testing.assert_allclose(found.boxes, [[5.25 / 16, 2.75 / 8, 2 * 8 / 16, 3 / 8]], rtol=1e-6)
    np.testing.assert_allclose(found.scores, [[0.4, 0]], rtol=1e-6)


def test_heads_of_more_classes_than_the_first_are_refused():
    other = "[route]\nlayers=0\n" + CONV.format(n=9) + "[yolo]\n"
    net = network(YOLO + other + "classes=4\n", (3, 8, 8))
    outputs = [np.zeros(layer.out_shape, np.float32) for layer in net.box_heads]
    with pytest.raises(DarkconvError, match="no room for so many scores"):
        decode(net, outputs, threshold=0.5)


def test_network_without_boxes_is_refused():
    model = random_model(network(CONV.format(n=4) + "[softmax]\n"))
    with pytest.raises(DarkconvError, match=r"predicts no boxes: expected a \[yolo\].*\[softmax\]"):
        dc.detect(model, levels(8, 8))


def candidates():
    boxes = np.array([[5, 5, 4, 4], [5.2, 5, 4, 4], [20, 5, 4, 4]], np.float32)
    scores = np.array([[0.9, 0.0], [0.8, 0.7], [0.6, 0.0]], np.float32)
    return Candidates(boxes, scores.max(axis=1), scores)


def test_worse_boxes_of_a_class_lose_that_class_alone():
    kept = suppress(candidates(), threshold=0.45)
    np.testing.assert_allclose(kept.scores, [[0.9, 0], [0, 0.7], [0.6, 0]], rtol=1e-6)


def test_suppression_by_objectness_takes_all_classes():
    kept = suppress(candidates(), threshold=0.45, kind="obj")
    np.testing.assert_allclose(kept.objectness, [0.9, 0, 0.6], rtol=1e-6)


def test_unknown_suppression_is_refused():
    with pytest.raises(DarkconvError, match="nms_kind: expected obj, sort"):
        suppress(candidates(), threshold=0.45, kind="soft")


def test_suppression_kind_is_the_last_heads():
    assert nms_of(network(YOLO + "nms_kind=diounms\nbeta_nms=0.3\n")) == ("diounms", 0.3)
    assert nms_of(network(YOLO)) == ("sort", 0.6)
    assert nms_of(network(YOLO, dialect="pjreddie")) == ("sort", 0.6)


@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_detect_takes_arrays_and_files(tmp_path, backend):
    pytest.importorskip("torch")
    pytest.importorskip("onnxruntime")
    model = random_model(network(YOLO, (3, 8, 8)), names=("cat", "dog"))
    picture = levels(12, 20)
    image_module.fromarray(picture).save(tmp_path / "a.png")
    from_array = dc.detect(model, picture, 0.3, backend=backend)
    assert from_array == dc.detect(model, str(tmp_path / "a.png"), 0.3, backend=backend)
    assert from_array == dc.detect(model, tmp_path / "a.png", 0.3, backend=backend)
    scores = [found.score for found in from_array]
    assert scores
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0.3
    assert {found.name for found in from_array} <= {"cat", "dog"}


def test_detect_refuses_other_arrays():
    model = random_model(network(YOLO, (3, 8, 8)))
    with pytest.raises(DarkconvError, match=r"expected a file, or 8-bit levels of shape \(H, W, 3"):
        dc.detect(model, np.zeros((3, 8, 8), np.float32))
    with pytest.raises(DarkconvError, match="resize: expected stretch or letterbox, found crop"):
        dc.detect(model, levels(8, 8), resize="crop")


def test_boxes_come_in_pixels():
    net = network(YOLO, (3, 8, 16))
    model = random_model(net)
    output = np.zeros((14, 8, 16), np.float32)
    output[7:14, 2, 5] = [0.5, 0.5, 0, 0, 0.9, 0.9, 0.0]
    fit = PictureFit((160, 40), (16, 8), letterbox=False)
    (found,) = detections(model, [output], fit)
    assert found.box == pytest.approx((55 - 40, 12.5 - 7.5, 55 + 40, 12.5 + 7.5))
    assert (found.class_id, found.name) == (0, "0")


def test_drawing_leaves_the_picture_alone_and_marks_the_boxes(tmp_path):
    picture = np.zeros((120, 160, 3), np.uint8)
    found = [
        dc.Detection(0, "cat", 0.9, (10.0, 20.0, 60.0, 80.0)),
        dc.Detection(1, "dog", 0.8, (-50.0, -50.0, 500.0, 500.0)),
    ]
    drawn = np.array(draw(picture, found))
    assert not picture.any()
    assert (drawn[50, 10] == class_color(0)).all()
    assert (drawn[60, 0] == class_color(1)).all()
    for name, kind in (("a.png", "PNG"), ("b.JPG", "JPEG")):
        write_picture(draw(picture, found), tmp_path / name)
        with image_module.open(tmp_path / name) as written:
            assert written.format == kind
    with pytest.raises(DarkconvError, match="expected a name that ends in .png or .jpg"):
        picture_format("a.gif")


def test_neighbouring_classes_have_unlike_colours():
    colors = np.array([class_color(i) for i in range(20)], float)
    assert np.abs(colors[1:] - colors[:-1]).max(axis=1).min() > 60


@pytest.mark.parametrize("count", [12, 13, suppress_module.PAIRED + 40])
@pytest.mark.parametrize("kind", ["sort", "greedynms", "diounms"])
def test_pairs_and_a_table_lose_what_box_by_box_loses(count, kind, monkeypatch):
    stream = np.random.default_rng(count)
    boxes = stream.uniform(0.2, 0.6, (count, 4)).astype(np.float32)
    scores = stream.random((count, 3)).astype(np.float32) * (stream.random((count, 3)) < 0.7)
    found = Candidates(boxes, np.ones(count, np.float32), scores.astype(np.float32))
    kept = suppress(found, threshold=0.45, kind=kind)
    monkeypatch.setattr(suppress_module, "TABLED", 0)
    in_turn = suppress(found, threshold=0.45, kind=kind)
    monkeypatch.setattr(suppress_module, "PAIRED", 0)
    one_by_one = suppress(found, threshold=0.45, kind=kind)
    monkeypatch.setattr(suppress_module, "PAIRED", 10 * count)
    in_pairs = suppress(found, threshold=0.45, kind=kind)
    assert np.array_equal(kept.scores, in_turn.scores)
    assert np.array_equal(kept.scores, one_by_one.scores)
    assert np.array_equal(kept.scores, in_pairs.scores)
    assert 0 < np.count_nonzero(kept.scores) < np.count_nonzero(scores)


HEADS = {
    "yolo": "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\nscale_x_y=1.2\n",
    "yolo, new coordinates": "[yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\nnew_coords=1\n",
    "Gaussian": "[Gaussian_yolo]\nclasses=3\nnum=2\nanchors=3,4,6,7\nscale_x_y=1.1\n",
    "region": "[region]\nclasses=3\nnum=2\nanchors=3,4,6,7\nsoftmax=1\n",
}


@pytest.mark.parametrize("threshold", [0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("name", HEADS)
def test_raw_maps_give_the_boxes_of_activated_ones(name, threshold):
    filters = {"Gaussian": 24}.get(name, 16)
    activation = "logistic" if "new" in name else "linear"
    body = f"[convolutional]\nfilters={filters}\nsize=1\nactivation={activation}\n" + HEADS[name]
    model = random_model(network(body, (3, 8, 8)), seed=3)
    x = np.random.default_rng(0).normal(0, 3, (1, 3, 8, 8)).astype(np.float32)
    (whole,), (raw,) = runner(model, "torch")(x), raw_runner(model, "torch")(x)
    expected = decode(model.network, [whole[0]], threshold=threshold)
    found = decode(model.network, [raw[0]], threshold=threshold, raw=True)
    assert len(found.boxes) == len(expected.boxes)
    for part in ("boxes", "objectness", "scores"):
        np.testing.assert_allclose(
            getattr(found, part), getattr(expected, part), rtol=1e-5, atol=1e-6
        )


def test_many_files_are_found_in_order(tmp_path):
    body = "[convolutional]\nfilters=16\nsize=1\nactivation=linear\n" + HEADS["yolo"]
    model = random_model(network(body, (3, 8, 8)))
    files = [tmp_path / f"{number}.png" for number in range(9)]
    dice = np.random.default_rng(0)
    for file in files:
        image_module.fromarray(dice.integers(0, 256, (9, 7, 3), np.uint8)).save(file)
    files[4].write_bytes(b"no picture")
    skipped = []
    found = list(stream(make_engine(model), files, unreadable="skip", skipped=skipped))
    assert [str(files[4])] == [error.where.file for error in skipped]
    assert [frame.index for frame in found] == [0, 1, 2, 3, 5, 6, 7, 8]
    for frame in found:
        assert list(frame.found) == detect(model, files[frame.index])
        assert frame.found


def test_grey_levels_are_no_input_of_a_trace():
    pytest.importorskip("torch")
    model = random_model(network(YOLO))
    with pytest.raises(DarkconvError, match="expected levels from 0 to 1 as float32, found an arr"):
        dc.trace(model, np.zeros((3, 8, 8), np.uint8))


def test_a_cutoff_without_weights_is_refused(tmp_path):
    with pytest.raises(DarkconvError, match="yolov3: cutoff is about the weights, and none are"):
        dc.load("yolov3", cutoff=3)
