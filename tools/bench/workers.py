"""Candidates of a benchmark, each in a process of its own that waits for its turn.

A worker imports all that it needs, says so, and does its task for every line that it gets, telling
how long it took. Between its turns it is stopped: threads of PyTorch and onnxruntime spin for a
while after their work, which would be measured with the next candidate's. Memory is anonymous
memory over that after the imports, at its peak: pages of mapped files do not count, for the system
can drop them.
"""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

SAMPLE_SECONDS = 0.002

Task = Callable[[], object]


class WorkerError(Exception):
    """A candidate that does not run; the text is what it said last."""


@dataclass(frozen=True)
class Sample:
    """A turn: median seconds of a run, mean ones of the processor, and bytes over the imports."""

    seconds: float
    cpu: float
    memory: int


def serve(prepare: Callable[[], Task]) -> None:
    """In the worker: import, then do the task for every line and print what a run took.

    A line is a number of seconds: until they have passed the task is repeated. A task that returns
    a float has timed itself: so many seconds.
    """
    task = prepare()
    print("ready", flush=True)
    for line in sys.stdin:
        times: list[float] = []
        cpu = time.process_time()
        while not times or sum(times) < float(line):
            start = time.perf_counter()
            result = task()
            seconds = time.perf_counter() - start
            times.append(result if isinstance(result, float) else seconds)
            del result
        cpu = (time.process_time() - cpu) / len(times)
        print("took", statistics.median(times), cpu, flush=True)


class Worker:
    """A running candidate; closed by `with`."""

    def __init__(self, command: list[str], environment: Mapping[str, str]) -> None:
        """Start it and wait until it is ready.

        Raises:
            WorkerError: it is not.
        """
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in __exit__
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore", **environment},
        )
        self._wait_for("ready")
        self._base = anonymous(self._process.pid)
        self._process.send_signal(signal.SIGSTOP)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def turn(self, seconds: float = 0.0) -> Sample:
        """Do the task once, or again and again for so many seconds.

        Raises:
            WorkerError: it fails.
        """
        peak, done = [0], threading.Event()
        watcher = threading.Thread(target=_watch, args=(self._process.pid, peak, done))
        watcher.start()
        try:
            self._process.send_signal(signal.SIGCONT)
            self._process.stdin.write(f"{seconds}\n")
            self._process.stdin.flush()
            took, cpu = map(float, self._wait_for("took"))
        finally:
            self._process.send_signal(signal.SIGSTOP)
            done.set()
            watcher.join()
        return Sample(took, cpu, max(0, peak[0] - self._base))

    def _wait_for(self, word: str) -> list[str]:
        """Return the rest of the line that begins with a word; other lines are of the task."""
        for line in self._process.stdout:
            first, *rest = line.split() or [""]
            if first == word:
                return rest
        self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines()
        raise WorkerError(said[-1] if said else "ended without a word")


def _watch(pid: int, peak: list[int], done: threading.Event) -> None:
    """Keep the highest anonymous memory of a process."""
    while True:
        peak[0] = max(peak[0], anonymous(pid))
        if done.wait(SAMPLE_SECONDS):
            return


def anonymous(pid: int) -> int:
    """Bytes of anonymous memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0
