"""What a training computes with."""

import os
from dataclasses import dataclass

import torch

from darkconv.backends.torch import DarknetModule
from darkconv.core.processors import count_processors
from darkconv.finetune.compiled import CompiledSelect, Select


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
