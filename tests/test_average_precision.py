"""All-point average precision on cases worked out by hand."""

import numpy as np
import pytest

from darkconv.boxes import iou
from darkconv.detection import Detection
from darkconv.evaluation.average_precision import all_points, average_precision, sampled
from darkconv.evaluation.comparison import RULES, Comparison
from darkconv.evaluation.matching import CONTINUOUS, DARKNET, VOC, Judged, Rule, judge


def seen(score, box, class_id=0):
    return Detection(class_id, str(class_id), score, tuple(map(float, box)))


def truths(*rows):
    return np.array(rows, np.float32).reshape(-1, 5)


def ap(found, true, *, num_classes=1, **options):
    return average_precision(found, true, num_classes=num_classes, **options)


A, B, FAR = (0, 0, 10, 10), (20, 0, 30, 10), (50, 50, 60, 60)


def test_all_found_and_nothing_else_is_one():
    result = ap([[seen(0.9, A), seen(0.4, B)]], [truths([0, *A], [0, *B])])
    assert result.per_class.tolist() == [1.0]
    assert result.mean == 1.0
    assert result.truths.tolist() == [2]


def test_a_wrong_detection_between_two_right_ones():
    # right, wrong, right: precision 1, 1/2, 2/3; each right one adds half of the recall
    result = ap([[seen(0.9, A), seen(0.8, FAR), seen(0.7, B)]], [truths([0, *A], [0, *B])])
    assert result.mean == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_precision_is_the_best_at_that_recall_or_a_higher_one():
    # wrong, right, right: 0, 1/2, 2/3; the envelope is 2/3 for both halves
    result = ap([[seen(0.9, FAR), seen(0.8, A), seen(0.7, B)]], [truths([0, *A], [0, *B])])
    assert result.mean == pytest.approx(2 / 3)


def test_a_second_hit_on_a_box_is_wrong():
    result = ap([[seen(0.9, A), seen(0.8, A), seen(0.7, B)]], [truths([0, *A], [0, *B])])
    assert result.mean == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_no_second_best_box_is_tried():
    near = (1, 0, 11, 10)  # overlaps A by 9/11; the second detection prefers A, which is taken
    result = ap([[seen(0.9, A), seen(0.8, A)]], [truths([0, *A], [0, *near])])
    assert result.mean == pytest.approx(0.5)


def test_pictures_are_ranked_together_but_matched_apart():
    found = [[seen(0.6, A)], [seen(0.9, A), seen(0.5, B)]]
    # 0.9 in the second picture, which has no box there: wrong; then right; then wrong
    result = ap(found, [truths([0, *A]), truths([0, *FAR])])
    assert result.mean == pytest.approx(0.5 * 1 / 2)


def test_classes_are_apart_and_those_without_truth_do_not_count():
    found = [[seen(0.9, A, 0), seen(0.8, A, 1), seen(0.7, B, 2)]]
    result = ap(found, [truths([0, *B], [1, *A])], num_classes=4)
    np.testing.assert_array_equal(result.per_class, [0, 1, np.nan, np.nan])
    assert result.mean == 0.5
    assert result.truths.tolist() == [1, 1, 0, 0]


def test_classes_beyond_the_last_are_left_out():
    result = ap([[seen(0.9, A, 5)]], [truths([0, *A], [5, *A])])
    assert result.mean == 0


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, 1.0), (0.50001, 0.0)])
def test_the_threshold_itself_is_enough(threshold, expected):
    half = (0, 0, 10, 5)
    result = ap([[seen(0.9, half)]], [truths([0, *A])], rule=Rule("", overlap=threshold))
    assert result.mean == expected


def test_ties_keep_the_order_of_pictures_and_of_lists():
    found = [[seen(0.5, FAR), seen(0.5, A)], [seen(0.5, A)]]
    # wrong, right, right
    result = ap(found, [truths([0, *A]), truths([0, *A])])
    assert result.mean == pytest.approx(2 / 3)


def test_nothing_found_is_zero():
    assert ap([[], []], [truths([0, *A]), truths()]).mean == 0


def test_nothing_to_find_is_not_a_number():
    result = ap([[seen(0.9, A)]], [truths()])
    assert np.isnan(result.mean)
    assert np.isnan(result.per_class).all()


def test_lists_of_unequal_length_are_refused():
    with pytest.raises(ValueError, match="zip"):
        ap([[]], [truths([0, *A]), truths()])


def test_boxes_have_no_extra_pixel():
    others = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [3, 3, 3, 3]], float)
    found = iou(np.array(A, float), others)
    np.testing.assert_allclose(found, [1, 1 / 3, 0, 0])


def test_area_under_a_curve_that_stops_early():
    judged = Judged(np.zeros(3), np.array([True, False, True]), np.zeros(3), 5)
    assert all_points(judged) == pytest.approx((1 + 2 / 3) / 5)


def in_plain_loops(judged, recalls):
    """The mean over recalls of the best precision there or further on, as the programs loop."""
    total, hits, points = 0.0, 0, []
    for rank, right in enumerate(judged.right.tolist(), 1):
        hits += right
        points.append((hits / judged.truths, hits / rank))
    for least in recalls:
        total += max((precision for recall, precision in points if recall >= least), default=0.0)
    return total / len(recalls)


OWN_RECALLS = {
    "darknet": (DARKNET, lambda points: [k * 1.0 / (points - 1) for k in range(points)]),
    "voc": (VOC, lambda points: [k * (1.0 / (points - 1)) for k in range(points)]),
    "continuous": (CONTINUOUS, lambda points: [k * (1.0 / (points - 1)) for k in range(points)]),
}
"""Rules, and the recalls that their programs compute."""


@pytest.mark.parametrize("points", [11, 101])
@pytest.mark.parametrize("name", OWN_RECALLS)
def test_recalls_that_fall_on_a_sample_count_as_in_the_rules_own_program(name, points):
    rule, recalls = OWN_RECALLS[name]
    for truths_there in range(1, 101):
        for hits in range(truths_there + 1):
            right = np.array([True] * hits + [False, False])
            judged = Judged(np.zeros(len(right)), right, np.zeros(len(right)), truths_there)
            wanted = in_plain_loops(judged, recalls(points))
            assert sampled(points, rule)(judged) == pytest.approx(wanted, abs=1e-12), truths_there


@pytest.mark.parametrize(("rule", "samples"), [(DARKNET, 4), (VOC, 3), (CONTINUOUS, 3)])
def test_six_of_twenty_reach_the_recall_of_three_tenths_by_darknets_rule_alone(rule, samples):
    judged = Judged(np.zeros(6), np.full(6, True), np.zeros(6), 20)
    assert sampled(11, rule)(judged) == pytest.approx(samples / 11)


@pytest.mark.parametrize(("name", "samples"), [("darknet", 4), ("voc", 3)])
def test_an_evaluation_takes_the_recalls_of_its_rule(name, samples):
    pytest.importorskip("faster_coco_eval")
    boxes = [(20 * place, 0, 20 * place + 10, 10) for place in range(20)]
    found = [[seen(0.9 - place / 100, boxes[place]) for place in range(6)]]
    true = [truths(*([0, *box] for box in boxes))]
    judged = [judge(found, true, 0, RULES[name])]
    comparison = Comparison(("0",), found, true, RULES[name], judged)
    assert comparison.figures(0.25)[1].ap11 == pytest.approx(samples / 11)
