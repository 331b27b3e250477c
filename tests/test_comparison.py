"""How far scores of a file are from the model's."""

import numpy as np
import pytest

pytest.importorskip("PIL.Image")

from darkconv.verification.agreement import score_error

TINY = np.array([[2e-6, 1e-7], [0, 3e-5]], np.float32)


def test_rounding_of_tiny_scores_is_no_error():
    assert score_error(TINY + np.float32(1e-7), TINY) < 1e-5


def test_a_score_that_is_not_there_is_one():
    wrong = TINY.copy()
    wrong[1, 0] = 1e-3
    assert score_error(wrong, TINY) == pytest.approx(1e-2, rel=1e-3)


def test_errors_are_relative_to_the_highest_score():
    scores = np.array([[0.9, 0.1]], np.float32)
    assert score_error(scores + np.float32(1e-3), scores) == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("found", [np.full((2, 2), np.nan), np.zeros((2, 3))])
def test_no_numbers_and_other_shapes_are_never_near(found):
    assert score_error(found, TINY) == float("inf")
