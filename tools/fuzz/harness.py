"""What the harnesses share: imports with coverage, good inputs to begin with, the loop, a count.

A harness names a module of tests/untrusted and its readers. The first byte of an input chooses
the reader, the rest is what it reads. Half of the inputs that atheris makes are changed by the
rules of tests/untrusted/mutation.py, which know lines and numbers, the others by libFuzzer's own.
"""

import importlib
import logging
import shutil
import sys
import warnings
from pathlib import Path
from random import Random

import atheris

ROOT = Path(__file__).resolve().parents[2]
EXECUTIONS_BETWEEN_REPORTS = 100


def readers_of(module: str, name: str) -> list:
    """Return the readers that a module of tests/untrusted defines, and watch what they cover."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    with atheris.instrument_imports(include=["darkconv"]):
        found = getattr(importlib.import_module(f"untrusted.{module}"), name)
    return found if isinstance(found, list) else [found]


class Harness:
    """Calls readers with what atheris makes, and counts.

    Attributes:
        readers: at most 256.
        folder: for their files.
        counts: file for the counts.
        executions: inputs read.
        accepted: those of them that were accepted.
    """

    def __init__(self, readers: list, folder: Path, counts: Path) -> None:
        self.readers = readers
        self.folder = folder
        self.counts = counts
        self.executions = self.accepted = 0
        for number, reader in enumerate(readers):
            self.place(number).mkdir()
            reader.prepare(self.place(number))

    def place(self, number: int) -> Path:
        """Return the folder of one reader."""
        return self.folder / str(number)

    def read(self, data: bytes) -> None:
        """One input; whatever is no DarkconvError escapes, and atheris keeps the input."""
        if not data:
            return
        number = data[0] % len(self.readers)
        self.executions += 1
        self.accepted += self.readers[number].accepts(data[1:], self.place(number))
        if self.executions % EXECUTIONS_BETWEEN_REPORTS == 0:
            self.report()

    def report(self) -> None:
        """Write the counts to a file: libFuzzer ends the process without a word to Python."""
        text = f"{self.executions:,} executions, {self.accepted:,} of them accepted"
        self.counts.write_text(text)

    def change(self, data: bytes, longest: int, seed: int) -> bytes:
        """Another input made from one."""
        random = Random(seed)
        if not data or random.random() < 0.5:
            return atheris.Mutate(data, longest)
        reader = self.readers[data[0] % len(self.readers)]
        return data[:1] + reader.damage(data[1:], random)[: longest - 1]

    def write_seeds(self, corpus: Path) -> None:
        """Good inputs, for atheris to begin with."""
        for number, reader in enumerate(self.readers):
            for place, seed in enumerate(reader.seeds):
                (corpus / f"seed-{number}-{place}").write_bytes(bytes([number]) + seed)


def fuzz(module: str, name: str) -> None:
    """Run a harness: `HARNESS.py FOLDER [libFuzzer's arguments]`.

    The folder has `corpus` and gets `counts`; files of readers go to `files`.
    """
    warnings.simplefilter("error")
    logging.disable(logging.CRITICAL)
    place = Path(sys.argv.pop(1))
    shutil.rmtree(place / "files", ignore_errors=True)
    (place / "files").mkdir()
    harness = Harness(readers_of(module, name), place / "files", place / "counts")
    harness.write_seeds(place / "corpus")
    atheris.Setup(sys.argv, harness.read, custom_mutator=harness.change)
    atheris.Fuzz()
