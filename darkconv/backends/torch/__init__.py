"""The PyTorch spoke."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from darkconv.backends.torch import conv, dense, head, inert, merge, norm, pool, recurrent, resize
from darkconv.backends.torch.arrays import assign_arrays, read_arrays
from darkconv.backends.torch.device import choose_device
from darkconv.backends.torch.files import read_safetensors, write_program, write_safetensors
from darkconv.backends.torch.network import DarknetModule
from darkconv.core.model import Array, Model
from darkconv.errors import DarkconvError, WeightsError
from darkconv.surgery.folding import fold_batchnorm

__all__ = [
    "DarknetModule",
    "as_stored",
    "choose_device",
    "conv",
    "dense",
    "folded",
    "from_torch",
    "head",
    "inert",
    "inference_module",
    "make_runner",
    "merge",
    "module_runner",
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
    """Build the PyTorch module of a model, in evaluation mode.

    See `DarknetModule` for what it takes and returns, and for what `train()` does. Whatever is done
    to the module, the model does not change, nor does another module of it. The weights of a file
    are not copied: the module maps the file, and a page of it becomes the module's own when it is
    first written to.

    Raises:
        UnsupportedError: a layer that PyTorch cannot express.
        GraphError: a class tree that was not found.
    """
    return _built(model, share=False)


def _built(model: Model, *, share: bool) -> DarknetModule:
    """Build a module; one that shares the model's memory is for nobody but its builder."""
    with torch.device("meta"):
        module = DarknetModule(model.network)
    assign_arrays(module, model.arrays, share=share)
    module.header = model.header
    module.names = model.names
    return module.eval()


def from_torch(module: torch.nn.Module) -> Model:
    """Return the model that a module holds now: the inverse of `to_torch`, bit for bit.

    The model holds copies, so it does not change with the module afterwards.

    Raises:
        DarkconvError: the module is not one that `to_torch` built, or has no values.
    """
    if not isinstance(module, DarknetModule):
        raise DarkconvError(
            "not a darkconv module", expected="what to_torch returned", found=type(module).__name__
        )
    return Model(module.network, read_arrays(module), module.header, module.names)


def trace_steps(model: Model, steps: Sequence[Array], device: str = "cpu") -> list[list[Array]]:
    """Outputs of every layer for successive calls with kept state, as (N, ...) arrays.

    On a GPU too they are computed in float32 throughout, without TensorFloat32.
    """
    place = choose_device(device)
    module = _built(model, share=True).to(place)
    results = []
    with torch.inference_mode(), in_float32(place):
        for step in steps:
            values = module.trace(torch.from_numpy(step).to(place))
            results.append([value.cpu().numpy() for value in values])
    return results


def make_runner(
    model: Model,
    layers: Sequence[int] | None = None,
    *,
    device: str = "cpu",
    threads: int | None = None,
) -> Callable[[Array], list[Array]]:
    """A function from float32 inputs (N, ...) to the values of some layers.

    Args:
        model: that is run.
        layers: by Darknet's numbers; the network's outputs if not given.
        device: see `choose_device`.
        threads: that compute on the CPU, from now on in the whole process, as PyTorch has it; by
            default what PyTorch takes.

    Raises:
        DarkconvError: there is no such device.
    """
    place = choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    module = inference_module(model).to(place)
    return module_runner(module, model.network.outputs if layers is None else layers)


def module_runner(module: DarknetModule, layers: Sequence[int]) -> Callable[[Array], list[Array]]:
    """A function from float32 inputs (N, ...) to the values of some layers of a module.

    It computes where the module's weights are, in float32 also on a GPU that could do with less.

    Args:
        module: in evaluation mode.
        layers: by Darknet's numbers.
    """
    device = next((one.device for one in module.parameters()), torch.device("cpu"))

    def run(x: Array) -> list[Array]:
        with torch.inference_mode():
            given = as_stored(torch.from_numpy(x).to(device))
            with in_float32(device):
                values = module.select(given, layers)
            return [values[index].float().cpu().numpy() for index in layers]

    return run


_FLAGS = threading.Lock()
"""Who holds it sets PyTorch's flags, which are those of the whole process."""


@contextlib.contextmanager
def in_float32(device: torch.device) -> Iterator[None]:
    """Convolutions in float32 proper: a GPU would take 10 bits of each value by default."""
    if device.type != "cuda":
        yield
        return
    flags = {"benchmark": False, "deterministic": False, "allow_tf32": False}
    with _FLAGS, torch.backends.cudnn.flags(enabled=True, **flags):
        yield


def inference_module(model: Model) -> DarknetModule:
    """The module in its fastest form: see `as_stored` for what it takes.

    It may share the model's memory, so it is to be run and not changed. Batch norms are folded and
    channels come last in memory, which takes a copy of the weights and a third to nine tenths of
    the time.
    """
    return _built(folded(model), share=True).channels_last()


def as_stored(x: Tensor) -> Tensor:
    """Pictures with their channels last in memory; vectors as they are."""
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def folded(model: Model) -> Model:
    """The model, batch norms folded where the result is finite: less to do for every picture."""
    try:
        return fold_batchnorm(model)
    except WeightsError:
        return model
