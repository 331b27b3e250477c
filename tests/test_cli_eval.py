"""`darkconv eval` on the bundled model and pictures."""

import json
import sys

import pytest

from darkconv.assets import digits10_folder
from darkconv.darknet.data import read_names

pytest.importorskip("torch")
pytest.importorskip("faster_coco_eval")


@pytest.fixture
def folder(digits10):
    return digits10


NAMES = read_names(digits10_folder() / "digits10.names").names
MODEL = "eval digits10.cfg digits10.weights --data images"


def test_the_table_has_every_class_and_the_mean(run):
    result = run(MODEL)
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["class", *NAMES, "mean"]
    assert float(lines[-1].split()[2]) >= 99.0


def test_all_shares_are_per_cent_in_the_table_and_fractions_in_json(run):
    found, shown = json.loads(run(f"{MODEL} --json").stdout), run(MODEL)
    assert "AP, precision and recall in per cent; at 0.25: of detections" in shown.stderr
    names = ("ap", "ap_at", "ap11", "coco50", "coco", "precision", "recall")
    for one, line in zip(found["classes"], shown.stdout.splitlines()[1:], strict=False):
        assert line.split()[2:] == [f"{100 * one[name]:.1f}" for name in names]
    assert shown.stdout.splitlines()[0].split()[-6:] == [
        "precision",
        "at",
        "0.25",
        "recall",
        "at",
        "0.25",
    ]


def test_a_missing_library_is_told_before_the_pictures_are_looked_at(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    monkeypatch.setattr(
        "darkconv.evaluation.detectors.find_all", lambda *_, **__: pytest.fail("pictures were read")
    )
    text = run(MODEL, 1).stderr
    assert "COCO's average precision needs faster_coco_eval, which is not installed" in text
    assert "darkconv[train]" in text


def test_json_holds_what_the_table_shows(run):
    found = json.loads(run(MODEL + " --json").stdout)
    assert found["ap"] >= 0.99
    assert found["coco50"] == pytest.approx(found["ap"], abs=0.02)
    assert all(c["boxes"] > 0 and 0.9 <= c["recall"] <= 1 for c in found["classes"])
    assert all(found["seconds"][part] > 0 for part in ("reading", "network", "decoding"))


def test_the_time_of_a_picture_is_split(run):
    assert "30 pictures, " in (text := run(MODEL).stderr)
    assert all(f"{part} " in text for part in ("ms each: reading", "network", "decoding"))


def test_ap_at_a_fixed_score_stands_beside_the_ranked_one(run):
    low, high = (json.loads(run(f"{MODEL} --json --at {at}").stdout) for at in (0.25, 0.97))
    assert low["ap"] == high["ap"]
    assert high["ap_at"] < low["ap_at"] <= low["ap"]
    assert all(one["ap_at"] <= one["recall"] + 1e-9 for one in high["classes"])
    assert "AP at 0.97" in run(f"{MODEL} --at 0.97").stdout


def test_confusions_add_up(run):
    found = json.loads(run(MODEL + " --json --at 0.5").stdout)
    matrix = found["confusion"]
    assert matrix["labels"] == [*NAMES, "background"]
    assert [sum(row) for row in matrix["counts"][:-1]] == [c["boxes"] for c in found["classes"]]
    hits = [round(c["recall"] * c["boxes"]) for c in found["classes"]]
    assert [row[i] for i, row in enumerate(matrix["counts"][:-1])] == hits


def test_a_report_holds_what_the_table_shows(run, folder):
    result = run(MODEL + " --report found.html")
    assert "wrote found.html" in result.stderr
    page = (folder / "found.html").read_text()
    rows = [line.split() for line in result.stdout.splitlines()[1:-1]]
    for name, boxes, ap, *_ in rows:
        assert f'<td class="name">{name}</td><td>{boxes}</td><td>{ap}</td>' in page
    assert page.count("data:image/jpeg;") > 4
    assert "the network ran in PyTorch" in page


def test_darknets_rule_suppresses_in_relative_coordinates(run):
    kinds = [f"{MODEL} --json --rule {rule} --nms-kind greedynms" for rule in ("darknet", "voc")]
    darknet, voc = (json.loads(run(kind).stdout) for kind in kinds)
    assert darknet["ap"] == pytest.approx(voc["ap"], abs=0.02)


def test_a_higher_overlap_is_harder(run):
    easy, hard = (
        json.loads(run(f"{MODEL} --json --rule continuous {option}").stdout)["ap"]
        for option in ("--iou 0.5", "--iou 0.95")
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


def test_curves_and_confusions_are_drawn(run, folder):
    pytest.importorskip("matplotlib")
    image_module = pytest.importorskip("PIL.Image")
    run(MODEL + " -o found --threshold 0.25")
    for name in ("precision-recall.png", "confusion.png"):
        with image_module.open(folder / "found" / name) as image:
            assert min(image.size) > 400
            assert len(image.convert("RGB").getcolors(1 << 20)) > 10


def test_text_files_alone_need_no_matplotlib(run, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = run(MODEL + " -o found", status=1)
    assert "needs matplotlib" in result.stderr
    assert "darkconv[plots]" in result.stderr
    assert not (folder / "found").exists()
    run(MODEL + " -o found --no-plots")
    assert {path.suffix for path in (folder / "found").iterdir()} == {".txt"}


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
    assert "hint: --data-names FILE names the labels' classes" in result.stderr


def test_usage(run):
    run("eval digits10.cfg digits10.weights", status=2)
    run(f"{MODEL} extra", status=2)
