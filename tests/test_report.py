"""Reports: whole, self-contained pages that tell what was done."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from darkconv.dissection.page import write_dissection_report
from darkconv.report.histogram import BINS, histogram
from darkconv.surgery.profile_page import write_profile_report
from pages import HOSTILE, Checker, dissection

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A report's parts, and a profile."""
    folder = tmp_path_factory.mktemp("report")
    report = dissection(folder)
    return SimpleNamespace(
        folder=folder, model=report.original, profile=report.profile, report=report
    )


@pytest.fixture(scope="module")
def page(parts):
    path = parts.folder / "report.html"
    write_dissection_report(path, parts.report)
    return path.read_text()


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
    assert pictures[0]["alt"] == f"a & <b>.png before: {HOSTILE} 50.0 %"
    assert pictures[1]["alt"] == "a & <b>.png pruned: nothing found"


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
    assert "of 2.0, 75%; median" in text
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
