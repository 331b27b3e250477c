"""`darkconv graft`: put layers of one network into another."""

import os
from pathlib import Path
from typing import Any

import click

from darkconv.console.printing import echo_json, echo_lines
from darkconv.core.model import Model
from darkconv.darknet.bundled import bundled_cfg
from darkconv.darknet.cfg import read_cfg
from darkconv.darknet.dialect import AUTO, choose_dialect
from darkconv.darknet.weights import write_weights
from darkconv.options.command import ModelCommand
from darkconv.options.models import (
    read_model,
    report_written,
    require_outputs,
    shared_options,
    write_model,
)
from darkconv.options.params import (
    ModelWords,
    OutputFiles,
    OutputType,
    model_options,
    only_model,
    split_model,
    words_argument,
)
from darkconv.surgery.graft import graft as graft_layers
from darkconv.surgery.tables import graft_as_text


class WeightsOutputType(OutputType):
    """An output, or a weights file alone for the receiver's cfg as it is."""

    def convert(
        self, value: str | OutputFiles, param: click.Parameter | None, ctx: click.Context | None
    ) -> OutputFiles:
        """Return the output; a `.weights` file alone is one file."""
        if isinstance(value, str) and value.endswith(".weights") and "\0" not in value:
            return OutputFiles(Path(value))
        return super().convert(value, param, ctx)


@click.command(cls=ModelCommand)
@words_argument("DONOR RECEIVER")
@click.option(
    "-o",
    "--output",
    "outputs",
    type=WeightsOutputType(),
    multiple=True,
    metavar="OUT",
    help="OUT.cfg OUT.weights, or OUT.weights alone for the receiver's cfg as it is.",
)
@click.option(
    "--layers",
    type=click.IntRange(min=1),
    metavar="N",
    help="Take only the donor's first N layers.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")
@model_options
def graft(
    words: tuple[str, ...],
    outputs: tuple[OutputFiles, ...],
    layers: int | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Put one network's layers into another, each to the layer that it fits.

    DONOR is a model, RECEIVER a model or a cfg alone. Layers whose arrays agree in name and
    shape are matched in order; the others keep the receiver's values. Nothing is shifted.

    Example: darkconv graft yolov3.cfg yolov3.weights three-classes.cfg -o start.weights
    """
    donor_words, rest = split_model(words)
    if not rest:
        raise click.UsageError("Missing argument 'RECEIVER': B.cfg, or B.cfg B.weights")
    receiver_words = only_model(rest)
    require_outputs(outputs, ".weights")
    donor = read_model(donor_words, **shared_options(options, donor_words, [receiver_words]))
    options = shared_options(options, receiver_words, [donor_words])
    result = graft_layers(donor, _read_receiver(receiver_words, donor, options), layers=layers)
    for output in outputs:
        _write(result.model, output)
        report_written(output)
    if as_json:
        echo_json(result.to_dict())
    else:
        echo_lines(graft_as_text(result))


def _read_receiver(words: ModelWords, donor: Model, options: dict[str, Any]) -> Model:
    """Read the receiver; a cfg that leaves its dialect open gets that of the donor's weights."""
    if words.weights is None and not words.is_exported and options["dialect"] == AUTO:
        cfg = words.first if os.path.exists(words.first) else bundled_cfg(words.first)
        if cfg:
            dialect = choose_dialect(read_cfg(cfg), donor.header)
            options = {**options, "dialect": dialect.name}
    return read_model(words, needs_weights=False, **options)


def _write(model: Model, output: OutputFiles) -> None:
    if output.suffix == ".weights":
        write_weights(model, output.path)
    else:
        write_model(model, output)
