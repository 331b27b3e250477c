"""`darkconv convert`: write a model in another format."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from darkconv.backends.choices import INPUTS
from darkconv.backends.layouts import LAYOUT_NAMES, NMS_OPS
from darkconv.cli.file_report import print_reports
from darkconv.console.files import InputFile
from darkconv.console.given import refuse
from darkconv.console.options import titled
from darkconv.console.progress import progress
from darkconv.console.values import SHARE, NumberType
from darkconv.exporting.choosing import fault_of, tell_of_others
from darkconv.exporting.export import check_export, write_export
from darkconv.exporting.formats import options_of
from darkconv.exporting.kits.table import KITS
from darkconv.exporting.targets import note_arrays
from darkconv.files.outputs import note_input
from darkconv.imports.differences import REORGS
from darkconv.options.models import (
    read_model,
    report_written,
    require_outputs,
    write_model,
)
from darkconv.options.params import (
    ModelCommand,
    OutputFiles,
    model_options,
    only_model,
    output_option,
    words_argument,
)
from darkconv.options.pictures import PICTURE_NAMES, PictureOptions, picture_options
from darkconv.options.precision import PrecisionArguments, reduction_options

F = TypeVar("F", bound=Callable[..., Any])


def _flag(*words: str, help: str, value: bool = True) -> Callable[[F], F]:
    return click.option(*words, flag_value=value, default=None, help=help)


ONNX_OPTIONS = {
    "head": click.option(
        "--head",
        type=click.Choice(["raw", "logits", "boxes", "nms"]),
        help="Outputs as Darknet's heads give them, what enters the heads, boxes and scores, or "
        "what is left of them after suppression  [default: raw]",
    ),
    "layout": click.option(
        "--layout",
        type=click.Choice(LAYOUT_NAMES),
        help="Form of --head boxes (all but efficientnms) and nms (split, efficientnms) for the "
        "programs that read them  [default: split]",
    ),
    "pixels": _flag("--pixels", help="Boxes in pixels of the input, not in 0..1."),
    "threshold": click.option(
        "--threshold",
        type=SHARE,
        help="Least score: of the graph with --head nms, else what detect takes by itself  "
        "[default: 0.25]",
    ),
    "nms": click.option(
        "--nms",
        type=SHARE,
        help="Overlap that counts as the same object, likewise  [default: 0.45]",
    ),
    "threshold_inputs": _flag(
        "--threshold-inputs", help="For --head nms: both are inputs of the graph, not constants."
    ),
    "max_detections": click.option(
        "--max-detections",
        type=click.IntRange(min=1),
        help="For --head nms: most per picture  [default: 300]",
    ),
    "nms_op": click.option(
        "--nms-op",
        type=click.Choice(NMS_OPS),
        help="For --head nms: what suppresses; tensorrt, with --layout efficientnms, is its "
        "plugin, and runs in TensorRT alone  [default: onnx]",
    ),
    "input": click.option(
        "--input",
        type=click.Choice(INPUTS),
        help="What pictures come as  [default: float32-nchw, RGB in 0..1]",
    ),
    "dynamic": click.option(
        "--dynamic",
        metavar="AXES",
        help="Axes of any length: batch, size, batch,size or none  [default: batch]",
    ),
    "fold": _flag("--no-fold", "fold", value=False, help="Leave batch norm as it is."),
    "resize": click.option(
        "--resize",
        type=click.Choice(["stretch", "letterbox"]),
        help="How pictures will be fitted, which the file says, and detect and eval do  "
        "[default: as the dialect and letter_box= say]",
    ),
    "check": _flag(
        "--no-check",
        "check",
        value=False,
        help="Do not run .onnx and .tflite files once before they are written.",
    ),
    "opset": click.option(
        "--opset", type=int, help="Version of ONNX's operators, 11 or later  [default: 13]"
    ),
    "external": _flag("--external", help="Weights in a file beside it, OUT.onnx.data."),
    "in_place": _flag(
        "--in-place",
        help="Weights where they are, in MODEL's .weights file, which OUT must lie beside.",
    ),
}
"""Options of ONNX files, by the names of `write_onnx` and `OnnxOptions`."""


KIT_OPTIONS = {
    "ort_web": click.option(
        "--ort-web",
        type=InputFile(exists=True, file_okay=False),
        metavar="DIR",
        help="For --for browser: where onnxruntime-web's files are.",
    ),
}
"""Options of kits alone, by the names of `darkconv.export`."""

KERAS_OPTIONS = {"fold_bn": _flag("--fold-bn", help="Write batch norm into the weights.")}
"""Options of Keras files beside `--head`, by the names of `to_keras`."""

format_options = titled(
    "Exported files", *ONNX_OPTIONS.values(), *KIT_OPTIONS.values(), *KERAS_OPTIONS.values()
)
"""Options of all formats; one that the user does not give is None."""

IMPORT_OPTIONS = {
    "bn_epsilon": click.option(
        "--bn-epsilon",
        type=NumberType(0, 1, max_open=True),
        metavar="E",
        help="Of another tool's file: what its batch norm adds to the variance, 0.001 in Keras; "
        "the difference from Darknet's is added to the variances.",
    ),
    "reorg": click.option(
        "--reorg",
        type=click.Choice(REORGS),
        help="Of another tool's file: whether [reorg] stays or becomes [reorg3d], the plain "
        "space-to-depth that most tools compute  [default: auto]",
    ),
}
"""Options of another tool's file, by the names of `darkconv.import_weights`."""

import_options = titled("Files of other tools", *IMPORT_OPTIONS.values())
"""A decorator that adds `IMPORT_OPTIONS`; one that the user does not give is None."""


@click.command(cls=ModelCommand)
@words_argument()
@output_option
@click.option(
    "--for",
    "kit",
    type=click.Choice(list(KITS)),
    help="OUT is a folder that this program or server takes as it is, with a README.md.",
)
@click.option("--cutoff", type=int, help="The weights hold only the layers below this number.")
@import_options
@format_options
@reduction_options
@picture_options
@model_options
def convert(
    words: tuple[str, ...],
    outputs: tuple[OutputFiles, ...],
    kit: str | None,
    cutoff: int | None,
    reduction: PrecisionArguments,
    pictures: PictureOptions,
    **options: Any,
) -> None:
    """Write a model as ONNX, Keras, LiteRT, PyTorch or Darknet files.

    The suffix of OUT says the format: .onnx, .keras, .savedmodel (a folder), .tflite,
    .safetensors, .pt2, or OUT.cfg OUT.weights. -o may be repeated. The options from --layout to
    --in-place are about .onnx; Keras and LiteRT files take --head, LiteRT files --no-check too,
    and .pt2 --head raw and logits.

    A recurrent layer's state is an input and an output of the file, such as 003_lstm.h_in and
    003_lstm.h_out, in Keras and LiteRT 003_lstm_h_in and 003_lstm_h_out: give zeros at first, then
    what came out of the call before.

    In place of weights, MODEL may be a cfg and another tool's file that follows it: .pt, .pth,
    .safetensors, .h5, .keras or .onnx; or that file alone, if it is of a bundled network. What was
    taken by which rule is said on stderr.

    With --for, OUT is a folder: see docs/deploy.md. A kit decides about some options itself.

    An .onnx or .tflite file is run once before it takes its name; --no-check leaves that out.

    After --fp16 and --int8 the file is compared with its float32 form: size, time, outputs,
    and on pictures (--calibrate, --data) detections and AP. Without, a .tflite is run and
    compared with the model.

    Example: darkconv convert yolov4.cfg yolov4.weights -o yolov4.onnx --head nms
    """
    model_words = only_model(words)
    require_outputs(outputs, is_kit=kit is not None)
    if not (reduction.calibrate or reduction.data):
        refuse(*PICTURE_NAMES, because="no pictures are looked at without --calibrate and --data")
    chosen = chosen_options(options)
    reduction.check(chosen)
    if kit is None:
        refuse(*KIT_OPTIONS, because="it is about --for browser")
        suffixes = {output.path: output.suffix for output in outputs}
        head = chosen.get("head", "raw")
        if fault := fault_of(chosen, reduction.kind, head, set(suffixes.values())):
            raise click.UsageError(fault)
        reduction.check_formats(outputs)
        tell_of_others([*chosen, *reduction.kind], suffixes)
    for output in outputs:
        note_arrays(output.path, is_beside="external" in chosen)
    if "in_place" in chosen and model_words.weights:
        note_input(model_words.weights, is_lasting=True)
    said = {name: options.pop(name) for name in IMPORT_OPTIONS}
    imports = {name: value for name, value in said.items() if value is not None}
    model = read_model(model_words, cutoff=cutoff, imports=imports, **options)
    smaller = reduction.options(model, pictures)
    given = {
        output: {**chosen, **smaller} if kit else options_of(output.suffix, {**chosen, **smaller})
        for output in outputs
    }
    for output in outputs:
        if not output.weights:
            check_export(model, output.path, kit, given[output])
    written = {}
    for output in outputs:
        if output.weights:
            write_model(model, output)
            report_written(output)
            continue
        done = write_export(model, output.path, kit, given[output], progress=progress)
        report_written(output, external="external" in given[output])
        written[str(output)] = done
    print_reports(written, as_json=reduction.as_json)


def chosen_options(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of formats that the user gave out of a command's options.

    Args:
        options: values of all options by name; those of formats are removed.

    Raises:
        UsageError: --external and --in-place are both given.
    """
    given = {name: options.pop(name) for name in (*ONNX_OPTIONS, *KIT_OPTIONS, *KERAS_OPTIONS)}
    chosen = {name: value for name, value in given.items() if value is not None}
    if "external" in chosen and "in_place" in chosen:
        raise click.UsageError("--external and --in-place exclude each other")
    return chosen
