"""The processes started by torchrun: which of them this one is, and how they exchange results.

Nothing here loads PyTorch unless several processes work together.
"""

import contextlib
import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """The processes that share a job.

    Attributes:
        rank: number of this process, from 0.
        world: number of processes.
    """

    rank: int = 0
    world: int = 1

    def share(self, count: int, group: int = 1) -> list[int]:
        """Return the indices of the items that are this process's share.

        The processes take groups in turn, so a batch holds the same items whatever the number of
        processes.

        Args:
            count: number of all items.
            group: number of consecutive items that stay together.
        """
        return [place for place in range(count) if place // group % self.world == self.rank]

    def gather(self, own: T) -> list[T]:
        """Return the values of all processes in the order of their ranks; all must call it.

        Args:
            own: the value of this process; it must be picklable if there are several.
        """
        if self.world == 1:
            return [own]
        from torch import distributed

        parts: list[Any] = [None] * self.world
        distributed.all_gather_object(parts, own)
        return parts


ALONE = Processes()
"""This is the value for a job of a single process."""


def is_first_process() -> bool:
    """Return True in the process that prints messages and writes files.

    There are several processes under torchrun, and when Lightning starts one per device. Lightning
    sets no RANK, but the number of the process on its host and the number of the host.
    """
    ranks = ("RANK",) if "RANK" in os.environ else ("LOCAL_RANK", "NODE_RANK")
    return all(os.environ.get(name, "0") == "0" for name in ranks)


def count_processes() -> int:
    """Return the number of processes that torchrun has started; 1 without torchrun."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """Return the number of this process among those of its host, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextlib.contextmanager
def working_together() -> Iterator[Processes]:
    """Return a context in which the processes of a group share a job.

    The group is the existing process group, or else a new one of the processes started by torchrun.

    Yields:
        Rank and number of the processes.
    """
    if not _has_group() and count_processes() == 1:
        yield ALONE
        return
    from torch import distributed

    is_ours = not distributed.is_initialized()
    if is_ours:
        _start_group()
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        if is_ours:
            distributed.destroy_process_group()


def _start_group() -> None:
    """Start a process group of torchrun's processes, with keys of its own in their store.

    PyTorch gives the keys of every default group the same names. A process that joins a second
    group in the same store first would read the addresses of the first group, which are no longer
    in use.
    """
    from torch import distributed
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]  # documented

    store, rank, world = _meet()
    keys = PrefixStore(f"darkconv/{next(_GROUPS)}", store)
    distributed.init_process_group("gloo", store=keys, rank=rank, world_size=world)


@cache
def _meet() -> tuple[Any, int, int]:
    """Return the store of torchrun's processes, the rank of this process and their number."""
    from torch.distributed.rendezvous import rendezvous

    store, rank, world = next(rendezvous("env://"))
    return store, rank, world


_GROUPS = itertools.count()
"""The count of groups that this process has started; all processes start the same groups."""


def _has_group() -> bool:
    """Return True if the program has made a process group; this does not load PyTorch."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    return bool(distributed and distributed.is_available() and distributed.is_initialized())
