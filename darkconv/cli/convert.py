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
from darkconv.options.command import ModelCommand
from darkconv.options.models import (
    read_model,
    report_written,
    require_outputs,
    write_model,
)
from darkconv.options.params import (
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
        help="Form of the outputs: as Darknet's heads give them (raw), what enters the heads "
        "(logits), boxes and scores, or what is left of these after non-maximum suppression  "
        "[default: raw]",
    ),
    "layout": click.option(
        "--layout",
        type=click.Choice(LAYOUT_NAMES),
        help="Arrangement of the outputs, for the program that will read them; efficientnms is for "
        "--head nms, split for boxes and nms, the others for boxes  [default: split]",
    ),
    "pixels": _flag("--pixels", help="Give boxes in pixels of the input, not in 0..1."),
    "threshold": click.option(
        "--threshold",
        type=SHARE,
        help="Lowest score of a detection. With --head nms it is part of the graph, otherwise it "
        "is what detect uses for this file by default  [default: 0.25]",
    ),
    "nms": click.option(
        "--nms",
        type=SHARE,
        help="IoU above which two boxes count as one object; used in the same way as --threshold  "
        "[default: 0.45]",
    ),
    "threshold_inputs": _flag(
        "--threshold-inputs", help="For --head nms: make both thresholds inputs of the graph."
    ),
    "max_detections": click.option(
        "--max-detections",
        type=click.IntRange(min=1),
        help="For --head nms: largest number of detections in a picture  [default: 300]",
    ),
    "nms_op": click.option(
        "--nms-op",
        type=click.Choice(NMS_OPS),
        help="For --head nms: operator that does the suppression; tensorrt, with --layout "
        "efficientnms, is TensorRT's plugin and runs nowhere else  [default: onnx]",
    ),
    "input": click.option(
        "--input",
        type=click.Choice(INPUTS),
        help="Type and layout of the pictures that the file takes  [default: float32-nchw, RGB in "
        "0..1]",
    ),
    "dynamic": click.option(
        "--dynamic",
        metavar="AXES",
        help="Axes that may have any length when the file is run: batch, size, batch,size or none  "
        "[default: batch]",
    ),
    "fold": _flag(
        "--no-fold", "fold", value=False, help="Do not fold batch normalization into the weights."
    ),
    "resize": click.option(
        "--resize",
        type=click.Choice(["stretch", "letterbox"]),
        help="How pictures are to be fitted to the input. The file records it, and detect and eval "
        "follow it  [default: as the dialect and letter_box= say]",
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
    "external": _flag(
        "--external", help="Write the weights to a file of their own, OUT.onnx.data."
    ),
    "in_place": _flag(
        "--in-place",
        help="Leave the weights in MODEL's .weights file; OUT must lie beside it.",
    ),
}
"""Options of ONNX files, by the names of `write_onnx` and `OnnxOptions`."""


KIT_OPTIONS = {
    "ort_web": click.option(
        "--ort-web",
        type=InputFile(exists=True, file_okay=False),
        metavar="DIR",
        help="For --for browser: folder with the files of onnxruntime-web.",
    ),
}
"""Options of kits alone, by the names of `darkconv.export`."""

KERAS_OPTIONS = {
    "fold_bn": _flag("--fold-bn", help="In Keras files: fold batch normalization into the weights.")
}
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
        help="What batch normalization adds to the variance in the other tool, 0.001 in Keras; the "
        "difference from what Darknet adds goes into the variances.",
    ),
    "reorg": click.option(
        "--reorg",
        type=click.Choice(REORGS),
        help="Whether [reorg] stays as it is, or becomes [reorg3d], the plain space-to-depth "
        "that most tools compute  [default: auto]",
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
    help="Write OUT as a folder that this program or server takes as it is, with instructions.",
)
@click.option(
    "--cutoff",
    type=int,
    help="Read only the layers below this index from the weights file, which has no others.",
)
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

    The suffix of OUT chooses the format: .onnx, .keras, .savedmodel (a folder), .tflite,
    .safetensors, .pt2, or OUT.cfg OUT.weights. -o may be repeated. --head is for ONNX, Keras and
    LiteRT files, and raw and logits also for .pt2 files. The options from --layout to --in-place
    are for ONNX files; LiteRT files take --no-check, too.

    A recurrent layer's state is an input and an output of the file, such as 003_lstm.h_in and
    003_lstm.h_out, in Keras and LiteRT 003_lstm_h_in and 003_lstm_h_out. Give zeros in the first
    call, then the output of the call before.

    To bring a model back from another tool, give as MODEL the cfg and the tool's file (.pt, .pth,
    .safetensors, .h5, .keras or .onnx), or that file alone if its network is a bundled one. The
    command says on stderr by which rule it found the weights.

    With --for, OUT is a folder, called a kit: see docs/deploy.md. Some options are then fixed.

    An .onnx or .tflite file is run once before it takes its name; --no-check leaves that out.

    With --fp16 or --int8 the file is compared with its float32 form: size, time, outputs, and on
    the pictures of --calibrate and --data also detections and AP. Without them, a .tflite file is
    run and compared with the model.

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
