"""tools/setup says what it does while it works, and shows pip's messages if pip fails."""

import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FILES = ("setup.cfg", "pyproject.toml", "tools/setup", "tools/constraints.txt")
PIP = """#!/bin/sh
echo "Obtaining file:///checkout"
echo "Collecting numpy>=1.26 (from darkconv)"
echo "  Downloading numpy-2.4.0-cp311-cp311-linux_x86_64.whl.metadata (6.6 kB)"
{}
"""
PACKAGES = ".venv/lib/python3.11/site-packages"


@pytest.fixture
def checkout(tmp_path):
    """A folder with what tools/setup reads, and a stand-in for the environment's Python."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / PACKAGES).mkdir(parents=True)
    (tmp_path / ".venv/bin").mkdir()
    return tmp_path


def let_pip_do(checkout, commands):
    python = checkout / ".venv/bin/python"
    python.write_text(PIP.format(commands))
    python.chmod(0o755)


def test_a_terminal_shows_the_package_that_is_fetched_or_installed(checkout):
    let_pip_do(
        checkout,
        f"""echo "  Downloading numpy-2.4.0-cp311-cp311-linux_x86_64.whl (16.4 MB)"; sleep 2.5
        echo "Installing collected packages: numpy, six, torch"
        mkdir {PACKAGES}/numpy-2.4.0.dist-info; sleep 2.5""",
    )
    shown = on_terminal([str(checkout / "tools/setup"), "torch"])
    assert re.search(r"\r  fetching numpy \(16\.4 MB\), \d s", shown)
    assert re.search(r"\r  installing six \(2 of 3\), \d s", shown)
    assert re.search(r"\r\x1b\[Kset up \.venv in \d s", shown)
    assert on_terminal([str(checkout / "tools/setup"), "torch"]) == ""  # it is there


def on_terminal(command):
    """Run a command whose stderr is a terminal, and return what it prints there."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stderr=theirs) as process:
        os.close(theirs)
        found = b""
        try:
            while piece := os.read(ours, 1000):
                found += piece
        except OSError:  # Linux says so where the other end is closed
            pass
        assert process.wait(20) == 0
    os.close(ours)
    return found.decode()


def test_elsewhere_there_are_plain_lines(checkout):
    let_pip_do(checkout, "")
    done = subprocess.run(
        [checkout / "tools/setup", "torch"], capture_output=True, text=True, check=True
    )
    first, last = done.stderr.splitlines()
    assert first == "setting up .venv with darkconv[torch]: pip's messages go to .venv/setup.log"
    assert re.fullmatch(r"set up \.venv in \d s", last)
    assert done.stdout == ""
    assert (checkout / ".venv/setup.log").read_text().startswith("Obtaining")


def test_pips_messages_are_shown_if_it_fails(checkout):
    let_pip_do(checkout, "echo no such package >&2; exit 3")
    for _ in range(2):  # nothing is taken for done
        done = subprocess.run([checkout / "tools/setup", "torch"], capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stderr.endswith("(6.6 kB)\nno such package\n")
