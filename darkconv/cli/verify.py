"""`darkconv verify`: do all frameworks give the same numbers?"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from darkconv.cli.file_types import InputFile
from darkconv.cli.given import refuse
from darkconv.cli.models import read_model
from darkconv.cli.params import (
    ModelCommand,
    ModelWords,
    nameless_model_options,
    report_option,
    split_model,
    words_argument,
)
from darkconv.cli.printing import echo, echo_json, echo_lines, echo_table
from darkconv.core.model import Model
from darkconv.errors import DarkconvError
from darkconv.loading.formats import (
    DARKNET_SUFFIXES,
    KERAS_SUFFIX,
    LITERT_SUFFIX,
    PROGRAM_SUFFIX,
    SAFETENSORS_SUFFIX,
    SAVED_MODEL_SUFFIX,
)

if TYPE_CHECKING:
    from darkconv.backends.exported import ExportedFile
    from darkconv.backends.onnx import ForeignFile
    from darkconv.report import LayerComparison
    from darkconv.verification.agreement import Verification

logger = logging.getLogger("darkconv")

SHOWN_LAYERS = 10
TITLES = {"onnx": "ONNX", "keras": "Keras"}
NOT_COMPARED = {
    SAVED_MODEL_SUFFIX: "compare a .keras file: it is made from the same graph",
    PROGRAM_SUFFIX: None,
    **dict.fromkeys(
        (SAFETENSORS_SUFFIX, *DARKNET_SUFFIXES), "darkconv weights diff compares the arrays"
    ),
}
"""Files whose outputs are not compared, by suffix, and what helps."""


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
@nameless_model_options
def verify(
    words: tuple[str, ...],
    image: str | None,
    as_json: bool,
    show_all: bool,
    report: Path | None,
    backend: str | None,
    **options: Any,
) -> None:
    """Compare every layer of a model in PyTorch and in onnxruntime, or Keras, worst first.

    Of layers that disagree, the first in the network is marked: those after it read what it gives.
    The two are built on their own from the Darknet files. With FILE, an ONNX, Keras or LiteRT file
    made from the MODEL with any --head, its outputs are compared instead. Of an ONNX file that
    another tool made, outputs are matched by their shapes, with heads or with boxes and scores.
    Exit status 1 if they disagree, if there was nothing to compare, or if a value is NaN. Files in
    half precision are allowed more; of those in 8 bits the boxes are compared that both find: see
    docs/onnx.md.

    Example: darkconv verify yolov3-tiny.cfg yolov3-tiny.weights yolov3-tiny.onnx
    """
    model_words, rest = split_model(words)
    if rest[1:]:
        raise click.UsageError(f"Got unexpected extra argument ({rest[1]})")
    if as_json:
        refuse("show_all", because="--json has all layers")
    if rest:
        if backend:
            raise click.UsageError("--backend is about layers, and FILE says itself what runs it")
        refuse("show_all", because="of FILE outputs are compared, and not layers")
        verify_file(
            model_words, ModelWords(rest[0]), image, as_json=as_json, report=report, **options
        )
        return
    model = read_model(model_words, **options)
    found = compare_all(model, image, backend or "onnx")
    if report:
        from darkconv.report import write_layer_report

        write_layer_report(report, found)
        echo(f"wrote {report}", err=True)
    if as_json:
        echo_json(found.to_dict())
    else:
        show_layers(found, shown=None if show_all else SHOWN_LAYERS)
        echo_lines(verdict(found, backend or "onnx"))
    if not found.ok:
        raise SystemExit(1)


def compare_all(model: Model, image: str | None, backend: str) -> "LayerComparison":
    """The errors of all layers, and what they mean."""
    from darkconv.report import LayerComparison
    from darkconv.verification.inputs import one_input
    from darkconv.verification.layers import compare_layers

    inputs = one_input(model, image)
    return LayerComparison(
        network=model.network,
        rows=compare_layers(model, inputs.values[0], backend),
        frameworks=("PyTorch", TITLES[backend]),
        given=inputs.words,
    )


def show_layers(found: "LayerComparison", *, shown: int | None) -> None:
    """Print the worst layers, and the first wrong one wherever it stands."""
    rows = [
        (layer.index, layer.type, f"{row.error:.1e}", f"{row.compared:,}", found.mark(layer, row))
        for place, (layer, row) in enumerate(found.worst)
        if shown is None or place < shown or layer is found.first_wrong
    ]
    headers = ("layer", "type", "relative error", "values", "")
    echo_table(headers, rows, left=(1, 4))


def verify_file(
    model_words: ModelWords,
    file_words: ModelWords,
    image: str | None,
    *,
    as_json: bool,
    report: Path | None,
    input_size: tuple[int, int] | None,
    **options: Any,
) -> None:
    """Compare the outputs of a file with the model's; exit status 1 if they disagree."""
    from darkconv.backends.exported import ExportedFile

    model = read_model(model_words, **options)
    file = read_file(file_words)
    if not isinstance(file, ExportedFile):
        model = model.with_input_size(*input_size) if input_size else model
        model, found = foreign_agreement(model, file, image)
    else:
        model, found = own_agreement(model, file, image, input_size)
    if report:
        from darkconv.report import OutputComparison, write_output_report

        write_output_report(report, OutputComparison(model.network, file.path, found))
        echo(f"wrote {report}", err=True)
    show_agreement(found, as_json=as_json)
    if not found.ok:
        raise SystemExit(1)


def own_agreement(
    model: Model, file: "ExportedFile", image: str | None, input_size: tuple[int, int] | None
) -> "tuple[Model, Verification]":
    """Compare a file of darkconv with the model, at the file's size or at another."""
    from darkconv.verification.inputs import several_inputs
    from darkconv.verification.outputs import compare_outputs

    if file.input_size and model.network.input_shape.is_map:
        model = model.with_input_size(*file.input_size)
    warn_of_other_sources(model, file)
    if input_size:
        model, file = model.with_input_size(*input_size), file.with_input_size(*input_size)
    return model, compare_outputs(model, file, several_inputs(model, image))


def read_file(words: ModelWords) -> "ExportedFile | ForeignFile":
    """Read what is compared with the model.

    Raises:
        DarkconvError: a file that is not compared.
    """
    from darkconv.backends import spoke
    from darkconv.backends.keras_archive import check_keras_file, read_litert_texts

    if words.suffix in NOT_COMPARED:
        raise DarkconvError(
            f"{words.first}: its outputs cannot be compared",
            expected="a file that ends in .onnx, .keras or .tflite",
            hint=NOT_COMPARED[words.suffix],
        )
    file: ExportedFile | ForeignFile
    if words.suffix == KERAS_SUFFIX:
        check_keras_file(words.first)
        file = spoke("keras").read_keras_file(words.first)
    elif words.suffix == LITERT_SUFFIX:
        read_litert_texts(words.first)
        file = spoke("keras").read_litert(words.first)
    else:
        file = spoke("onnx").read_any(words.first)
    return file


def foreign_agreement(
    model: Model, file: "ForeignFile", image: str | None
) -> "tuple[Model, Verification]":
    """Compare a file of another tool with the model, at the file's size."""
    from darkconv.verification.foreign import compare_foreign, fitted_model
    from darkconv.verification.inputs import several_inputs

    model = fitted_model(model, file)
    return model, compare_foreign(model, file, several_inputs(model, image))


def show_agreement(found: "Verification", *, as_json: bool) -> None:
    """Print what was compared, how much of it, and what came of it."""
    if as_json:
        echo_json(found.to_dict())
        return
    rows = [
        (row.name, f"{row.error:.1e}", f"{row.allowed:.0e}", f"{row.compared:,}", row.verdict)
        for row in found.rows
    ]
    headers = ("output", "error", "allowed", "compared", "")
    echo_table(headers, rows, left=(0, 4))
    for note in found.notes:
        echo(note)
    word = "agree" if found.ok else "DISAGREE"
    echo(f"model and file {word}: {found.compared:,} values compared, on {found.given}")


def warn_of_other_sources(model: Model, file: "ExportedFile") -> None:
    """Say which of a model's files the ONNX file was not made from."""
    from darkconv.backends import spoke

    if "cfg_sha256" not in file.metadata:
        return
    is_in_place = "weights_sha256" not in file.metadata
    for key, digest in spoke("onnx").digests(model, in_place=is_in_place).items():
        if file.metadata[key] != digest:
            what = key.removesuffix("_sha256")
            logger.warning("%s: was made from another %s file", file.path, what)


def verdict(found: "LayerComparison", backend: str) -> str:
    """On the worst layer, and on the first wrong one if there is one."""
    word = "agree" if found.ok else "DISAGREE"
    _, worst = found.worst[0]
    text = (
        f"torch and {backend} {word}: worst layer {worst.error:.1e}, allowed {worst.allowed:.0e}; "
        f"{found.compared:,} values compared"
    )
    wrong = found.first_wrong
    return f"{text}\nfirst wrong: {wrong.index:03d} {wrong.type}" if wrong else text
