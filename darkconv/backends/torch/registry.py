"""The tables of the PyTorch backend: builders of layers, and names of their parameters."""

from collections.abc import Callable

from torch import nn

from darkconv.backends.registry import Builders, ParameterTable
from darkconv.core.network import Layer, Network

BUILDERS: Builders[Callable[[Layer, Network], nn.Module]] = Builders("torch")
"""From a layer and its network to a module that is called with the layer's inputs, batch first."""

PARAMETERS: Builders[Callable[[Layer], ParameterTable]] = Builders("torch")
"""From a layer to the parameter or buffer of its module that holds each array."""
