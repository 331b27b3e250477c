"""All-point average precision on cases worked out by hand."""

import numpy as np
import pytest

from darkconv.detection import Detection
from darkconv.evaluation.average_precision import all_points, average_precision
from darkconv.evaluation.matching import Judged, Rule, iou


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
