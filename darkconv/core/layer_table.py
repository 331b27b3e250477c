"""The layers of a model as rows of a table, and their totals."""

from darkconv.core.model import Model
from darkconv.core.network import NETWORK_INPUT, Layer, Network
from darkconv.core.spec import HeadSpec
from darkconv.presentation.notebook import html_table
from darkconv.presentation.numerals import format_count, format_large

HEADERS = ("layer", "type", "filters", "window", "from", "input", "output", "parameters", "MACs")
LEFT = (1, 3, 4, 5, 6)
"""Indices of the columns that hold text and are aligned to the left."""


def row(layer: Layer) -> tuple[object, ...]:
    """Return the cells of one layer's row, in the order of `HEADERS`.

    Args:
        layer: the layer to describe.
    """
    spec = layer.spec
    filters = getattr(spec, "filters", None) or getattr(spec, "output", None) or ""
    return (
        layer.index,
        layer.type,
        filters,
        window(layer),
        origin(layer),
        " ".join(map(str, layer.in_shapes)),
        layer.out_shape,
        format_count(layer.parameters) if layer.parameters else "",
        format_large(layer.macs) if layer.macs else "",
    )


def window(layer: Layer) -> str:
    """Format a layer's window as `3x3/2`, followed by its groups and dilation if it has any.

    Args:
        layer: the layer; one without a window gives its stride as `x2`, or an empty text.

    Returns:
        The window as columns x rows / stride. A stride that differs by axis is written horizontal x
            vertical.
    """
    size = getattr(layer.spec, "size", None)
    if size is None or layer.type == "normalization":
        stride = getattr(layer.spec, "stride", None)
        return f"x{stride}" if stride and stride != 1 else ""
    vertical, horizontal = getattr(layer.spec, "strides", (layer.spec.stride,) * 2)  # type: ignore[attr-defined]
    stride = str(vertical) if vertical == horizontal else f"{horizontal}x{vertical}"
    text = f"{size}x{size}/{stride}"
    groups, dilation = getattr(layer.spec, "groups", 1), getattr(layer.spec, "dilation", 1)
    text += f" g{groups}" if groups > 1 else ""
    return text + (f" d{dilation}" if dilation > 1 else "")


def origin(layer: Layer) -> str:
    """Return the indices of a layer's sources; an empty text if it reads only the previous layer.

    Args:
        layer: the layer whose sources are listed.

    Returns:
        Layer indices (from 0) separated by commas; "in" is the network input.
    """
    if layer.sources == (layer.index - 1,):
        return ""
    return ",".join("in" if s == NETWORK_INPUT else str(s) for s in layer.sources)


def totals(model: Model, *remarks: str) -> list[str]:
    """Return lines that sum up a model: its size, its input, and what each head predicts.

    Args:
        model: the model to describe.
        remarks: texts to add to the line about the input.
    """
    network = model.network
    lines = [
        f"{len(network.layers)} layers, {format_count(network.parameters)} parameters, "
        f"{format_large(network.macs)} MACs",
        ", ".join([f"input {network.input_shape}", *remarks, f"{network.dialect} dialect"]),
    ]
    lines += [head_line(model, layer) for layer in network.heads]
    if model.initial_layers and len(model.initial_layers) < count_with_arrays(network):
        lines.append(f"initial values, not loaded ones: {ranges(model.initial_layers)}")
    return lines


def head_line(model: Model, layer: Layer) -> str:
    """Return one line that says what a head predicts.

    Args:
        model: the model, for its class names.
        layer: one of the model's heads.
    """
    assert isinstance(layer.spec, HeadSpec)
    count = layer.spec.num_classes(layer.in_shapes)
    names = ", ".join(model.names[:4]) + (", ..." if len(model.names) > 4 else "")
    classes = f"{count} class" + ("es" if count != 1 else "")
    return f"layer {layer.index} [{layer.type}]: {classes}" + (f" ({names})" if names else "")


def count_with_arrays(network: Network) -> int:
    """Return the number of layers that have learned arrays.

    Args:
        network: the network whose layers are counted.
    """
    return sum(bool(layer.slots) for layer in network.layers)


def ranges(indices: tuple[int, ...]) -> str:
    """Format layer indices briefly, such as `layers 74-81, 85`.

    Args:
        indices: layer indices (from 0) in ascending order.
    """
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    parts = (str(a) if a == b else f"{a}-{b}" for a, b in runs)
    return f"layers {', '.join(parts)}"


def as_text(model: Model) -> str:
    """Return a few lines of text that describe a model.

    Args:
        model: the model to describe.
    """
    return "\n  ".join([f"Model of {model.network.file}", *totals(model)])


def as_html(model: Model) -> str:
    """Return the HTML table of a model for notebooks.

    Args:
        model: the model to describe.
    """
    cells = [map(str, row(layer)) for layer in model.network.layers]
    return html_table(HEADERS, cells, LEFT, caption=totals(model))
