"""Reports: whole, self-contained pages that tell what was done."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import darkconv as dc
from darkconv.detection import Detection
from darkconv.report import DissectionReport, write_dissection_report, write_profile_report
from darkconv.report.dissection import Measured, Seen
from darkconv.report.histogram import BINS, histogram
from darkconv.surgery.channels import find_classes
from darkconv.surgery.importance import score_classes
from networks import network, random_model

pytest.importorskip("torch")

BODY = """[convolutional]
filters=12
size=3
pad=1
batch_normalize=1
activation=leaky

[convolutional]
filters=8
size=1
activation=leaky

[convolutional]
filters=14
size=1
activation=linear

[yolo]
classes=2
num=2
anchors=5,5, 9,9
"""
HOSTILE = '<script>alert("x")</script>&'


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A report's parts, and a profile."""
    folder = tmp_path_factory.mktemp("report")
    model = random_model(network(BODY, shape=(3, 16, 16)), names=("cat", HOSTILE))
    stream = np.random.default_rng(0)
    pictures = [stream.integers(0, 256, (16, 16, 3), np.uint8) for _ in range(3)]
    profile = dc.profile(model, pictures)
    plan = dc.plan(model, profile, keep=0.5)
    classes = find_classes(model.network)
    scores = score_classes(classes, model, "nll0", profile=profile)
    path = folder / "a & <b>.png"
    Image.fromarray(pictures[0]).save(path)
    report = DissectionReport(
        original=model,
        cut=model,
        final=dc.prune(model, plan),
        profile=profile,
        plan=plan,
        score="nll0",
        scores={i: scores[classes.of(i)] for i in (0, 1)},
        measured=(Measured(1000, 2.0), Measured(600, 1.5)),
        conditions="(median)",
        pictures=[Seen(path, [Detection(1, HOSTILE, 0.5, (1, 1, 9, 9))], [])],
        threshold=0.25,
    )
    return SimpleNamespace(folder=folder, model=model, profile=profile, plan=plan, report=report)


@pytest.fixture(scope="module")
def page(parts):
    path = parts.folder / "report.html"
    write_dissection_report(path, parts.report)
    return path.read_text()


VOID = {"meta", "img", "br", "path"}


class Checker(HTMLParser):
    """Follows the tags of a page, and collects texts and references."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.references, self.texts = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.references += [value for key, value in attrs if key in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_is_whole_and_needs_nothing_else(page):
    found = Checker(page)
    assert "script" not in {tag for tag, _ in found.tags}
    assert all(reference.startswith("data:") for reference in found.references)
    assert not re.search(r"https?://|@import|url\(", page)


def test_foreign_texts_are_escaped(page):
    assert HOSTILE not in page
    found = Checker(page)
    assert any(HOSTILE in text for text in found.texts)
    pictures = [attrs for tag, attrs in found.tags if tag == "img"]
    assert len(pictures) == 2
    assert pictures[0]["alt"] == f"a & <b>.png before: {HOSTILE} 0.50"
    assert pictures[1]["alt"] == "a & <b>.png after: nothing found"


def test_every_layer_that_makes_channels_has_its_histograms(page):
    found = Checker(page)
    labels = [attrs["aria-label"] for tag, attrs in found.tags if tag == "svg"]
    assert len(labels) == 3 * 3
    assert labels[0] == "mean: 6 channels kept, 6 removed"
    assert labels[2] == "score nll0: 6 channels kept, 6 removed"
    assert page.count('class="cut"') == 1 + 2  # the key, and two layers that lose channels


def test_the_table_has_before_and_after(page):
    rows = re.findall(r"<tr>(.*?)</tr>", page)
    cells = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in rows]
    assert cells[0] == ["layer", "type", "channels", "parameters", "MACs"]
    assert cells[1][:3] == ["0", "convolutional", "12 \N{RIGHTWARDS ARROW} 6"]
    assert cells[3][:3] == ["2", "convolutional", "14"]
    assert len(cells) == 5
    assert "600" not in cells[-1][0]


def test_key_figures(page, parts):
    text = " ".join(Checker(page).texts)
    final = sum(layer.parameters for layer in parts.report.final.network.layers)
    assert f"{final:,}" in text
    assert "of 2.0, 75% (median)" in text
    assert "Removed 10 channels" in text
    assert "profiled on 3 pictures" in text


def test_the_same_input_gives_the_same_page(parts, page):
    again = parts.folder / "again.html"
    write_dissection_report(again, parts.report)
    assert again.read_text() == page


def test_the_report_of_a_profile(parts):
    path = parts.folder / "profile.html"
    write_profile_report(path, parts.model, parts.profile)
    found = Checker(path.read_text())
    assert sum(tag == "svg" for tag, _ in found.tags) == 3 * 3
    assert "Profile of test" in found.texts


# --- Histograms


def heights(svg, style):
    """Heights of the bars of one kind, as shares of the room."""
    (path,) = re.findall(rf'<path class="{style}" d="([^"]*)"', svg) or [""]
    return [float(height) / 78 for height in re.findall(r"v([\d.]+)h", path)]


def test_bars_stand_for_channels():
    values = np.array([0.0, 0.0, 0.0, 1.0])
    svg = histogram("x", values, np.array([False, False, True, False]))
    assert heights(svg, "kept") == pytest.approx([2 / 3, 1 / 3], abs=0.01)
    assert heights(svg, "removed") == pytest.approx([1 / 3], abs=0.01)


@pytest.mark.parametrize(
    "values", [[], [3.0], [2.0, 2.0], [-np.inf, 1.0], [-np.inf], [np.nan, 0, 1e30]]
)
def test_odd_values_do_no_harm(values):
    array = np.array(values, np.float64)
    svg = histogram("x", array, np.zeros(len(array), bool), cut=0.5)
    assert "nan" not in svg.replace("x (", "")
    assert "inf" not in svg
    missing = int((~np.isfinite(array)).sum())
    assert (f"({missing} constant not shown)" in svg) == bool(missing)
    assert len(heights(svg, "kept")) <= BINS


# --- In a browser


@pytest.fixture(scope="module")
def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium to render the report in")


def render(chromium, profile, url, *options):
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
        "--disable-background-networking --disable-component-update --disable-sync "
        "--hide-scrollbars"
    )
    run = [chromium, *flags.split(), f"--user-data-dir={profile}", *options, url]
    return subprocess.run(run, check=True, capture_output=True, timeout=60).stdout.decode()


@pytest.mark.parametrize("width", [500, 1200])
def test_the_page_renders_without_running_over(chromium, parts, page, tmp_path, width):
    picture = tmp_path / "page.png"
    # a frame of the width in question tells how wide its page became
    frame = tmp_path / "frame.html"
    shutil.copy(parts.folder / "report.html", tmp_path / "report.html")
    frame.write_text(
        f'<iframe id="f" src="report.html" width="{width}" height="900"></iframe><p id="p"></p>'
        "<script>f.onload = () => { const d = f.contentDocument.documentElement;"
        "p.textContent = `${d.clientWidth} ${d.scrollWidth} ${d.scrollHeight}`; }</script>"
    )
    options = ("--allow-file-access-from-files", "--dump-dom", "--virtual-time-budget=5000")
    dom = render(chromium, tmp_path / "p1", frame.as_uri(), *options)
    room, needed, height = map(int, re.search(r'<p id="p">(\d+) (\d+) (\d+)', dom).groups())
    assert needed <= room
    assert height > 1000
    shot = (f"--screenshot={picture}", f"--window-size={width},900")
    render(chromium, tmp_path / "p2", (parts.folder / "report.html").as_uri(), *shot)
    with Image.open(picture) as image:
        assert image.width == width
        colors = image.convert("RGB").getcolors(1 << 24)
    assert len(colors) > 50
    assert max(count for count, _ in colors) < 0.99 * width * 900
