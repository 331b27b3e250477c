"""Show the progress of long steps: a bar on a terminal, a plain line now and then elsewhere."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

from darkconv.console.printing import echo
from darkconv.core.processes import is_first_process
from darkconv.errors import one_line
from darkconv.files.sizes import format_size

SECONDS_BETWEEN_LINES = 10.0

Update = Callable[[int], None]
"""A function that takes the number of things that are done."""


@contextlib.contextmanager
def progress(total: int, task: str, *, in_bytes: bool = False) -> Iterator[Update]:
    """Show the progress of a step on stderr.

    Args:
        total: number of things to do.
        task: name of the step with the things' noun: `profiling pictures`.
        in_bytes: True if the things are bytes; `task` has no noun then.

    Yields:
        A function that takes the number of things that are done.
    """
    task = one_line(task)
    if not is_first_process():
        yield lambda done: None
    elif sys.stderr.isatty():
        with _bar(total, task, in_bytes=in_bytes) as update:
            yield update
    else:
        yield _lines(total, task, in_bytes=in_bytes)


@contextlib.contextmanager
def steps() -> Iterator[Callable[[str, int, int], None]]:
    """Show the progress of a job of several steps on stderr.

    Yields:
        A function that takes name of the step, number done and total.
    """
    with contextlib.ExitStack() as stack:
        shown: list[tuple[str, Update]] = []

        def update(task: str, done: int, total: int) -> None:
            if not shown or shown[-1][0] != task:
                stack.pop_all().close()
                shown.append((task, stack.enter_context(progress(total, task))))
            shown[-1][1](done)

        yield update


@contextlib.contextmanager
def byte_progress(task: str) -> Iterator[Callable[[int, int], None]]:
    """Show the progress of a transfer on stderr.

    Args:
        task: name of the transfer.

    Yields:
        A function that takes the number of bytes that are done, and of all bytes.
    """
    with contextlib.ExitStack() as stack:
        started: list[Update] = []

        def show(done: int, total: int) -> None:
            if not started:
                started.append(stack.enter_context(progress(total, task, in_bytes=True)))
            started[0](done)

        yield show


@contextlib.contextmanager
def frame_progress(total: int | None, task: str) -> Iterator[Update]:
    """Show on stderr how many frames are done, and how many in a second.

    Args:
        total: number of frames; None where it is unknown.
        task: name of the step.

    Yields:
        A function that takes the number of frames that are done.
    """
    start, last = time.monotonic(), time.monotonic()
    of = f" of {total}" if total else ""

    def words(done: int) -> str:
        rate = done / max(time.monotonic() - start, 1e-9)
        return f"{one_line(task)}: {done}{of}, {rate:.1f} frames per second"

    if sys.stderr.isatty():
        from rich.console import Console
        from rich.markup import escape

        with Console(stderr=True).status(escape(words(0))) as status:
            yield lambda done: status.update(escape(words(done)))
        return

    def update(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            echo(words(done), err=True)

    yield update


@contextlib.contextmanager
def _bar(total: int, task: str, *, in_bytes: bool) -> Iterator[Update]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn() if in_bytes else MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        number = bar.add_task(task, total=total)
        yield lambda done: bar.update(number, completed=done)


def _lines(total: int, task: str, *, in_bytes: bool) -> Update:
    """Print a progress line every `SECONDS_BETWEEN_LINES`, and one at the end."""
    last = time.monotonic()
    words = format_size if in_bytes else str

    def update(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done >= total or now - last >= SECONDS_BETWEEN_LINES:
            last = now
            echo(f"{task}: {words(done)} of {words(total)}", err=True)

    return update
