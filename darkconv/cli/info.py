"""`darkconv info`: the layers of a network."""

import logging
from pathlib import Path
from typing import Any

import click

from darkconv.backends import spoke
from darkconv.cli.models import read_model
from darkconv.cli.params import ModelCommand, reading_options, split_model, words_argument
from darkconv.cli.printing import echo, echo_json, echo_lines, echo_table
from darkconv.core.model import Header, Model
from darkconv.core.spec import HeadSpec
from darkconv.darknet.weights import weights_size
from darkconv.files import scratch_folder
from darkconv.files.sizes import format_size
from darkconv.libraries import telling_missing
from darkconv.presentation import layer_table as layers


@click.command(cls=ModelCommand)
@words_argument()
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--view", is_flag=True, help="Open the graph in netron, in the browser, instead.")
@reading_options
def info(words: tuple[str, ...], as_json: bool, view: bool, **options: Any) -> None:
    """Show the layers of a network: shapes, parameters, cost.

    MODEL may be a cfg alone, or the name of a bundled network.

    Example: darkconv info yolov3-tiny
    """
    if as_json and view:
        raise click.UsageError("--json and --view exclude each other")
    model_words, rest = split_model(words)
    if rest:
        raise click.UsageError(f"Got unexpected extra argument ({rest[0]})")
    model = read_model(model_words, needs_weights=False, unchecked=True, **options)
    if view:
        view_graph(model)
        return
    if as_json:
        echo_json(as_dict(model))
        return
    rows = [layers.row(layer) for layer in model.network.layers]
    echo_table(layers.HEADERS, rows, left=layers.LEFT)
    echo()
    echo_lines(summary(model))


def view_graph(model: Model) -> None:
    """Show the graph in the browser until the user stops it.

    Raises:
        MissingDependencyError: netron or onnx is not installed.
    """
    with telling_missing("info --view"):
        import netron
    with scratch_folder() as folder:
        path = folder / f"{Path(model.network.file).stem}.onnx"
        spoke("onnx").write_onnx(model, path, fold=False, check=False)
        logging.getLogger("netron").setLevel(logging.WARNING)  # it says the same
        host, port = netron.start(str(path), address=("localhost", None))
        echo(f"http://{host}:{port} shows it; Ctrl-C ends that", err=True)
        netron.wait()


def summary(model: Model) -> str:
    """Totals, heads and what the files are."""
    size = f"weights file {format_size(weights_size(model))}"
    header = loaded_header(model)
    if header:
        size += f" (version {version_of(header)}, {header.seen:,} images seen)"
    return "\n".join(layers.totals(model, size))


def loaded_header(model: Model) -> Header | None:
    """The header that came with the weights, None where only a cfg was read."""
    is_loaded = len(model.initial_layers) < layers.count_with_arrays(model.network)
    return model.header if is_loaded else None


def version_of(header: Header) -> str:
    """The version of a weights file: `0.2.5`."""
    return f"{header.major}.{header.minor}.{header.revision}"


def as_dict(model: Model) -> dict[str, Any]:
    """Everything of the table, for programs."""
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
