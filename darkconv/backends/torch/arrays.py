"""Arrays of a Model <-> parameters and buffers of a DarknetModule."""

from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from darkconv.backends.torch.network import DarknetModule
from darkconv.backends.torch.registry import PARAMETERS
from darkconv.core.model import Array, Arrays
from darkconv.core.network import Layer, Network
from darkconv.core.unchanging import OwnMaps, address_of, frozen
from darkconv.errors import DarkconvError
from darkconv.layers.conv import Windowed

BUFFERS = ("running_mean", "running_var")
"""Buffers that are always copied, since a forward pass in training mode changes them."""
PLAIN_PRODUCT = 20480
"""Input values up to which PyTorch runs a convolution of one picture as a plain matrix product.

Arrays of such layers are copied: the last bits of the product depend on the memory address of the
weights, which differs from one weights file to the next. PyTorch's own memory is always aligned
alike.
"""


def parameter_names(module: DarknetModule) -> dict[str, str]:
    """Return the state_dict name of each array of a module.

    Args:
        module: module whose network has the arrays.

    Returns:
        Names by "<layer>.<array>", as a Model has its keys, in file order.
    """
    return array_names(module.network)


def array_names(network: Network) -> dict[str, str]:
    """Return the state_dict name of each array in the module of a network.

    Args:
        network: network that the module would compute.

    Returns:
        Names by "<layer>.<array>", as a Model has its keys, in file order.
    """
    return {
        f"{layer.index}.{slot.name}": f"layers.{layer.index}.{PARAMETERS[layer](layer)[slot.name]}"
        for layer in network.layers
        for slot in layer.slots
    }


def assign_arrays(module: DarknetModule, arrays: Arrays, *, share: bool) -> None:
    """Give the parameters and buffers of a module the values of arrays.

    Args:
        module: module that is changed; it may be on the meta device.
        arrays: arrays of the module's network by "<layer>.<array>"; they are never changed.
        share: let parameters be views of the arrays: for a module that is not given to anybody.
            Otherwise they lie in memory of the module's own: arrays of a mapped file in another map
            of it, which costs nothing, and others in copies.
    """
    maps = OwnMaps()
    for layer, built in zip(module.network.layers, module.layers, strict=True):
        if layer.shared is not None:
            _lend(module, module.network.layers[layer.shared], layer)
        if not layer.slots:
            continue
        owners, names = dict(built.named_modules()), PARAMETERS[layer](layer)
        copies = is_plain_product(layer)
        for slot in layer.slots:
            path, _, attribute = names[slot.name].rpartition(".")
            array = arrays[f"{layer.index}.{slot.name}"]
            if copies or attribute in BUFFERS:
                tensor = copied(array)
            elif share:
                tensor = torch.from_numpy(exposed(array))
            else:
                tensor = own_tensor(array, maps)
            if attribute not in BUFFERS:
                tensor = nn.Parameter(tensor, requires_grad=False)
            setattr(owners[path], attribute, tensor)


def own_tensor(array: Array, maps: OwnMaps) -> Tensor:
    """Return a tensor of an array's values that may be written to.

    Args:
        array: read-only array; unless it lies in a mapped file, it is copied.
        maps: maps of files that the module owns.
    """
    mapped = maps.find(array)
    return copied(array) if mapped is None else torch.from_numpy(mapped)


def copied(array: Array) -> Tensor:
    """Return a copy of an array in PyTorch's own memory.

    Args:
        array: read-only float32 array.
    """
    return torch.from_numpy(exposed(array)).clone()


def is_plain_product(layer: Layer) -> bool:
    """Return True if the last bits of a layer's output depend on the addresses of its arrays.

    Args:
        layer: layer with its input shapes; see `PLAIN_PRODUCT`.
    """
    is_small = all(shape.size <= PLAIN_PRODUCT for shape in layer.in_shapes)
    return isinstance(layer.spec, Windowed) and is_small


def _lend(module: DarknetModule, lender: Layer, borrower: Layer) -> None:
    """Give a layer with share_index the parameters of the layer that it shares."""
    own, lent = module.layers[borrower.index], module.layers[lender.index]
    for name in PARAMETERS[lender](lender).values():
        path, _, attribute = name.rpartition(".")
        setattr(own.get_submodule(path), attribute, getattr(lent.get_submodule(path), attribute))


@dataclass(frozen=True)
class Exposed:
    """Memory of a read-only array, as an array interface that allows writing."""

    array: Array

    @property
    def __array_interface__(self) -> dict[str, Any]:
        """Interface of the array without its read-only flag: see NumPy's array protocol."""
        return {**self.array.__array_interface__, "data": (address_of(self.array), False)}


def exposed(array: Array) -> Array:
    """Return a writable view of a read-only array: PyTorch warns about memory that is read-only.

    The caller must not write to it.

    Args:
        array: read-only array.
    """
    return np.asarray(Exposed(array))


def read_arrays(module: DarknetModule) -> dict[str, Array]:
    """Copy the arrays that a module holds now, in file order.

    Args:
        module: module on any device; values of other dtypes are converted to float32.

    Returns:
        Read-only float32 arrays by "<layer>.<array>".

    Raises:
        DarkconvError: the module is on PyTorch's meta device, where tensors have no values.
    """
    names = parameter_names(module)
    keys = [key for key, _, _ in module.network.keyed_slots()]
    return {key: _as_array(attrgetter(names[key])(module), names[key]) for key in keys}


def _as_array(tensor: Tensor, name: str) -> Array:
    require_values(tensor, name)
    values = tensor.detach().to("cpu", torch.float32).numpy()
    return frozen(np.array(values, order="C"))


def require_values(tensor: Tensor, name: str) -> None:
    """Check that a tensor has values, which it has not on PyTorch's meta device.

    Args:
        tensor: parameter or buffer of a module.
        name: its name in the state_dict, for the message.

    Raises:
        DarkconvError: the tensor is on the meta device.
    """
    if tensor.is_meta:
        raise DarkconvError(
            f"the module's {name} is on the meta device, where tensors have no values",
            hint="give it values with load_state_dict(..., assign=True)",
        )
