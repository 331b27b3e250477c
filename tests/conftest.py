"""Options and fixtures for all tests."""

import contextlib
import functools
import shutil
from pathlib import Path

import numpy as np
import pytest

import effort

with contextlib.suppress(ModuleNotFoundError):
    from hypothesis import HealthCheck, settings

    # how long something takes says how busy the machine is, and nothing about darkconv
    settings.register_profile(
        "darkconv", deadline=None, suppress_health_check=[HealthCheck.too_slow]
    )
    settings.load_profile("darkconv")

np.testing.assert_allclose = functools.partial(np.testing.assert_allclose, equal_nan=False)
"""NaN is near nothing unless a test says so; numpy's own default takes two of them for the same."""

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
    parser.addoption(
        "--slow", action="store_true", help="run whole trainings and long runs too, as CI does"
    )
    parser.addoption("--full", action="store_true", help="run the biggest sweeps too")


def pytest_configure(config):
    effort.is_whole = config.getoption("--slow") or config.getoption("--full")
    config.addinivalue_line(
        "markers", "slow: a whole training or a long run; runs with --slow or --full only"
    )
    config.addinivalue_line("markers", "full: runs with --full only")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))
    if config.getoption("--full"):
        return
    for number, item in enumerate(items):
        names = (item.path.parent.name, item.path.name)
        if number % next((effort.HEAVY[name] for name in names if name in effort.HEAVY), 1):
            item.add_marker(pytest.mark.slow)
    for item in items:
        if item.get_closest_marker("full"):
            item.add_marker(pytest.mark.skip(reason="a big sweep: needs --full"))
        elif item.get_closest_marker("slow") and not config.getoption("--slow"):
            item.add_marker(pytest.mark.skip(reason="a whole training or a long run: needs --slow"))


def _group(item):
    """Tests that run in one process: those of a module, or of one of the big networks."""
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    return parameters["net_case"].name if parameters.get("net_case") else item.path.name


@pytest.fixture(autouse=True)
def _faults_are_seen(monkeypatch):
    """Let what darkconv did not foresee end a test, and not become a line of a command."""
    monkeypatch.setattr("darkconv.console.program.FAULTS", ())


@pytest.fixture
def digits10(tmp_path, monkeypatch):
    """A copy of the bundled model and its pictures, as the working folder."""
    from darkconv.assets import digits10_folder

    shutil.copytree(digits10_folder(), tmp_path / "d")
    monkeypatch.chdir(tmp_path / "d")
    return tmp_path / "d"


@pytest.fixture
def run(digits10):
    """Carry out a line of the command line beside the bundled model."""
    from click.testing import CliRunner

    from darkconv.cli import main

    def invoke(line, status=0):
        result = CliRunner().invoke(main, line.split())
        assert result.exit_code == status, result.output
        return result

    return invoke


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
