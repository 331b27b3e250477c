"""Reports of `eval`: tables, curves, confusions and pictures."""

import re

import pytest

from darkconv.evaluation.classification_page import write_classification_report
from darkconv.evaluation.page import write_evaluation_report
from pages import HOSTILE, LONG, Checker, classes, evaluation

pytest.importorskip("faster_coco_eval")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    write_evaluation_report(folder / "report.html", evaluation(folder))
    return (folder / "report.html").read_text()


def test_the_page_needs_nothing_else(page):
    found = Checker(page)
    assert "script" not in {tag for tag, _ in found.tags}
    assert len(found.references) == 2
    assert all(reference.startswith("data:image/jpeg;") for reference in found.references)
    assert any(HOSTILE in text for text in found.texts)


def test_every_class_has_a_row_and_a_curve(page):
    assert page.count("<tr><td class=") == 3 + 1 + 3 + 1  # classes and mean; steps and all
    labels = [
        dict(attrs).get("aria-label", "") for tag, attrs in Checker(page).tags if tag == "svg"
    ]
    curves = [label for label in labels if label.startswith("precision over recall of")]
    assert [label.rpartition(" ")[2] for label in curves] == ["100.0", "0.0", "0.0"]
    assert "1 of 2 detections are right" in page
    assert "1 of 3 boxes are found" in page


def test_frames_tell_right_wrong_and_missed(page):
    kinds = re.findall(r'<rect class="(\w+)"', page)
    assert [kind for kind in kinds if kind != "shade"] == [
        "true",
        "true",
        "missed",
        "wrong",
        "right",
    ]
    texts = Checker(page).texts
    assert f"{LONG} 80.0 % (is {HOSTILE})" in texts
    assert any(text.endswith(": 1 right, 1 wrong, 1 missed") for text in texts)
    assert any(text.endswith(": nothing there, nothing found") for text in texts)


def test_confusions_are_shaded(page):
    assert re.findall(r'style="--share:(.*?)">(\d+)<', page) == [("1.00", "1")] * 3


def test_pictures_that_cannot_be_read_are_left_out(tmp_path):
    report = evaluation(tmp_path)
    report.pictures[0].write_bytes(b"")
    write_evaluation_report(tmp_path / "report.html", report)
    assert "data:image" not in (tmp_path / "report.html").read_text()


def test_a_classifier_has_its_figures_and_its_matrix(tmp_path):
    write_classification_report(tmp_path / "report.html", classes())
    text = (tmp_path / "report.html").read_text()
    Checker(text)
    assert "<dt>top-1</dt><dd>50.0" in text
    assert re.findall(r'style="--share:(.*?)">(\d+)<', text) == [("1.00", "1")] * 2
