"""The devices and processes that training uses, and modules that run compiled by torch.compile.

A network is compiled whole, once for each size of its input. With sizes left open its code would be
slower, and PyTorch 2.13 fails on yolov4-tiny, whose strides become long formulas.
"""

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from darkconv.backends.torch import DarknetModule
from darkconv.backends.torch.device import choose_device
from darkconv.backends.torch.network import PartialNetwork
from darkconv.core.processors import count_processors
from darkconv.errors import DarkconvError
from darkconv.private_names import compiler_error

Select = Callable[[DarknetModule, Tensor, Collection[int]], dict[int, Tensor]]
"""Function that returns the values of some layers, as `DarknetModule.select` does."""

SIZES = 64
"""Largest number of compiled sizes: PyTorch's own is 8, and random=1 may need 20."""
OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {"fallback_random": True}
"""Options of the compiler, with which dropout draws the same as without compilation."""


class CompiledSelect:
    """`DarknetModule.select`, compiled at the first call for each size.

    Raises:
        DarkconvError: PyTorch cannot compile on this Python.
    """

    def __init__(self) -> None:
        self._functions: dict[PartialNetwork, Callable[[Tensor], dict[int, Tensor]]] = {}

    def __call__(
        self, module: DarknetModule, x: Tensor, wanted: Collection[int]
    ) -> dict[int, Tensor]:
        """Return the values of some layers, see `Select`."""
        part = module.part(wanted)
        if part not in self._functions:
            self._functions[part] = compiled(part.run)
        return self._functions[part](x)


def compiled(run: Callable[[Tensor], dict[int, Tensor]]) -> Callable[[Tensor], dict[int, Tensor]]:
    """Wrap a function so that it is compiled as one graph when it is called.

    Args:
        run: takes a batch, and returns the values of layers by their index.

    Raises:
        DarkconvError: PyTorch cannot compile on this Python.
    """
    try:
        return torch.compile(  # type: ignore[call-overload,no-any-return]  # the stub lacks recompile_limit
            run, fullgraph=True, dynamic=False, options=OPTIONS, recompile_limit=SIZES
        )
    except RuntimeError as error:
        raise cannot_compile(error) from error


@contextlib.contextmanager
def telling_of_failures() -> Iterator[None]:
    """Turn errors of the compiler in a block into a DarkconvError."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, compiler_error()):
            raise
        raise cannot_compile(error) from error


def cannot_compile(error: Exception) -> DarkconvError:
    """Build an error with PyTorch's reason, without its advice to its developers.

    Args:
        error: error of torch.compile.
    """
    reason, _, _ = str(error).partition("Set TORCH")
    return DarkconvError(
        f"PyTorch cannot compile the network: {' '.join(reason.split())}",
        hint="without compilation it trains as well",
    )


@dataclass(frozen=True)
class Machine:
    """The devices and processes that a run uses.

    Attributes:
        device: "auto", "cpu", "cuda", or one GPU such as "cuda:1"; other names are PyTorch's.
        devices: number of devices of this host; under torchrun its number of processes counts.
        compile: run code that torch.compile makes of the network, and of the teacher, once for each
            input size: that takes up to minutes, and needs a C++ compiler on the CPU.
    """

    device: str = "auto"
    devices: int = 1
    compile: bool = False

    def __post_init__(self) -> None:
        """Check the device.

        Raises:
            DarkconvError: it does not exist, or is one GPU for several processes.
        """
        if self.devices < 1:
            raise DarkconvError("devices", expected="1 or more", found=self.devices)
        started = os.environ.get("LOCAL_WORLD_SIZE")
        if started is not None and self.devices not in (1, int(started)):
            raise DarkconvError(
                f"devices would do nothing: torchrun has started {started} processes on this host"
            )
        if self.device not in ("auto", "cpu"):
            choose_device(self.device)
        if self._number is not None and self.processes > 1:
            raise DarkconvError(
                f"device {self.device} is one GPU, which {self.processes} processes cannot share",
                hint="device cuda",
            )

    @property
    def _number(self) -> int | None:
        """Number of the GPU, if one was named; otherwise None."""
        found = re.fullmatch(r"\w+:(\d+)", self.device)
        return int(found[1]) if found else None

    @property
    def accelerator(self) -> str:
        """Lightning's name for the kind of device."""
        kind = self.device.partition(":")[0]
        return "gpu" if kind == "cuda" else kind

    @property
    def lightning_devices(self) -> int | list[int]:
        """Devices of this host, or their number, as Lightning takes it."""
        number = self._number
        return self.processes // self.hosts if number is None else [number]

    @property
    def processes(self) -> int:
        """Number of processes on all hosts."""
        return int(os.environ.get("WORLD_SIZE", self.devices))

    @property
    def hosts(self) -> int:
        """Number of hosts that torchrun uses."""
        local = int(os.environ.get("LOCAL_WORLD_SIZE", self.devices))
        return max(1, self.processes // local)

    @property
    def on_gpu(self) -> bool:
        """True if a GPU is used."""
        return self.device != "cpu" and torch.cuda.is_available()

    @property
    def workers(self) -> int:
        """Number of processes that read pictures: one for every processor but one, from 2 to 8.

        Training on the CPU uses all processors and only waits for pictures, and one reader would
        use a single processor.
        """
        return min(8, max(2, count_processors() - 1))

    @property
    def select(self) -> Select:
        """Function that runs networks."""
        return CompiledSelect() if self.compile else DarknetModule.select
