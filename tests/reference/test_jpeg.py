"""Photographs as the C program reads them: the stored inputs, from the files."""

import numpy as np
import pytest

from darkconv.pictures.picture import PictureFit, read_picture


def stored_inputs(pytestconfig):
    for path in sorted((pytestconfig.getoption("--golden") / "models").glob("inputs-*.npz")):
        with np.load(path) as arrays:
            yield from ((path.stem, key) for key in arrays)


def pytest_generate_tests(metafunc):
    if "key" in metafunc.fixturenames:
        keys = list(stored_inputs(metafunc.config))
        missing = pytest.param("", "", marks=pytest.mark.skip(reason="no stored inputs"))
        metafunc.parametrize(("file", "key"), keys or [missing])


def test_photographs_give_the_stored_inputs(golden_dir, data_dir, file, key):
    with np.load(golden_dir / "models" / f"{file}.npz") as arrays:
        expected = arrays[key]
    name, mode = key.split("|")
    picture = read_picture(next(data_dir.glob(f"**/{name}")), exact=True)
    size = picture.shape[1], picture.shape[0]
    network = expected.shape[2], expected.shape[1]
    found = PictureFit(size, network, mode == "letterbox").apply(picture)
    errors = np.abs(found - expected) * 255
    # a block whose coefficients cannot be told keeps libjpeg's levels: 1 of luma is off at most
    assert errors.max() < 2.01
    assert errors.mean() < 0.001
    assert (errors > 0).mean() < 0.002
