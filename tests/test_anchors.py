"""Anchors: clusters of box sizes by IoU."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import darkconv as dc
from darkconv.cli import main
from darkconv.dataset import open_dataset
from darkconv.dataset.anchors import box_sizes, find_anchors, size_overlaps
from darkconv.errors import DatasetError

SIZES = np.array([[10.0, 10], [100, 20], [30, 90]])


@pytest.fixture
def clouds():
    stream = np.random.default_rng(0)
    return np.concatenate([size * stream.uniform(0.9, 1.1, (50, 2)) for size in SIZES])


def test_clusters_are_found(clouds):
    found = find_anchors(clouds, 3)
    expected = SIZES[np.argsort(SIZES.prod(axis=1))]
    assert found.anchors == pytest.approx(expected, rel=0.05)
    assert found.counts.tolist() == [50, 50, 50]
    overlaps = size_overlaps(clouds, found.anchors).max(axis=1)
    assert found.mean_iou == pytest.approx(overlaps.mean())
    assert found.mean_iou > 0.88


def test_a_size_for_each_box_fits_perfectly():
    found = find_anchors(np.repeat(SIZES, 4, axis=0), 3)
    assert found.mean_iou == 1
    assert sorted(found.anchors.tolist()) == sorted(SIZES.tolist())


def test_the_same_seed_gives_the_same_anchors(clouds):
    a, b = (find_anchors(clouds, 2, seed=7) for _ in range(2))
    assert np.array_equal(a.anchors, b.anchors)


@given(count=st.integers(1, 6), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_anchors_are_sorted_and_account_for_every_box(count, seed):
    sizes = np.random.default_rng(seed).uniform(1, 200, (60, 2))
    found = find_anchors(sizes, count, seed=seed)
    assert found.anchors.shape == (count, 2)
    assert (np.diff(found.anchors.prod(axis=1)) >= 0).all()
    assert found.counts.sum() == 60
    assert 0 < found.mean_iou <= 1


def test_more_anchors_fit_better(clouds):
    ious = [find_anchors(clouds, count).mean_iou for count in (1, 2, 3)]
    assert ious == sorted(ious)


def test_overlaps_of_sizes():
    a, b = np.array([[2.0, 4]]), np.array([[2.0, 4], [4, 2], [1, 1]])
    assert size_overlaps(a, b).tolist() == [[1, 4 / 12, 1 / 8]]


@pytest.mark.parametrize("count", [0, 4])
def test_more_anchors_than_sizes_are_refused(count):
    with pytest.raises(DatasetError, match="1 to 3"):
        find_anchors(SIZES, count)


@pytest.fixture
def folder(tmp_path):
    """A picture of 200x100 with a box of 50x50 and one that sticks out."""
    Image.new("RGB", (200, 100)).save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("0 0.25 0.5 0.25 0.5\n0 0.995 0.5 0.015 1\n")
    return tmp_path


@pytest.mark.parametrize(("letterbox", "expected"), [(False, [104, 208]), (True, [104, 104])])
def test_boxes_are_as_large_as_in_the_input(folder, letterbox, expected):
    sizes = box_sizes(open_dataset(folder), (416, 416), letterbox=letterbox)
    assert sizes[0] == pytest.approx(expected)
    assert sizes[1][0] == pytest.approx(416 * 2.5 / 200, rel=1e-6)


def test_the_command_prints_the_line_for_the_cfg(folder):
    result = CliRunner().invoke(main, ["anchors", "--data", str(folder), "-n", "1"])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].startswith("anchors = ")
    assert "mean IoU" in result.stdout


def test_cells_and_json(folder):
    run = ["anchors", "--data", str(folder), "-n", "2", "--json"]
    pixels, cells = (
        json.loads(CliRunner().invoke(main, [*run, *more]).stdout)["anchors"]
        for more in ([], ["--cells"])
    )
    assert np.array(pixels) == pytest.approx(32 * np.array(cells))


def test_the_plot_is_drawn(folder):
    pytest.importorskip("matplotlib")
    path = folder / "plot.png"
    run = ["anchors", "--data", str(folder), "-n", "1", "--plot", str(path)]
    assert CliRunner().invoke(main, run).exit_code == 0
    with Image.open(path) as image:
        assert image.width > 400


def test_anchors_of_a_data_set_in_python(folder):
    found = dc.anchors(folder, 2, input_size=(200, 100))
    assert found.anchors == pytest.approx(np.array([[2.5, 100], [50, 50]]), rel=0.01)
    assert repr(found) == f"<Anchors: 2 for 2 boxes, mean IoU {found.mean_iou:.4f}>"
    assert "<th" in found._repr_html_()
    assert found.line.startswith("anchors = 2.5,100, 50,50")
    assert len(found) == found.boxes == 2
    again = dc.anchors(open_dataset(folder), 2, input_size=(200, 100), cells=True)
    assert again.anchors * 32 == pytest.approx(found.anchors)


def test_the_command_prints_what_python_gives(folder):
    run = ["anchors", "--data", str(folder), "-n", "2", "--json", "--input-size", "96x64"]
    told = json.loads(CliRunner().invoke(main, run).stdout)
    assert told == dc.anchors(folder, 2, input_size=(96, 64)).to_dict()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"count": "9"}, "count: expected a whole number"), ({"input_size": (0, 9)}, "from 1")],
)
def test_wrong_options_are_errors(folder, options, message):
    with pytest.raises(dc.DarkconvError, match=message):
        dc.anchors(folder, **options)


def test_no_boxes_is_an_error(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    result = CliRunner().invoke(main, ["anchors", "--data", str(tmp_path)])
    assert result.exit_code == 1
    assert "no boxes" in result.stderr
