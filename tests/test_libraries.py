"""Libraries that are missing, too old or broken are told apart; the versions are setup.cfg's."""

import configparser
import re
import shutil
import sys
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

import darkconv as dc
from darkconv.assets import digits10_folder
from darkconv.backends import spoke
from darkconv.cli import main
from darkconv.console.program import apology
from darkconv.errors import DarkconvError, MissingDependencyError
from darkconv.libraries import LIBRARIES, Library, telling_missing, too_old

ROOT = Path(__file__).parents[1]


def requirements():
    """Package and lowest version of every requirement, with the extras that bring it."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    groups = {None: config["options"]["install_requires"], **config["options.extras_require"]}
    for extra in ("dev", "docs"):  # of those who work on darkconv
        groups.pop(extra)
    for extra, text in groups.items():
        for line in filter(None, text.splitlines()):
            if not line.startswith("darkconv["):
                package, minimum = re.match(r"([\w-]+)>=([\d.]+)", line).groups()
                yield extra, package, minimum


def test_every_requirement_has_a_lowest_version_that_the_table_knows():
    known = {
        package.lower(): (library.extra, library.minimum)
        for library in LIBRARIES.values()
        for package in library.packages
    }
    found = {package.lower(): (extra, minimum) for extra, package, minimum in requirements()}
    assert found == {package: known.get(package) for package in found}
    assert {library.packages[0].lower() for library in LIBRARIES.values()} <= found.keys()


def test_every_library_is_known_by_the_name_that_it_is_imported_by():
    packages = metadata.packages_distributions()
    for name, library in LIBRARIES.items():
        if library.installed is not None:
            found = {package.lower().replace("_", "-") for package in packages.get(name, ())}
            assert found & {package.lower() for package in library.packages}, name


def test_nothing_that_is_installed_here_is_too_old():
    assert too_old() == []


@pytest.fixture
def versions(monkeypatch):
    """Versions that are installed, by package; others are not."""
    found = {}

    def version(package):
        if package not in found:
            raise metadata.PackageNotFoundError(package)
        return found[package]

    monkeypatch.setattr(metadata, "version", version)
    return found


def failing(error):
    with pytest.raises(DarkconvError) as told, telling_missing("training", extra="train"):
        raise error
    return told.value


def test_a_library_that_is_not_installed(versions):
    error = failing(ModuleNotFoundError("No module named 'lightning'", name="lightning"))
    assert isinstance(error, MissingDependencyError)
    assert str(error) == (
        "training needs lightning, which is not installed\n  hint: pip install 'darkconv[train]'"
    )


def test_a_library_that_is_too_old(versions):
    versions["lightning"] = "2.5.5"
    name = "lightning.pytorch.callbacks"
    error = failing(ImportError(f"cannot import name 'WeightAveraging' from '{name}'", name=name))
    assert isinstance(error, MissingDependencyError)
    assert str(error) == (
        "lightning 2.5.5 is installed; training needs 2.6 or later\n"
        "  hint: pip install 'darkconv[train]'"
    )


def test_a_module_that_an_old_version_lacks(versions):
    versions["onnxruntime-gpu"] = "1.9.0"
    name = "onnxruntime.quantization"
    error = failing(ModuleNotFoundError(f"No module named '{name}'", name=name))
    assert str(error).startswith("onnxruntime 1.9.0 is installed; training needs 1.19 or later")


def test_a_library_that_is_broken(versions):
    versions["lightning"] = "2.6.1"
    error = failing(ImportError("libfoo.so.1: cannot open shared object file", name="lightning"))
    assert not isinstance(error, MissingDependencyError)
    assert str(error) == (
        "training needs lightning; lightning 2.6.1 is installed and cannot be imported: "
        "libfoo.so.1: cannot open shared object file\n"
        "  hint: pip install --force-reinstall lightning"
    )


def test_a_library_of_a_library(versions):
    versions["lightning"] = "2.6.1"
    error = failing(ModuleNotFoundError("No module named 'torchmetrics'", name="torchmetrics"))
    assert str(error) == (
        "training needs torchmetrics, which is not installed\n  hint: pip install 'darkconv[train]'"
    )


@pytest.mark.parametrize("name", ["darkconv.nothing", None])
def test_an_import_that_fails_for_another_reason_stays(name):
    error = ImportError("circular", name=name)
    with pytest.raises(ImportError) as told, telling_missing("training"):
        raise error
    assert told.value is error


@pytest.mark.parametrize(
    ("version", "is_older"),
    [
        ("2.5.5", True), ("2.5.0.post0", True), ("2.6", False), ("2.6.0rc1", False),
        ("2.10", False), ("3", False), ("2", True), ("2.13.0+cpu", False),
    ],
)  # fmt: skip
def test_versions_are_compared_by_their_numbers(version, is_older):
    assert Library("2.6.0", None, ("x",)).is_older(version) == is_older


MODEL = "digits10.cfg digits10.weights"
NEEDING = {
    "lightning": f"finetune {MODEL} --data digits10.data -o o.cfg o.weights",
    "torch": f"detect {MODEL} images",
    "onnx": f"convert {MODEL} -o o.onnx",
    "onnx_ir": f"convert {MODEL} -o o.onnx",
    "onnxruntime": "detect digits10.onnx images",
    "coremltools": f"convert {MODEL} --for coreml -o o",
    "openvino": "detect digits10.onnx images --runtime openvino",
    "ncnn": f"convert {MODEL} --for ncnn -o o",
    "keras": f"convert {MODEL} -o o.keras",
    "PIL": f"detect {MODEL} images",
    "yaml": "anchors --data data.yaml",
    "matplotlib": "anchors --data digits10.data --plot o.png",
    "faster_coco_eval": f"eval {MODEL} --data digits10.data",
    "netron": f"info {MODEL} --view",
    "requests": "fetch yolov4-tiny",
}
"""A command that needs each library."""
IMPORTERS = {
    "lightning": "darkconv.training.run",
    "torch": "darkconv.backends.torch",
    "onnx": "darkconv.backends.onnx",
    "onnx_ir": "darkconv.backends.onnx",
    "keras": "darkconv.backends.keras",
}
"""What imports a library for good, and has to be imported again."""


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder with the bundled model, and files of it in other formats."""
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
    folder = tmp_path_factory.mktemp("digits")
    shutil.copytree(digits10_folder(), folder, dirs_exist_ok=True)
    (folder / "data.yaml").write_text("train: images\nval: images\nnames: [a, b]\n")
    model = dc.load(folder / "digits10.cfg", folder / "digits10.weights")
    spoke("onnx").write_onnx(model, folder / "digits10.onnx")
    return folder


@pytest.mark.parametrize("library", NEEDING)
@pytest.mark.parametrize("state", ["missing", "too old"])
def test_a_command_names_the_library_and_what_brings_it(
    state, library, digits, versions, monkeypatch, capsys
):
    monkeypatch.chdir(digits)
    for name in [*sys.modules]:
        if name.partition(".")[0] == library:
            monkeypatch.setitem(sys.modules, name, None)
        elif f"{name}.".startswith(f"{IMPORTERS.get(library)}."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    known = LIBRARIES[library]
    if state == "too old":
        versions[known.packages[0]] = "0.0.1"
        if library == "lightning":  # is looked for before it is imported
            stub = ModuleType(library)
            stub.__spec__ = ModuleSpec(library, None)
            monkeypatch.setitem(sys.modules, library, stub)
    with pytest.raises(SystemExit) as end:
        main(NEEDING[library].split(), prog_name="darkconv")
    stderr = capsys.readouterr().err
    assert end.value.code == 1, stderr
    found = f"needs {library}, which is not installed"
    assert (f"{library} 0.0.1 is installed; " if state == "too old" else found) in stderr
    assert f"hint: pip install 'darkconv[{known.extra}]'" in stderr


def test_an_error_that_should_not_happen_names_libraries_that_are_too_old(versions):
    versions["onnx"] = "1.2.3"
    assert apology(TypeError("odd")).split("\n") == [
        "this should not happen: TypeError: odd",
        "  hint: onnx 1.2.3 is installed; darkconv needs 1.16",
        "  hint: --debug shows where; please report it with the files that led to it",
    ]
