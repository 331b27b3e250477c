"""Cases of bad input, run as a user runs them: a process, its whole stderr, its files."""

import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

MEMORY = 1.5 * 2**30
"""Bytes that a command may take to refuse its input."""
SECONDS = 60
"""Of the processor, likewise: most take less than one, and a busy machine may double it."""
PATIENCE = 1800
"""Seconds until a command that hangs is killed: other processes may be using the processor."""
PRELOADED = ["darkconv.cli", "darkconv.loading", "numpy", "PIL.Image", "torch", "onnx"]
PRELOADED += ["lightning.pytorch", "h5py"]
"""Imported once, by the server that the commands are forked from."""


@dataclass(frozen=True)
class Refused:
    """Input that must be refused.

    Attributes:
        name: of the case.
        command: words after `darkconv`; files are named relative to the case's folder.
        error: the whole of stderr behind "error: ".
        make: writes the bad files into a folder that already holds the good ones.
    """

    name: str
    command: str
    error: str
    make: Callable[[Path], None] = lambda folder: None

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Accepted:
    """Input that is odd but legal.

    Attributes:
        name: of the case.
        command: as for `Refused`.
        stderr: the whole of it, warnings and all.
        make: as for `Refused`.
        stdout: text that must be part of stdout.
        files: that must have been written.
    """

    name: str
    command: str
    stderr: str = ""
    make: Callable[[Path], None] = lambda folder: None
    stdout: str = ""
    files: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.startfile")
"""Python's audit events of a program that is started."""


@dataclass(frozen=True)
class Outcome:
    """What a command left: status, texts, programs that it started, memory, processor time."""

    status: int | None
    stdout: str
    stderr: str
    programs: list[str]
    memory: int
    seconds: float


def check(case: Refused | Accepted, folder: Path) -> None:
    """Make a case's files, run its command, assert everything that the case says."""
    case.make(folder)
    before = contents(folder)
    outcome = run(case.command.split(), folder)
    new = sorted(contents(folder).keys() - before.keys())
    if isinstance(case, Refused):
        assert outcome.stderr == f"error: {case.error}\n"
        assert outcome.status == 1
        assert contents(folder) == before
    else:
        assert outcome.stderr == case.stderr
        assert outcome.status == 0
        assert case.stdout in outcome.stdout
        assert set(case.files) <= set(new)
        assert not [file for file in new if file.endswith(".tmp")]
    assert outcome.programs == []
    assert outcome.memory < MEMORY
    assert outcome.seconds < SECONDS


def contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of every file below a folder, by its path within."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {
        os.fspath(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in files
    }


def run(words: list[str], folder: Path, *, removed: bool = False) -> Outcome:
    """Run a command in a folder, in a process forked from one that has done its imports.

    Args:
        words: of the command.
        folder: to run it in.
        removed: remove the folder first, which is empty.
    """
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOADED)
    receiver, sender = server.Pipe(duplex=False)
    process = server.Process(target=_command, args=(words, os.fspath(folder), sender, removed))
    process.start()
    sender.close()
    has_ended = receiver.poll(PATIENCE)
    left = receiver.recv() if has_ended else ()  # before the end, for which a full pipe would wait
    if not has_ended:
        process.kill()
    process.join()
    assert has_ended, f"no end after {PATIENCE} s: {' '.join(words)}"
    return Outcome(process.exitcode, *left)


def watched_programs() -> list[str]:
    """The programs that this process starts from now on, in a list that grows."""
    programs: list[str] = []
    sys.addaudithook(lambda event, args: event in STARTS and programs.append(str(args[0])))
    return programs


def _command(words: list[str], folder: str, sender: Connection, removed: bool) -> None:
    from darkconv import cli
    from darkconv.console import program

    program.FAULTS = ()
    os.chdir(folder)
    if removed:
        os.rmdir(folder)
    programs = watched_programs()
    start = time.process_time()
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        os.dup2(out.fileno(), 1)
        os.dup2(err.fileno(), 2)
        try:
            cli.main(words, prog_name="darkconv")
        except SystemExit as end:
            status = end.code
        except BaseException:
            traceback.print_exc()
            status = 1
        seconds = time.process_time() - start
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        texts = [_written(stream, file) for stream, file in ((sys.stdout, out), (sys.stderr, err))]
    sender.send((*texts, programs, memory, seconds))
    sender.close()
    os._exit(status if isinstance(status, int) else int(status is not None))


def _written(stream: TextIO, file: TextIO) -> str:
    stream.flush()
    file.seek(0)
    return file.read()
