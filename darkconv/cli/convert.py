"""`darkconv convert`: a model in another format."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from darkconv.cli.models import read_model, report_written, require_outputs, write_model
from darkconv.cli.params import (
    ONNX_SUFFIX,
    ModelCommand,
    Output,
    model_options,
    output_option,
    split_model,
)
from darkconv.cli.pictures import PictureOptions, picture_options
from darkconv.cli.precision import Reduction, print_reports, reduction_options, write_reduced

F = TypeVar("F", bound=Callable[..., Any])

ONNX_OPTIONS = {
    "head": click.option(
        "--head",
        type=click.Choice(["raw", "boxes", "nms"]),
        help="Outputs as Darknet's heads give them, boxes and scores, or what is left of them "
        "after suppression  [default: raw]",
    ),
    "pixels": click.option(
        "--pixels", flag_value=True, default=None, help="Boxes in pixels of the input, not in 0..1."
    ),
    "threshold": click.option(
        "--threshold", type=float, help="For --head nms: least score  [default: 0.25]"
    ),
    "nms": click.option(
        "--nms", type=float, help="For --head nms: overlap that counts as the same  [default: 0.45]"
    ),
    "threshold_inputs": click.option(
        "--threshold-inputs",
        flag_value=True,
        default=None,
        help="For --head nms: both are inputs of the graph, not constants.",
    ),
    "max_detections": click.option(
        "--max-detections", type=int, help="For --head nms: most per picture  [default: 300]"
    ),
    "input": click.option(
        "--input",
        type=click.Choice(["float32-nchw", "uint8-nhwc", "uint8-nhwc-bgr"]),
        help="What pictures come as  [default: float32-nchw, RGB in 0..1]",
    ),
    "dynamic": click.option(
        "--dynamic",
        metavar="AXES",
        help="Axes of any length: batch, size, batch,size or none  [default: batch]",
    ),
    "fold": click.option(
        "--no-fold", "fold", flag_value=False, default=None, help="Leave batch norm as it is."
    ),
    "opset": click.option(
        "--opset", type=int, help="Version of ONNX's operators, 11 or later  [default: 13]"
    ),
    "external": click.option(
        "--external",
        flag_value=True,
        default=None,
        help="Weights in a file beside it, OUT.onnx.data.",
    ),
    "in_place": click.option(
        "--in-place",
        flag_value=True,
        default=None,
        help="Weights where they are, in MODEL's .weights file, which OUT must lie beside.",
    ),
}
"""What can be chosen about an ONNX file, by the names of `write_onnx` and `OnnxOptions`."""


def onnx_options(command: F) -> F:
    """Add `ONNX_OPTIONS`; what the user does not give is None."""
    for option in reversed(ONNX_OPTIONS.values()):
        command = option(command)
    return command


@click.command(cls=ModelCommand)
@click.argument("words", nargs=-1, metavar="MODEL")
@output_option
@click.option("--cutoff", type=int, help="The weights hold only the layers below this number.")
@onnx_options
@reduction_options
@picture_options
@model_options
def convert(
    words: tuple[str, ...],
    outputs: tuple[Output, ...],
    cutoff: int | None,
    reduction: Reduction,
    pictures: PictureOptions,
    **options: Any,
) -> None:
    """Write a model as ONNX, PyTorch or Darknet files.

    The suffix of OUT says the format: .onnx, .safetensors, .pt2, or OUT.cfg OUT.weights. -o
    may be repeated. The options from --head to --in-place are about .onnx.

    A recurrent layer's state is an input and an output of the ONNX file, such as 003_lstm.h_in
    and 003_lstm.h_out: give zeros at first, then what came out of the call before.

    After --fp16 and --int8 the file is compared with its float32 form: size, time, outputs,
    and on pictures (--calibrate, --data) detections and AP.

    Example: darkconv convert yolov4.cfg yolov4.weights -o yolov4.onnx --head nms
    """
    model_words, rest = split_model(words)
    if rest:
        raise click.UsageError(f"Got unexpected extra argument ({rest[0]})")
    require_outputs(outputs)
    chosen = chosen_for_onnx(options)
    reduction.check(chosen)
    about_onnx = [*chosen, *reduction.kind]
    if about_onnx and not any(output.suffix == ONNX_SUFFIX for output in outputs):
        option = about_onnx[0].replace("_", "-")
        raise click.UsageError(f"--{option} is about .onnx files, and none is written")
    if not model_words.is_exported:
        options["cutoff"] = cutoff
    model = read_model(model_words, **options)
    reports = {}
    for output in outputs:
        if reduction.kind and output.suffix == ONNX_SUFFIX:
            reports[str(output)] = write_reduced(model, output, reduction, pictures, chosen)
        else:
            write_model(model, output, **chosen)
        report_written(output, external="external" in chosen)
    print_reports(reports, as_json=reduction.as_json)


def chosen_for_onnx(options: dict[str, Any]) -> dict[str, Any]:
    """Take what the user has said about ONNX out of a command's options."""
    given = {name: options.pop(name) for name in ONNX_OPTIONS}
    chosen = {name: value for name, value in given.items() if value is not None}
    if "external" in chosen and "in_place" in chosen:
        raise click.UsageError("--external and --in-place exclude each other")
    if chosen.get("dynamic") == "none":
        chosen["dynamic"] = ()
    return chosen
