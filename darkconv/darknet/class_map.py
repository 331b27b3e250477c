"""The file that `map=` names: the class of the head for each class number of a label."""

from darkconv.core.network import Layer, Network
from darkconv.darknet.data import find_beside, read_map
from darkconv.errors import GraphError


def read_class_map(layer: Layer, network: Network) -> tuple[int, ...]:
    """Read the class of the head for each class number of a label.

    Args:
        layer: the head.
        network: the network of the head; the file is searched beside its cfg.

    Returns:
        Class indices (from 0) in the order of the class numbers of labels; empty if the head has no
            `map=`.

    Raises:
        GraphError: the file was not found, or names a class that the head does not have.
        DatasetError: the file cannot be read.
    """
    name = getattr(layer.spec, "map", "")
    if not name:
        return ()
    where = network.where(layer.index, "map")
    path = find_beside(name, network.config.file)
    if path is None:
        raise GraphError(
            f"{name} was not found beside the cfg, above it or in the working folder", where=where
        )
    numbers = read_map(path)
    classes = layer.spec.classes  # type: ignore[attr-defined]
    strange = [number for number in numbers if not 0 <= number < classes]
    if strange:
        raise GraphError(where=where, expected=f"class indices below {classes}", found=strange[0])
    return numbers
