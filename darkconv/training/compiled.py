"""Modules that run compiled by torch.compile.

A network is compiled whole, once for each size of its input. With sizes left open its code would be
slower, and PyTorch 2.13 fails on yolov4-tiny, whose strides become long formulas.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator
from typing import Any

import torch
from torch import Tensor

from darkconv.backends.torch import DarknetModule
from darkconv.backends.torch.network import Part
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
        self._functions: dict[Part, Callable[[Tensor], dict[int, Tensor]]] = {}

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
