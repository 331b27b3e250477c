"""The PyTorch backend: Darknet models as PyTorch modules."""

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
from darkconv.backends.torch.program import read_program
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
    "read_program",
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

    `DarknetModule` says what it takes and returns, and what `train()` does. Changes of the module
    change neither the model nor another module of it. The weights of a file are not copied: the
    module maps the file, and a page of it becomes the module's own when it is first written to.

    Args:
        model: network, arrays, header and class names; the module's float32 parameters start with
            these arrays.

    Raises:
        UnsupportedError: a layer cannot be expressed in PyTorch.
        GraphError: the file of a class tree was not found.
    """
    return _built(model, share=False)


def _built(model: Model, *, share: bool) -> DarknetModule:
    """Build a module; one that shares the model's memory must not be given to a user."""
    with torch.device("meta"):
        module = DarknetModule(model.network)
    assign_arrays(module, model.arrays, share=share)
    module.header = model.header
    module.names = model.names
    return module.eval()


def from_torch(module: torch.nn.Module) -> Model:
    """Return the model that a module holds now: the inverse of `to_torch`, bit for bit.

    The model holds copies, so it does not change with the module afterwards.

    Args:
        module: a `DarknetModule`, on any device; values of other dtypes are converted to float32.

    Raises:
        DarkconvError: the module is not one that `to_torch` built, or it is on the meta device,
            where tensors have no values.
    """
    if not isinstance(module, DarknetModule):
        raise DarkconvError(
            "not a darkconv module", expected="what to_torch returned", found=type(module).__name__
        )
    return Model(module.network, read_arrays(module), module.header, module.names)


def trace_steps(model: Model, steps: Sequence[Array], device: str = "cpu") -> list[list[Array]]:
    """Return the outputs of every layer for successive calls that keep recurrent state.

    On a GPU too they are computed in full float32, without TensorFloat32.

    Args:
        model: model that is run.
        steps: the float32 input of each call, (N, C, H, W) or (N, values).
        device: name of the device, see `choose_device`.

    Returns:
        For each call a list with the (N, ...) output of every layer, by layer index from 0.
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
    """Build a function from float32 inputs (N, ...) to the float32 values of some layers.

    Args:
        model: model that is run.
        layers: indices of the layers as Darknet counts them, from 0; None for the network's
            outputs.
        device: name of the device, see `choose_device`.
        threads: number of CPU threads, set for the whole process from now on, as PyTorch does it;
            None for PyTorch's default.

    Raises:
        DarkconvError: the device does not exist.
    """
    place = choose_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    module = inference_module(model).to(place)
    return module_runner(module, model.network.outputs if layers is None else layers)


def module_runner(module: DarknetModule, layers: Sequence[int]) -> Callable[[Array], list[Array]]:
    """Build a function from float32 inputs (N, ...) to the float32 values of a module's layers.

    It computes on the device of the module's weights, in full float32 also on a GPU.

    Args:
        module: module in evaluation mode.
        layers: indices of the layers as Darknet counts them, from 0.
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
"""Lock of the code that sets PyTorch's flags, which hold for the whole process."""


@contextlib.contextmanager
def in_float32(device: torch.device) -> Iterator[None]:
    """Run the convolutions of a block in full float32: by default a GPU keeps 10 bits of mantissa.

    Args:
        device: device that the block computes on; nothing is changed unless it is a CUDA GPU.

    Yields:
        Nothing, while the flags of cuDNN are set.
    """
    if device.type != "cuda":
        yield
        return
    flags = {"benchmark": False, "deterministic": False, "allow_tf32": False}
    with _FLAGS, torch.backends.cudnn.flags(enabled=True, **flags):
        yield


def inference_module(model: Model) -> DarknetModule:
    """Build the fastest module of a model for inference: `as_stored` prepares its inputs.

    Batch norm is folded, and the weights are copied to channels-last memory (NHWC): it takes a
    third to nine tenths of the time of the module of `to_torch`. The module may share the model's
    memory, so it must not be changed.

    Args:
        model: model that is run.
    """
    return _built(folded(model), share=True).channels_last()


def as_stored(x: Tensor) -> Tensor:
    """Return a batch in the memory order that `inference_module` computes fastest with.

    Args:
        x: batch (N, C, H, W), which is laid out in memory as NHWC; of another number of axes it is
            returned as it is.

    Returns:
        A tensor of the same shape and values.
    """
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


def folded(model: Model) -> Model:
    """Return the model with folded batch norm, or as it is if folding would give infinite values.

    Args:
        model: model with or without batch norm.
    """
    try:
        return fold_batchnorm(model)
    except WeightsError:
        return model
