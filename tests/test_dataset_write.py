"""Data sets written in other layouts come back as they were: boxes, names, splits and marks."""

import itertools
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

pytest.importorskip("PIL.Image")
pytest.importorskip("yaml")

from darkconv.cli import main
from darkconv.dataset import open_dataset, open_splits
from darkconv.dataset.write import FORMS, write_dataset
from darkconv.errors import DatasetError
from layouts import build_layouts

PLACES = {"darknet": "obj.data", "yolo": "data.yaml", "voc": "", "coco": ""}
WORDS = {"valid": "val"}


@pytest.fixture(scope="module")
def layouts(tmp_path_factory):
    return build_layouts(tmp_path_factory.mktemp("layouts"))


def contents(parts):
    """Boxes by split and picture, with names and marks, in an order of their own."""
    found = {}
    for split, part in parts.items():
        rows = {
            sample.image.name: sorted(
                zip(sample.names, sample.difficult.tolist(), sample.boxes.tolist(), strict=True),
                key=lambda row: (*row[:2], np.round(row[2], 3).tolist()),
            )
            for sample in part.samples
        }
        found[WORDS.get(split, split)] = rows
    return found


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for split, pictures in expected.items():
        assert found[split].keys() == pictures.keys()
        for image, rows in pictures.items():
            others = found[split][image]
            assert [row[:2] for row in others] == [row[:2] for row in rows]
            for (*_, box), (*_, other) in zip(rows, others, strict=True):
                np.testing.assert_allclose(other, box, rtol=0, atol=1e-6)


@pytest.fixture(scope="module")
def marked(layouts, tmp_path_factory):
    """A set of VOC with splits of which one is of few pictures, and difficult boxes in both."""
    root = tmp_path_factory.mktemp("marked") / "set"
    shutil.copytree(layouts / "voc_ref", root)
    files = sorted((root / "Annotations").glob("*.xml"))
    for path in files[::3]:
        text = path.read_text()
        path.write_text(text.replace("<bndbox>", "<difficult>1</difficult><bndbox>", 1))
    (root / "ImageSets/Main").mkdir(parents=True)
    for split, own in (("train", files[:6]), ("val", files[6:]), ("both_of_them", files[4:8])):
        (root / f"ImageSets/Main/{split}.txt").write_text("".join(f"{p.stem}\n" for p in own))
    return root


def test_the_marked_set_has_what_is_to_be_kept(marked):
    found = open_splits(marked)
    assert {split: len(part) for split, part in found.items()} == {
        "both_of_them": 4,
        "train": 6,
        "val": 4,
    }
    for split in ("train", "val"):
        assert any(sample.difficult.any() for sample in found[split].samples)


@pytest.mark.parametrize(("first", "second"), list(itertools.product(FORMS, FORMS)))
def test_two_conversions_keep_boxes_splits_and_marks(marked, tmp_path, first, second):
    expected = open_splits(marked)
    write_dataset(expected, tmp_path / "one", first)
    one = open_splits(tmp_path / "one" / PLACES[first], outside=True)
    assert_same(contents(one), contents(expected))
    write_dataset(one, tmp_path / "two", second)
    two = open_splits(tmp_path / "two" / PLACES[second], outside=True)
    assert_same(contents(two), contents(expected))
    for part in two.values():
        assert part.problems == ()
        assert part.changes == {}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "name", ["labelimg_flat", "fo_coco", "oidv4", "makesense", "rf_v5", "over_voc"]
)
def test_every_layout_is_written_in_every_other(layouts, tmp_path, name, form):
    expected = open_splits(layouts / name)
    written = write_dataset(expected, tmp_path / "out", form)
    found = open_splits(written.path, outside=True)
    if None in expected and form in ("darknet", "yolo"):
        expected = {"train": expected[None]}
    assert_same(contents(found), contents(expected))
    assert written.pictures == 10
    assert written.boxes == sum(len(s.names) for p in found.values() for s in p.samples)


def test_names_keep_their_order_and_their_letters(layouts, tmp_path):
    found = open_dataset(layouts / "labelimg_flat")
    odd = {"chair": 'a "chair": #1', "sofa": "\N{GREEK SMALL LETTER PI}", "bottle": "no"}
    parts = {None: found.renamed(odd)}
    for form in ("darknet", "yolo"):
        written = write_dataset(parts, tmp_path / form, form)
        again = open_dataset(written.path, outside=True)
        assert again.names == parts[None].names
    blanks = {"chair": "a\u00a0b\u2028c", "sofa": "a  b", "bottle": "\x85\u202ex".strip()}
    parts = {None: found.renamed(blanks)}
    for form in FORMS:
        written = write_dataset(parts, tmp_path / f"blank_{form}", form)
        again = open_dataset(written.path, outside=True)
        assert set(again.names) == set(parts[None].names)
    parts = {None: found.renamed({"chair": "a\x1bb\x85c"})}
    for form in ("darknet", "yolo", "coco"):
        written = write_dataset(parts, tmp_path / f"escape_{form}", form)
        again = open_dataset(written.path, outside=True)
        assert set(again.names) == set(parts[None].names)
    with pytest.raises(DatasetError, match="a class has a name that XML cannot hold"):
        write_dataset(parts, tmp_path / "escape_voc", "voc")
    kept = {None: found.renamed({"chair": "caf\udce9"})}
    for form in ("darknet", "yolo"):
        written = write_dataset(kept, tmp_path / f"kept_{form}", form)
        assert open_dataset(written.path, outside=True).names == kept[None].names
    for form in ("voc", "coco"):
        with pytest.raises(DatasetError, match="a class has a name that .* cannot hold"):
            write_dataset(kept, tmp_path / f"kept_{form}", form)
        assert not (tmp_path / f"kept_{form}").exists()


def test_pictures_of_the_same_name_stay_apart(layouts, tmp_path):
    for folder in "ab":
        shutil.copytree(layouts / "labelimg_flat", tmp_path / "in" / folder)
    found = open_splits(tmp_path / "in")
    assert len(found["a"]) == len(found["b"]) == 10
    written = write_dataset(found, tmp_path / "out", "darknet")
    assert written.pictures == 20
    assert written.splits == {"a": 10, "b": 10}
    names = sorted(path.name for path in (tmp_path / "out/images").iterdir())
    assert len({name.rpartition(".")[0] for name in names}) == 20
    assert names[0].startswith("0")
    assert names[-1].startswith("b_")


def test_pictures_are_linked_or_copied(layouts, tmp_path):
    found = {None: open_dataset(layouts / "labelimg_flat")}
    write_dataset(found, tmp_path / "linked", "voc")
    write_dataset(found, tmp_path / "copied", "voc", copy=True)
    for sample in found[None].samples:
        linked, copied = (
            tmp_path / one / "JPEGImages" / sample.image.name for one in ("linked", "copied")
        )
        assert linked.samefile(sample.image)
        assert not copied.samefile(sample.image)
        assert copied.read_bytes() == sample.image.read_bytes()


# the command


def run(*words, status=0):
    result = CliRunner().invoke(main, ["data", "convert", *map(str, words)])
    assert result.exit_code == status, result.output
    return result


def test_the_command_writes_and_replaces_only_its_own(layouts, tmp_path):
    out = tmp_path / "out"
    words = (layouts / "rf_v5", "-o", out, "--to", "darknet")
    told = run(*words).stderr
    assert f"wrote {out}/obj.data: 10 pictures, " in told
    assert "6 classes, splits train 6, valid 2, test 2" in told
    (out / "left").write_text("")
    run(*words)
    assert not (out / "left").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("")
    result = run(layouts / "rf_v5", "-o", tmp_path / "full", "--to", "voc", status=1)
    assert "full: is there already, and was not written by darkconv" in result.stderr
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["x"]
    result = run(out, "-o", out, "--to", "voc", status=1)
    assert "is read, and would be replaced" in result.stderr
    assert (out / "obj.data").is_file()


def test_the_command_takes_a_split_and_other_names(layouts, tmp_path):
    run(layouts / "rf_v5", "-o", tmp_path / "out", "--to", "yolo", "--split", "valid",
        "--rename", "chair=seat,sofa=seat")  # fmt: skip
    found = open_splits(tmp_path / "out/data.yaml")
    assert {split: len(part) for split, part in found.items()} == {"val": 2}
    assert found["val"].names == ("seat", "diningtable", "pottedplant", "tvmonitor", "bottle")
    result = run(
        layouts / "rf_v5", "-o", tmp_path / "no", "--to", "yolo", "--rename", "x=y", status=1
    )
    assert "no label is of the class x, which is to be renamed" in result.stderr
    assert not (tmp_path / "no").exists()
