"""The Keras spoke's tables: builders, and where arrays lie."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from darkconv.backends.keras.places import PlaceTable
from darkconv.backends.registry import Builders
from darkconv.core.network import Layer, Network

if TYPE_CHECKING:
    from darkconv.backends.keras.scope import LayerScope, Tensor

BUILDERS: "Builders[Callable[[LayerScope], Tensor]]" = Builders("keras")
"""A layer's scope -> its value: (N, H, W, C), or (N, values)."""

PLACES: Builders[Callable[[Layer, Network], PlaceTable]] = Builders("keras")
"""Layer and its network -> which variable of which Keras layer holds which array."""
