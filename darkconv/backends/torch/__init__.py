"""The PyTorch spoke."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from darkconv.backends.torch import conv, dense, head, inert, merge, norm, pool, recurrent, resize
from darkconv.backends.torch.arrays import assign_arrays, read_arrays
from darkconv.backends.torch.files import read_safetensors, write_program, write_safetensors
from darkconv.backends.torch.network import DarknetModule
from darkconv.core.memory import keep_freed_memory
from darkconv.core.model import Array, Model
from darkconv.errors import DarkconvError, WeightsError
from darkconv.surgery.folding import fold_batchnorm

__all__ = [
    "DarknetModule",
    "as_stored",
    "conv",
    "dense",
    "folded",
    "from_torch",
    "head",
    "inert",
    "inference_module",
    "make_runner",
    "merge",
    "norm",
    "pool",
    "read_safetensors",
    "recurrent",
    "resize",
    "to_torch",
    "trace_steps",
    "write_program",
    "write_safetensors",
]


def to_torch(model: Model) -> DarknetModule:
    """Build the PyTorch module of a model, in evaluation mode, sharing its memory.

    See `DarknetModule` for what it takes and returns, and for what `train()` does.

    Raises:
        UnsupportedError: a layer that PyTorch cannot express.
        GraphError: a class tree that was not found.
    """
    keep_freed_memory()
    with torch.device("meta"):
        module = DarknetModule(model.network)
    assign_arrays(module, model.arrays)
    module.header = model.header
    module.names = model.names
    module.shares_memory = True
    return module.eval()


def from_torch(module: torch.nn.Module) -> Model:
    """The model that a module holds now: the inverse of `to_torch`, bit for bit.

    Raises:
        DarkconvError: the module is not one that `to_torch` built.
    """
    if not isinstance(module, DarknetModule):
        raise DarkconvError(
            "not a darkconv module", expected="what to_torch returned", found=type(module).__name__
        )
    return Model(module.network, read_arrays(module), module.header, module.names)


def trace_steps(model: Model, steps: Sequence[Array]) -> list[list[Array]]:
    """Outputs of every layer for successive calls with kept state, as (N, ...) arrays."""
    module = to_torch(model)
    with torch.inference_mode():
        return [[value.numpy() for value in module.trace(torch.from_numpy(step))] for step in steps]


def make_runner(
    model: Model, layers: Sequence[int] | None = None
) -> Callable[[Array], list[Array]]:
    """A function from float32 inputs (N, ...) to the values of some layers.

    Args:
        model: that is run.
        layers: by Darknet's numbers; the network's outputs if not given.
    """
    module = inference_module(model)
    wanted = model.network.outputs if layers is None else layers

    def run(x: Array) -> list[Array]:
        with torch.inference_mode():
            values = module.select(as_stored(torch.from_numpy(x)), wanted)
        return [values[index].numpy() for index in wanted]

    return run


def inference_module(model: Model) -> DarknetModule:
    """The module in its fastest form: see `as_stored` for what it takes.

    Batch norms are folded and channels come last in memory, which takes a copy of the weights and
    a third to nine tenths of the time.
    """
    module: DarknetModule = to_torch(folded(model))
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def as_stored(x: Tensor) -> Tensor:
    """Pictures with their channels last in memory; vectors as they are."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def folded(model: Model) -> Model:
    """The model, batch norms folded where the result is finite: less to do for every picture."""
    try:
        return fold_batchnorm(model)
    except WeightsError:
        return model
