"""Virtual environments beside that of the tests, which has other packages or other releases.

An environment is made by the first test that needs it, in `.venv-<name>` of the checkout, and kept
until somebody deletes it.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "tools" / "constraints.txt"
PYTHON = "Scripts/python.exe" if os.name == "nt" else "bin/python"
SECONDS_TO_INSTALL = 600


class EnvironmentMissingError(Exception):
    """It cannot be made here: says nothing about darkconv."""


@dataclass(frozen=True)
class Environment:
    """One of them; it holds what the requirements bring and nothing else.

    Attributes:
        name: its folder is `.venv-<name>`.
        requirements: as pip takes them.
        constrained: whether tools/constraints.txt holds there too.
    """

    name: str
    requirements: tuple[str, ...]
    constrained: bool = True

    @property
    def folder(self) -> Path:
        return ROOT / f".venv-{self.name}"

    def python(self) -> Path:
        """Its interpreter.

        Raises:
            EnvironmentMissingError: it cannot be made here.
        """
        if not self.folder.is_dir():
            try:
                self._make()
            except (OSError, subprocess.SubprocessError) as error:
                reason = f"{self.folder.name} cannot be made here: {last_word(error)}"
                raise EnvironmentMissingError(reason) from error
        return self.folder / PYTHON

    def _make(self) -> None:
        """Make it beside its final place and move it there when it is complete."""
        fresh = Path(tempfile.mkdtemp(prefix=f"{self.folder.name}-", dir=ROOT))
        pip = [fresh / PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        versions = ["--constraint", CONSTRAINTS] if self.constrained else []
        try:
            (fresh / ".gitignore").write_text("*\n")
            for command in (
                [sys.executable, "-m", "venv", fresh],
                [*pip, *versions, *self.requirements],
            ):
                subprocess.run(
                    command, check=True, capture_output=True, text=True, timeout=SECONDS_TO_INSTALL
                )
            with contextlib.suppress(OSError):  # another process made it meanwhile
                fresh.rename(self.folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def last_word(error: Exception) -> str:
    """The last line of what a program said, or of what is known of its failure."""
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
    return (said or str(error)).strip().splitlines()[-1]
