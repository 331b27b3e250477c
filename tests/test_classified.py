"""Pictures for classifiers: their classes, their crops, and how often they are recognised."""

import pickle

import numpy as np
import pytest

pytest.importorskip("PIL.Image")
pytest.importorskip("torch")

import torch
from PIL import Image
from torch.utils.data import DataLoader

from darkconv.augmentation.augment import Augmentation
from darkconv.augmentation.colour import ColourRange
from darkconv.augmentation.crop import CropRange, RandomCrop
from darkconv.augmentation.sampler import Draw
from darkconv.dataset import open_classified
from darkconv.errors import DatasetError
from darkconv.evaluation.classification import classification, top_k
from darkconv.pictures.crop import centre_crop
from darkconv.pictures.picture import read_picture, resize
from darkconv.training.classified import ClassifiedPictures, collate_classified

FULL = Augmentation(
    flip=True,
    colours=ColourRange(hue=0.1, saturation=0.75, exposure=0.75),
    crop=CropRange(least=0.8, most=2.0, angle=7.0, aspect=0.75),
)
PLAIN = Augmentation.none()
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def picture(path, seed=0, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    levels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(levels).save(path)


@pytest.fixture
def folders(tmp_path):
    for number, name in enumerate(("dog/a.png", "cat/deep/b.png", "cat/c.png", "10/d.png")):
        picture(tmp_path / name, number)
    (tmp_path / "dog" / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "2").mkdir()
    return tmp_path


def classes(dataset):
    return {path.name: dataset.names[number] for path, number in dataset.samples}


# --- Folders


def test_each_folder_is_a_class(folders):
    dataset = open_classified(folders)
    assert dataset.names == ("2", "10", "cat", "dog")
    assert classes(dataset) == {"a.png": "dog", "b.png": "cat", "c.png": "cat", "d.png": "10"}
    assert len(dataset) == 4
    assert dataset.source == str(folders)
    assert not dataset.problems


def test_names_of_the_network_decide(folders):
    dataset = open_classified(folders, ("dog", "bird", "cat"))
    assert dataset.names == ("dog", "bird", "cat")
    assert sorted(number for _, number in dataset.samples) == [0, 2, 2]
    (problem,) = dataset.problems
    assert problem == f"{folders / '10'}: 1 pictures left out: 10 is none of the classes"


def test_names_come_from_a_file_too(folders, tmp_path):
    (tmp_path / "own.names").write_text("cat\ndog\n")
    assert open_classified(folders, tmp_path / "own.names").names == ("cat", "dog")


def test_a_split_is_a_folder_of_folders(tmp_path):
    picture(tmp_path / "train" / "a" / "1.png")
    picture(tmp_path / "val" / "a" / "2.png")
    for split, name in ((None, "1.png"), ("train", "1.png"), ("val", "2.png"), ("valid", "2.png")):
        assert list(classes(open_classified(tmp_path, split=split))) == [name]
    with pytest.raises(DatasetError, match="has no splits, so there is no split 'train'"):
        open_classified(tmp_path / "val", split="train")
    with pytest.raises(DatasetError, match="expected one of the splits train, val, found test"):
        open_classified(tmp_path, split="test")


@pytest.mark.parametrize("names", [None, ("bird",)])
def test_folders_without_a_usable_picture_are_an_error(tmp_path, names):
    if names:
        picture(tmp_path / "dog" / "a.png")
    with pytest.raises(DatasetError, match="no picture can be used") as caught:
        open_classified(tmp_path, names)
    assert ("dog is none of the classes" if names else "a source is") in str(caught.value)


@pytest.mark.parametrize(("name", "text"), [("gone", "no such file"), ("x.csv", "is no data set")])
def test_other_sources_are_refused(tmp_path, name, text):
    (tmp_path / "x.csv").write_text("")
    with pytest.raises(DatasetError, match=text):
        open_classified(tmp_path / name)


# --- Darknet's files


@pytest.fixture
def darknet(tmp_path):
    """Pictures with WordNet's names in their paths, and human names in a file of their own."""
    tmp_path = tmp_path / "all" / "set"
    for name in ("n01/n01_5.png", "n02/n02_1.png", "n02/n02_7.png", "n03/n03_1.png"):
        picture(tmp_path / "pictures" / name)
    lines = [f"pictures/{path.parent.name}/{path.name}" for path in tmp_path.rglob("*.png")]
    (tmp_path / "train.list").write_text("\n".join(sorted(lines)) + "\n")
    (tmp_path / "valid.list").write_text("pictures/n02/n02_7.png\n")
    (tmp_path / "labels.txt").write_text("n01\nn02\nn03\n")
    (tmp_path / "short.names").write_text("tench\ngoldfish\nshark\n")
    text = "classes=3\ntrain=train.list\nvalid=valid.list\nlabels=labels.txt\nnames=short.names\n"
    (tmp_path / "pictures.data").write_text(text)
    return tmp_path / "pictures.data"


def test_the_class_is_the_label_that_occurs_in_the_path(darknet):
    dataset = open_classified(darknet)
    assert dataset.names == ("tench", "goldfish", "shark")
    assert [number for _, number in dataset.samples] == [0, 1, 1, 2]
    assert [path.is_file() for path, _ in dataset.samples] == [True] * 4
    assert len(open_classified(darknet, split="valid")) == 1


@pytest.mark.parametrize("names", [("shark", "tench"), ("n03", "n01")], ids=["names", "labels"])
def test_a_network_of_fewer_classes_takes_their_pictures(darknet, names):
    dataset = open_classified(darknet, names)
    assert dataset.names == names
    assert [number for _, number in dataset.samples] == [1, 0]
    assert "2 pictures left out" in dataset.problems[0]


def test_without_labels_the_names_are_looked_for(darknet):
    text = darknet.read_text().replace("labels=labels.txt\n", "")
    darknet.write_text(text.replace("short.names", "labels.txt"))
    dataset = open_classified(darknet)
    assert dataset.names == ("n01", "n02", "n03")
    assert len(dataset) == 4


def test_a_list_needs_names(darknet):
    listed = darknet.parent / "train.list"
    with pytest.raises(DatasetError, match="classes of its pictures are not known"):
        open_classified(listed)
    dataset = open_classified(listed, ("n03", "n02", "n01"))
    assert [number for _, number in dataset.samples] == [2, 1, 1, 0]


def test_lines_that_tell_no_class_or_several_are_problems(tmp_path):
    listed = tmp_path / "all.txt"
    names = ["cattle_1.png", "cat_2.png", "cat_dog.png", "bird.png", "dog_gone.png"]
    for name in names[:4]:
        picture(tmp_path / name)
    listed.write_text("\n".join(names))
    dataset = open_classified(listed, ("cat", "dog", "cattle"))
    assert classes(dataset) == {"cattle_1.png": "cattle", "cat_2.png": "cat"}
    several, none, missing = dataset.problems
    assert several == f"{listed}:3: expected one label in the path, found 2: cat, dog"
    assert none == f"{listed}:4: expected one label in the path, found none"
    assert missing.startswith(f"{listed}:5: no such picture")


def test_a_label_of_two_classes_tells_neither(tmp_path):
    picture(tmp_path / "crane.png")
    (tmp_path / "all.txt").write_text("crane.png\n")
    with pytest.raises(DatasetError, match="found 2: crane"):
        open_classified(tmp_path / "all.txt", ("crane", "hen", "crane"))


@pytest.mark.parametrize("key", ["train", "labels"])
def test_files_that_are_missing_are_named(darknet, key):
    text = darknet.read_text().replace(f"{key}=", f"{key}=gone/")
    darknet.write_text(text)
    with pytest.raises(DatasetError, match="no such .*gone/"):
        open_classified(darknet)


def test_a_data_file_without_the_split_says_what_it_has(darknet):
    with pytest.raises(DatasetError, match="expected one of the splits train, valid, found test"):
        open_classified(darknet, split="test")


def test_paths_that_lead_outside_are_refused(darknet, tmp_path):
    other = tmp_path / "n01.png"
    picture(other)
    (darknet.parent / "train.list").write_text(f"{other}\n")
    with pytest.raises(DatasetError, match="leads outside"):
        open_classified(darknet)
    assert len(open_classified(darknet, outside=True)) == 1


# --- Crops


def test_the_centre_crop_is_the_middle_of_the_scaled_picture():
    levels = np.random.default_rng(0).integers(0, 256, (30, 47, 3), np.uint8)
    found = centre_crop(levels, (20, 20))
    whole = resize(levels, 47 * 20 // 30, 20)
    np.testing.assert_array_equal(found, whole[:, :, 5:25])
    upright = centre_crop(levels.transpose(1, 0, 2), (20, 20))
    np.testing.assert_array_equal(upright, resize(levels.transpose(1, 0, 2), 20, 31)[:, 5:25])


@pytest.mark.parametrize("canvas", [(32, 20), (20, 32), (7, 7), (100, 40)])
@pytest.mark.parametrize("size", [(40, 30), (30, 40), (64, 64), (33, 7)])
def test_the_centre_crop_covers_the_canvas(canvas, size):
    levels = np.full((*size[::-1], 3), 51, np.uint8)
    found = centre_crop(levels, canvas)
    assert found.shape == (3, canvas[1], canvas[0])
    np.testing.assert_allclose(found, 0.2, rtol=1e-6)


def test_a_crop_of_everything_is_the_picture():
    levels = np.random.default_rng(0).integers(0, 256, (30, 30, 3), np.uint8)
    crop = RandomCrop((30, 30), 0.0, (1.0, 1.0), (0.0, 0.0))
    np.testing.assert_array_equal(crop.apply(levels, flip=False), levels.transpose(2, 0, 1))
    np.testing.assert_array_equal(
        crop.apply(levels, flip=True), levels.transpose(2, 0, 1)[:, :, ::-1]
    )


def test_a_crop_turns_and_moves_as_darknet_does():
    """x = cos(angle) u - sin(angle) v + W/2, with u, v from the canvas's middle, in pixels."""
    levels = np.zeros((60, 80, 1), np.uint8)
    levels[20:24, 50:54] = 255
    crop = RandomCrop((40, 40), 0.3, (1.2, 0.9), (5.0, -3.0))
    found = crop.apply(levels, flip=False)[0]
    (y,), (x,) = (
        np.average(i, weights=found.ravel())[None] + 0.5
        for i in map(np.ravel, np.indices(found.shape))
    )
    u, v = (x - 20 + 5) * 1.2, (y - 20 - 3) * 0.9
    place = (np.cos(0.3) * u - np.sin(0.3) * v + 40, np.sin(0.3) * u + np.cos(0.3) * v + 30)
    np.testing.assert_allclose(place, (52, 22), atol=0.15)
    mirrored = crop.apply(levels, flip=True)[0]
    assert abs(mirrored[:, ::-1].astype(int) - found).max() <= 1


def test_crops_stay_within_their_range():
    bounds = CropRange(least=0.5, most=1.75, angle=7.0, aspect=0.75)
    rng = np.random.default_rng(0)
    crops = [bounds.draw(rng, (200, 100), (64, 64)) for _ in range(500)]
    sides = [100 / (64 * crop.scale[1]) for crop in crops]
    assert 0.5 <= min(sides) < 0.55
    assert 1.7 < max(sides) <= 1.75
    assert 6.5 < max(np.degrees(crop.angle) for crop in crops) <= 7
    aspects = [crop.scale[0] / crop.scale[1] for crop in crops]
    assert 0.75 <= min(aspects) < 0.77
    assert 1.3 < max(aspects) <= 1 / 0.75 + 1e-9
    for crop in crops:
        room = abs(np.array([200 / crop.scale[0] - 64, 100 / crop.scale[1] - 64])) / 2
        assert (abs(np.array(crop.moved)) <= room + 1e-9).all()


# --- Pictures


def of(dataset, augmentation, **options):
    return ClassifiedPictures(
        dataset.samples,
        len(dataset.names),
        options.pop("size", (24, 24)),
        channels=options.pop("channels", 3),
        augmentation=augmentation,
        seed=4,
        **options,
    )


def test_unchanged_pictures_are_centre_crops(folders):
    dataset = open_classified(folders)
    pictures = of(dataset, PLAIN)
    assert len(pictures) == 4
    for number, (path, label) in enumerate(dataset.samples):
        x, truth = pictures[Draw(number, 0)]
        np.testing.assert_array_equal(x, centre_crop(read_picture(path), (24, 24)))
        assert truth.dtype == torch.float32
        assert truth.tolist() == [float(k == label) for k in range(4)]


def test_seed_and_turn_decide_alone(folders):
    dataset = open_classified(folders)
    one, other = of(dataset, FULL), pickle.loads(pickle.dumps(of(dataset, FULL)))
    draws = [Draw(turn % 4, turn) for turn in range(10)]
    back = [other[draw] for draw in reversed(draws)][::-1]
    for draw, (x, truth) in zip(draws, back, strict=True):
        assert torch.equal(one[draw][0], x)
        assert torch.equal(one[draw][1], truth)
        assert 0 <= float(x.min()) < float(x.max()) <= 1
    assert not torch.equal(one[Draw(0, 0)][0], one[Draw(0, 1)][0])


def test_batches_from_several_processes(folders):
    pictures = of(open_classified(folders), FULL, channels=1)
    batches = [[Draw(0, 0, (32, 16)), Draw(1, 1, (32, 16))], [Draw(2, 2), Draw(3, 3)]]
    loader = DataLoader(
        pictures, batch_sampler=batches, num_workers=2, collate_fn=collate_classified
    )
    (x, truths), (y, _) = loader
    assert x.shape == (2, 1, 16, 32)
    assert y.shape == (2, 1, 24, 24)
    assert truths.shape == (2, 4)
    assert torch.equal(x[1], pictures[batches[0][1]][0])


def test_a_picture_that_cannot_be_read_gives_way_with_its_class(folders, caplog):
    dataset = open_classified(folders)
    pictures = of(dataset, PLAIN)
    path, _ = dataset.samples[0]
    path.write_bytes(b"broken")
    for _ in range(2):
        x, truth = pictures[Draw(0, 0)]
    assert torch.equal(x, pictures[Draw(1, 0)][0])
    assert truth.argmax() == dataset.samples[1][1]
    assert [str(path) in message for message in caplog.messages] == [True]


# --- Evaluation


def test_top_k_counts_the_best_classes():
    outputs = [[0.1, 0.5, 0.4], [0.3, 0.2, 0.5], [0.2, 0.2, 0.6], [1.0, 0.0, 0.0]]
    labels = [1, 0, 1, 2]
    assert top_k(outputs, labels, 1) == 0.25
    assert top_k(outputs, labels, 2) == 0.5  # of equal scores the lower class is better
    assert top_k(outputs, labels, 3) == top_k(outputs, labels, 9) == 1.0
    assert top_k(np.empty((0, 3)), [], 1) == 0.0


def test_confusion_has_true_classes_in_rows():
    outputs = [[0.1, 0.5, 0.4], [0.3, 0.2, 0.5], [0.2, 0.2, 0.6], [1.0, 0.0, 0.0]]
    result = classification(outputs, [1, 0, 1, 0])
    assert result.pictures == 4
    assert result.top == {1: 0.5, 5: 1.0}
    assert result.confusion.tolist() == [[1, 0, 1], [0, 1, 1], [0, 0, 0]]
    np.testing.assert_array_equal(result.recalls, [0.5, 0.5, np.nan])
    assert result.as_dict() == {
        "pictures": 4,
        "top1": 0.5,
        "top5": 1.0,
        "confusion": [[1, 0, 1], [0, 1, 1], [0, 0, 0]],
    }
