"""`darkconv convert`: a model in another format."""

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from darkconv.backends.choices import HEADS_OF, INPUTS
from darkconv.backends.layouts import LAYOUT_NAMES, NMS_OPS
from darkconv.cli.file_report import print_reports
from darkconv.cli.models import (
    read_model,
    report_written,
    require_outputs,
    write_model,
)
from darkconv.cli.params import (
    ModelCommand,
    Output,
    model_options,
    only_model,
    output_option,
    words_argument,
)
from darkconv.cli.pictures import PICTURE_NAMES, PictureOptions, picture_options
from darkconv.cli.precision import Reduction, reduction_options
from darkconv.console.given import refuse
from darkconv.console.options import with_options
from darkconv.console.progress import progress
from darkconv.console.values import SHARE, NumberType
from darkconv.exporting.formats import HEADS_BY_SUFFIX, OPTIONS_BY_SUFFIX, options_of
from darkconv.exporting.targets import note_arrays
from darkconv.exporting.writing import check_options, write_checked
from darkconv.files.outputs import note_input
from darkconv.imports.differences import REORGS
from darkconv.loading.formats import RUNNABLE_SUFFIXES

logger = logging.getLogger("darkconv")

F = TypeVar("F", bound=Callable[..., Any])

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
    "pixels": click.option(
        "--pixels", flag_value=True, default=None, help="Boxes in pixels of the input, not in 0..1."
    ),
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
    "threshold_inputs": click.option(
        "--threshold-inputs",
        flag_value=True,
        default=None,
        help="For --head nms: both are inputs of the graph, not constants.",
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
    "fold": click.option(
        "--no-fold", "fold", flag_value=False, default=None, help="Leave batch norm as it is."
    ),
    "resize": click.option(
        "--resize",
        type=click.Choice(["stretch", "letterbox"]),
        help="How pictures will be fitted, which the file says, and detect and eval do  "
        "[default: as the dialect and letter_box= say]",
    ),
    "check": click.option(
        "--no-check",
        "check",
        flag_value=False,
        default=None,
        help="Do not run .onnx and .tflite files once before they are written.",
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


KERAS_OPTIONS = {
    "fold_bn": click.option(
        "--fold-bn", flag_value=True, default=None, help="Write batch norm into the weights."
    ),
}
"""What can be chosen about Keras files beside `--head`, by the names of `to_keras`."""

NEGATED = {"fold": "no-fold", "check": "no-check"}
"""Options that are given to be turned off, by their names."""


format_options = with_options(*ONNX_OPTIONS.values(), *KERAS_OPTIONS.values())
"""`ONNX_OPTIONS` and `KERAS_OPTIONS`; what the user does not give is None."""

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
"""What can be said about another tool's file, by the names of `darkconv.import_weights`."""

import_options = with_options(*IMPORT_OPTIONS.values())
"""`IMPORT_OPTIONS`; what the user does not give is None."""


@click.command(cls=ModelCommand)
@words_argument()
@output_option
@click.option("--cutoff", type=int, help="The weights hold only the layers below this number.")
@import_options
@format_options
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

    An .onnx or .tflite file is run once before it takes its name; --no-check leaves that out.

    After --fp16 and --int8 the file is compared with its float32 form: size, time, outputs,
    and on pictures (--calibrate, --data) detections and AP. Without, a .tflite is run and
    compared with the model.

    Example: darkconv convert yolov4.cfg yolov4.weights -o yolov4.onnx --head nms
    """
    model_words = only_model(words)
    require_outputs(outputs)
    if not (reduction.calibrate or reduction.data):
        refuse(*PICTURE_NAMES, because="no pictures are looked at without --calibrate and --data")
    chosen = chosen_options(options)
    reduction.check(chosen)
    check_applies(chosen, reduction, outputs)
    reduction.check_formats(outputs)
    tell_of_others({**chosen, **dict.fromkeys(reduction.kind)}, outputs)
    for output in outputs:
        note_arrays(output.path, is_beside="external" in chosen)
    if "in_place" in chosen and model_words.weights:
        note_input(model_words.weights, is_lasting=True)
    said = {name: options.pop(name) for name in IMPORT_OPTIONS}
    imports = {name: value for name, value in said.items() if value is not None}
    model = read_model(model_words, cutoff=cutoff, imports=imports, **options)
    smaller = reduction.options(model, pictures)
    for output in outputs:
        if not output.weights:
            check_options(model, output.path, options_of(output.suffix, {**chosen, **smaller}))
    written = {}
    for output in outputs:
        if output.weights:
            write_model(model, output)
            report_written(output)
            continue
        given = options_of(output.suffix, {**chosen, **smaller})
        done = write_checked(model, output.path, given, progress=progress)
        report_written(output, external="external" in given)
        written[str(output)] = done
    print_reports(written, as_json=reduction.as_json)


def chosen_options(options: dict[str, Any]) -> dict[str, Any]:
    """Take what the user has said about formats out of a command's options."""
    given = {name: options.pop(name) for name in (*ONNX_OPTIONS, *KERAS_OPTIONS)}
    chosen = {name: value for name, value in given.items() if value is not None}
    if "external" in chosen and "in_place" in chosen:
        raise click.UsageError("--external and --in-place exclude each other")
    return chosen


def check_applies(
    chosen: dict[str, Any], reduction: Reduction, outputs: tuple[Output, ...]
) -> None:
    """Check that every option is about one of the files."""
    suffixes = {output.suffix for output in outputs}
    homes: dict[str, Sequence[str]] = {
        name: [suffix for suffix, own in OPTIONS_BY_SUFFIX.items() if name in own]
        for name in chosen
    }
    homes |= {name: RUNNABLE_SUFFIXES for name in reduction.kind}
    for name, known in homes.items():
        if not suffixes & set(known):
            *others, last = known
            kinds = f"{', '.join(others)} and {last}" if others else last
            raise click.UsageError(
                f"--{_spelled(name)} is about {kinds} files, and none is written"
            )
    head = chosen.get("head", "raw")
    for name, heads in HEADS_OF.items():
        if head not in heads:
            refuse(name, because=f"it is about --head {' and '.join(heads)}")
    able = [suffix for suffix, heads in HEADS_BY_SUFFIX.items() if head in heads]
    if any(suffix not in able for suffix in suffixes & HEADS_BY_SUFFIX.keys()):
        raise click.UsageError(f"--head {head} is about {' and '.join(able)} files")


def tell_of_others(chosen: Iterable[str], outputs: Sequence[Output]) -> None:
    """Say of each output which options it does not have, where another one has them."""
    for output in outputs:
        known = OPTIONS_BY_SUFFIX.get(output.suffix, ())
        missing = [f"--{_spelled(name)}" for name in chosen if name not in known]
        if missing:
            verb = "does" if len(missing) == 1 else "do"
            logger.warning(
                "%s: %s %s nothing here: %s no option of %s files",
                output.path,
                " and ".join(missing),
                verb,
                "it is" if len(missing) == 1 else "they are",
                output.suffix,
            )


def _spelled(name: str) -> str:
    return NEGATED.get(name, name.replace("_", "-"))
