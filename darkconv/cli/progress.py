"""Progress of long steps: a bar on a terminal, a plain line now and then elsewhere."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator

import click

SECONDS_BETWEEN_LINES = 10.0

Update = Callable[[int], None]
"""Takes the number of things done."""


def is_first_process() -> bool:
    """Whether this process is the one that talks and writes; under torchrun there are several."""
    return os.environ.get("RANK", "0") == "0"


@contextlib.contextmanager
def progress(total: int, task: str) -> Iterator[Update]:
    """Show on stderr how far a step is.

    Args:
        total: number of things to do.
        task: what is done, with the things' noun: `profiling pictures`.
    """
    if not is_first_process():
        yield lambda done: None
    elif sys.stderr.isatty():
        with _bar(total, task) as update:
            yield update
    else:
        yield _lines(total, task)


@contextlib.contextmanager
def _bar(total: int, task: str) -> Iterator[Update]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (
        "{task.description}",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        number = bar.add_task(task, total=total)
        yield lambda done: bar.update(number, completed=done)


def _lines(total: int, task: str) -> Update:
    """A line every so many seconds, and one at the end."""
    last = time.monotonic()

    def update(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done >= total or now - last >= SECONDS_BETWEEN_LINES:
            last = now
            click.echo(f"{task}: {done} of {total}", err=True)

    return update
