"""The notebooks of docs/tutorials: they are listed, they are short, and they run."""

import ast
import json
import re
from pathlib import Path

import pytest

import darkconv

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "tutorials"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MOST_CELLS = 24
LONGEST = 600
"""Seconds after which a cell counts as hanging, also on a machine that does much else."""
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
NEEDED = {
    "1-convert-and-check": ("torch", "onnx", "onnxruntime"),
    "2-fewer-classes": ("torch",),
    "3-your-own-data": ("torch", "lightning"),
    "4-keras-training": ("torch", "keras", "tensorflow"),
    "5-deploy": ("torch", "onnx", "onnxruntime"),
}
"""The libraries that each notebook needs, besides numpy and Pillow."""


def cells(path, kind):
    """Texts of the cells of a kind."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def by_name(path):
    return path.stem


def test_there_are_notebooks_and_each_says_what_it_needs():
    assert {path.stem for path in NOTEBOOKS} == NEEDED.keys()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=by_name)
def test_a_notebook_is_listed_short_and_without_outputs(path):
    index = (ROOT / "docs" / "README.md").read_text()
    assert f"tutorials/{path.name}" in LINK.findall(index)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert len(notebook["cells"]) <= MOST_CELLS
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["outputs"] for cell in code] == [[]] * len(code)
    assert {cell["execution_count"] for cell in code} == {None}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=by_name)
def test_the_links_of_a_notebook_lead_somewhere(path):
    *_, last = cells(path, "markdown")
    assert last.startswith("## Where to go from here")
    assert LINK.findall(last)
    for target in LINK.findall("\n".join(cells(path, "markdown"))):
        name, _, anchor = target.partition("#")
        page = FOLDER / name
        assert page.is_file(), target
        headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
        names = {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}
        assert not anchor or anchor in names, target


@pytest.mark.parametrize("path", NOTEBOOKS, ids=by_name)
def test_the_cells_of_a_notebook_check_themselves_and_use_what_exists(path):
    tree = ast.parse("\n".join(cells(path, "code")), filename=path.name)
    assert sum(isinstance(node, ast.Assert) for node in ast.walk(tree)) >= 4
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "dc":
            assert node.attr in darkconv.__all__, f"dc.{node.attr}"
        if isinstance(node, ast.ImportFrom) and node.module.startswith("darkconv."):
            home = ROOT.joinpath(*node.module.split("."))
            (file,) = [p for p in (home.with_suffix(".py"), home / "__init__.py") if p.is_file()]
            for alias in node.names:
                assert re.search(rf"\b{alias.name}\b", file.read_text()), f"{file}: {alias.name}"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=by_name)
@pytest.mark.filterwarnings("default")  # those of Jupyter say nothing about darkconv
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    for library in NEEDED[path.stem]:
        pytest.importorskip(library)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # in which the notebook makes its folder
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(
        notebook, timeout=LONGEST, resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute()  # an error in a cell is raised here
    numbers = [cell["execution_count"] for cell in notebook.cells if cell["cell_type"] == "code"]
    assert numbers == list(range(1, len(numbers) + 1))
