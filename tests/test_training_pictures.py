"""Pictures for training: boxes go where pixels go; the seed and the draw decide alone."""

import pickle

import numpy as np
import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("torch")

import torch
from PIL import Image
from torch.utils.data import DataLoader

from darkconv.assets import digits10_folder
from darkconv.augmentation.augment import Augmentation
from darkconv.augmentation.colour import ColourRange
from darkconv.augmentation.sampler import Draw
from darkconv.dataset import Dataset, Sample, open_dataset
from darkconv.dataset.label import Label
from darkconv.errors import DarkconvError, DatasetError
from darkconv.pictures.picture import PictureFit, read_picture
from darkconv.training.pictures import TrainingPictures, collate

RED, GREEN, BLUE, YELLOW, CYAN, PINK = (
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (255, 255, 0),
    (0, 255, 255),
    (255, 0, 255),
)
COLOURS = (RED, GREEN, BLUE, YELLOW, CYAN, PINK)
NAMES = tuple("rgbyck")
GREY = 90
HALF = (255 - GREY) / 255 / 2
"""A colour that has come half of the way from the grey; that of a border has come a quarter."""
SIZES = ((120, 80), (70, 150), (200, 200), (333, 90), (64, 64), (150, 260))
COLOURED = ColourRange(hue=0.1, saturation=1.5, exposure=1.5)
FULL = Augmentation(jitter=0.3, resize=1.5, flip=True, colours=COLOURED, mosaic=True)
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def rectangles(folder, sizes=SIZES):
    """A data set of grey pictures, each with one rectangle in a colour of its own."""
    stream = np.random.default_rng(0)
    samples = []
    for number, (width, height) in enumerate(sizes):
        left, top = stream.integers(0, (width // 2, height // 2))
        right = left + int(stream.integers(width // 4, width // 2))
        bottom = top + int(stream.integers(height // 4, height // 2))
        levels = np.full((height, width, 3), GREY, np.uint8)
        levels[top:bottom, left:right] = COLOURS[number]
        path = folder / f"{number}.png"
        Image.fromarray(levels).save(path)
        label = Label(NAMES[number], (left, top, right, bottom))
        samples.append(Sample.of(path, [label], (width, height)))
    return Dataset(tuple(samples), NAMES, "rectangles")


@pytest.fixture(scope="module")
def coloured(tmp_path_factory):
    return rectangles(tmp_path_factory.mktemp("rectangles"))


@pytest.fixture(scope="module")
def digits():
    return open_dataset(digits10_folder() / "digits10.data")


def training(dataset, augmentation, *, size=(160, 128), channels=3, letterbox=False, **options):
    return TrainingPictures(
        dataset,
        dataset.names,
        size,
        channels=channels,
        letterbox=letterbox,
        augmentation=augmentation,
        seed=3,
        **options,
    )


def pixels(truths, size):
    """Truths as class and xyxy in pixels."""
    corners = np.hstack([truths[:, 1:3] - truths[:, 3:] / 2, truths[:, 1:3] + truths[:, 3:] / 2])
    return truths[:, 0].astype(int), corners * np.tile(size, 2)


def coloured_box(x, colour):
    """xyxy of the pixels of a colour."""
    wanted = np.array(colour, np.float32)[:, None, None] / 255
    ys, xs = np.nonzero((abs(x - wanted) < HALF).all(axis=0))
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) if len(xs) else None


GEOMETRY = {
    "none": (Augmentation.none(), {}),
    "letterbox": (Augmentation.none(), {"letterbox": True}),
    "flip": (Augmentation(flip=True), {}),
    "jitter": (Augmentation(jitter=0.3), {}),
    "jitter and letterbox": (Augmentation(jitter=0.2, flip=True), {"letterbox": True}),
    "down only": (Augmentation(jitter=0.1, resize=0.6), {}),
    "up and down": (Augmentation(jitter=0.3, resize=1.5, flip=True), {}),
    "placed": (Augmentation(jitter=0.3, places=True, flip=True), {"letterbox": True}),
    "placed, not letterboxed": (Augmentation(jitter=0.3, places=True), {}),
    "too much jitter": (Augmentation(jitter=0.9, flip=True), {}),
    "mosaic": (Augmentation(jitter=0.2, flip=True, mosaic=True, bound=True), {}),
    "mosaic and letterbox": (
        Augmentation(jitter=0.2, resize=1.5, flip=True, mosaic=True, bound=True),
        {"letterbox": True},
    ),
    "placed mosaic": (
        Augmentation(places=True, mosaic=True, bound=True, flip=True),
        {"letterbox": True},
    ),
}


@pytest.mark.parametrize("size", [(160, 128), (96, 192)])
@pytest.mark.parametrize("kind", GEOMETRY)
def test_boxes_go_where_their_pixels_go(coloured, kind, size):
    augmentation, options = GEOMETRY[kind]
    pictures = training(coloured, augmentation, **options)
    read, numbers = pictures.decoded.read, []
    pictures.decoded.read = lambda number: numbers.append(number) or read(number)
    compared = mosaics = 0
    for turn in range(60):
        numbers.clear()
        x, truths = pictures[Draw(turn % len(coloured), turn, size)]
        assert tuple(x.shape) == (3, size[1], size[0])
        if len(set(numbers)) < len(numbers):
            continue  # two rectangles of a colour
        mosaics += len(numbers) == 4
        for number, box in zip(*pixels(truths.numpy(), size), strict=True):
            found = coloured_box(x.numpy(), COLOURS[number])
            scale = 1 if augmentation.is_none else 0  # Darknet's resize aligns corners
            np.testing.assert_allclose(found, box, atol=2 + scale, err_msg=f"turn {turn}")
            compared += 1
    assert compared > 25
    assert bool(mosaics) == augmentation.mosaic


def test_boxes_of_a_mosaic_may_end_behind_their_part(coloured):
    """mosaic_bound=0 clips boxes to the canvas only, but the seen part of them is right."""
    free = training(coloured, Augmentation(jitter=0.2, mosaic=True))
    bound = training(coloured, Augmentation(jitter=0.2, mosaic=True, bound=True))
    longer = 0
    for turn in range(80):
        (x, truths), (same, clipped) = (p[Draw(0, turn)] for p in (free, bound))
        assert torch.equal(x, same)
        assert torch.equal(truths[:, 0], clipped[:, 0])
        _, boxes = pixels(truths.numpy(), (160, 128))
        _, parts = pixels(clipped.numpy(), (160, 128))
        assert (boxes[:, :2] <= parts[:, :2] + 1e-3).all()
        assert (boxes[:, 2:] >= parts[:, 2:] - 1e-3).all()
        longer += int((truths != clipped).any())
    assert longer


@pytest.mark.parametrize("letterbox", [False, True])
def test_without_augmentation_pictures_are_exactly_what_detection_sees(digits, letterbox):
    size = (160, 96)
    pictures = training(digits, Augmentation.none(), size=size, letterbox=letterbox)
    for number in range(5):
        picture = read_picture(digits.samples[number].image)
        fit = PictureFit(picture.shape[1::-1], size, letterbox)
        x, truths = pictures[Draw(number, 77)]
        np.testing.assert_array_equal(x.numpy(), fit.apply(picture))
        back = fit.to_picture(truths[:, 1:].numpy())
        boxes = digits.samples[number].boxes
        centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        expected = np.hstack([centres, sides]) / np.tile(fit.picture, 2)
        np.testing.assert_allclose(back, expected, atol=0.005)  # clipped by less than a pixel
        names = [digits.names[int(k)] for k in truths[:, 0]]
        assert tuple(names) == digits.samples[number].names


def test_an_augmentation_that_changes_nothing_is_none(digits):
    pictures = training(digits, Augmentation(places=True, bound=True), size=(64, 64))
    plain = training(digits, Augmentation.none(), size=(64, 64))
    assert torch.equal(pictures[Draw(1, 5)][0], plain[Draw(1, 9)][0])


def test_seed_and_turn_decide_alone(digits):
    one, other = training(digits, FULL), training(digits, FULL)
    draws = [Draw(turn % 7, turn) for turn in range(12)]
    forth = [one[draw] for draw in draws]
    back = [other[draw] for draw in reversed(draws)][::-1]
    for (x, truths), (same, same_truths) in zip(forth, back, strict=True):
        assert torch.equal(x, same)
        assert torch.equal(truths, same_truths)
    assert not torch.equal(one[Draw(0, 0)][0], one[Draw(0, 1)][0])


def test_several_processes_give_the_same(digits):
    pictures, again = training(digits, FULL), training(digits, FULL)
    batches = [[Draw(i, 10 * k + i, (64, 96)) for i in range(3)] for k in range(4)]
    loader = DataLoader(pictures, batch_sampler=batches, num_workers=2, collate_fn=collate)
    for batch, (x, truths) in zip(batches, loader, strict=True):
        expected, boxes = collate([again[draw] for draw in batch])
        assert torch.equal(x, expected)
        assert torch.equal(truths, boxes)


def test_a_copy_in_another_process_starts_without_memory(digits):
    pictures = training(digits, FULL)
    x, truths = pictures[Draw(2, 4)]
    copy = pickle.loads(pickle.dumps(pictures))
    assert copy.decoded._shelf is None
    assert torch.equal(copy[Draw(2, 4)][0], x)
    assert torch.equal(copy[Draw(2, 4)][1], truths)


@pytest.mark.parametrize("cache", [0, 50_000, 1 << 26])
def test_memory_changes_nothing_and_is_bounded(coloured, cache):
    pictures = training(coloured, FULL, cache=cache)
    fresh = training(coloured, FULL, cache=0)
    draws = [Draw(turn % len(coloured), turn % 12) for turn in range(24)]
    for draw in draws:
        assert torch.equal(pictures[draw][0], fresh[draw][0])
    shelf = pictures.decoded.shelf
    kept = [page for page in map(shelf.get, range(len(coloured))) if page]
    assert sum(page.picture.nbytes for page in kept) == shelf._index[-1, 0] <= cache
    assert (len(kept) == len(coloured)) == (cache == 1 << 26)


def test_where_there_is_no_room_pictures_are_read_every_time(coloured, caplog):
    pictures = training(coloured, FULL, cache=1 << 62)
    fresh = training(coloured, FULL, cache=0)
    assert "no room" in caplog.messages[0]
    assert torch.equal(pictures[Draw(0, 0)][0], fresh[Draw(0, 0)][0])
    assert pictures.decoded.shelf.get(0) is None


def test_very_large_pictures_are_thinned_out_with_their_boxes(tmp_path):
    dataset = rectangles(tmp_path, sizes=[(1001, 777)])
    size = (96, 64)
    pictures = training(dataset, Augmentation(jitter=0.2), size=size)
    assert max(pictures.decoded.read(0).picture.shape) < 250
    assert pictures.decoded.read(0).size == (1001, 777)
    for turn in range(20):
        x, truths = pictures[Draw(0, turn)]
        ((_,), (box,)) = pixels(truths.numpy(), size)
        np.testing.assert_allclose(coloured_box(x.numpy(), RED), box, atol=2)
    whole = training(dataset, Augmentation.none(), size=size)
    assert whole.decoded.read(0).picture.shape == (777, 1001, 3)


# --- What is wrong with files


@pytest.fixture
def damaged(tmp_path):
    """Of six pictures the second is missing, the third no picture, the fourth cut short."""
    dataset = rectangles(tmp_path)
    missing, foreign, short = (dataset.samples[i].image for i in (1, 2, 3))
    missing.unlink()
    foreign.write_bytes(b"no picture")
    short.write_bytes(short.read_bytes()[:80])
    return dataset


def test_pictures_that_cannot_be_read_are_told_once_and_replaced(damaged, caplog):
    pictures = training(damaged, Augmentation.none())
    for _ in range(3):
        for number in (1, 2, 3):
            x, truths = pictures[Draw(number, 0)]
            assert torch.equal(x, pictures[Draw(4, 0)][0])
            assert truths[:, 0].tolist() == [4.0]
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 3
    for number, text in ((1, "no such file"), (2, "is a text file"), (3, "cannot be read")):
        message = next(m for m in caplog.messages if text in m)
        assert str(damaged.samples[number].image) in message
        assert message.endswith("another picture stands in for it")


def test_the_last_picture_is_replaced_by_the_first(coloured, tmp_path):
    samples = (*coloured.samples, Sample.of(tmp_path / "gone.png"))
    pictures = training(Dataset(samples, NAMES, "test"), Augmentation(flip=True))
    assert pictures[Draw(len(samples) - 1, 0)][1][:, 0].tolist() == [0.0]


def test_workers_share_what_they_know_of_bad_files(damaged, caplog):
    pictures = training(damaged, FULL)
    batches = [[Draw(number, number)] for number in range(6)]
    loader = DataLoader(pictures, batch_sampler=batches, num_workers=2, collate_fn=collate)
    assert len(list(loader)) == 6
    if pictures.decoded.shelf.get(0) is None:
        pytest.skip("processes are not forked here")
    assert all(pictures.decoded.shelf.is_bad(number) for number in (1, 2, 3))
    _ = pictures[Draw(1, 1)]
    assert not caplog.records


def test_no_picture_at_all_is_an_error(tmp_path):
    samples = tuple(Sample.of(tmp_path / f"{i}.png") for i in range(3))
    pictures = training(Dataset(samples, ("a",), "some.data"), FULL)
    with pytest.raises(DatasetError, match="not one of 3 pictures can be read") as caught:
        _ = pictures[Draw(0, 0)]
    assert caught.value.where.file == "some.data"


def test_what_a_file_says_of_itself_is_told_once(tmp_path, caplog):
    image = Image.fromarray(np.zeros((40, 60, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    dataset = Dataset((Sample.of(tmp_path / "turned.jpg"),), ("a",), "test")
    pictures = training(dataset, Augmentation(flip=True), cache=0)
    assert pictures.decoded.read(0).picture.shape == (60, 40, 3)
    _ = [pictures[Draw(0, turn)] for turn in range(3)]
    assert ["turned upright" in message for message in caplog.messages] == [True]


# --- Labels


def test_only_boxes_of_the_networks_classes_count(coloured):
    names = ("b", "r", "x")
    pictures = TrainingPictures(
        coloured,
        names,
        (64, 64),
        channels=3,
        letterbox=False,
        augmentation=Augmentation.none(),
        seed=0,
    )
    classes = [pictures[Draw(number, 0)][1][:, 0].tolist() for number in range(4)]
    assert classes == [[1.0], [], [0.0], []]


def test_difficult_boxes_are_left_out_unless_asked_for(coloured):
    first = coloured.samples[0]
    labels = [Label("r", (0, 0, 30, 30)), Label("g", (10, 10, 50, 50), difficult=True)]
    dataset = Dataset((Sample.of(first.image, labels, first.size),), NAMES, "test")
    plain = training(dataset, Augmentation.none())
    every = training(dataset, Augmentation.none(), difficult=True)
    assert plain[Draw(0, 0)][1][:, 0].tolist() == [0.0]
    assert every[Draw(0, 0)][1][:, 0].tolist() == [0.0, 1.0]


def test_boxes_that_stick_out_are_clipped_and_narrow_ones_dropped(coloured):
    first = coloured.samples[0]  # 120 x 80
    labels = [Label("r", (-20, -10, 60, 40)), Label("g", (10, 10, 10.4, 60))]
    dataset = Dataset((Sample.of(first.image, labels, first.size),), NAMES, "test")
    truths = training(dataset, Augmentation.none(), size=(120, 80))[Draw(0, 0)][1]
    np.testing.assert_allclose(truths, [[0, 0.25, 0.25, 0.5, 0.5]], atol=1e-6)


@pytest.mark.parametrize("augmentation", [Augmentation.none(), FULL], ids=["none", "full"])
def test_pictures_without_boxes(coloured, augmentation):
    bare = Dataset(tuple(Sample.of(s.image) for s in coloured.samples), NAMES, "test")
    batch = [training(bare, augmentation)[Draw(0, turn)] for turn in range(4)]
    assert [tuple(truths.shape) for _, truths in batch] == [(0, 5)] * 4
    x, truths = collate(batch)
    assert x.shape == (4, 3, 128, 160)
    assert truths.tolist() == [[[-1.0] * 5]] * 4


def test_batches_are_filled_up_with_class_minus_one():
    rows = [torch.rand(2, 5), torch.rand(0, 5), torch.rand(3, 5)]
    x, truths = collate([(torch.zeros(3, 4, 4), row) for row in rows])
    assert x.shape == (3, 3, 4, 4)
    assert truths.dtype == torch.float32
    assert truths.shape == (3, 3, 5)
    for row, padded in zip(rows, truths, strict=True):
        assert torch.equal(padded[: len(row)], row)
        assert (padded[len(row) :] == -1).all()


# --- Kinds of networks


@pytest.mark.parametrize("augmentation", [Augmentation.none(), FULL], ids=["none", "full"])
def test_grey_networks(digits, augmentation):
    x, truths = training(digits, augmentation, channels=1)[Draw(0, 0)]
    assert x.shape == (1, 128, 160)
    assert len(truths)


def test_other_channels_are_refused(digits):
    with pytest.raises(DarkconvError, match="1 or 3 channels"):
        _ = training(digits, FULL, channels=4)[Draw(0, 0)]


@pytest.mark.parametrize("turn", range(6))
def test_values_are_floats_from_0_to_1(digits, turn):
    noisy = Augmentation(jitter=0.3, flip=True, colours=COLOURED, mosaic=True, blur=7, noise=40)
    x, truths = training(digits, noisy)[Draw(turn, turn)]
    assert x.dtype == truths.dtype == torch.float32
    assert x.is_contiguous()
    assert 0 <= float(x.min()) < float(x.max()) <= 1
    assert ((truths[:, 1:] >= 0) & (truths[:, 1:] <= 1)).all()
