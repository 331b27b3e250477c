"""Darknet's bilinear resize and letterbox, bit for bit."""

import numpy as np
import pytest

from darkconv.pictures.picture import PictureFit


@pytest.fixture(scope="module")
def cases(golden_dir):
    path = golden_dir / "preprocess" / "cases.npz"
    if not path.is_file():
        pytest.skip(f"no cases at {path}")
    with np.load(path) as arrays:
        return dict(arrays)


@pytest.mark.parametrize(("kind", "letterbox"), [("resized", False), ("letterboxed", True)])
def test_pictures_are_fitted_bit_for_bit(cases, kind, letterbox):
    names = [name for name in cases if name.startswith("image_")]
    assert names
    for name in names:
        picture = cases[name].transpose(1, 2, 0)
        expected = cases[name.replace("image", kind)]
        sizes = (picture.shape[1], picture.shape[0]), (expected.shape[2], expected.shape[1])
        found = PictureFit(*sizes, letterbox).apply(picture)
        np.testing.assert_array_equal(found, expected, err_msg=name)
