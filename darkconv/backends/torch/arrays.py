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
"""Copied in any case, since a forward pass in training mode changes them."""
PLAIN_PRODUCT = 20480
"""Input values up to which torch runs a convolution of one picture as a plain matrix product.

Their arrays are copied: the last bits of such a product depend on where in memory the weights
begin, which differs from one weights file to the next; torch's own memory always begins alike.
"""


def parameter_names(module: DarknetModule) -> dict[str, str]:
    """Key of each array -> name in the module's state_dict."""
    return array_names(module.network)


def array_names(network: Network) -> dict[str, str]:
    """Key of each array -> name in the state_dict of the network's module."""
    return {
        f"{layer.index}.{slot.name}": f"layers.{layer.index}.{PARAMETERS[layer](layer)[slot.name]}"
        for layer in network.layers
        for slot in layer.slots
    }


def assign_arrays(module: DarknetModule, arrays: Arrays, *, share: bool) -> None:
    """Give a module the values of arrays.

    Args:
        module: gets them.
        arrays: of the module's network, which never change.
        share: let parameters be views of the arrays: for a module that nobody else gets. Otherwise
            they lie in memory of the module's own, which for arrays of a mapped file is another map
            of it and costs nothing; others are copied.
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
    """Return a tensor of an array's values that may be written to: a copy if it is in no file."""
    mapped = maps.find(array)
    return copied(array) if mapped is None else torch.from_numpy(mapped)


def copied(array: Array) -> Tensor:
    """Return a copy of an array in torch's own memory."""
    return torch.from_numpy(exposed(array)).clone()


def is_plain_product(layer: Layer) -> bool:
    """Whether the last bits of a layer's output would depend on its arrays' addresses."""
    is_small = all(shape.size <= PLAIN_PRODUCT for shape in layer.in_shapes)
    return isinstance(layer.spec, Windowed) and is_small


def _lend(module: DarknetModule, lender: Layer, borrower: Layer) -> None:
    """Give a layer with share_index the parameters of its lender."""
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
        """See NumPy's array interface protocol."""
        return {**self.array.__array_interface__, "data": (address_of(self.array), False)}


def exposed(array: Array) -> Array:
    """Return a view of a read-only array that is not: torch warns of memory that is.

    Whoever takes it promises not to write to it.
    """
    return np.asarray(Exposed(array))


def read_arrays(module: DarknetModule) -> dict[str, Array]:
    """Copy the arrays that a module holds now, in file order.

    Raises:
        DarkconvError: the module is on PyTorch's meta device, which holds no values.
    """
    names = parameter_names(module)
    keys = [key for key, _, _ in module.network.keyed_slots()]
    return {key: _as_array(attrgetter(names[key])(module), names[key]) for key in keys}


def _as_array(tensor: Tensor, name: str) -> Array:
    require_values(tensor, name)
    values = tensor.detach().to("cpu", torch.float32).numpy()
    return frozen(np.array(values, order="C"))


def require_values(tensor: Tensor, name: str) -> None:
    """Raise a DarkconvError for a tensor on PyTorch's meta device."""
    if tensor.is_meta:
        raise DarkconvError(
            f"the module's {name} is on the meta device, where tensors have no values",
            hint="give it values with load_state_dict(..., assign=True)",
        )
