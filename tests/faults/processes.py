"""Commands in processes of their own, to be killed, starved of disk, or run beside each other."""

import contextlib
import hashlib
import itertools
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

PATIENCE = 1800
"""Seconds until a command that hangs is killed: other processes may be using the processor."""
PRELOADED = [
    "darkconv.cli", "darkconv.loading", "numpy", "PIL.Image", "torch", "torch.export", "onnx",
    "darkconv.backends.torch", "darkconv.backends.onnx", "faults.processes",
]  # fmt: skip
"""Imported once, by the server that the commands are forked from."""

AT_A_TERMINAL = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGTERM: signal.SIG_DFL,
}
"""What signals do, also where the tests run behind nohup or in the background."""

Preparation = Callable[[Connection], None]
"""Done in the process before its command; what it sends says where the command is."""


def nothing(events: Connection) -> None:
    """Prepare nothing."""


@dataclass
class Started:
    """A command that runs.

    Attributes:
        process: it runs in.
        events: what its preparation sends.
        errors: its stderr.
    """

    process: BaseProcess
    events: Connection
    errors: int

    def wait(self) -> tuple[int | None, str]:
        """Its status, negative for a signal, and its stderr."""
        self.process.join(PATIENCE)
        has_ended = not self.process.is_alive()
        self.process.kill()
        self.process.join()
        with os.fdopen(self.errors, encoding="utf-8", errors="replace") as file:
            text = file.read()
        assert has_ended, f"no end after {PATIENCE} s: {text}"
        return self.process.exitcode, text


def start(command: str, folder: Path, prepare: Preparation = nothing) -> Started:
    """Start a command in a folder, in a process forked from one that has done its imports."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(PRELOADED)
    events, sender = server.Pipe(duplex=False)
    errors, writer = os.pipe()
    ends = partial(_command, command.split(), os.fspath(folder), prepare, sender)
    process = server.Process(target=ends, args=(_Handle(writer),))
    process.start()
    sender.close()
    os.close(writer)
    return Started(process, events, errors)


def run(command: str, folder: Path, prepare: Preparation = nothing) -> tuple[int | None, str]:
    """Run a command; see `Started.wait`."""
    return start(command, folder, prepare).wait()


def kill_before(
    number: int, folder: str, events: Connection, sent: signal.Signals = signal.SIGKILL
) -> None:
    """Preparation: kill the process before the n-th time that it touches a file of a folder."""
    numbers = itertools.count(1)
    here = os.path.realpath(folder)

    def hook(event: str, args: tuple[object, ...]) -> None:
        if event not in TOUCHING or (event == "open" and not int(args[2]) & WRITING):
            return
        path = args[0]
        if isinstance(path, (str, os.PathLike)) and _is_in(here, path) and next(numbers) == number:
            os.kill(os.getpid(), sent)

    sys.addaudithook(hook)


TOUCHING = ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir")
"""Events before files are made, opened for writing, renamed, removed."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def _is_in(folder: str, path: "str | os.PathLike[str]") -> bool:
    text = os.fspath(path)
    return isinstance(text, str) and os.path.dirname(os.path.abspath(text)).startswith(folder)


def tell_of_writing(events: Connection) -> None:
    """Preparation: send a word when the first temporary file is made."""
    is_first = True

    def hook(event: str, args: tuple[object, ...]) -> None:
        nonlocal is_first
        if event == "open" and is_first and str(args[0]).endswith(".0.tmp"):
            is_first = False
            events.send("writing")

    sys.addaudithook(hook)


def limit_files(size: int, events: Connection) -> None:
    """Preparation: no file may grow beyond a size."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, most))


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder, by its path within."""
    return {
        os.fspath(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class _Handle:
    """A file descriptor that goes to another process."""

    def __init__(self, number: int) -> None:
        from multiprocessing.reduction import DupFd

        self._number, self._wrap = number, DupFd

    def __reduce__(self) -> tuple[object, ...]:
        return _received, (self._wrap(self._number),)


def _received(wrapped) -> int:
    return wrapped.detach()


def _command(
    words: list[str], folder: str, prepare: Preparation, events: Connection, errors: int
) -> None:
    from darkconv.cli import main

    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(errors, 2)
    for number, handler in AT_A_TERMINAL.items():
        signal.signal(number, handler)
    prepare(events)
    status: object = 1
    with _its_end_told():
        try:
            main(words, prog_name="darkconv")
        except SystemExit as end:
            status = end.code
    os._exit(status if isinstance(status, int) else int(status is not None))


@contextlib.contextmanager
def _its_end_told() -> Iterator[None]:
    """Print a traceback, as the interpreter would."""
    import traceback

    try:
        yield
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
