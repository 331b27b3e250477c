"""Which function builds which layer type in a backend."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from darkconv.core.network import Layer
from darkconv.core.spec import LayerSpec
from darkconv.errors import UnsupportedError

F = TypeVar("F", bound=Callable[..., object])


@dataclass(frozen=True)
class Builders(Generic[F]):
    """Functions by exact spec class: a subclass never falls through to its parent's."""

    backend: str
    functions: dict[type[LayerSpec], F] = field(default_factory=dict)

    def register(self, *specs: type[LayerSpec]) -> Callable[[F], F]:
        """Decorate the function for one or more spec classes; twice for one is an error."""

        def add(function: F) -> F:
            for spec in specs:
                if spec in self.functions:
                    raise ValueError(f"{spec.__name__} is registered twice for {self.backend}")
                self.functions[spec] = function
            return function

        return add

    def __getitem__(self, layer: Layer) -> F:
        """The function for a layer.

        Raises:
            UnsupportedError: the backend has none.
        """
        try:
            return self.functions[type(layer.spec)]
        except KeyError:
            raise UnsupportedError(f"[{layer.type}] cannot be built in {self.backend}") from None


ParameterTable = Mapping[str, str]
"""Name of a slot -> name of the parameter in the backend's layer."""
