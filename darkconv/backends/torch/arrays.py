"""Arrays of a Model <-> parameters and buffers of a DarknetModule."""

import numpy as np
import torch
from torch import Tensor, nn

from darkconv.backends.torch.network import DarknetModule
from darkconv.backends.torch.registry import PARAMETERS
from darkconv.core.model import Array, Arrays, frozen
from darkconv.core.network import Layer, Network
from darkconv.layers.conv import Windowed

BUFFERS = ("running_mean", "running_var")
PLAIN_PRODUCT = 20480
"""Input values up to which torch runs a convolution of one picture as a plain matrix product.

The last bits of such a product depend on where in memory the weights begin, which differs from
one weights file to the next; torch's own memory always begins alike.
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


def assign_arrays(module: DarknetModule, arrays: Arrays) -> None:
    """Let parameters be views of arrays, without copying, but for a few small ones.

    Running statistics are copied, since a forward pass in training mode changes them; so are
    the arrays of layers that run as plain matrix products: see `PLAIN_PRODUCT`.
    """
    for layer, built in zip(module.network.layers, module.layers, strict=True):
        if layer.shared is not None:
            _lend(module, module.network.layers[layer.shared], layer)
        if not layer.slots:
            continue
        owners, names = dict(built.named_modules()), PARAMETERS[layer](layer)
        copies = is_plain_product(layer)
        for slot in layer.slots:
            path, _, attribute = names[slot.name].rpartition(".")
            tensor = torch.from_numpy(writable(arrays[f"{layer.index}.{slot.name}"]))
            if copies or attribute in BUFFERS:
                tensor = tensor.clone()
            if attribute not in BUFFERS:
                tensor = nn.Parameter(tensor, requires_grad=False)
            setattr(owners[path], attribute, tensor)


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


def writable(array: Array) -> Array:
    """A writable view of a read-only array; a copy where its memory itself is read-only.

    torch warns of read-only memory. Models read from files lie in a copy-on-write map, so the
    file could not be changed through the view.
    """
    view = array.view()
    try:
        view.flags.writeable = True
    except ValueError:
        return array.copy()
    return view


def read_arrays(module: DarknetModule) -> dict[str, Array]:
    """The arrays that a module holds now, in file order; copies unless it shares a model's."""
    state = module.state_dict()
    names = parameter_names(module)
    keys = [key for key, _, _ in module.network.keyed_slots()]
    return {key: _as_array(state[names[key]], share=module.shares_memory) for key in keys}


def _as_array(tensor: Tensor, *, share: bool) -> Array:
    array = tensor.detach().to("cpu", torch.float32).numpy()
    return frozen(array if share else np.array(array))
