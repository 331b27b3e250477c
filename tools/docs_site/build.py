"""Build the documentation site into .site/html, strictly, and serve it.

A link that leads nowhere, a page outside the navigation, and a public name without a docstring or
outside the API reference are problems; with one of them the build fails. tools/docs calls this.
"""

import argparse
import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    import griffe

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SITE = ROOT / ".site"
PAGES, HTML = "pages", "html"
"""Folders in SITE: a copy of the pages, and what is built from them."""
LINK = re.compile(r"\]\(([^)\s]+)\)")
NOTEBOOK_LINK = re.compile(r"(?<=\]\()([^):\s#]+)\.ipynb(?=[#)])")
"""A link to a notebook of the repository; its first group is the path without the suffix."""
COMMANDS = re.compile(r'(?<=<div class="language-sh highlight">).*?(?=</div>)', re.DOTALL)
OPTION = re.compile(r"(?<=>)--?[a-z][\w-]*(?=<)")
"""Commands of a built page, and an option in them."""
COLOUR = re.compile(r"\x1b\[[\d;]*m")
ENTRY = re.compile(r"^::: darkconv\.(\w+)$", re.MULTILINE)
"""A name of `darkconv.__all__` in the API reference."""


def pages(root: Path = ROOT) -> list[str]:
    """Return the paths of all pages, relative to the repository; a notebook's ends in `.md` too."""
    inner = [path for end in ("md", "ipynb") for path in sorted((root / "docs").rglob(f"*.{end}"))]
    names = (path.relative_to(root).with_suffix(".md").as_posix() for path in inner)
    return ["README.md", "CHANGELOG.md", *names]


def source(page: str, root: Path = ROOT) -> Path:
    """Return the file that a page is made from: Markdown, or a notebook."""
    notebook = (root / page).with_suffix(".ipynb")
    return notebook if notebook.is_file() else root / page


def page_text(path: Path) -> str:
    """Return the Markdown of a page; its links to notebooks lead to the pages made from those."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return NOTEBOOK_LINK.sub(r"\1.md", text)
    first, *others = (_markdown(cell) for cell in json.loads(text)["cells"])
    heading, _, rest = first.partition("\n")
    link = f'[Download it]({path.name}){{ download="{path.name}" }}'
    about = f"This page is a notebook. {link} to run its cells and to see what they print."
    return "\n\n".join([heading, about, rest.strip(), *others]) + "\n"


def _markdown(cell: dict[str, Any]) -> str:
    """Return a cell of a notebook as Markdown. Notebooks are committed without outputs."""
    text = "".join(cell["source"])
    if cell["cell_type"] != "code":
        return NOTEBOOK_LINK.sub(r"\1.md", text)
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}python\n{text}\n{fence}"


def navigation() -> list[str]:
    """Return the pages that zensical.toml lists, in its order."""
    config = tomllib.loads((HERE / "zensical.toml").read_text(encoding="utf-8"))
    return list(_leaves(config["project"]["nav"]))


def _leaves(node: object) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict):
        for inner in node.values():
            yield from _leaves(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _leaves(inner)


def navigation_problems(root: Path = ROOT) -> list[str]:
    """Name the pages that the navigation lacks, lists twice, or lists without a file."""
    listed, there = navigation(), pages(root)
    return [
        *(
            f"{page}: not in `nav` of tools/docs_site/zensical.toml"
            for page in there
            if page not in listed
        ),
        *(
            f"{page}: in `nav` more than once"
            for page in sorted({p for p in listed if listed.count(p) > 1})
        ),
        *(f"{page}: in `nav`, but there is no such page" for page in listed if page not in there),
    ]


def reference_entries(root: Path = ROOT) -> list[str]:
    """Return the names of the API reference, in the order of its pages."""
    found = sorted((root / "docs" / "reference").glob("*.md"))
    return [name for page in found for name in ENTRY.findall(page.read_text(encoding="utf-8"))]


def reference_problems(root: Path = ROOT) -> list[str]:
    """Name what the API reference lacks or has twice, and what has no docstring."""
    import griffe

    package = griffe.load(
        "darkconv", search_paths=[root], try_relative_path=False, resolve_aliases=True
    )
    assert isinstance(package, griffe.Module)
    public = [str(name).strip("'\"") for name in package.exports or ()]
    entries, found = reference_entries(root), []
    for name in sorted({*public, *entries}):
        if name not in public:
            found.append(f"docs/reference: darkconv.{name} is no public name")
        elif entries.count(name) != 1:
            found.append(f"docs/reference: darkconv.{name} is there {entries.count(name)} times")
    for name in public:
        found += _undocumented(package[name], f"darkconv.{name}")
    return found


def _undocumented(thing: "griffe.Object | griffe.Alias", name: str) -> Iterator[str]:
    """Name what has no docstring: a public object, the public methods and properties of a class."""
    if not thing.has_docstring:
        yield f"{thing.filepath}:{thing.lineno}: {name} has no docstring"
    if thing.is_class:
        for key, member in thing.members.items():
            is_property = "property" in member.labels
            if not key.startswith("_") and (member.is_function or is_property):
                yield from _undocumented(member, f"{name}.{key}")


def copy_pages(root: Path, site: Path) -> None:
    """Write all pages into the site's folder, and copy the repository's files that they link."""
    copy = site / PAGES
    shutil.copytree(root / "docs", copy / "docs")
    shutil.copy(HERE / "site.css", copy)
    shutil.copy(HERE / "zensical.toml", site)
    texts = {page: page_text(source(page, root)) for page in pages(root)}
    for page, text in texts.items():
        (copy / page).write_text(text, encoding="utf-8")
        for link in LINK.findall(text):
            target = ((root / page).parent / unquote(urlsplit(link).path)).resolve()
            if not urlsplit(link).scheme and target.is_file():
                inside = target.relative_to(root.resolve())
                if inside.as_posix() not in texts:
                    (copy / inside).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copy(target, copy / inside)


def generate(site: Path) -> list[str]:
    """Run the generator, which checks links too: its complaints."""
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    done = subprocess.run(
        [*command, "--config-file", site / "zensical.toml"],
        capture_output=True, text=True, cwd=site,
    )  # fmt: skip
    if done.returncode == 0:
        return []
    complaints, _, crash = COLOUR.sub("", f"{done.stdout}{done.stderr}").partition("Traceback (")
    if "--strict" in crash:
        return [complaints.removeprefix("Build started").strip()]
    shutil.rmtree(site / HTML, ignore_errors=True)  # a part of the pages, whose links say nothing
    return [crash.strip() or complaints.strip()]


def keep_options_whole(html: Path) -> None:
    """Let no line of a command end within an option, as in "--" and "params"."""
    for path in html.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        path.write_text(COMMANDS.sub(_with_whole_options, text), encoding="utf-8")


def _with_whole_options(commands: re.Match[str]) -> str:
    return OPTION.sub(r'<span class="option">\g<0></span>', commands[0])


class _Page(HTMLParser):
    """The places of a page that links can name, and its own links."""

    def __init__(self) -> None:
        super().__init__()
        self.places: set[str] = {"", "__top"}
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key in ("id", "name"):
                self.places.add(value or "")
            elif key in ("href", "src"):
                self.links.append(value or "")


def link_problems(html: Path) -> list[str]:
    """Name the links of built pages that lead to no file, or to no place in it."""
    built = {path: _Page() for path in sorted(html.rglob("*.html"))}
    for path, page in built.items():
        page.feed(path.read_text(encoding="utf-8"))
    found = []
    for path, page in built.items():
        for link in dict.fromkeys(page.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            name = unquote(parts.path)
            target = html / name[1:] if name.startswith("/") else path.parent / name
            target = path if not name else Path(target.resolve())
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file():
                found.append(f"{path.relative_to(html)}: links {link}, which does not exist")
            elif target in built and unquote(parts.fragment) not in built[target].places:
                found.append(f"{path.relative_to(html)}: links {link}: no such place on the page")
    return found


def missing_entries(html: Path, names: list[str]) -> list[str]:
    """Name the entries of the API reference that the built pages do not show."""
    text = "".join(
        path.read_text(encoding="utf-8") for path in (html / "docs/reference").glob("*.html")
    )
    return [f"darkconv.{name}: not built" for name in names if f'id="darkconv.{name}"' not in text]


def build(root: Path = ROOT, site: Path = SITE) -> list[str]:
    """Build the site of a repository: the problems that were found."""
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir()
    copy_pages(root, site)
    found = [*navigation_problems(root), *reference_problems(root), *generate(site)]
    if (site / HTML).is_dir():
        keep_options_whole(site / HTML)
        found += link_problems(site / HTML)
        found += missing_entries(site / HTML, reference_entries(root))
    return found


def state(root: Path = ROOT) -> list[int]:
    """Return what changes when a page or a docstring does."""
    files = [source(page, root) for page in pages(root)] + [
        *HERE.iterdir(),
        *(root / "darkconv").rglob("*.py"),
    ]
    return [path.stat().st_mtime_ns for path in files]


def serve(port: int) -> None:
    """Serve the site to this machine, and build it anew when a page changes, until interrupted."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=SITE / HTML)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{port}/ (Ctrl+C ends it; a changed page is built anew)")
    before = state()
    while True:
        time.sleep(1)
        if state() != before:
            before = state()
            report(build())


def report(problems: list[str]) -> None:
    """Print what was built, or what is wrong."""
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        print(f"the site has {len(problems)} problems", file=sys.stderr)
    else:
        print(f"built {len(pages())} pages: {(SITE / HTML / 'index.html').relative_to(ROOT)}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="tools/docs", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("job", nargs="?", choices=["build", "serve"], default="build")
    parser.add_argument("--port", type=int, default=8000, help="port of `serve`; 8000 if not given")
    arguments = parser.parse_args()
    problems = build()
    report(problems)
    if arguments.job == "serve":
        try:
            serve(arguments.port)
        except KeyboardInterrupt:
            return
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
