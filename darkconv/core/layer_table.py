"""The layers of a model as rows of a table, and what they add up to."""

from darkconv.core.model import Model
from darkconv.core.network import NETWORK_INPUT, Layer, Network
from darkconv.core.spec import HeadSpec
from darkconv.presentation.notebook import html_table
from darkconv.presentation.numerals import format_count, format_large

HEADERS = ("layer", "type", "filters", "window", "from", "input", "output", "parameters", "MACs")
LEFT = (1, 3, 4, 5, 6)
"""Columns of text."""


def row(layer: Layer) -> tuple[object, ...]:
    """One layer's cells."""
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
    """`3x3/2`, with groups and dilation if there are any."""
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
    """The layers it reads, if not just the one before."""
    if layer.sources == (layer.index - 1,):
        return ""
    return ",".join("in" if s == NETWORK_INPUT else str(s) for s in layer.sources)


def totals(model: Model, *remarks: str) -> list[str]:
    """Sums, what comes in, what each head predicts; remarks stand with what comes in."""
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
    """What a head predicts."""
    assert isinstance(layer.spec, HeadSpec)
    count = layer.spec.num_classes(layer.in_shapes)
    names = ", ".join(model.names[:4]) + (", ..." if len(model.names) > 4 else "")
    classes = f"{count} class" + ("es" if count != 1 else "")
    return f"layer {layer.index} [{layer.type}]: {classes}" + (f" ({names})" if names else "")


def count_with_arrays(network: Network) -> int:
    """Number of layers that have arrays."""
    return sum(bool(layer.slots) for layer in network.layers)


def ranges(indices: tuple[int, ...]) -> str:
    """Sorted numbers in short: `layers 74-81, 85`."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    parts = (str(a) if a == b else f"{a}-{b}" for a, b in runs)
    return f"layers {', '.join(parts)}"


def as_text(model: Model) -> str:
    """Return what a model is in a few lines."""
    return "\n  ".join([f"Model of {model.network.file}", *totals(model)])


def as_html(model: Model) -> str:
    """The table for notebooks."""
    cells = [map(str, row(layer)) for layer in model.network.layers]
    return html_table(HEADERS, cells, LEFT, caption=totals(model))
