"""Environments beside that of the tests, which have other packages or other releases.

An environment is made by the first test that needs it, in `.venv-<name>` of the checkout, and kept
until somebody deletes it. Those of Node.js are folders with packages of npm.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "tools" / "constraints.txt"
PYTHON = "Scripts/python.exe" if os.name == "nt" else "bin/python"
SECONDS_TO_INSTALL = 600


class EnvironmentMissingError(Exception):
    """It cannot be made here: says nothing about darkconv."""


@dataclass(frozen=True)
class _Made:
    """A folder that is made when it is needed, and holds what the requirements bring.

    Attributes:
        name: its folder is `.venv-<name>`.
        requirements: as pip or npm takes them.
    """

    name: str
    requirements: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return ROOT / f".venv-{self.name}"

    def made(self) -> Path:
        """The folder.

        Raises:
            EnvironmentMissingError: it cannot be made here.
        """
        if not self.folder.is_dir():
            try:
                self._make()
            except (OSError, subprocess.SubprocessError) as error:
                reason = f"{self.folder.name} cannot be made here: {last_word(error)}"
                raise EnvironmentMissingError(reason) from error
        return self.folder

    def _make(self) -> None:
        """Make it beside its final place and move it there when it is complete."""
        fresh = Path(tempfile.mkdtemp(prefix=f"{self.folder.name}-", dir=ROOT))
        try:
            (fresh / ".gitignore").write_text("*\n")
            for command in self._commands(fresh):
                subprocess.run(
                    command, check=True, capture_output=True, text=True, timeout=SECONDS_TO_INSTALL
                )
            with contextlib.suppress(OSError):  # another process made it meanwhile
                fresh.rename(self.folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

    def _commands(self, fresh: Path) -> Iterator[list[str | Path]]:
        """What makes it in a folder."""
        raise NotImplementedError


@dataclass(frozen=True)
class Environment(_Made):
    """A virtual environment of Python.

    Attributes:
        constrained: whether tools/constraints.txt holds there too.
    """

    constrained: bool = True

    def python(self) -> Path:
        """Its interpreter.

        Raises:
            EnvironmentMissingError: it cannot be made here.
        """
        return self.made() / PYTHON

    def packages(self) -> Path:
        """The folder that its packages are imported from.

        Raises:
            EnvironmentMissingError: it cannot be made here.
        """
        found = sysconfig.get_path("platlib", vars={"base": "", "platbase": str(self.made())})
        return Path(found)

    def _commands(self, fresh: Path) -> Iterator[list[str | Path]]:
        versions = ["--constraint", CONSTRAINTS] if self.constrained else []
        yield [sys.executable, "-m", "venv", fresh]
        yield [
            fresh / PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            *versions, *self.requirements,
        ]  # fmt: skip


@dataclass(frozen=True)
class NodeEnvironment(_Made):
    """A folder with packages of npm; no script of theirs is run."""

    def _commands(self, fresh: Path) -> Iterator[list[str | Path]]:
        npm = shutil.which("npm")
        if npm is None or not shutil.which("node"):
            raise FileNotFoundError("there is no Node.js with npm")
        yield [
            npm, "install", "--prefix", fresh, "--no-audit", "--no-fund", "--ignore-scripts",
            "--no-package-lock", *self.requirements,
        ]  # fmt: skip


def last_word(error: Exception) -> str:
    """The last line of what a program said, or of what is known of its failure."""
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
    return (said or str(error)).strip().splitlines()[-1]
