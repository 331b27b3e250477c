"""Processes that torchrun has started: which of them this one is, and what all of them found.

Nothing here loads PyTorch before several processes work together.
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
        rank: which of them this one is, from 0.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    def share(self, count: int, group: int = 1) -> list[int]:
        """Return the places of things that are this process's part.

        The processes take groups in turn: a batch holds the same things however many there are.

        Args:
            count: of all things.
            group: things that stay together.
        """
        return [place for place in range(count) if place // group % self.world == self.rank]

    def gather(self, own: T) -> list[T]:
        """Return what each process gives, in the order of their ranks; all must call it.

        Args:
            own: what this process gives.
        """
        if self.world == 1:
            return [own]
        from torch import distributed

        parts: list[Any] = [None] * self.world
        distributed.all_gather_object(parts, own)
        return parts


ALONE = Processes()
"""A job that is not shared."""


def is_first_process() -> bool:
    """Return True in the process that talks and writes.

    There are several under torchrun, and where Lightning starts one for each device: that sets no
    RANK, but the number in the host, and the host's.
    """
    ranks = ("RANK",) if "RANK" in os.environ else ("LOCAL_RANK", "NODE_RANK")
    return all(os.environ.get(name, "0") == "0" for name in ranks)


def count_processes() -> int:
    """Return how many processes torchrun has started; 1 without it."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int:
    """Return which of the processes of this host this one is, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextlib.contextmanager
def working_together() -> Iterator[Processes]:
    """Let the processes of a group share a job: of the group that there is, or of torchrun's."""
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
    """Start a process group of torchrun's processes, which finds none of an earlier one's keys.

    PyTorch names the keys of every default group alike. A process that comes first to a second
    group in the same store would read the addresses of the first, where nobody listens any more.
    """
    from torch import distributed
    from torch.distributed import PrefixStore  # type: ignore[attr-defined]  # documented

    store, rank, world = _meet()
    keys = PrefixStore(f"darkconv/{next(_GROUPS)}", store)
    distributed.init_process_group("gloo", store=keys, rank=rank, world_size=world)


@cache
def _meet() -> tuple[Any, int, int]:
    """Return the store of torchrun's processes, this one's rank and how many there are."""
    from torch.distributed.rendezvous import rendezvous

    store, rank, world = next(rendezvous("env://"))
    return store, rank, world


_GROUPS = itertools.count()
"""Numbers of the groups that this process has started: all processes start the same ones."""


def _has_group() -> bool:
    """Return True if the program has made a process group; PyTorch is not loaded for that."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    return bool(distributed and distributed.is_available() and distributed.is_initialized())
