"""What the harnesses share: imports with coverage, good inputs to begin with, the loop, a count.

A harness names a module of tests/untrusted and its readers. The first byte of an input chooses
the reader, the rest is what it reads. Half of the inputs that atheris makes are changed by the
rules of tests/untrusted/mutation.py, which know lines and numbers, the others by libFuzzer's own.
"""

import atexit
import importlib
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from random import Random

import atheris

ROOT = Path(__file__).resolve().parents[2]
MOST_CHANGES = 3


def readers_of(module: str, name: str) -> list:
    """The readers that a module of tests/untrusted defines, darkconv watched for coverage."""
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    with atheris.instrument_imports(include=["darkconv"]):
        found = getattr(importlib.import_module(f"untrusted.{module}"), name)
    return found if isinstance(found, list) else [found]


class Harness:
    """Calls readers with what atheris makes, and counts.

    Attributes:
        readers: at most 256.
        folder: for their files.
        executions: inputs read.
        accepted: those of them that were accepted.
    """

    def __init__(self, readers: list, folder: Path) -> None:
        self.readers = readers
        self.folder = folder
        self.executions = self.accepted = 0
        for number, reader in enumerate(readers):
            self.place(number).mkdir()
            reader.prepare(self.place(number))

    def place(self, number: int) -> Path:
        """The folder of one reader."""
        return self.folder / str(number)

    def read(self, data: bytes) -> None:
        """One input; whatever is no DarkconvError escapes, and atheris keeps the input."""
        if not data:
            return
        number = data[0] % len(self.readers)
        self.executions += 1
        self.accepted += self.readers[number].accepts(data[1:], self.place(number))

    def change(self, data: bytes, longest: int, seed: int) -> bytes:
        """Another input made from one."""
        random = Random(seed)
        if not data or random.random() < 0.5:
            return atheris.Mutate(data, longest)
        changes = self.readers[data[0] % len(self.readers)].changes
        body = data[1:]
        for _ in range(random.randint(1, MOST_CHANGES)):
            body = random.choice(changes)(body, random)
        return data[:1] + body[: longest - 1]

    def write_seeds(self, corpus: Path) -> None:
        """Good inputs, for atheris to begin with."""
        for number, reader in enumerate(self.readers):
            for place, seed in enumerate(reader.seeds):
                (corpus / f"seed-{number}-{place}").write_bytes(bytes([number]) + seed)


def fuzz(module: str, name: str) -> None:
    """Run a harness by the arguments of libFuzzer, of which the last is the folder of inputs."""
    warnings.simplefilter("error")
    logging.disable(logging.CRITICAL)
    corpus = Path(sys.argv[-1])
    temporary = tempfile.TemporaryDirectory(prefix="darkconv-fuzz-")
    harness = Harness(readers_of(module, name), Path(temporary.name))
    harness.write_seeds(corpus)

    def report() -> None:
        inputs = sum(1 for _ in corpus.iterdir())
        print(
            f"{module}: {harness.executions:,} executions, {harness.accepted:,} of them accepted, "
            f"{inputs:,} inputs in the corpus",
            flush=True,
        )
        temporary.cleanup()

    atexit.register(report)
    atheris.Setup(sys.argv, harness.read, custom_mutator=harness.change)
    atheris.Fuzz()
