"""Every kind of non-maximum suppression."""

import numpy as np
import pytest

from darkconv.detection.decode import Candidates
from darkconv.detection.suppress import suppress


@pytest.fixture(scope="module")
def cases(golden_dir):
    path = golden_dir / "nms" / "cases.npz"
    if not path.is_file():
        pytest.skip(f"no cases at {path}")
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("kind", ["sort", "obj", "greedynms", "diounms", "cornersnms"])
def test_the_same_boxes_survive(cases, kind):
    names = [name for name in cases if name.startswith(f"{kind}_")]
    assert names
    rows = cases["boxes"]
    candidates = Candidates(rows[:, :4], rows[:, 4], rows[:, 5:])
    for name in names:
        _, threshold, *rest = name.split("_")
        beta = float(rest[0].removeprefix("beta")) if rest else 0.6
        kept = suppress(candidates, threshold=float(threshold), kind=kind, beta=beta)
        found = np.hstack([kept.boxes, kept.objectness[:, None], kept.scores])
        np.testing.assert_array_equal(in_order(found), in_order(cases[name]), err_msg=name)


def in_order(rows):
    """Rows with an objectness, sorted."""
    rows = rows[rows[:, 4] != 0]
    return rows[np.lexsort(rows.T[::-1])]
