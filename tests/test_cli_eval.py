"""`darkconv eval` on the bundled model and pictures."""

import json
import shutil

import pytest
from click.testing import CliRunner

from darkconv.assets import digits10_folder
from darkconv.cli import main
from darkconv.darknet.data import read_names

pytest.importorskip("torch")
pytest.importorskip("faster_coco_eval")


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(digits10_folder(), tmp_path / "d")
    return tmp_path / "d"


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.chdir(folder)

    def invoke(line, status=0):
        result = CliRunner().invoke(main, line.split())
        assert result.exit_code == status, result.output
        return result

    return invoke


NAMES = read_names(digits10_folder() / "digits10.names").names
MODEL = "eval digits10.cfg digits10.weights --data images"


def test_the_table_has_every_class_and_the_mean(run):
    result = run(MODEL)
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["class", *NAMES, "mean"]
    assert float(lines[-1].split()[2]) >= 99.0


def test_json_holds_what_the_table_shows(run):
    found = json.loads(run(MODEL + " --json").stdout)
    assert found["ap"] >= 0.99
    assert found["coco50"] == pytest.approx(found["ap"], abs=0.02)
    assert all(c["boxes"] > 0 and 0.9 <= c["recall"] <= 1 for c in found["classes"])
    assert found["seconds_per_picture"] > 0


def test_a_higher_overlap_is_harder(run):
    easy, hard = (
        json.loads(run(f"{MODEL} --json --rule continuous --overlap {overlap}").stdout)["ap"]
        for overlap in (0.5, 0.95)
    )
    assert hard < easy


def test_detections_are_written_for_other_tools(run, folder):
    run(MODEL + " -o found --threshold 0.25")
    files = sorted((folder / "found").glob("*.txt"))
    assert len(files) == 30
    name, score, *box = files[0].read_text().splitlines()[0].split()
    assert name in NAMES
    assert 0.25 < float(score) <= 1
    x0, y0, x1, y1 = map(float, box)
    assert x0 < x1
    assert y0 < y1


def test_broken_pictures_are_told_and_find_nothing(run, folder):
    picture = sorted((folder / "images").glob("*.jpg"))[0]
    content = picture.read_bytes()
    picture.write_bytes(content[: len(content) // 2])
    result = run(MODEL + " --json")
    assert picture.name in result.stderr
    assert json.loads(result.stdout)["ap"] < 1


def test_labels_of_other_classes_are_an_error(run, folder):
    (folder / "other.names").write_text("\n".join(f"thing{i}" for i in range(10)))
    result = run(f"{MODEL} --names other.names", status=1)
    assert "no label is of a class of the model" in result.stderr


def test_usage(run):
    run("eval digits10.cfg digits10.weights", status=2)
    run(f"{MODEL} extra", status=2)
