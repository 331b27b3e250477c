"""The Darknet network that a Keras model was built from."""

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
    """The facts of a Model that its Keras model does not hold.

    Attributes:
        network: its layers and the text of its cfg.
        header: header of the weights file.
        names: class names.
        spare: arrays of layers that no output of the Keras model depends on, by "<layer>.<array>".
        head: kind of its outputs: see `to_keras`.
        resize: how pictures are fitted to its input; None for what the network says.
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
        """Return the origin of the Keras model of a model.

        Args:
            model: model that was built.
            kmodel: its Keras model.
            head: kind of the outputs: see `to_keras`.
            resize: how pictures are fitted to the input; None for what the network says.
        """
        spare = spare_arrays(kmodel, model)
        return cls(model.network, model.header, model.names, spare, head, resize)


def remember(kmodel: keras.Model, origin: Origin) -> None:
    """Keep the origin of a Keras model as long as the Keras model exists.

    Args:
        kmodel: Keras model that gets an attribute.
        origin: its origin.
    """
    kmodel.darknet = origin


def origin_of(kmodel: keras.Model, cfg: PathLike | None = None, dialect: str = AUTO) -> Origin:
    """Return the origin of a Keras model, from a cfg or as it was remembered.

    Args:
        kmodel: model of `to_keras` or `read_keras`; others need a cfg.
        cfg: file or name of a cfg; None for the remembered origin.
        dialect: dialect of the cfg; "auto" for that of the remembered origin, if there is one.

    Raises:
        DarkconvError: `kmodel` is not a Keras model, or nothing is known of its origin.
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
