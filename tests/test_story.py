"""The programs of docs/python.md, run as they stand."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from darkconv.assets import digits10_folder

for library in ("torch", "onnx", "onnxruntime", "lightning"):
    pytest.importorskip(library)

PAGE = Path(__file__).resolve().parents[1] / "docs" / "python.md"
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


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
    story, _ = PROGRAMS
    lines = [line for line in story.splitlines() if line.strip()]
    assert len(lines) <= 31  # with its first line, a comment
    assert re.findall(r"^(?:import|from) (.*)", story, re.MULTILINE) == ["darkconv as dc"]
    assert "._" not in story
    said = run(story, tmp_path).splitlines()
    assert [line for line in said if line.startswith(("all ten", "half", "recovered"))]
    for name in ("dissection.html", "evaluation.html", "small.weights", "small.onnx"):
        assert (tmp_path / name).stat().st_size > 1000


def test_errors_are_caught_as_the_page_says(tmp_path):
    _, program = PROGRAMS
    assert "other.weights" in run(program, tmp_path)
