"""`darkconv info`: the layers of a network."""

import json
from typing import Any

import click

from darkconv.cli.models import format_size, read_model
from darkconv.cli.params import ModelCommand, model_options, split_model
from darkconv.cli.table import format_count, format_large, format_table
from darkconv.core.model import Model
from darkconv.core.network import NETWORK_INPUT, Layer, Network
from darkconv.core.spec import HeadSpec
from darkconv.darknet.weights import file_size

HEADERS = ("layer", "type", "filters", "window", "from", "input", "output", "parameters", "MACs")
LEFT = (1, 3, 4, 5, 6)


@click.command(cls=ModelCommand)
@click.argument("words", nargs=-1, metavar="MODEL")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@model_options
def info(words: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Show the layers of a network: shapes, parameters, cost.

    MODEL may be a cfg alone, or the name of a bundled network.

    Example: darkconv info yolov3-tiny
    """
    model_words, rest = split_model(words)
    if rest:
        raise click.UsageError(f"Got unexpected extra argument ({rest[0]})")
    model = read_model(model_words, needs_weights=False, **options)
    if as_json:
        click.echo(json.dumps(as_dict(model), indent=2))
        return
    rows = [table_row(layer) for layer in model.network.layers]
    click.echo(format_table(HEADERS, rows, left=LEFT))
    click.echo()
    click.echo(summary(model))


def table_row(layer: Layer) -> tuple[object, ...]:
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


def summary(model: Model) -> str:
    """Totals, heads and what the files are."""
    network = model.network
    parameters = sum(layer.parameters for layer in network.layers)
    lines = [
        f"{len(network.layers)} layers, {format_count(parameters)} parameters, "
        f"{format_large(sum(layer.macs for layer in network.layers))} MACs",
        f"input {network.input_shape}, weights file {format_size(weights_size(model))}, "
        f"{network.dialect} dialect",
    ]
    lines += [head_line(model, layer) for layer in network.heads]
    if model.initial_layers and len(model.initial_layers) < count_with_arrays(network):
        lines.append(f"initial values, not loaded ones: {ranges(model.initial_layers)}")
    return "\n".join(lines)


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


def weights_size(model: Model) -> int:
    """Bytes of the weights file."""
    return file_size(model.network, model.header)


def as_dict(model: Model) -> dict[str, Any]:
    """Everything of the table, for programs."""
    network = model.network
    return {
        "file": network.file,
        "dialect": network.dialect.name,
        "input": list(network.input_shape),
        "parameters": sum(layer.parameters for layer in network.layers),
        "macs": sum(layer.macs for layer in network.layers),
        "weights_bytes": weights_size(model),
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
