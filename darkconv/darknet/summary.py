"""The summary of a model, as text and as data for JSON."""

from typing import Any

from darkconv.core import layer_table as layers
from darkconv.core.model import Header, Model
from darkconv.core.spec import HeadSpec
from darkconv.darknet.weights import weights_size
from darkconv.files.sizes import format_size


def summary(model: Model) -> str:
    """Return a summary of a model as text: totals, heads and its weights file.

    Args:
        model: the model to describe.
    """
    size = f"weights file {format_size(weights_size(model))}"
    header = loaded_header(model)
    if header:
        size += f" (version {version_of(header)}, {header.seen:,} images seen)"
    return "\n".join(layers.totals(model, size))


def loaded_header(model: Model) -> Header | None:
    """Return the header that was read with the weights; None if only a cfg was read.

    Args:
        model: the model to examine.
    """
    is_loaded = len(model.initial_layers) < layers.count_with_arrays(model.network)
    return model.header if is_loaded else None


def version_of(header: Header) -> str:
    """Return the version of a weights file as text: `0.2.5`.

    Args:
        header: header of the weights file.
    """
    return f"{header.major}.{header.minor}.{header.revision}"


def model_dict(model: Model) -> dict[str, Any]:
    """Return the description of a model as data that JSON can hold.

    Args:
        model: the model to describe.
    """
    network, header = model.network, loaded_header(model)
    return {
        "file": network.file,
        "dialect": network.dialect.name,
        "input": list(network.input_shape),
        "parameters": network.parameters,
        "macs": network.macs,
        "weights_bytes": weights_size(model),
        "weights_version": version_of(header) if header else None,
        "images_seen": header.seen if header else None,
        "names": list(model.names),
        "initial_layers": list(model.initial_layers),
        "heads": [
            {
                "layer": layer.index,
                "type": layer.type,
                "classes": layer.spec.num_classes(layer.in_shapes),
            }
            for layer in network.heads
            if isinstance(layer.spec, HeadSpec)
        ],
        "layers": [
            {
                "layer": layer.index,
                "type": layer.type,
                "line": layer.section.number,
                "sources": list(layer.sources),
                "inputs": [list(shape) for shape in layer.in_shapes],
                "output": list(layer.out_shape),
                "parameters": layer.parameters,
                "macs": layer.macs,
            }
            for layer in network.layers
        ],
    }
