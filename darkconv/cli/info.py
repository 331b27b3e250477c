"""`darkconv info`: the layers of a network."""

import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import click

from darkconv.backends import spoke
from darkconv.cli.models import read_model
from darkconv.cli.params import ModelCommand, reading_options, split_model, words_argument
from darkconv.cli.table import format_table
from darkconv.core import layer_table as layers
from darkconv.core.model import Model
from darkconv.core.numerals import format_size
from darkconv.core.spec import HeadSpec
from darkconv.darknet.weights import file_size
from darkconv.errors import MissingDependencyError


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
    model = read_model(model_words, needs_weights=False, allow_nonfinite=True, **options)
    if view:
        view_graph(model)
        return
    if as_json:
        click.echo(json.dumps(as_dict(model), indent=2))
        return
    rows = [layers.row(layer) for layer in model.network.layers]
    click.echo(format_table(layers.HEADERS, rows, left=layers.LEFT))
    click.echo()
    click.echo(summary(model))


def view_graph(model: Model) -> None:
    """Show the graph in the browser until the user stops it.

    Raises:
        MissingDependencyError: netron or onnx is not installed.
    """
    try:
        import netron
    except ModuleNotFoundError:
        raise MissingDependencyError("netron", extra="view", task="info --view") from None
    with tempfile.TemporaryDirectory(prefix="darkconv-") as folder:
        path = Path(folder) / f"{Path(model.network.file).stem}.onnx"
        spoke("onnx").write_onnx(model, path, fold=False)
        logging.getLogger("netron").setLevel(logging.WARNING)  # it says the same
        host, port = netron.start(str(path), address=("localhost", None))
        click.echo(f"http://{host}:{port} shows it; Ctrl-C ends that", err=True)
        netron.wait()


def summary(model: Model) -> str:
    """Totals, heads and what the files are."""
    size = format_size(weights_size(model))
    return "\n".join(layers.totals(model, f"weights file {size}"))


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
        "parameters": network.parameters,
        "macs": network.macs,
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
