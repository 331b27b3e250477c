"""The programs of docs/opencv5.md: the same boxes in OpenCV 4 and 5."""

import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

import darkconv as dc
from darkconv.cli import main
from environments import EnvironmentMissingError
from opencv5 import ENVIRONMENT

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "darkconv" / "assets" / "digits10"
PICTURE = "011.jpg"
"""One whose sides differ much, so that a letterbox matters."""

BLOCKS = re.findall(
    r"^```(\w+)\n(.*?)^```", (ROOT / "docs/opencv5.md").read_text(), re.DOTALL | re.MULTILINE
)
PROGRAMS = {
    code.split(":")[0].removeprefix("# "): code for kind, code in BLOCKS if kind == "python"
}
COMMANDS = [line for kind, code in BLOCKS if kind == "sh" for line in code.splitlines()]


class Entry(NamedTuple):
    """One line that a program prints; the box as corner and size, in pixels of the picture."""

    name: str
    score: float
    box: tuple[float, ...]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The model, a picture, and what the page's commands make."""
    folder = tmp_path_factory.mktemp("recipe")
    for suffix in ("cfg", "weights", "names"):
        shutil.copy(DIGITS / f"digits10.{suffix}", folder)
    shutil.copy(DIGITS / "images" / PICTURE, folder / "digits.jpg")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for line in COMMANDS:
            program, *arguments = shlex.split(line)
            assert program == "darkconv"
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == 0, result.output
    return folder


@pytest.fixture(scope="module")
def opencv4():
    try:
        major = version("opencv-python-headless").split(".")[0]
    except PackageNotFoundError:
        major = None
    if major != "4":
        pytest.skip("no OpenCV 4")
    return sys.executable


@pytest.fixture(scope="module")
def opencv5():
    try:
        return ENVIRONMENT.python()
    except EnvironmentMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def before(folder, opencv4):
    """What OpenCV 4 finds with its Darknet reader."""
    return run(opencv4, "before.py", folder)


def run(interpreter, name, folder):
    (folder / name).write_text(PROGRAMS[name])
    done = subprocess.run(
        [interpreter, name], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    return [Entry(row[0], float(row[1]), tuple(map(float, row[2:]))) for row in rows]


def assert_same(found, expected, *, score, pixels):
    assert len(expected) > 3
    assert len(found) == len(expected)
    for entry in expected:
        near = [other for other in found if other.name == entry.name]
        other = min(near, key=lambda o: distance(o.box, entry.box))
        assert abs(other.score - entry.score) <= score
        assert distance(other.box, entry.box) <= pixels


def distance(a, b):
    return max(abs(p - q) for p, q in zip(a, b, strict=True))


def test_every_program_of_the_page_is_run():
    assert set(PROGRAMS) == {"before.py", "after.py", "suppressed.py", "letterbox.py"}


def test_the_converted_file_gives_the_same_boxes_in_opencv_4(before, folder, opencv4):
    """But for OpenCV's own epsilon of batch norm."""
    assert_same(run(opencv4, "after.py", folder), before, score=1e-3, pixels=0.05)


def test_opencv_5_gives_the_boxes_of_opencv_4(before, folder, opencv5):
    assert_same(run(opencv5, "after.py", folder), before, score=1e-3, pixels=0.05)


def test_suppression_in_the_graph_leaves_the_same_boxes(folder, opencv5):
    """But for `cv2.resize` on levels: `blobFromImage` resizes before it divides, too."""
    found = run(opencv5, "suppressed.py", folder)
    assert_same(found, run(opencv5, "after.py", folder), score=1e-5, pixels=1e-3)


@pytest.mark.parametrize("release", ["opencv4", "opencv5"])
def test_letterboxed_pictures_give_what_darkconv_finds(folder, request, release):
    """But for OpenCV's way of resizing: DESIGN.md §6."""
    found = run(request.getfixturevalue(release), "letterbox.py", folder)
    files = folder / "digits10.cfg", folder / "digits10.weights"
    ours = dc.detect(dc.load(*files), folder / "digits.jpg", resize="letterbox", nms_kind="sort")
    expected = [
        Entry(d.name, d.score, (*d.box[:2], d.box[2] - d.box[0], d.box[3] - d.box[1])) for d in ours
    ]
    assert_same(found, expected, score=2e-2, pixels=2)
