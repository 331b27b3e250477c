"""`darkconv verify`: check that all frameworks give the same numbers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.console.files import InputFile, report_option
from darkconv.console.given import refuse
from darkconv.console.printing import echo, echo_json, echo_lines, echo_table
from darkconv.console.values import batch_option, device_option
from darkconv.options.command import ModelCommand
from darkconv.options.models import read_model
from darkconv.options.params import nameless_model_options, split_model, words_argument

if TYPE_CHECKING:
    from darkconv.verification.results import Verification

SHOWN_LAYERS = 10


@click.command(cls=ModelCommand)
@words_argument("MODEL [FILE]")
@click.option(
    "--image",
    type=InputFile(path_type=None),
    help="Picture to run  [default: seeded noise; for FILE with boxes bundled pictures too]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@click.option("--all", "show_all", is_flag=True, help="Show every layer, not the ten worst.")
@report_option("all layers, or the outputs of FILE, with their errors")
@click.option(
    "--backend",
    type=click.Choice(["onnx", "keras"]),
    help="What PyTorch is compared with  [default: onnx]",
)
@device_option
@batch_option(1)
@nameless_model_options
def verify(
    words: tuple[str, ...],
    image: str | None,
    as_json: bool,
    show_all: bool,
    report: Path | None,
    backend: Any,
    device: str,
    batch: int,
    input_size: tuple[int, int] | None,
    **options: Any,
) -> None:
    """Compare every layer of a model in PyTorch and in onnxruntime, or Keras, worst first.

    Of layers that disagree, the first in the network is marked: those after it read what it gives.
    The two are built on their own from the Darknet files. With FILE, an .onnx, .keras, .tflite or
    .pt2 file made from the MODEL with any --head, its outputs are compared instead. Of an ONNX file
    of another tool, outputs are matched by their shapes, with heads or with boxes and scores.
    Exit status 1 if they disagree, if there was nothing to compare, or if a value is NaN. Files in
    half precision are allowed more; those in 8 bits are compared channel by channel: see
    docs/onnx.md.

    Example: darkconv verify yolov3-tiny.cfg yolov3-tiny.weights yolov3-tiny.onnx
    """
    from darkconv.verification.verify import verify as compare

    model_words, rest = split_model(words)
    if rest[1:]:
        raise click.UsageError(f"Got unexpected extra argument ({rest[1]})")
    if as_json:
        refuse("show_all", because="--json has all layers")
    if rest:
        if backend:
            raise click.UsageError("--backend is about layers, and FILE says itself what runs it")
        refuse("show_all", because="of FILE outputs are compared, and not layers")
    else:  # the network need not fit together at its own size
        options["input_size"], input_size = input_size, None
    model, file = read_model(model_words, **options), rest[0] if rest else None
    running: dict[str, Any] = {"input_size": input_size, "device": device, "batch": batch}
    found = compare(model, file, image=image, backend=backend, **running)
    if report:
        found.report(report)
        echo(f"wrote {report}", err=True)
    if as_json:
        echo_json(found.to_dict())
    else:
        show(found, shown=None if show_all else SHOWN_LAYERS, backend=backend or "onnx")
    if not found.ok:
        raise SystemExit(1)


def show(found: "Verification", *, shown: int | None, backend: str) -> None:
    """Print what was compared, how much of it, and the verdict.

    Args:
        found: result of the comparison.
        shown: number of layers to show, worst first; None for all.
        backend: the framework that PyTorch was compared with.
    """
    from darkconv.verification import tables
    from darkconv.verification.results import LayerVerification

    if isinstance(found, LayerVerification):
        echo_table(tables.OF_LAYERS, tables.layer_rows(found, shown=shown), left=(1, 4))
        echo_lines(tables.layer_verdict(found, backend))
        return
    echo_table(tables.OF_OUTPUTS, tables.output_rows(found), left=(0, 4))
    for line in tables.output_lines(found):
        echo(line)
