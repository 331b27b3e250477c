"""Programs of other environments that answer requests, a line of JSON each."""

import contextlib
import json
import os
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SECONDS = 600
"""That an answer may take."""


class WorkerError(Exception):
    """What a worker said of a request, or how its process ended."""


class Worker:
    """A process that is started by the first request, and anew after a crash. A context manager.

    Attributes:
        command: that starts it.
        variables: of its environment, beside the user's.
    """

    def __init__(
        self, command: Sequence[str | Path], variables: Mapping[str, str] | None = None
    ) -> None:
        """For a command; nothing is started yet."""
        self.command, self.variables = [*map(str, command)], dict(variables or {})
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ask(self, **request: Any) -> dict[str, Any]:
        """Return the answer to a request.

        Raises:
            WorkerError: it is an error, or there is none.
        """
        process = self._start()
        clock = threading.Timer(SECONDS, process.kill)
        clock.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            clock.cancel()
        if not line:
            raise WorkerError(f"its process ended with {self.stop()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def stop(self) -> int:
        """Let it come to its end; return the process's exit code, 0 if there is none."""
        process, self._process = self._process, None
        if process is None:
            return 0
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        code = process.wait()
        process.stdout.close()
        return code

    def _start(self) -> "subprocess.Popen[str]":
        if self._process is None:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env={**os.environ, **self.variables},
            )
        return self._process
