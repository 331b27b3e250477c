"""Every report in a browser: narrow and wide, light and dark, nothing runs over the page."""

import re
import shutil
import subprocess

import pytest
from PIL import Image

from darkconv.demo.page import write_demo_report
from darkconv.dissection.page import write_dissection_report
from darkconv.evaluation.classification_page import write_classification_report
from darkconv.evaluation.page import write_evaluation_report
from darkconv.surgery.profile_page import write_profile_report
from darkconv.verification.page import write_layer_report, write_output_report
from pages import classes, demo, dissection, evaluation, layers, outputs

pytest.importorskip("torch")
pytest.importorskip("faster_coco_eval")

NAMES = ("dissection", "demo", "profile", "layers", "outputs", "evaluation", "classes")
WIDTHS = (380, 1400)
SCHEMES = {"light": ((), "rgb(255, 255, 255)"), "dark": (("--force-dark-mode",), "rgb(18, 22, 29)")}
"""What makes Chromium prefer a scheme, and the page's colour then."""
FRAMES = """<!DOCTYPE html><body style="margin: 0">{frames}<pre id="found"></pre><script>
onload = () => {{
  const lines = [...document.querySelectorAll("iframe")].map(frame => {{
    const page = frame.contentDocument, root = page.documentElement;
    const lefts = [...page.querySelectorAll("body *")].map(e => e.getBoundingClientRect().left);
    const colour = frame.contentWindow.getComputedStyle(page.body).backgroundColor;
    return [frame.id, root.clientWidth, root.scrollWidth, Math.floor(Math.min(...lefts)),
      root.scrollHeight, colour].join(";");
  }});
  found.textContent = lines.join("\\n");
}}</script>"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """All reports, and a page with each in frames of all widths."""
    folder = tmp_path_factory.mktemp("pages")
    report = dissection(folder)
    write_dissection_report(folder / "dissection.html", report)
    write_demo_report(folder / "demo.html", demo(report))
    write_profile_report(folder / "profile.html", report.original, report.profile)
    write_layer_report(folder / "layers.html", layers())
    write_output_report(folder / "outputs.html", outputs())
    write_evaluation_report(folder / "evaluation.html", evaluation(folder))
    write_classification_report(folder / "classes.html", classes())
    frames = "".join(
        f'<iframe id="{name}-{width}" src="{name}.html" width="{width}" height="900"></iframe>'
        for width in WIDTHS
        for name in NAMES
    )
    (folder / "frames.html").write_text(FRAMES.format(frames=frames))
    return folder


@pytest.fixture(scope="module")
def chromium():
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium to render the reports in")


def render(chromium, folder, *options):
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
        "--disable-background-networking --disable-component-update --disable-sync "
        "--hide-scrollbars --allow-file-access-from-files --virtual-time-budget=5000"
    )
    page = (folder / "frames.html").as_uri()
    run = [chromium, *flags.split(), f"--user-data-dir={folder / 'browser'}", *options, page]
    return subprocess.run(run, check=True, capture_output=True, timeout=1800).stdout.decode()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_nothing_runs_over_the_page(chromium, folder, scheme):
    options, paper = SCHEMES[scheme]
    dom = render(chromium, folder, *options, "--dump-dom")
    lines = re.search(r'<pre id="found">(.+?)</pre>', dom, re.DOTALL)[1].splitlines()
    found = [line.split(";") for line in lines]
    assert [line[0] for line in found] == [f"{n}-{w}" for w in WIDTHS for n in NAMES]
    for name, room, needed, left, height, colour in found:
        assert int(needed) <= int(room), name
        assert int(left) >= 0, name
        assert int(height) > 400, name
        assert colour == paper, name


def test_the_pages_are_drawn(chromium, folder):
    shot = folder / "shot.png"
    render(chromium, folder, f"--screenshot={shot}", "--window-size=1400,2700")
    with Image.open(shot) as image:
        colours = image.convert("RGB").getcolors(1 << 24)
    assert len(colours) > 50
    assert max(count for count, _ in colours) < 0.99 * image.width * image.height
