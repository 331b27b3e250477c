"""Private names of libraries: each is still there, and its absence is told in words."""

import ast
import sys
from pathlib import Path

import pytest

import darkconv as dc
from darkconv import private_names

PACKAGE = Path(dc.__file__).parent
LIBRARIES = {"torch", "lightning", "pl", "keras"}


def test_the_operation_of_a_value_of_keras_is_found():
    keras = pytest.importorskip("keras")
    layer = keras.layers.Identity(name="here")
    assert private_names.keras_operation(layer(keras.Input((2,)))) is layer


def test_what_the_compiler_raises_is_an_exception():
    pytest.importorskip("torch")
    assert issubclass(private_names.compiler_error(), Exception)


def test_a_value_without_a_history_is_told():
    with pytest.raises(dc.DarkconvError, match=r"has no _keras_history\.operation: expected a ver"):
        private_names.keras_operation(object())


def test_a_compiler_without_its_errors_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch._dynamo.exc", None)
    with pytest.raises(dc.DarkconvError, match="TorchDynamoException") as caught:
        private_names.compiler_error()
    assert "pip install 'torch==2.13.*'" in str(caught.value)


def test_private_names_stand_in_one_module():
    for path in PACKAGE.rglob("*.py"):
        if path.stem == "private_names" or path == PACKAGE / "backends" / "torch" / "norm.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Attribute):
                first, *rest = ast.unparse(node).split(".")
                is_private = any(name.startswith("_") and name[1] != "_" for name in rest)
                assert not (first in LIBRARIES and is_private), f"{path}: {ast.unparse(node)}"
            if isinstance(node, ast.ImportFrom) and node.module:
                first, *rest = node.module.split(".")
                assert not (first in LIBRARIES and any(n.startswith("_") for n in rest)), path
