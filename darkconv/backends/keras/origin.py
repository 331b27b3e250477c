"""Which Darknet network a Keras model was built from."""

from dataclasses import dataclass, field

import keras

from darkconv.backends.keras.arrays import spare_arrays
from darkconv.core.model import Arrays, Header, Model
from darkconv.core.network import Network
from darkconv.errors import DarkconvError
from darkconv.files import PathLike
from darkconv.loading import load


@dataclass(frozen=True)
class Origin:
    """What a Keras model does not hold of the Model that it came from.

    Attributes:
        network: layers and text.
        header: of the weights file.
        names: class names.
        spare: arrays of layers that no output of the Keras model depends on, which it leaves out.
    """

    network: Network
    header: Header
    names: tuple[str, ...]
    spare: Arrays = field(default_factory=dict)

    @classmethod
    def of(cls, model: Model, kmodel: keras.Model) -> "Origin":
        """Of the Keras model of a model."""
        return cls(model.network, model.header, model.names, spare_arrays(kmodel, model))


def remember(kmodel: keras.Model, origin: Origin) -> None:
    """Note where a Keras model comes from, for as long as it lives."""
    kmodel.darknet = origin


def origin_of(kmodel: keras.Model, cfg: PathLike | None = None, dialect: str = "auto") -> Origin:
    """Where a Keras model comes from, as a cfg says or as was remembered.

    Raises:
        DarkconvError: it is no Keras model, or nothing is known.
    """
    if not isinstance(kmodel, keras.Model):
        raise DarkconvError(
            "not a Keras model", expected="what to_keras returned", found=type(kmodel).__name__
        )
    if cfg is not None:
        model = load(cfg, dialect=dialect)
        return Origin(model.network, model.header, model.names)
    origin = getattr(kmodel, "darknet", None)
    if not isinstance(origin, Origin):
        raise DarkconvError(
            "the Keras model does not know its network",
            expected="a model of to_keras, or cfg=",
            hint="a model that was loaded from a file needs the cfg: from_keras(kmodel, cfg)",
        )
    return origin
