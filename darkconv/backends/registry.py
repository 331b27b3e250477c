"""Tables of the functions that build each layer type in a backend."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from darkconv.core.network import Layer
from darkconv.core.spec import LayerSpec
from darkconv.errors import UnsupportedError

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True)
class Builders(Generic[F]):
    """Functions by exact spec class; a subclass does not use the function of its parent.

    Attributes:
        backend: name of the backend, for messages.
        functions: function by spec class.
    """

    backend: str
    functions: dict[type[LayerSpec], F] = field(default_factory=dict)

    def register(self, *specs: type[LayerSpec]) -> Callable[[F], F]:
        """Return a decorator that registers a function for one or more spec classes.

        Args:
            specs: exact classes of layer specs.

        Raises:
            ValueError: a class already has a function in this backend.
        """

        def add(function: F) -> F:
            for spec in specs:
                if spec in self.functions:
                    raise ValueError(f"{spec.__name__} is registered twice for {self.backend}")
                self.functions[spec] = function
            return function

        return add

    def __getitem__(self, layer: Layer) -> F:
        """Return the function for a layer.

        Raises:
            UnsupportedError: the backend has no function for this layer type.
        """
        try:
            return self.functions[type(layer.spec)]
        except KeyError:
            raise UnsupportedError(f"[{layer.type}] cannot be built in {self.backend}") from None


ParameterTable = Mapping[str, str]
"""Name of the parameter in the backend's layer, by name of the slot."""
