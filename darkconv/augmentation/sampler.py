"""The order of pictures: which of them each step takes, as a pure function of seed and step.

A run that was stopped therefore goes on with the pictures it would have had, and several processes
share a step's pictures out without communication.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from darkconv.dataset.label import Size


class Draw(NamedTuple):
    """One picture of a batch.

    Attributes:
        sample: its number in the data set, from 0.
        turn: number of the draw in the run, from 0, for randomness that depends on nothing else.
        size: (width, height) of the network input; None for the usual one.
    """

    sample: int
    turn: int
    size: Size | None = None


def no_size(_: int) -> None:
    """Return None: every step has the usual size.

    Args:
        _: the step, which is not used.
    """
    return


@dataclass(frozen=True)
class Order:
    """All draws of a run: every epoch takes each sample once, in an order of its own.

    Attributes:
        samples: number of samples.
        batch: number of pictures in a step, over all processes and accumulated batches.
        seed: seed of the orders.
        size_of: gives the input size of a step, for training at several sizes.
    """

    samples: int
    batch: int
    seed: int
    size_of: Callable[[int], Size | None] = no_size

    def step(self, step: int) -> list[Draw]:
        """Return the draws of a step.

        Args:
            step: the step, from 0.
        """
        turns = range(step * self.batch, (step + 1) * self.batch)
        size = self.size_of(step)
        return [Draw(self._index(turn), turn, size) for turn in turns]

    def _index(self, turn: int) -> int:
        epoch, place = divmod(turn, self.samples)
        return int(_permutation(self.samples, self.seed, epoch)[place])


@functools.lru_cache(maxsize=4)
def _permutation(count: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(count)


class Shares(Iterable[list[Draw]]):
    """The batches of one process: its share of each step, in `accumulate` batches.

    The iteration is endless; a new one begins at the step that `start` gives then.

    Attributes:
        order: draws of the run.
        accumulate: number of batches of a process in a step (gradient accumulation).
        rank: number of the process, from 0.
        processes: number of processes.
        start: gives the step to begin at, from 0.
    """

    def __init__(
        self, order: Order, *, accumulate: int, rank: int, processes: int, start: Callable[[], int]
    ) -> None:
        self.order = order
        self.accumulate = accumulate
        self.rank = rank
        self.processes = processes
        self.start = start

    def __iter__(self) -> Iterator[list[Draw]]:
        """Iterate over batches of equal length."""
        step = self.start()
        length = self.order.batch // (self.accumulate * self.processes)
        while True:
            draws = self.order.step(step)
            for part in range(self.accumulate):
                first = (part * self.processes + self.rank) * length
                yield draws[first : first + length]
            step += 1
