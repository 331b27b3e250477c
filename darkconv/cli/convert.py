"""`darkconv convert`: a model in another format."""

from typing import Any

import click

from darkconv.cli.models import read_model, report_written, require_outputs, write_model
from darkconv.cli.params import ModelCommand, Output, model_options, output_option, split_model


@click.command(cls=ModelCommand)
@click.argument("words", nargs=-1, metavar="MODEL")
@output_option
@click.option("--cutoff", type=int, help="The weights hold only the layers below this number.")
@model_options
def convert(
    words: tuple[str, ...], outputs: tuple[Output, ...], cutoff: int | None, **options: Any
) -> None:
    """Write a model as ONNX, PyTorch or Darknet files.

    The suffix of OUT says the format: .onnx, .safetensors, .pt2, or OUT.cfg OUT.weights. -o
    may be repeated.

    Example: darkconv convert yolov4.cfg yolov4.weights -o yolov4.onnx
    """
    model_words, rest = split_model(words)
    if rest:
        raise click.UsageError(f"Got unexpected extra argument ({rest[0]})")
    require_outputs(outputs)
    if not model_words.is_exported:
        options["cutoff"] = cutoff
    model = read_model(model_words, **options)
    for output in outputs:
        write_model(model, output)
        report_written(output)
