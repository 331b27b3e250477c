"""The documentation site: all pages and public names are in it, and what is wrong is reported.

`.ci/run docs` builds it from the pages as they are; here a small repository is built with mistakes.
"""

import importlib.util
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

import darkconv as dc

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site():
    """The module that builds the site."""
    path = ROOT / "tools" / "docs_site" / "build.py"
    spec = importlib.util.spec_from_file_location("docs_site_build", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_is_in_the_navigation_once(site):
    assert {"README.md", "CHANGELOG.md", "docs/glossary.md"} <= set(site.pages())
    assert Counter(site.navigation()) == Counter(site.pages())


def test_every_notebook_is_in_the_navigation(site, tmp_path):
    names = [path.stem for path in sorted((ROOT / "docs/tutorials").glob("*.ipynb"))]
    assert names
    assert {f"docs/tutorials/{name}.md" for name in names} <= set(site.navigation())
    copy(tmp_path)
    folder = tmp_path / "docs/tutorials"
    (folder / f"{names[0]}.ipynb").rename(folder / "new.ipynb")
    assert site.navigation_problems(tmp_path) == [
        "docs/tutorials/new.md: not in `nav` of tools/docs_site/zensical.toml",
        f"docs/tutorials/{names[0]}.md: in `nav`, but there is no such page",
    ]


def test_a_notebook_becomes_a_page_with_a_link_to_the_notebook(site, tmp_path):
    cells = [
        (
            "markdown",
            ["# Title\n", "\n", "See [more](b.ipynb#x), [x](../c.md), [y](https://e.f/g.ipynb)."],
        ),
        ("code", "link = '[a](b.ipynb)'\nprint(link)"),
        ("code", ['text = """\n', "```sh\n", '"""']),
    ]
    notebook = {"cells": [{"cell_type": kind, "source": text} for kind, text in cells]}
    (tmp_path / "a.ipynb").write_text(json.dumps(notebook))
    heading, about, more, first, second = site.page_text(tmp_path / "a.ipynb").split("\n\n")
    assert heading == "# Title"
    assert '[Download it](a.ipynb){ download="a.ipynb" }' in about
    assert more == "See [more](b.md#x), [x](../c.md), [y](https://e.f/g.ipynb)."
    assert first == "```python\nlink = '[a](b.ipynb)'\nprint(link)\n```"
    assert second == '````python\ntext = """\n```sh\n"""\n````\n'


@pytest.mark.parametrize(
    "path", sorted((ROOT / "docs/tutorials").glob("*.ipynb")), ids=lambda p: p.stem
)
def test_the_page_of_a_notebook_has_all_its_cells(site, path):
    text = site.page_text(path)
    assert text.startswith("# ")
    for cell in json.loads(path.read_text())["cells"]:
        lines = "".join(cell["source"]).replace(".ipynb)", ".md)")
        assert all(paragraph in text for paragraph in lines.split("\n\n"))


def test_every_public_name_is_in_the_reference_once(site):
    assert Counter(site.reference_entries()) == Counter(dc.__all__)


def test_the_table_of_the_reference_leads_to_every_name(site):
    table = (ROOT / "docs/reference/README.md").read_text()
    for page in (ROOT / "docs/reference").glob("*.md"):
        for name in site.ENTRY.findall(page.read_text()):
            assert page.name == "README.md" or f"[`{name}`]({page.name}#darkconv.{name})" in table


def test_pages_that_the_navigation_lacks_or_has_in_vain_are_reported(site, tmp_path):
    copy(tmp_path)
    (tmp_path / "docs/new.md").write_text("# New\n")
    (tmp_path / "docs/glossary.md").unlink()
    assert site.navigation_problems(tmp_path) == [
        "docs/new.md: not in `nav` of tools/docs_site/zensical.toml",
        "docs/glossary.md: in `nav`, but there is no such page",
    ]


def copy(folder):
    """The pages and sources of the repository, and what makes a site of them."""
    for name in ("docs", "darkconv", "tools/docs_site"):
        ignored = shutil.ignore_patterns("__pycache__", "assets", "*.so")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    for name in ("README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)


def test_links_of_built_pages_that_lead_nowhere_are_reported(site, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "net.cfg").write_text("[net]\n")
    (tmp_path / "docs/b.html").write_text('<h2 id="here">B</h2><a href="..">up</a>')
    (tmp_path / "index.html").write_text(
        '<a href="docs/b.html#here"></a><a href="#top"></a><h1 id="top">A</h1>'
        '<a href="https://example.org/x#y"></a><a href="net.cfg"></a><img src="docs/no.png">'
        '<a href="docs/b.html#there"></a><a href="/docs/b.html"></a><a href="b.html"></a>'
        '<a href="#bottom"></a>'
    )
    assert site.link_problems(tmp_path) == [
        "index.html: links docs/no.png, which does not exist",
        "index.html: links docs/b.html#there: no such place on the page",
        "index.html: links b.html, which does not exist",
        "index.html: links #bottom: no such place on the page",
    ]


def test_files_of_the_repository_that_pages_link_come_along(site, tmp_path):
    root = tmp_path / "root"
    copy(root)
    (root / "cfgs").mkdir()
    (root / "cfgs/net.cfg").write_text("[net]\n")
    (root / "docs/python.md").write_text("[a network](../cfgs/net.cfg#x), [gone](../cfgs/no.cfg)\n")
    (tmp_path / "site").mkdir()
    site.copy_pages(root, tmp_path / "site")
    found = (tmp_path / "site/pages/cfgs").iterdir()
    assert [path.name for path in found] == ["net.cfg"]


def test_public_names_without_a_docstring_or_an_entry_are_reported(site, tmp_path):
    pytest.importorskip("griffe")
    copy(tmp_path)
    assert site.reference_problems(tmp_path) == []
    source = tmp_path / "darkconv/surgery/graft.py"
    source.write_text(re.sub(r'^( +)"""(?=\w)', r'\1_ = """', source.read_text(), flags=re.M))
    change(tmp_path / "docs/reference/models.md", "::: darkconv.save\n", "::: darkconv.keep\n")
    problems = site.reference_problems(tmp_path)
    assert problems[:2] == [
        "docs/reference: darkconv.keep is no public name",
        "docs/reference: darkconv.save is there 0 times",
    ]
    names = [problem.rpartition(": ")[2] for problem in problems[2:]]
    assert names == [
        f"darkconv.{name} has no docstring"
        for name in ("GraftResult", "GraftResult.runs", "GraftResult.to_dict", "graft")
    ]


def change(path, old, new):
    """Replace a text in a file."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.slow
def test_the_site_is_built_and_its_mistakes_are_reported(site, tmp_path):
    pytest.importorskip("zensical")
    root = tmp_path / "root"
    copy(root)
    assert site.build(root, root / ".site") == []
    html = root / ".site/html"
    assert "Read a model of any format" in (html / "docs/reference/models.html").read_text()
    assert "darkconv.load" in (html / "search.json").read_text()
    tutorial = (html / "docs/tutorials/5-deploy.html").read_text()
    assert 'href="1-convert-and-check.html"' in tutorial
    assert 'download="5-deploy.ipynb"' in tutorial
    assert (html / "docs/tutorials/5-deploy.ipynb").is_file()
    assert 'href="tutorials/5-deploy.html"' in (html / "docs/index.html").read_text()
    change(root / "README.md", "(docs/python.md)", "(docs/pyhton.md)")
    change(root / "docs/finetune.md", "(README.md#how-to-begin)", "(README.md#how-to-start)")
    problems = "\n".join(site.build(root, root / ".site"))
    assert "index.html: links docs/pyhton.html, which does not exist" in problems
    assert "docs/finetune.html: links index.html#how-to-start: no such place" in problems
