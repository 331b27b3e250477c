"""One test per case of a collection; a word where a collection is missing."""

import pytest

from reference.collection import has_detections, is_folder


def pytest_generate_tests(metafunc):
    """Parametrize fixtures over the folders found."""
    for fixture, option, below, wanted in (
        ("micro_case", "golden", "micro", is_folder),
        ("boxes_case", "golden", "micro", has_detections),
        ("net_case", "golden", "nets", is_folder),
        ("model_case", "models", "", is_folder),
    ):
        if fixture in metafunc.fixturenames:
            root = metafunc.config.getoption(f"--{option}") / below
            folders = sorted(filter(wanted, root.glob("*"))) if root.is_dir() else []
            missing = pytest.mark.skip(reason=f"no cases at {root}")
            params = folders or [pytest.param(None, marks=missing, id="none")]
            ids = [folder.name for folder in folders] or None
            metafunc.parametrize(fixture, params, ids=ids, scope="module", indirect=True)
