"""The torch spoke's tables: builders, and names of parameters."""

from collections.abc import Callable

from torch import nn

from darkconv.backends.registry import Builders, ParameterTable
from darkconv.core.network import Layer, Network

BUILDERS: Builders[Callable[[Layer, Network], nn.Module]] = Builders("torch")
"""Layer and its network -> a module called with the layer's inputs, batch first."""

PARAMETERS: Builders[Callable[[Layer], ParameterTable]] = Builders("torch")
"""Layer -> which parameter or buffer of its module holds which array."""
