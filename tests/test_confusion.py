"""Confusion matrices, curves and AP at a fixed score, on cases that can be counted by hand."""

from pathlib import Path

import numpy as np
import pytest

from darkconv.dataset import Dataset, Sample
from darkconv.dataset.label import Label
from darkconv.detection import Detection
from darkconv.errors import MissingDependencyError
from darkconv.evaluation.average_precision import all_points
from darkconv.evaluation.comparison import Comparison
from darkconv.evaluation.confusion import BACKGROUND, confusion
from darkconv.evaluation.matching import CONTINUOUS, judge

NAMES = ("cat", "dog")
CAT, DOG = 0, 1
HERE, THERE = (0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 70.0, 70.0)
NEAR_HERE = (1.0, 0.0, 11.0, 10.0)


def truths(*rows):
    return np.array([(*row, 0)[:6] for row in rows], float).reshape(-1, 6)


def detection(class_id, box, score=0.9):
    return Detection(class_id, NAMES[class_id], score, box)


def counts(found, rows, at=0.25):
    return confusion([found], [rows], NAMES, rule=CONTINUOUS, at=at).counts.tolist()


def test_right_wrong_missed_and_nothing_there():
    rows = truths((CAT, *HERE), (DOG, *THERE))
    assert counts([detection(CAT, HERE), detection(CAT, THERE)], rows) == [
        [1, 0, 0],
        [1, 0, 0],
        [0, 0, 0],
    ]
    assert counts([detection(DOG, (30.0, 0.0, 40.0, 9.0))], rows) == [
        [0, 0, 1],
        [0, 0, 1],
        [0, 1, 0],
    ]


def test_a_partner_of_the_own_class_comes_before_a_nearer_one():
    rows = truths((CAT, *HERE), (DOG, *NEAR_HERE))
    found = [detection(CAT, NEAR_HERE), detection(DOG, HERE)]
    assert counts(found, rows) == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_a_box_has_one_partner():
    rows = truths((CAT, *HERE))
    found = [detection(CAT, NEAR_HERE), detection(CAT, HERE, 0.3), detection(DOG, HERE)]
    assert counts(found, rows) == [[1, 0, 0], [0, 0, 0], [1, 1, 0]]


def test_only_scores_above_the_threshold_count():
    rows = truths((CAT, *HERE))
    assert counts([detection(CAT, HERE, 0.25)], rows) == [[0, 0, 1], [0, 0, 0], [0, 0, 0]]


def test_difficult_boxes_do_not_count():
    rows = truths((CAT, *HERE, 1), (DOG, *THERE, 1))
    assert counts([detection(DOG, HERE)], rows) == np.zeros((3, 3), int).tolist()


def test_pictures_without_anything_are_fine():
    result = confusion([[], []], [truths(), truths()], NAMES, rule=CONTINUOUS, at=0.25)
    assert not result.counts.any()
    assert not result.shares.any()
    assert result.labels == (*NAMES, BACKGROUND)


def test_rows_are_shares():
    rows = truths((CAT, *HERE), (CAT, *THERE))
    result = confusion([[detection(CAT, HERE)]], [rows], NAMES, rule=CONTINUOUS, at=0.25)
    assert result.shares.tolist() == [[0.5, 0, 0.5], [0, 0, 0], [0, 0, 0]]


@pytest.fixture
def comparison():
    """Two cats, found with scores 0.9 and 0.2, and one wrong find between them."""
    labels = [Label("cat", HERE), Label("cat", THERE)]
    dataset = Dataset((Sample.of(Path("a.png"), labels),), ("cat",), "a.png")
    found = [
        detection(CAT, HERE),
        detection(CAT, (30.0, 0.0, 40.0, 9.0), 0.5),
        detection(CAT, THERE, 0.2),
    ]
    return Comparison.of([found], dataset, ("cat",), CONTINUOUS)


def test_ap_at_a_fixed_score_lacks_what_scores_lower(comparison):
    pytest.importorskip("faster_coco_eval")
    (one,), result = comparison.figures(0.25)
    assert result.ap == pytest.approx((1 + 2 / 3) / 2)
    assert result.ap_at == one.ap_at == pytest.approx(0.5)
    assert one.precision == one.recall == 0.5
    assert comparison.figures(0.95)[1].ap_at == 0
    assert comparison.figures(0.1)[1].ap_at == result.ap


def test_a_comparison_counts_its_confusions(comparison):
    assert comparison.confusion(0.25).counts.tolist() == [[1, 1], [1, 0]]


def many(classes, seed=0):
    stream = np.random.default_rng(seed)
    judged = []
    for number in range(classes):
        rows = truths((number, *HERE), (number, *THERE))
        found = [
            Detection(number, "", float(score), box)
            for score, box in zip(stream.random(3), (HERE, THERE, (0, 30, 9, 40)), strict=True)
        ]
        judged.append(judge([found], [rows], number))
    return judged


@pytest.mark.parametrize("classes", [1, 4, 20, 23])
def test_curves_name_every_class_with_its_ap(classes):
    pytest.importorskip("matplotlib")
    from darkconv.evaluation.plots import draw_curves

    judged = many(classes)
    names = [f"class{i}" for i in range(classes)]
    figure = draw_curves(names, judged, at=0.25)
    if classes <= 20:
        texts = [text.get_text() for text in figure.legends[0].get_texts()]
    else:
        texts = [axes.get_title() for axes in figure.axes if axes.get_visible()]
    assert len(texts) == classes
    for name, one in zip(names, judged, strict=True):
        ap = f"{100 * all_points(one):.1f}"
        assert any(name in text.split() and ap in text.split() for text in texts)


def test_a_curve_holds_the_area():
    pytest.importorskip("matplotlib")
    from darkconv.evaluation.plots import draw_curves

    (one,) = many(1, seed=3)
    figure = draw_curves(["thing"], [one], at=0.25)
    recall, precision = figure.axes[0].lines[0].get_data()
    area = np.sum(np.diff(recall) * precision[1:])
    assert area == pytest.approx(all_points(one))


@pytest.mark.parametrize("judged", [[], [judge([[]], [truths((CAT, *HERE))], CAT)]])
def test_curves_of_nothing_are_drawn(judged, tmp_path):
    pytest.importorskip("matplotlib")
    from darkconv.evaluation.plots import draw_curves

    draw_curves(["$x$"] * len(judged), judged, at=0.25).savefig(tmp_path / "a.png")


def test_the_matrix_shows_names_and_counts(tmp_path):
    pytest.importorskip("matplotlib")
    from darkconv.evaluation.plots import draw_confusion

    rows = truths((CAT, *HERE), (DOG, *THERE))
    found = [detection(CAT, HERE), detection(CAT, THERE)]
    result = confusion([found] * 7, [rows] * 7, ("$cat$", "a" * 40), rule=CONTINUOUS, at=0.25)
    figure = draw_confusion(result)
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.texts] == ["7", "7"]
    assert axes.get_xticklabels()[0].get_text() == r"\$cat\$"
    assert len(axes.get_yticklabels()[1].get_text()) < 20
    figure.savefig(tmp_path / "a.png")


def test_a_missing_matplotlib_is_named(monkeypatch):
    from darkconv.report.figure import require_matplotlib

    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(MissingDependencyError, match="eval needs matplotlib") as caught:
        require_matplotlib("eval")
    assert "darkconv[plots]" in str(caught.value)
