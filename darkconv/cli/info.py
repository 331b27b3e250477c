"""`darkconv info`: list the layers of a network."""

from typing import Any

import click

from darkconv.console.printing import echo, echo_json, echo_lines, echo_table
from darkconv.core import layer_table as layers
from darkconv.darknet.summary import model_dict, summary
from darkconv.exporting.viewer import viewing
from darkconv.options.command import ModelCommand
from darkconv.options.models import read_model
from darkconv.options.params import only_model, reading_options, words_argument


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
    model_words = only_model(words)
    model = read_model(model_words, needs_weights=False, unchecked=True, **options)
    if view:
        with viewing(model) as (host, port, wait):
            echo(f"http://{host}:{port} shows it; Ctrl-C ends that", err=True)
            wait()
        return
    if as_json:
        echo_json(model_dict(model))
        return
    rows = [layers.row(layer) for layer in model.network.layers]
    echo_table(layers.HEADERS, rows, left=layers.LEFT)
    echo()
    echo_lines(summary(model))
