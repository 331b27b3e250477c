"""One test per case of a collection; a word where a collection is missing."""

import pytest


def pytest_generate_tests(metafunc):
    """Parametrize `micro_case`, `net_case` and `model_case` over the folders found."""
    for fixture, option, below in (
        ("micro_case", "golden", "micro"),
        ("net_case", "golden", "nets"),
        ("model_case", "models", ""),
    ):
        if fixture in metafunc.fixturenames:
            root = metafunc.config.getoption(f"--{option}") / below
            folders = sorted(p for p in root.glob("*") if p.is_dir()) if root.is_dir() else []
            missing = pytest.mark.skip(reason=f"no cases at {root}")
            params = folders or [pytest.param(None, marks=missing, id="none")]
            ids = [folder.name for folder in folders] or None
            metafunc.parametrize(fixture, params, ids=ids, scope="module", indirect=True)
