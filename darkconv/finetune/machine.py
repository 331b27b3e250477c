"""What a training computes with, and how that is used well."""

import contextlib
import gc
import os
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from darkconv.backends.torch import DarknetModule
from darkconv.core.memory import holding_freed_memory, return_freed_memory
from darkconv.core.processors import count_processors
from darkconv.finetune.compiled import CompiledSelect, Select, telling_of_failures


@dataclass(frozen=True)
class Machine:
    """What a run computes with.

    Attributes:
        accelerator: "auto", "cpu" or "gpu".
        devices: how many in this host; under torchrun it decides.
        compile: with code that torch.compile makes of the network, and of the teacher, once for
            each input size: that takes up to minutes, and needs a C++ compiler on the CPU.
    """

    accelerator: str = "auto"
    devices: int = 1
    compile: bool = False

    @property
    def processes(self) -> int:
        """In all hosts."""
        return int(os.environ.get("WORLD_SIZE", self.devices))

    @property
    def hosts(self) -> int:
        """That torchrun has started."""
        local = int(os.environ.get("LOCAL_WORLD_SIZE", self.devices))
        return max(1, self.processes // local)

    @property
    def on_gpu(self) -> bool:
        """Whether it is one."""
        return self.accelerator != "cpu" and torch.cuda.is_available()

    @property
    def workers(self) -> int:
        """Processes that read pictures: one for every processor but one, from 2 to 8.

        Training on the CPU only waits for pictures with all processors, and one reader would use
        one.
        """
        return min(8, max(2, count_processors() - 1))

    @property
    def select(self) -> Select:
        """How networks are run."""
        return CompiledSelect() if self.compile else DarknetModule.select

    @contextlib.contextmanager
    def at_work(self, *, one_size: bool) -> Iterator[None]:
        """While it trains: failed compilations are told in words, and the CPU holds memory.

        Args:
            one_size: of the input at every step; pieces that one size leaves may not fit others,
                and would add up.
        """
        with contextlib.ExitStack() as stack:
            stack.enter_context(telling_of_failures())
            if one_size and not self.on_gpu:
                stack.enter_context(holding_freed_memory())
            yield


@contextlib.contextmanager
def returning_memory() -> Iterator[None]:
    """Hand back what a training leaves: the parts of Lightning's trainer hold each other."""
    try:
        yield
    finally:
        gc.collect()
        return_freed_memory()
