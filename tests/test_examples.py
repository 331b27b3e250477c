"""Every public function and class has an example in its docstring, and the examples are right.

They run in a folder with the bundled model, its pictures and labels; `dc` and `np` are imported.
"""

import doctest
import inspect
import shutil

import numpy as np
import pytest

import darkconv as dc
from darkconv.assets import digits10_folder

NEEDS = {
    "to_keras": "tensorflow",
    "from_keras": "tensorflow",
    "finetune": "lightning",
    "Recipe": "lightning",
    "Training": "lightning",
    "to_onnx": "onnx",
    "verify": "onnxruntime",
    "Verification": "onnxruntime",
    "export": "onnx",
}
"""What an example takes beside PyTorch."""
PUBLIC = [name for name in dc.__all__ if not name.startswith("_")]
FINDER = doctest.DocTestFinder(recurse=False)
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@pytest.fixture
def folder(tmp_path, monkeypatch):
    shutil.copytree(digits10_folder(), tmp_path / "digits10")
    monkeypatch.chdir(tmp_path / "digits10")


def examples(name):
    value = getattr(dc, name)
    found = FINDER.find(value, name, globs={"dc": dc, "np": np})
    return [test for test in found if test.examples]


def is_exception(name):
    value = getattr(dc, name)
    return inspect.isclass(value) and issubclass(value, Exception)


@pytest.mark.parametrize("name", [name for name in PUBLIC if not is_exception(name)])
def test_there_is_an_example_and_it_gives_what_it_says(name, folder):
    pytest.importorskip("torch")
    pytest.importorskip(NEEDS.get(name, "torch"))
    tests = examples(name)
    assert tests, f"darkconv.{name} has no example"
    said = []
    for test in tests:
        doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=said.append)
    assert not said, "".join(said)
