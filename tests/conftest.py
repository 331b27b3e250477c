"""Options and fixtures for all tests."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
COLLECTIONS = ("golden", "models", "data")


def pytest_addoption(parser):
    for name in COLLECTIONS:
        parser.addoption(
            f"--{name}",
            type=Path,
            default=SHARED / name,
            help=f"folder of the {name} collection (default: ../shared/{name})",
        )
    parser.addoption("--full", action="store_true", help="run the biggest sweeps too")


def pytest_configure(config):
    config.addinivalue_line("markers", "full: runs with --full only")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--full"):
        return
    for item in items:
        if item.get_closest_marker("full"):
            item.add_marker(pytest.mark.skip(reason="a big sweep: needs --full"))


@pytest.fixture(scope="session")
def golden_dir(pytestconfig):
    return _folder(pytestconfig, "golden")


@pytest.fixture(scope="session")
def models_dir(pytestconfig):
    return _folder(pytestconfig, "models")


@pytest.fixture(scope="session")
def data_dir(pytestconfig):
    return _folder(pytestconfig, "data")


def _folder(config, name):
    path = config.getoption(f"--{name}")
    if not path.is_dir():
        pytest.skip(f"no {name} collection at {path}")
    return path
