"""A device that is not the CPU, for tests on machines without one.

Its tensors hold real values and say that they are on "meta". As on a GPU, an operation that mixes
them with tensors of the CPU is an error, but for numbers, copies and indices.
"""

import contextlib

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_iter, tree_map

aten = torch.ops.aten
DEVICE = torch.device("meta")
COPIES = {aten.copy_.default, aten._to_copy.default}
SUBSCRIPTS = {torch.Tensor.__getitem__, torch.Tensor.__setitem__}
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}


class OtherTensor(torch.Tensor):
    """Values on the other device."""

    @staticmethod
    def __new__(cls, values):
        return torch.Tensor._make_wrapper_subclass(
            cls, values.shape, strides=values.stride(), storage_offset=values.storage_offset(),
            dtype=values.dtype, device=DEVICE, requires_grad=False,
        )  # fmt: skip

    def __init__(self, values):
        self.values = values

    def __repr__(self):
        return f"OtherTensor({self.values})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {})


@contextlib.contextmanager
def other_device():
    """Where `device=DEVICE` gives real values."""
    with Lists(), Operations():
        yield


class Operations(TorchDispatchMode):
    """Of the other device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return computed(func, args, kwargs or {})


class Lists(TorchFunctionMode):
    """Tensors made of Python's numbers, which would be without values."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.Tensor.new_tensor and isinstance(args[0], OtherTensor):
            return OtherTensor(torch.tensor(args[1], dtype=args[0].dtype))
        if func is torch.Tensor.tolist and isinstance(args[0], OtherTensor):
            return args[0].values.tolist()
        if func in SUBSCRIPTS and isinstance(args[0], OtherTensor):
            key = tuple(map(without_lists, args[1])) if isinstance(args[1], tuple) else args[1]
            args = (args[0], without_lists(key), *args[2:])
        if func is torch.tensor and kwargs.get("device") == DEVICE:
            return OtherTensor(func(*args, **{**kwargs, "device": "cpu"}))
        return func(*args, **kwargs)


def without_lists(key):
    """A part of a subscript; lists become tensors."""
    return OtherTensor(torch.tensor(key)) if isinstance(key, list) else key


def computed(func, args, kwargs):
    """What an operation gives, on the device of its inputs or the one it names."""
    tensors = [t for t in tree_iter((args, kwargs)) if isinstance(t, torch.Tensor)]
    others = [t for t in tensors if isinstance(t, OtherTensor)]
    device = kwargs.get("device")
    if others and func not in COPIES:
        indexed = func in INDEXED and isinstance(args[0], OtherTensor)
        strange = [t for t in tensors if not isinstance(t, OtherTensor) and t.ndim]
        assert indexed or not strange, f"{func} on the other device, with tensors of the CPU"
    is_other = bool(others) if device is None else torch.device(device) == DEVICE
    if func is aten.copy_.default:
        is_other = isinstance(args[0], OtherTensor)
    given = tree_map(lambda t: t.values if isinstance(t, OtherTensor) else t, (args, kwargs))
    if device is not None:
        given[1]["device"] = torch.device("cpu")
    out = func(*given[0], **given[1])
    if is_other:
        out = tree_map(lambda t: OtherTensor(t) if isinstance(t, torch.Tensor) else t, out)
    is_alike = bool(others) == is_other
    return return_and_correct_aliasing(func, args, kwargs, out) if others and is_alike else out


def moved(module):
    """A module, all its tensors on the other device."""
    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                part._parameters[name] = torch.nn.Parameter(
                    OtherTensor(parameter.detach()), requires_grad=parameter.requires_grad
                )
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = OtherTensor(buffer)
    return module
