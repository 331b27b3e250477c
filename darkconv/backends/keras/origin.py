"""Which Darknet network a Keras model was built from."""

from dataclasses import dataclass, field

import keras

from darkconv.backends.keras.arrays import spare_arrays
from darkconv.core.model import Arrays, Header, Model
from darkconv.core.names import Names
from darkconv.core.network import Network
from darkconv.darknet.bundled import find_cfg
from darkconv.darknet.dialect import AUTO
from darkconv.darknet.reading import read_darknet
from darkconv.errors import DarkconvError
from darkconv.files import PathLike


@dataclass(frozen=True)
class Origin:
    """What a Keras model does not hold of the Model that it came from.

    Attributes:
        network: layers and text.
        header: of the weights file.
        names: class names.
        spare: arrays of layers that no output of the Keras model depends on, which it leaves out.
        head: kind of its outputs: see `to_keras`.
        resize: how pictures are fitted to its input; None as the network says.
    """

    network: Network
    header: Header
    names: Names
    spare: Arrays = field(default_factory=dict)
    head: str = "raw"
    resize: str | None = None

    @classmethod
    def of(
        cls, model: Model, kmodel: keras.Model, head: str, resize: str | None = None
    ) -> "Origin":
        """Return that of the Keras model of a model."""
        spare = spare_arrays(kmodel, model)
        return cls(model.network, model.header, model.names, spare, head, resize)


def remember(kmodel: keras.Model, origin: Origin) -> None:
    """Note where a Keras model comes from, for as long as it lives."""
    kmodel.darknet = origin


def origin_of(kmodel: keras.Model, cfg: PathLike | None = None, dialect: str = AUTO) -> Origin:
    """Where a Keras model comes from, as a cfg says or as was remembered.

    A cfg that leaves its dialect open follows what was remembered.

    Raises:
        DarkconvError: it is no Keras model, or nothing is known.
    """
    if not isinstance(kmodel, keras.Model):
        raise DarkconvError(
            "not a Keras model", expected="what to_keras returned", found=type(kmodel).__name__
        )
    remembered = getattr(kmodel, "darknet", None)
    origin = remembered if isinstance(remembered, Origin) else None
    if cfg is not None:
        if dialect == AUTO and origin:
            dialect = origin.network.dialect.name
        model = read_darknet(find_cfg(cfg), dialect=dialect)
        return Origin(model.network, model.header, model.names)
    if origin is None:
        raise DarkconvError(
            "the Keras model does not know its network",
            expected="a model of to_keras, or cfg=",
            hint="a model that was loaded from a file needs the cfg: from_keras(kmodel, cfg)",
        )
    return origin
