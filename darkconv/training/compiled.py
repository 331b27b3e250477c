"""Running a module through torch.compile.

A network is compiled whole, once for each size of its input. With sizes left open its code would
be slower, and PyTorch 2.13 fails at it on yolov4-tiny, whose strides become long formulas.
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
"""Values of some layers, as `DarknetModule.select` gives them."""

SIZES = 64
"""PyTorch compiles 8 times, and then no longer; random=1 alone may ask for 20 sizes."""
OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {"fallback_random": True}
"""Dropout draws what it draws without compilation."""


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
        """See `Select`."""
        part = module.part(wanted)
        if part not in self._functions:
            self._functions[part] = compiled(part.run)
        return self._functions[part](x)


def compiled(run: Callable[[Tensor], dict[int, Tensor]]) -> Callable[[Tensor], dict[int, Tensor]]:
    """A function as one graph, compiled when it is called."""
    try:
        return torch.compile(  # type: ignore[call-overload,no-any-return]  # it lacks the limit
            run, fullgraph=True, dynamic=False, options=OPTIONS, recompile_limit=SIZES
        )
    except RuntimeError as error:
        raise cannot_compile(error) from error


@contextlib.contextmanager
def telling_of_failures() -> Iterator[None]:
    """Turn what goes wrong in compilation into a DarkconvError."""
    try:
        yield
    except RuntimeError as error:
        if not isinstance(error, compiler_error()):
            raise
        raise cannot_compile(error) from error


def cannot_compile(error: Exception) -> DarkconvError:
    """With what PyTorch says, but for its advice to its developers."""
    reason, _, _ = str(error).partition("Set TORCH")
    return DarkconvError(
        f"PyTorch cannot compile the network: {' '.join(reason.split())}",
        hint="without compilation it trains as well",
    )
