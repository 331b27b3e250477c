"""The programs of docs/python.md, run as they stand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import darkconv as dc
from darkconv.assets import digits10_folder

for library in ("torch", "onnx", "onnxruntime", "lightning"):
    pytest.importorskip(library)

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


(STORY,) = (text for text in PROGRAMS if text.startswith("# story.py"))
(ERRORS,) = (text for text in PROGRAMS if "other.weights" in text)
STEPS = [text for text in PROGRAMS if text not in (STORY, ERRORS)]
"""The blocks of the guide, each of which goes on where the one before ended."""


def run(program, folder):
    shutil.copytree(digits10_folder(), folder, dirs_exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(PAGE.parents[1])}
    command = [sys.executable, "-c", program]
    process = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 0, process.stderr
    return process.stdout


@pytest.mark.slow
def test_the_whole_story_is_told_by_public_names_alone(tmp_path):
    lines = [line for line in STORY.splitlines() if line.strip()]
    assert len(lines) <= 31  # with its first line, a comment
    assert re.findall(r"^(?:import|from) (.*)", STORY, re.MULTILINE) == ["darkconv as dc"]
    assert "._" not in STORY
    said = run(STORY, tmp_path).splitlines()
    assert [line for line in said if line.startswith(("all ten", "half", "recovered"))]
    for name in ("dissection.html", "evaluation.html", "small.weights", "small.onnx"):
        assert (tmp_path / name).stat().st_size > 1000


def test_the_guide_has_a_step_for_every_function():
    """Other pages show those that this one only names in its table or in its text."""
    text = PAGE.read_text()
    functions = [name for name in dc.__all__ if name.islower() and not name.startswith("_")]
    assert [name for name in functions if f"dc.{name}" not in text] == []


@pytest.mark.slow
def test_the_steps_of_the_guide_run_one_after_the_other(tmp_path):
    said = run("\n".join(STEPS), tmp_path)
    aps = [float(ap) for ap in re.findall(r"^\d+ mean AP ([\d.]+)$", said, re.MULTILINE)]
    uncut, pruned, refitted = aps
    assert uncut > refitted > pruned
    assert "Layer 0 [convolutional]: 3x160x160 -> 16x80x80" in said
    for name in ("digits10.onnx", "verification.html", "drawn.png", "dissection.html"):
        assert (tmp_path / name).stat().st_size > 1000


def test_errors_are_caught_as_the_page_says(tmp_path):
    assert "other.weights" in run(ERRORS, tmp_path)
