"""Starting a process; wall time of the whole command."""

import subprocess
import sys
from pathlib import Path

from row import OURS, Candidate, Goal, Row
from workers import Task

IMPORTS = "python -c 'import click, numpy'"
CLICK = "python -c 'import click'"
HELP, INFO = f"{OURS} --help", f"{OURS} info yolov3"
PEER = "darknet2onnx --help"


def command(*words: str) -> Candidate:
    """Make a candidate that runs a whole process."""

    def prepare() -> Task:
        def run() -> None:
            subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)

        return run

    return Candidate(prepare)


def peer() -> Task:
    code = "import sys; from darknet2any.darknet2onnx import main; main()"

    def run() -> None:
        words = [sys.executable, "-c", code, "--help"]
        subprocess.run(words, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return run


def make(case: str, folder: Path) -> dict[str, float]:
    """Nothing is needed."""
    return {}


ROW = Row(
    title="Start of a command",
    cases=("wall time",),
    candidates={
        HELP: command("-m", "darkconv", "--help"),
        INFO: command("-m", "darkconv", "info", "yolov3"),
        IMPORTS: command("-c", "import click, numpy"),
        CLICK: command("-c", "import click"),
        PEER: Candidate(peer, peer="darknet2any"),
    },
    make=make,
    goals=(
        Goal(HELP, IMPORTS, at_most=1.0),
        Goal(INFO, IMPORTS, at_most=3),
        Goal(HELP, PEER, at_least=15),
    ),
    rounds=15,
)
