"""The tables of the Keras backend: builders of layers, and the places of their arrays."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from darkconv.backends.keras.places import PlaceTable
from darkconv.backends.registry import Builders
from darkconv.core.network import Layer, Network

if TYPE_CHECKING:
    from darkconv.backends.keras.scope import LayerScope, Tensor

BUILDERS: "Builders[Callable[[LayerScope], Tensor]]" = Builders("keras")
"""From the scope of a layer to its value: (N, H, W, C) or (N, values)."""

PLACES: Builders[Callable[[Layer, Network], PlaceTable]] = Builders("keras")
"""From a layer and its network to the variable of a Keras layer that holds each array."""
