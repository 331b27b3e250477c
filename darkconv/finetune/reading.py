"""Batches that other processes read, in the gaps that training on the CPU leaves."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Generic, Protocol, TypeVar

from torch.utils.data import Dataset as TorchDataset

from darkconv.finetune.order import Draw

T = TypeVar("T")
STARVED = 100
"""How many times as long as it works a thread in the gaps may take.

Gaps of a training alone on two processors are 2 to 10 % of the time; beside two programs that never
wait they were 0.6 %.
"""
FIRST_PAUSE, LONGEST_PAUSE = 32, 1024
"""Batches that are read as an equal once gaps were too small; each time twice as many."""


class Pictures(Protocol):
    """What a task reads: a picture and its truth by draw."""

    def __len__(self) -> int: ...
    def __getitem__(self, draw: Draw) -> Any: ...


class Batches(TorchDataset[T], Generic[T]):
    """Whole batches by the draws of their pictures."""

    def __init__(
        self, pictures: Pictures, collate: Callable[[Sequence[Any]], T], *, in_gaps: bool
    ) -> None:
        """Batches that are read later.

        Args:
            pictures: to read.
            collate: makes a batch of them.
            in_gaps: whether to use time that nobody else wants: see `Gaps`.
        """
        self.pictures = pictures
        self.collate = collate
        self.gaps = Gaps() if in_gaps else None

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.pictures)

    def __getitems__(self, draws: Sequence[Draw]) -> T:
        """A batch.

        Raises:
            DatasetError: no picture of the data set can be read.
        """

        def read() -> T:
            return self.collate([self.pictures[draw] for draw in draws])

        return read() if self.gaps is None else self.gaps.run(read)


def as_it_is(batch: T) -> T:
    """For a DataLoader of `Batches`, which are made already."""
    return batch


class Gaps:
    """Runs work when a processor has nothing else to do, where the system can (SCHED_IDLE).

    As an equal it would halt one of PyTorch's threads while the others spin for it, which costs
    several times what reading does; nice(2) does not change that. Where other programs leave no
    gaps the training would wait, so that work is then done as an equal for a while.
    """

    def __init__(self) -> None:
        self._thread: ThreadPoolExecutor | None = None
        self._left_as_equal = 0
        self._pause = FIRST_PAUSE

    def run(self, work: Callable[[], T]) -> T:
        """The result of some work."""
        if self._left_as_equal or not hasattr(os, "SCHED_IDLE"):
            self._left_as_equal = max(0, self._left_as_equal - 1)
            return work()
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, initializer=_step_back)
        start = time.perf_counter()
        result, worked = self._thread.submit(_timed, work).result()
        if time.perf_counter() - start > STARVED * worked:
            self._left_as_equal = self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        return result


def _step_back() -> None:
    with contextlib.suppress(OSError):  # a container may not allow it
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.thread_time()
    return work(), time.thread_time() - start
