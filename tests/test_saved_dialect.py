"""A model that was read by other rules than its files speak for says so where it is written."""

import logging

import pytest

import darkconv as dc
from darkconv.assets import digits10_folder

CFG, WEIGHTS = (digits10_folder() / f"digits10.{suffix}" for suffix in ("cfg", "weights"))


@pytest.mark.parametrize(("dialect", "is_told"), [("pjreddie", True), ("auto", False)])
@pytest.mark.parametrize("has_weights", [True, False])
def test_saving_tells_of_a_dialect_that_is_not_found_again(
    tmp_path, caplog, dialect, is_told, has_weights
):
    model = dc.load(CFG, WEIGHTS, dialect=dialect)
    cfg, weights = tmp_path / "n.cfg", tmp_path / "n.weights"
    with caplog.at_level(logging.WARNING):
        dc.save(model, cfg, weights if has_weights else None)
    assert ("read them with --dialect pjreddie (dialect=)" in caplog.text) == is_told
    if has_weights:
        assert (dc.load(cfg, weights).dialect is model.dialect) != is_told
        assert dc.load(cfg, weights, dialect=model.dialect.name).dialect is model.dialect
